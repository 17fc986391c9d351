// What ends of the power and of the process leave of a disk in memory.
#include "Disk.h"

#include <stdlib.h>
#include <string.h>

// For each of the first `at` entries, whether it was on the disk for certain when the power went after them.
static unsigned char *certainties(const test_disk *disk, long at) {
    unsigned char *certain = calloc((size_t)at + 1, 1);
    int is_synced[FILES_MAX] = {0};
    int are_names_synced = 0;
    for (long i = at - 1; i >= 0; i--) {
        const struct entry *entry = &disk->log[i];
        switch (entry->operation) {
        case SYNCED: is_synced[entry->file] = 1; break;
        case NAMES_SYNCED: are_names_synced = 1; break;
        case CREATED: certain[i] = (unsigned char)are_names_synced; break;
        case REMOVED:
            certain[i] = (unsigned char)are_names_synced;
            // What was written to a file that is gone concerns nobody.
            is_synced[entry->file] = 0;
            break;
        default: certain[i] = (unsigned char)is_synced[entry->file]; break;
        }
    }
    return certain;
}

static void write_some(struct file *file, const struct entry *entry, int policy, uint64_t *random) {
    if (policy == TEST_DISK_ZEROED && (disk_random(random) & 1)) {
        if (entry->offset + entry->count > file->size) disk_resize(file, entry->offset + entry->count);
        return;
    }
    if (policy != TEST_DISK_TORN) {
        disk_put(file, entry->bytes, entry->count, entry->offset);
        return;
    }
    for (int64_t at = 0; at < entry->count;) {
        int64_t end = (entry->offset + at) / SECTOR * SECTOR + SECTOR - entry->offset;
        if (end > entry->count) end = entry->count;
        if (disk_random(random) & 1) disk_put(file, entry->bytes + at, end - at, entry->offset + at);
        at = end;
    }
}

test_disk *test_disk_cut(const test_disk *disk, long at, int policy, uint64_t seed, const char *name) {
    test_disk *left = test_disk_make(name);
    if (!left) return NULL;
    if (at > disk->logged) at = disk->logged;
    uint64_t random = seed;
    long first_kept = at > 0 ? (long)(disk_random(&random) % (uint64_t)at) : 0;
    unsigned char *certainty = certainties(disk, at);
    // Whether the present file of a name is there at all.
    int is_there[FILES_MAX] = {0};
    for (int i = 0; i < FILES_MAX; i++)
        if (disk->files[i].name) left->files[i].name = strdup(disk->files[i].name);
    for (long i = 0; i < at; i++) {
        const struct entry *entry = &disk->log[i];
        if (entry->file < 0 || entry->operation == SYNCED) continue;
        struct file *file = &left->files[entry->file];
        int certain = certainty[i];
        int happens = certain || policy == TEST_DISK_ALL
            || (policy == TEST_DISK_REORDERED && i >= first_kept)
            || ((policy == TEST_DISK_SOME || policy == TEST_DISK_TORN || policy == TEST_DISK_ZEROED)
                && (disk_random(&random) & 1));
        switch (entry->operation) {
        case CREATED:
            is_there[entry->file] = happens;
            if (happens) {
                file->exists = 1;
                file->size = 0;
            }
            break;
        case REMOVED:
            if (happens) file->exists = 0;
            is_there[entry->file] = 0;
            break;
        case WRITTEN:
            if (!happens || !is_there[entry->file]) break;
            if (certain) disk_put(file, entry->bytes, entry->count, entry->offset);
            else write_some(file, entry, policy, &random);
            break;
        case CUT:
            if (happens && is_there[entry->file]) disk_resize(file, entry->offset);
            break;
        default: break;
        }
    }
    free(certainty);
    return left;
}

test_disk *test_disk_stop(const test_disk *disk, long at, const char *name) {
    if (at > disk->logged) at = disk->logged;
    test_disk *left = test_disk_cut(disk, at, TEST_DISK_ALL, 0, name);
    for (long i = 0; left && i < at; i++) {
        const struct entry *entry = &disk->log[i];
        disk_note(left, entry->operation, entry->file, entry->offset, entry->count, entry->bytes);
    }
    return left;
}

void test_disk_settle(test_disk *disk) {
    for (long i = 0; i < disk->logged; i++) free(disk->log[i].bytes);
    disk->logged = 0;
    for (int i = 0; i < FILES_MAX; i++) {
        const struct file *file = &disk->files[i];
        if (!file->exists) continue;
        disk_note(disk, CREATED, i, 0, 0, NULL);
        disk_note(disk, WRITTEN, i, 0, file->size, file->bytes);
        disk_note(disk, SYNCED, i, 0, 0, NULL);
    }
    disk_note(disk, NAMES_SYNCED, -1, 0, 0, NULL);
}

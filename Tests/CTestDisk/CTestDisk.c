// A VFS over files in memory: see the header.
#include "Disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// What SQLite sees of an open file. Files without a name are its own scratch: they are not part of the disk.
struct open_file {
    sqlite3_file base;
    test_disk *disk;
    int index;
    int syncs_names;
    struct file scratch;
};

uint64_t disk_random(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

void disk_note(
    test_disk *disk, enum operation operation, int file, int64_t offset, int64_t count, const void *bytes
) {
    if (disk->logged == disk->log_capacity) {
        disk->log_capacity = disk->log_capacity ? disk->log_capacity * 2 : 256;
        disk->log = realloc(disk->log, (size_t)disk->log_capacity * sizeof *disk->log);
    }
    struct entry *entry = &disk->log[disk->logged++];
    *entry = (struct entry){.operation = operation, .file = file, .offset = offset, .count = count};
    if (bytes && count > 0) {
        entry->bytes = malloc((size_t)count);
        memcpy(entry->bytes, bytes, (size_t)count);
    }
}

// Whether this call is to fail. Counts it.
static int fails(test_disk *disk, int kind) {
    disk->calls[__builtin_ctz((unsigned)kind)]++;
    if (!(disk->fail_kinds & kind) || disk->fail_in == 0) return 0;
    if (disk->fail_in > 1) {
        disk->fail_in--;
        return 0;
    }
    if (!disk->fail_for_ever) disk->fail_in = 0;
    disk->last_error = disk->fail_error;
    return 1;
}

void disk_resize(struct file *file, int64_t size) {
    if (size > file->capacity) {
        file->capacity = size * 2;
        file->bytes = realloc(file->bytes, (size_t)file->capacity);
    }
    if (size > file->size) memset(file->bytes + file->size, 0, (size_t)(size - file->size));
    file->size = size;
}

void disk_put(struct file *file, const void *bytes, int64_t count, int64_t offset) {
    if (count <= 0) return;
    if (offset + count > file->size) disk_resize(file, offset + count);
    memcpy(file->bytes + offset, bytes, (size_t)count);
}

static int find(const test_disk *disk, const char *name) {
    for (int i = 0; i < FILES_MAX; i++)
        if (disk->files[i].name && strcmp(disk->files[i].name, name) == 0) return i;
    return -1;
}

static int find_or_add(test_disk *disk, const char *name) {
    int index = find(disk, name);
    for (int i = 0; index < 0 && i < FILES_MAX; i++) {
        if (disk->files[i].name) continue;
        disk->files[i].name = strdup(name);
        index = i;
    }
    return index;
}

// Files.

static struct file *content(struct open_file *open) {
    return open->index < 0 ? &open->scratch : &open->disk->files[open->index];
}

static int close_file(sqlite3_file *base) {
    struct open_file *open = (struct open_file *)base;
    free(open->scratch.bytes);
    return SQLITE_OK;
}

static int read_file(sqlite3_file *base, void *into, int count, sqlite3_int64 offset) {
    struct open_file *open = (struct open_file *)base;
    if (fails(open->disk, TEST_DISK_READ)) {
        // As SQLite's own file system has it, which makes of a failing disk a damaged file.
        return open->disk->last_error == EIO ? SQLITE_IOERR_CORRUPTFS : SQLITE_IOERR_READ;
    }
    struct file *file = content(open);
    int64_t there = file->size > offset ? file->size - offset : 0;
    if (there > count) there = count;
    if (there > 0) memcpy(into, file->bytes + offset, (size_t)there);
    if (there == count) return SQLITE_OK;
    memset((char *)into + there, 0, (size_t)(count - there));
    return SQLITE_IOERR_SHORT_READ;
}

static int write_file(sqlite3_file *base, const void *bytes, int count, sqlite3_int64 offset) {
    struct open_file *open = (struct open_file *)base;
    test_disk *disk = open->disk;
    struct file *file = content(open);
    int result = SQLITE_OK;
    if (fails(disk, TEST_DISK_WRITE)) {
        result = disk->last_error == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
        count /= 2;
    } else if (disk->limit && open->index >= 0 && offset + count > file->size
               && test_disk_used(disk) + (uint64_t)(offset + count - file->size) > disk->limit) {
        disk->last_error = ENOSPC;
        return SQLITE_FULL;
    }
    disk_put(file, bytes, count, offset);
    if (open->index >= 0) disk_note(disk, WRITTEN, open->index, offset, count, bytes);
    return result;
}

static int truncate_file(sqlite3_file *base, sqlite3_int64 size) {
    struct open_file *open = (struct open_file *)base;
    if (fails(open->disk, TEST_DISK_TRUNCATE)) return SQLITE_IOERR_TRUNCATE;
    disk_resize(content(open), size);
    if (open->index >= 0) disk_note(open->disk, CUT, open->index, size, 0, NULL);
    return SQLITE_OK;
}

// As the operating system's VFS: the first sync of a journal that was made brings its name to the disk, too.
static int sync_file(sqlite3_file *base, int flags) {
    (void)flags;
    struct open_file *open = (struct open_file *)base;
    if (fails(open->disk, TEST_DISK_SYNC)) return SQLITE_IOERR_FSYNC;
    if (open->index < 0) return SQLITE_OK;
    disk_note(open->disk, SYNCED, open->index, 0, 0, NULL);
    if (open->syncs_names) disk_note(open->disk, NAMES_SYNCED, -1, 0, 0, NULL);
    open->syncs_names = 0;
    return SQLITE_OK;
}

static int size_of_file(sqlite3_file *base, sqlite3_int64 *size) {
    struct open_file *open = (struct open_file *)base;
    if (fails(open->disk, TEST_DISK_ASK)) return SQLITE_IOERR_FSTAT;
    *size = content(open)->size;
    return SQLITE_OK;
}

static int lock_file(sqlite3_file *base, int level) {
    (void)level;
    return fails(((struct open_file *)base)->disk, TEST_DISK_ASK) ? SQLITE_IOERR_LOCK : SQLITE_OK;
}

static int unlock_file(sqlite3_file *base, int level) {
    (void)base;
    (void)level;
    return SQLITE_OK;
}

static int is_reserved(sqlite3_file *base, int *answer) {
    (void)base;
    *answer = 0;
    return SQLITE_OK;
}

static int control_file(sqlite3_file *base, int operation, void *argument) {
    if (operation != SQLITE_FCNTL_LAST_ERRNO) return SQLITE_NOTFOUND;
    *(int *)argument = ((struct open_file *)base)->disk->last_error;
    return SQLITE_OK;
}

static int sector_size(sqlite3_file *base) {
    (void)base;
    return SECTOR;
}

static int characteristics(sqlite3_file *base) {
    (void)base;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods file_methods = {
    .iVersion = 1,
    .xClose = close_file,
    .xRead = read_file,
    .xWrite = write_file,
    .xTruncate = truncate_file,
    .xSync = sync_file,
    .xFileSize = size_of_file,
    .xLock = lock_file,
    .xUnlock = unlock_file,
    .xCheckReservedLock = is_reserved,
    .xFileControl = control_file,
    .xSectorSize = sector_size,
    .xDeviceCharacteristics = characteristics,
};

// The disk.

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *flags_out) {
    test_disk *disk = vfs->pAppData;
    struct open_file *open = (struct open_file *)base;
    memset(open, 0, sizeof *open);
    if (fails(disk, TEST_DISK_OPEN)) return SQLITE_CANTOPEN;
    open->disk = disk;
    open->index = -1;
    if (name) {
        int index = find_or_add(disk, name);
        if (index < 0 || (!disk->files[index].exists && !(flags & SQLITE_OPEN_CREATE))) {
            disk->last_error = ENOENT;
            return SQLITE_CANTOPEN;
        }
        if (!disk->files[index].exists) {
            disk->files[index].exists = 1;
            disk->files[index].size = 0;
            disk_note(disk, CREATED, index, 0, 0, NULL);
        }
        open->index = index;
        int journals = SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL;
        open->syncs_names = (flags & SQLITE_OPEN_CREATE) && (flags & journals);
    }
    if (flags_out) *flags_out = flags;
    open->base.pMethods = &file_methods;
    return SQLITE_OK;
}

static int delete_file(sqlite3_vfs *vfs, const char *name, int syncs_names) {
    test_disk *disk = vfs->pAppData;
    if (fails(disk, TEST_DISK_DELETE)) return SQLITE_IOERR_DELETE;
    int index = find(disk, name);
    if (index < 0 || !disk->files[index].exists) return SQLITE_IOERR_DELETE_NOENT;
    disk->files[index].exists = 0;
    disk->files[index].size = 0;
    disk_note(disk, REMOVED, index, 0, 0, NULL);
    if (syncs_names) disk_note(disk, NAMES_SYNCED, -1, 0, 0, NULL);
    return SQLITE_OK;
}

static int access_file(sqlite3_vfs *vfs, const char *name, int flags, int *answer) {
    test_disk *disk = vfs->pAppData;
    if (fails(disk, TEST_DISK_ASK)) return SQLITE_IOERR_ACCESS;
    int index = find(disk, name);
    int exists = index >= 0 && disk->files[index].exists;
    // As the operating system's VFS: an empty journal counts as none.
    *answer = exists && (flags != SQLITE_ACCESS_EXISTS || disk->files[index].size > 0);
    return SQLITE_OK;
}

static int full_path(sqlite3_vfs *vfs, const char *name, int capacity, char *path) {
    (void)vfs;
    sqlite3_snprintf(capacity, path, "%s", name);
    return SQLITE_OK;
}

static int randomness(sqlite3_vfs *vfs, int count, char *into) {
    test_disk *disk = vfs->pAppData;
    for (int i = 0; i < count; i++) into[i] = (char)disk_random(&disk->random);
    return count;
}

static int sleep_for(sqlite3_vfs *vfs, int microseconds) {
    (void)vfs;
    return microseconds;
}

static int current_time(sqlite3_vfs *vfs, double *days) {
    (void)vfs;
    *days = 2460000.5;
    return SQLITE_OK;
}

static int last_error(sqlite3_vfs *vfs, int capacity, char *text) {
    (void)capacity;
    (void)text;
    return ((test_disk *)vfs->pAppData)->last_error;
}

test_disk *test_disk_make(const char *name) {
    test_disk *disk = calloc(1, sizeof *disk);
    if (!disk) return NULL;
    disk->name = strdup(name);
    disk->random = 1;
    disk->vfs = (sqlite3_vfs){
        .iVersion = 1,
        .szOsFile = sizeof(struct open_file),
        .mxPathname = 512,
        .zName = disk->name,
        .pAppData = disk,
        .xOpen = open_file,
        .xDelete = delete_file,
        .xAccess = access_file,
        .xFullPathname = full_path,
        .xRandomness = randomness,
        .xSleep = sleep_for,
        .xCurrentTime = current_time,
        .xGetLastError = last_error,
    };
    if (sqlite3_vfs_register(&disk->vfs, 0) != SQLITE_OK) {
        free(disk->name);
        free(disk);
        return NULL;
    }
    return disk;
}

void test_disk_free(test_disk *disk) {
    if (!disk) return;
    sqlite3_vfs_unregister(&disk->vfs);
    for (long i = 0; i < disk->logged; i++) free(disk->log[i].bytes);
    free(disk->log);
    for (int i = 0; i < FILES_MAX; i++) {
        free(disk->files[i].name);
        free(disk->files[i].bytes);
    }
    free(disk->name);
    free(disk);
}

long test_disk_logged(const test_disk *disk) { return disk->logged; }

long test_disk_calls(const test_disk *disk, int kinds) {
    long calls = 0;
    for (int bit = 0; bit < 7; bit++)
        if (kinds & (1 << bit)) calls += disk->calls[bit];
    return calls;
}

void test_disk_fail(test_disk *disk, int kinds, long call, int for_ever, int error) {
    disk->fail_kinds = kinds;
    disk->fail_in = call;
    disk->fail_for_ever = for_ever;
    disk->fail_error = error;
}

void test_disk_set_capacity(test_disk *disk, uint64_t bytes) { disk->limit = bytes; }

uint64_t test_disk_used(const test_disk *disk) {
    uint64_t used = 0;
    for (int i = 0; i < FILES_MAX; i++)
        if (disk->files[i].exists) used += (uint64_t)disk->files[i].size;
    return used;
}

int64_t test_disk_size(const test_disk *disk, const char *path) {
    int index = find(disk, path);
    return index < 0 || !disk->files[index].exists ? -1 : disk->files[index].size;
}

void test_disk_damage(test_disk *disk, const char *path, int64_t offset, const void *bytes, int64_t count) {
    int index = find(disk, path);
    if (index < 0 || offset < 0 || offset >= disk->files[index].size) return;
    int64_t room = disk->files[index].size - offset;
    memcpy(disk->files[index].bytes + offset, bytes, (size_t)(count < room ? count : room));
}

void test_disk_shorten(test_disk *disk, const char *path, int64_t size) {
    int index = find(disk, path);
    if (index >= 0 && size < disk->files[index].size) disk->files[index].size = size;
}

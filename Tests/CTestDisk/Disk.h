// The disk in memory, for the files that make it up.
#pragma once
#include "CTestDisk.h"

#include <CSQLite.h>
#include <stdint.h>

enum { FILES_MAX = 8, SECTOR = 512 };

enum operation { CREATED, REMOVED, WRITTEN, CUT, SYNCED, NAMES_SYNCED };

struct entry {
    enum operation operation;
    int file;
    int64_t offset, count;
    unsigned char *bytes;
};

struct file {
    char *name;
    unsigned char *bytes;
    int64_t size, capacity;
    int exists;
};

struct test_disk {
    sqlite3_vfs vfs;
    char *name;
    struct file files[FILES_MAX];
    struct entry *log;
    long logged, log_capacity;
    long calls[8];
    int fail_kinds, fail_for_ever, fail_error, last_error;
    long fail_in;
    uint64_t limit, random;
};

uint64_t disk_random(uint64_t *state);
void disk_resize(struct file *file, int64_t size);
void disk_put(struct file *file, const void *bytes, int64_t count, int64_t offset);
void disk_note(
    test_disk *disk, enum operation operation, int file, int64_t offset, int64_t count, const void *bytes);

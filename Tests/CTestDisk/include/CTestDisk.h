// A disk in memory for SQLite that can fail any call, fill up, and lose power.
#pragma once
#include <stdint.h>

/// A disk: files, a log of everything done to them since it was made, and orders to fail. For one thread at a time.
typedef struct test_disk test_disk;

/// Kinds of calls, to be combined; those that a test wants to fail or to count.
enum {
    TEST_DISK_OPEN = 1,
    TEST_DISK_READ = 2,
    TEST_DISK_WRITE = 4,
    TEST_DISK_TRUNCATE = 8,
    TEST_DISK_SYNC = 16,
    TEST_DISK_DELETE = 32,
    TEST_DISK_ASK = 64,
    TEST_DISK_EVERY = 127,
};

/// What of the bytes that were not synced a power cut leaves on the disk.
enum {
    /// None.
    TEST_DISK_NOTHING,
    /// All: as if only the process had been killed.
    TEST_DISK_ALL,
    /// Each operation or not, by chance.
    TEST_DISK_SOME,
    /// The same, and of each write some of its sectors of 512 bytes.
    TEST_DISK_TORN,
    /// The later operations without the earlier ones.
    TEST_DISK_REORDERED,
    /// Each write by chance as it was or as zeros: the file has grown, its bytes have not come.
    TEST_DISK_ZEROED,
    TEST_DISK_POLICIES,
};

/// An empty disk, registered as a VFS under `name`. NULL without memory.
test_disk *test_disk_make(const char *name);

/// The disk as a power cut after the first `at` logged operations may leave it, registered under `name`.
test_disk *test_disk_cut(const test_disk *disk, long at, int policy, uint64_t seed, const char *name);

/// The disk as the end of the process after the first `at` logged operations leaves it: all that was written is there,
/// and what was not synced may still be lost when the power goes later on.
test_disk *test_disk_stop(const test_disk *disk, long at, const char *name);

/// What the disk holds now is on it for certain, and its log begins with that: for one that a cut has left.
void test_disk_settle(test_disk *disk);

/// Forgets a disk. No file may be open.
void test_disk_free(test_disk *disk);

/// Operations logged so far.
long test_disk_logged(const test_disk *disk);

/// Calls of these kinds so far.
long test_disk_calls(const test_disk *disk, int kinds);

/// Makes the `call`th call (from 1) from now on of these kinds fail with an errno, or that one and all later ones.
/// A failing write has written half. 0 as `call` takes the order back.
void test_disk_fail(test_disk *disk, int kinds, long call, int for_ever, int error);

/// How many bytes the files may have together; 0 is no limit.
void test_disk_set_capacity(test_disk *disk, uint64_t bytes);

/// How many bytes the files have together.
uint64_t test_disk_used(const test_disk *disk);

/// A file's size, or -1 where there is none of this name.
int64_t test_disk_size(const test_disk *disk, const char *path);

/// Writes bytes into a file behind SQLite's back, without extending it.
void test_disk_damage(test_disk *disk, const char *path, int64_t offset, const void *bytes, int64_t count);

/// Cuts a file off behind SQLite's back.
void test_disk_shorten(test_disk *disk, const char *path, int64_t size);

/// Gives the calling thread a file system of its own in memory at a folder: nobody else sees it, and it ends with the
/// thread. 0, or the errno of a kernel that does not allow it.
int test_disk_mount(const char *folder, int megabytes);

// A disk that is slow, full, read-only or broken when a test says so, for the program that this is preloaded into
// (LD_PRELOAD).
//
// It concerns files below the folder that FANOUT_DISK_FOLDER names. The file that FANOUT_DISK_CONTROL names is mapped:
// a test writes there what shall happen, at any time, and reads there what has happened.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// What a test says, then what it is told: numbers of eight bytes each, in the machine's order (`disks.py`).
struct control {
    _Atomic int64_t write_error;  // the errno that every write and every change of a size fails with; 0: none
    _Atomic int64_t sync_error;   // the same for fsync and fdatasync
    _Atomic int64_t write_holds;  // while this is not 0, writes wait
    _Atomic int64_t sync_holds;
    _Atomic int64_t sync_delay_ms;
    _Atomic int64_t reads_to_fail;  // so many of the next reads fail with EIO
    _Atomic int64_t syncs;  // how many were asked for
    _Atomic int64_t writes_failed;
    _Atomic int64_t syncs_failed;
    _Atomic int64_t reads_failed;
};

static struct control *control;
static const char *folder;

// A test must not pass because its faults never came.
static void refuse(void) {
    static const char text[] = "disk_faults.c: FANOUT_DISK_CONTROL or FANOUT_DISK_FOLDER is missing\n";
    ssize_t ignored = syscall(SYS_write, 2, text, sizeof text - 1);
    (void)ignored;
    _exit(74);
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FANOUT_DISK_CONTROL");
    folder = getenv("FANOUT_DISK_FOLDER");
    if (!path || !folder) refuse();
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) refuse();
    void *place = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (place == MAP_FAILED) refuse();
    close(file);
    control = place;
}

static int concerns(int file) {
    if (!control || file < 0) return 0;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path);
    size_t length = strlen(folder);
    return size > (ssize_t)length && memcmp(path, folder, length) == 0 && path[length] == '/';
}

static void rest(int64_t milliseconds) {
    struct timespec time = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000};
    while (nanosleep(&time, &time) != 0 && errno == EINTR) continue;
}

// Whether a write to this file fails, with errno set.
static int write_fails(int file) {
    if (!control || (!control->write_error && !control->write_holds) || !concerns(file)) return 0;
    while (control->write_holds) rest(1);
    if (!control->write_error) return 0;
    atomic_fetch_add(&control->writes_failed, 1);
    errno = (int)control->write_error;
    return 1;
}

static int sync_fails(int file) {
    if (!concerns(file)) return 0;
    atomic_fetch_add(&control->syncs, 1);
    if (control->sync_delay_ms) rest(control->sync_delay_ms);
    while (control->sync_holds) rest(1);
    if (!control->sync_error) return 0;
    atomic_fetch_add(&control->syncs_failed, 1);
    errno = (int)control->sync_error;
    return 1;
}

ssize_t write(int file, const void *bytes, size_t count) {
    return write_fails(file) ? -1 : syscall(SYS_write, file, bytes, count);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t place) {
    return write_fails(file) ? -1 : syscall(SYS_pwrite64, file, bytes, count, place);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t place) {
    return pwrite64(file, bytes, count, place);
}

ssize_t pread64(int file, void *bytes, size_t count, off64_t place) {
    if (control && control->reads_to_fail > 0 && concerns(file)) {
        atomic_fetch_sub(&control->reads_to_fail, 1);
        atomic_fetch_add(&control->reads_failed, 1);
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pread64, file, bytes, count, place);
}

ssize_t pread(int file, void *bytes, size_t count, off_t place) {
    return pread64(file, bytes, count, place);
}

int ftruncate64(int file, off64_t size) {
    return write_fails(file) ? -1 : (int)syscall(SYS_ftruncate, file, size);
}

int ftruncate(int file, off_t size) {
    return ftruncate64(file, size);
}

int fsync(int file) {
    return sync_fails(file) ? -1 : (int)syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    return sync_fails(file) ? -1 : (int)syscall(SYS_fdatasync, file);
}

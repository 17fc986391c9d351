// A real file system for one thread.
#define _GNU_SOURCE
#include "CTestDisk.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>

int test_disk_mount(const char *folder, int megabytes) {
    char size[32];
    snprintf(size, sizeof size, "size=%dm", megabytes);
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) return errno;
    return mount("tmpfs", folder, "tmpfs", 0, size) ? errno : 0;
}

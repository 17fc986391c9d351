// What a file in memory needs that outlives its process, and neither Swift's atomics nor its Glibc module carry.
#pragma once
#include <linux/magic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/statfs.h>

// A store to memory that is shared with whoever maps the same file: everything stored before it is there for whoever
// sees this value, and nobody sees half of it. `place` is aligned to 8.
static inline void linux_store_release(uint64_t *place, uint64_t value) {
    __atomic_store_n(place, value, __ATOMIC_RELEASE);
}

// Whether a folder is in memory only. False also where it cannot be looked at.
static inline bool linux_is_tmpfs(const char *folder) {
    struct statfs system;
    return statfs(folder, &system) == 0 && system.f_type == TMPFS_MAGIC;
}

// Counts heap bytes through the hooks of AddressSanitizer's allocator. Only the thread that runs the target counts: the
// fuzzer's own threads have counters of their own, which nobody asks.
#include "CLibFuzzer.h"

#include <stdio.h>
#include <stdlib.h>

int __sanitizer_install_malloc_and_free_hooks(
    void (*malloc_hook)(const volatile void *, size_t), void (*free_hook)(const volatile void *));
size_t __sanitizer_get_allocated_size(const volatile void *memory);

static _Thread_local int64_t in_use;
static _Thread_local int64_t base;
static _Thread_local int64_t peak;

static void allocated(const volatile void *memory, size_t count) {
    (void)memory;
    in_use += (int64_t)count;
    if (in_use > peak) {
        peak = in_use;
    }
}

static void freed(const volatile void *memory) {
    if (memory != NULL) {
        in_use -= (int64_t)__sanitizer_get_allocated_size(memory);
    }
}

void heap_count_begin(void) {
    if (__sanitizer_install_malloc_and_free_hooks(allocated, freed) == 0) {
        fuzz_fail("the sanitizer takes no more allocation hooks");
    }
}

void heap_peak_reset(void) {
    base = in_use;
    peak = in_use;
}

int64_t heap_peak_bytes(void) {
    return peak - base;
}

void fuzz_fail(const char *reason) {
    fprintf(stderr, "fuzz: %s\n", reason);
    abort();
}

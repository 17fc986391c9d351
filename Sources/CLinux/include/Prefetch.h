// The processor's hint, which Swift has no word for.
#pragma once

// Begins to fetch the cache line of an address that will be written to. Any address is good.
static inline void linux_prefetch(const void *address) {
    __builtin_prefetch(address, 1);
}

// libFuzzer's entry, and a count of the heap bytes in use, from the sanitizer's allocation hooks.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// What libFuzzer's own `main` calls: reads the arguments, then calls `target` until it is told to stop. A flag that
/// begins with two hyphens is ignored and handed on to child processes, so a program may have its own.
int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*target)(const uint8_t *bytes, size_t count));

/// Begins to count; call once, before anything is measured.
void heap_count_begin(void);

/// Forgets the peak: from here on it is what is in use beyond this moment.
void heap_peak_reset(void);

/// The most heap bytes that were in use at once since `heap_peak_reset`, beyond those in use then.
int64_t heap_peak_bytes(void);

/// Says why on standard error and ends the process, so that libFuzzer keeps the input.
_Noreturn void fuzz_fail(const char *reason);

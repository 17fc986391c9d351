// Looking at sixteen bytes at once, in vector instructions that Swift cannot spell: its own vectors compare one element
// after the other.
#pragma once
#include <stdint.h>
#include <string.h>

typedef int8_t vector_bytes __attribute__((vector_size(16)));

/// A bit for each of the sixteen bytes from `bytes` on, the first one lowest, that is more than itself inside of a JSON
/// string: a quote, a backslash, a control character, a part of a longer character. `bytes` need not be aligned.
static inline uint32_t vector_string_marks(const void *bytes) {
    vector_bytes text;
    memcpy(&text, bytes, sizeof text);
    // Signed: what is no ASCII lies below the control characters.
    const vector_bytes marks = (text == '"') | (text == '\\') | (text < 0x20);
#if defined(__SSE2__)
    return (uint32_t)__builtin_ia32_pmovmskb128(marks);
#else
    uint32_t bits = 0;
    for (int index = 0; index < 16; index++) bits |= (uint32_t)(marks[index] & 1) << index;
    return bits;
#endif
}

// The one digest that RFC 6455 asks of a server, from OpenSSL's libcrypto.
#pragma once
#include <stddef.h>

/// Writes the 20-byte SHA-1 of `count` bytes to `digest`.
void digest_sha1(const void *bytes, size_t count, unsigned char digest[20]);

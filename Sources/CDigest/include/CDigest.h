// Digests from OpenSSL's libcrypto: the one that RFC 6455 asks of a server, and one that tells texts apart.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// Writes the 20-byte SHA-1 of `count` bytes to `digest`.
void digest_sha1(const void *bytes, size_t count, unsigned char digest[20]);

/// A SHA-256 under way. A plain value: it owns nothing.
struct digest_sha256 {
    uint32_t words[28];
};

/// Begins a digest of nothing.
void digest_sha256_begin(struct digest_sha256 *digest);
/// Adds bytes to what is digested.
void digest_sha256_add(struct digest_sha256 *digest, const void *bytes, size_t count);
/// Writes the 32-byte SHA-256 of all that was added. The digest must be begun anew before it is used again.
void digest_sha256_end(struct digest_sha256 *digest, unsigned char bytes[32]);

// The low-level calls link 10 KB of libcrypto; the EVP ones would link its provider machinery, megabytes of it.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "CDigest.h"

#include <openssl/sha.h>

void digest_sha1(const void *bytes, size_t count, unsigned char digest[20]) {
    SHA_CTX context;
    SHA1_Init(&context);
    SHA1_Update(&context, bytes, count);
    SHA1_Final(digest, &context);
}

_Static_assert(sizeof(SHA256_CTX) <= sizeof(struct digest_sha256), "a running digest has room");

void digest_sha256_begin(struct digest_sha256 *digest) {
    SHA256_Init((SHA256_CTX *)digest->words);
}

void digest_sha256_add(struct digest_sha256 *digest, const void *bytes, size_t count) {
    SHA256_Update((SHA256_CTX *)digest->words, bytes, count);
}

void digest_sha256_end(struct digest_sha256 *digest, unsigned char bytes[32]) {
    SHA256_Final(bytes, (SHA256_CTX *)digest->words);
}

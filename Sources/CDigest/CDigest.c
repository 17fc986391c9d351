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

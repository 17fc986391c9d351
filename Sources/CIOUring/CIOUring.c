// liburing's checks at compile time, and what is too long for the header.
#include "CIOUring.h"
#include <stdlib.h>

_Static_assert(sizeof(struct io_uring_sqe) == 64, "the kernel's submission entry is 64 bytes");
_Static_assert(sizeof(struct io_uring_cqe) == 16, "the kernel's completion entry is 16 bytes");
_Static_assert(IOSQE_IO_LINK == 1u << 2, "ring_sqe_link");
_Static_assert(IOSQE_BUFFER_SELECT == 1u << 5, "ring_sqe_buffer_select");
_Static_assert(IORING_CQE_BUFFER_SHIFT == 16, "a completion's buffer is in the upper half of its flags");

// By its number: liburing's own probe keeps the kernel's error to itself.
int ring_missing_operation(struct io_uring *ring, const int *operations, int count) {
    struct io_uring_probe *probe = calloc(1, sizeof *probe + 256 * sizeof(struct io_uring_probe_op));
    if (!probe) return -ENOMEM;
    long outcome = syscall(__NR_io_uring_register, ring->ring_fd, IORING_REGISTER_PROBE, probe, 256);
    int missing = outcome < 0 ? -errno : 0;
    for (int i = 0; missing == 0 && i < count; i++)
        if (!io_uring_opcode_supported(probe, operations[i])) missing = operations[i];
    free(probe);
    return missing;
}

// The registration of the ring's own descriptor goes on, so that it can be undone; all others end.
int ring_restrict(struct io_uring *ring, const int *operations, int count) {
    enum { others = 3 };
    struct io_uring_restriction *allowed = calloc((size_t)count + others, sizeof *allowed);
    if (!allowed) return -ENOMEM;
    allowed[0].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
    allowed[0].sqe_flags = ring_sqe_link | ring_sqe_buffer_select;
    allowed[1].opcode = IORING_RESTRICTION_REGISTER_OP;
    allowed[1].register_op = IORING_REGISTER_RING_FDS;
    allowed[2].opcode = IORING_RESTRICTION_REGISTER_OP;
    allowed[2].register_op = IORING_UNREGISTER_RING_FDS;
    for (int i = 0; i < count; i++) {
        allowed[others + i].opcode = IORING_RESTRICTION_SQE_OP;
        allowed[others + i].sqe_op = (__u8)operations[i];
    }
    long outcome = syscall(__NR_io_uring_register, ring->ring_fd, IORING_REGISTER_RESTRICTIONS, allowed,
                           (unsigned)count + others);
    int result = outcome < 0 ? -errno : 0;
    free(allowed);
    return result;
}

int ring_enable(struct io_uring *ring) {
    long outcome = syscall(__NR_io_uring_register, ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    return outcome < 0 ? -errno : 0;
}

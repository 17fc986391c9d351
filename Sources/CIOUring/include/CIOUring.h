// What Swift cannot import from liburing by itself, and liburing itself (Debian's liburing-dev, 2.3 or newer).
#pragma once
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

// The set-up flags of the loop, best first; a kernel that does not know one answers EINVAL. A ring is made disabled, so
// that it can be restricted before it is used.
static const unsigned ring_setup_plain = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
static const unsigned ring_setup_deferred = IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER
    | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
static const unsigned ring_setup_cooperative = IORING_SETUP_R_DISABLED | IORING_SETUP_COOP_TASKRUN
    | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;

// Features without which the loop would be wrong (5.11 and newer have them all): no completion is ever dropped,
// the kernel copies what an entry points to (iovecs, msghdr) at submission, enter takes a timeout.
static const unsigned ring_features_needed =
    IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_EXT_ARG;

// liburing spells these through enum constants cast in macros, which Swift does not import.
static const unsigned char ring_sqe_link = 1u << 2;
static const unsigned char ring_sqe_buffer_select = 1u << 5;
static const unsigned ring_cqe_has_buffer = IORING_CQE_F_BUFFER;
static const unsigned ring_cqe_more = IORING_CQE_F_MORE;

// Fills the index array, through which the kernel looks for entries, once and for all: entry n is at place n. (Left
// empty, it would send entry 0 again and again.) To be called when the ring was made; ring_publish relies on it. Newer
// versions of liburing make rings without the array, in which entries are taken in order anyhow.
static inline void ring_fill_indices(struct io_uring *ring) {
    if (!ring->sq.array) return;
    for (unsigned i = 0; i < ring->sq.ring_entries; i++) ring->sq.array[i] = i;
}

// The next entry, or NULL where the queue is full. Its bytes are those of an earlier operation: it is for who writes
// all of them.
static inline struct io_uring_sqe *ring_next_entry(struct io_uring *ring) {
    struct io_uring_sq *sq = &ring->sq;
    unsigned tail = sq->sqe_tail;
    if (tail - IO_URING_READ_ONCE(*sq->khead) >= sq->ring_entries) return NULL;
    sq->sqe_tail = tail + 1;
    return &sq->sqes[tail & sq->ring_mask];
}

// The next entry, emptied: of liburing's functions that fill one, newer versions leave to io_uring_get_sqe what they do
// not set themselves, such as flags.
static inline struct io_uring_sqe *ring_next_empty_entry(struct io_uring *ring) {
    struct io_uring_sqe *entry = ring_next_entry(ring);
    if (entry) memset(entry, 0, sizeof *entry);
    return entry;
}

// Fills an entry with a send. Once for each delivery: all 64 bytes are written, in a few wide stores.
static inline void ring_prepare_send(struct io_uring_sqe *entry, int socket, const void *from, unsigned count,
                                     unsigned flags, __u64 user_data) {
    *entry = (struct io_uring_sqe){
        .opcode = IORING_OP_SEND,
        .fd = socket,
        .addr = (__u64)(uintptr_t)from,
        .len = count,
        .msg_flags = flags,
        .user_data = user_data,
    };
}

// Makes the entries filled since the last call visible to the kernel; answers how many it has not taken yet.
static inline unsigned ring_publish(struct io_uring *ring) {
    struct io_uring_sq *sq = &ring->sq;
    sq->sqe_head = sq->sqe_tail;
    io_uring_smp_store_release(sq->ktail, sq->sqe_tail);
    return sq->sqe_tail - io_uring_smp_load_acquire(sq->khead);
}

// How many entries the kernel has not taken yet, filled but unpublished ones included.
static inline unsigned ring_unsubmitted(const struct io_uring *ring) {
    return ring->sq.sqe_tail - io_uring_smp_load_acquire(ring->sq.khead);
}

// Submits everything and runs deferred work in one system call. Waits for `wanted` completions (0 or 1), at most
// `timeout_ns` (negative: for ever). Answers the number of entries taken, or -errno (-ETIME: nothing came in time).
static inline int ring_enter(struct io_uring *ring, int registered, unsigned wanted, int64_t timeout_ns) {
    struct __kernel_timespec timeout = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
    struct io_uring_getevents_arg argument = {0};
    if (wanted != 0 && timeout_ns >= 0) argument.ts = (__u64)(uintptr_t)&timeout;
    unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG | (registered ? IORING_ENTER_REGISTERED_RING : 0);
    // By its number: liburing's wrapper answers -1 or -errno, depending on how it was built.
    long taken = syscall(__NR_io_uring_enter, ring->enter_ring_fd, ring_publish(ring), wanted, flags,
                         &argument, sizeof argument);
    return taken < 0 ? -errno : (int)taken;
}

// Copies completions out of the ring and gives their places back; answers how many.
static inline unsigned ring_reap(struct io_uring *ring, struct io_uring_cqe *into, unsigned capacity) {
    struct io_uring_cq *cq = &ring->cq;
    unsigned head = *cq->khead;
    unsigned available = io_uring_smp_load_acquire(cq->ktail) - head;
    unsigned count = available < capacity ? available : capacity;
    unsigned place = head & cq->ring_mask;
    unsigned straight = cq->ring_entries - place < count ? cq->ring_entries - place : count;
    memcpy(into, cq->cqes + place, straight * sizeof *into);
    memcpy(into + straight, cq->cqes, (count - straight) * sizeof *into);
    io_uring_smp_store_release(cq->khead, head + count);
    return count;
}

// Completions in the ring, not yet reaped.
static inline unsigned ring_ready(const struct io_uring *ring) {
    return io_uring_smp_load_acquire(ring->cq.ktail) - *ring->cq.khead;
}

// 0 if the kernel has all of these operations, the first missing one, or -errno where it does not say.
int ring_missing_operation(struct io_uring *ring, const int *operations, int count);

// Allows these operations and the loop's two entry flags from now on, and of the registrations only that of the ring's
// own descriptor: nothing that comes to write into the ring can open files or connect. Before ring_enable only. 0, or
// -errno: then everything stays allowed.
int ring_restrict(struct io_uring *ring, const int *operations, int count);

// Makes a ring usable, by the calling thread; 0, or -errno.
int ring_enable(struct io_uring *ring);

// Empty entries left before the next submission.
static inline unsigned ring_room(const struct io_uring *ring) {
    return *ring->sq.kring_entries - ring_unsubmitted(ring);
}

// True while the kernel holds completions that found no place in the ring.
static inline int ring_overflowed(const struct io_uring *ring) {
    return (IO_URING_READ_ONCE(*ring->sq.kflags) & IORING_SQ_CQ_OVERFLOW) != 0;
}

// The floor on io_uring: one send entry per reader and batch, submitted a thousand at a time, the last of them by the
// system call that waits for the next event. A send is done while it is submitted or not at all (MSG_DONTWAIT), and
// says nothing unless it was not taken whole (MSG_WAITALL makes a short one a failure): so a turn's completions are
// only what came in.
#define _GNU_SOURCE
#include "floor.h"
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

// 1,024 entries: with 4,096, a send to one of 4,500 readers costs a quarter more; with 256, one to 1,000 a tenth more.
enum { entries = 1024, completions = 65536, buffers = 256, bufferBytes = 16384, bufferGroup = 0 };
enum operation { accepting, receiving, sending, sendingRest };
enum { sendFlags = MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL };

const char backendName[] = "io_uring";
static struct io_uring ring;
static struct io_uring_buf_ring *bufferRing;
static char *bufferBytesBase;
// A reader whose rest is being sent, and one that has left meanwhile: its descriptor is still in use.
static uint8_t isSendingRest[connectionsMax], isLeaving[connectionsMax];

static struct io_uring_sqe *nextEntry(void) {
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring);
    if (entry) return entry;
    io_uring_submit(&ring);
    entry = io_uring_get_sqe(&ring);
    if (!entry) die("io_uring_submit");
    return entry;
}

// After the entry's preparation, which may set user_data.
static void name(struct io_uring_sqe *entry, enum operation operation, int fd) {
    entry->user_data = (uint64_t)operation << 32 | (uint32_t)fd;
}

static void giveBuffer(int number) {
    io_uring_buf_ring_add(bufferRing, bufferBytesBase + (size_t)number * bufferBytes, bufferBytes - 1, number,
                          io_uring_buf_ring_mask(buffers), 0);
    io_uring_buf_ring_advance(bufferRing, 1);
}

void openBackend(void) {
    struct io_uring_params parameters = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL
            | IORING_SETUP_CQSIZE,
        .cq_entries = completions,
    };
    errno = -io_uring_queue_init_params(entries, &ring, &parameters);
    if (errno) die("io_uring_setup");
    if (io_uring_register_ring_fd(&ring) != 1) die("io_uring_register_ring_fd");
    size_t ringBytes = buffers * sizeof(struct io_uring_buf);
    if (posix_memalign((void **)&bufferRing, 4096, ringBytes)) die("posix_memalign");
    if (posix_memalign((void **)&bufferBytesBase, 4096, (size_t)buffers * bufferBytes)) die("posix_memalign");
    struct io_uring_buf_reg registration = {
        .ring_addr = (uintptr_t)bufferRing, .ring_entries = buffers, .bgid = bufferGroup,
    };
    errno = -io_uring_register_buf_ring(&ring, &registration, 0);
    if (errno) die("io_uring_register_buf_ring");
    io_uring_buf_ring_init(bufferRing);
    for (int number = 0; number < buffers; number++) giveBuffer(number);
}

void watchListener(int fd) {
    struct io_uring_sqe *accept = nextEntry();
    io_uring_prep_multishot_accept(accept, fd, NULL, NULL, SOCK_CLOEXEC);
    name(accept, accepting, fd);
}

static void receive(int fd) {
    struct io_uring_sqe *receive = nextEntry();
    io_uring_prep_recv_multishot(receive, fd, NULL, 0, 0);
    receive->flags |= IOSQE_BUFFER_SELECT;
    receive->buf_group = bufferGroup;
    name(receive, receiving, fd);
}

static void sendWhole(int fd, const char *bytes, size_t count) {
    struct io_uring_sqe *send = nextEntry();
    io_uring_prep_send(send, fd, bytes, count, sendFlags);
    send->flags |= IOSQE_CQE_SKIP_SUCCESS;
    name(send, sending, fd);
}

void sendHello(int fd, const char *bytes, size_t count) {
    sendWhole(fd, bytes, count);
}

void sendBatch(struct stream *stream) {
    const char *bytes = stream->log + stream->start;
    size_t count = stream->end - stream->start;
    for (int index = 0; index < stream->count; index++) {
        int fd = stream->readers[index];
        if (fd >= 0) sendWhole(fd, bytes, count);
    }
}

// Waits in the kernel until the reader has taken all there is.
static void sendRest(int fd) {
    struct stream *stream = &streams[formatOf[fd]];
    struct io_uring_sqe *send = nextEntry();
    io_uring_prep_send(send, fd, stream->log + placeOf[fd], stream->end - placeOf[fd], MSG_WAITALL | MSG_NOSIGNAL);
    name(send, sendingRest, fd);
    isSendingRest[fd] = 1;
}

static void leave(int fd) {
    if (isSendingRest[fd]) {
        isLeaving[fd] = 1;
        shutdown(fd, SHUT_RDWR);
        return;
    }
    isLeaving[fd] = 0;
    left(fd);
    close(fd);
}

static void take(int fd, int result, unsigned flags) {
    if (flags & IORING_CQE_F_BUFFER) {
        int number = flags >> IORING_CQE_BUFFER_SHIFT;
        char *bytes = bufferBytesBase + (size_t)number * bufferBytes;
        if (result > 0 && kindOf[fd] == publisher) tookLines(bytes, result);
        if (result > 0 && kindOf[fd] == head) tookHead(fd, bytes, result);
        giveBuffer(number);
    }
    if (result == 0 || (result < 0 && result != -ENOBUFS)) {
        leave(fd);
    } else if (!(flags & IORING_CQE_F_MORE)) {
        receive(fd);
    }
}

static void complete(const struct io_uring_cqe *completion) {
    int fd = (int)(uint32_t)completion->user_data, result = completion->res;
    switch ((enum operation)(completion->user_data >> 32)) {
    case accepting:
        if (!(completion->flags & IORING_CQE_F_MORE)) watchListener(fd);
        if (result < 0) break;
        accepted(result, kindOf[fd]);
        receive(result);
        break;
    case receiving:
        take(fd, result, completion->flags);
        break;
    case sending: {
        struct stream *stream = &streams[formatOf[fd]];
        // Not taken whole; a reader that has gone says so to the receive.
        if (kindOf[fd] != reader || (result < 0 && result != -EAGAIN)) break;
        fellBehind(fd, stream->start, result);
        sendRest(fd);
        break;
    }
    case sendingRest:
        isSendingRest[fd] = 0;
        if (isLeaving[fd]) leave(fd);
        else if (result >= 0 && !tookRest(fd, result)) sendRest(fd);
        break;
    }
}

void run(void) {
    for (;;) {
        int outcome = io_uring_submit_and_wait(&ring, 1);
        if (outcome < 0 && outcome != -EINTR && outcome != -EBUSY && outcome != -EAGAIN) {
            errno = -outcome;
            die("io_uring_enter");
        }
        // All there are: the turn that follows must know of every send that was not whole.
        for (;;) {
            struct io_uring_cqe *completion;
            unsigned place, count = 0;
            io_uring_for_each_cqe(&ring, place, completion) {
                complete(completion);
                count++;
            }
            io_uring_cq_advance(&ring, count);
            if (!count && !io_uring_cq_has_overflow(&ring)) break;
            if (io_uring_cq_has_overflow(&ring)) io_uring_get_events(&ring);
        }
        endTurn();
    }
}

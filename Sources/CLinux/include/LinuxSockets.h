// The system calls of the event loop, each answering what the kernel answers: a result, or -errno.
// Swift cannot read errno safely after a call (a release in between may change it), so that is done here.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static inline int64_t linux_outcome(int64_t result) {
    return result < 0 ? -(int64_t)errno : result;
}

// The symbolic name of an error number ("EPERM"), or NULL.
const char *linux_error_name(int error);

// Reading, writing and accepting.

// The new descriptor is nonblocking and closed on exec.
int64_t linux_accept(int listener);

// The same, and never waits: -EAGAIN where nobody waits to be accepted, whether or not the listener is in nonblocking
// mode. Nothing else may be accepting from it.
int64_t linux_accept_waiting(int listener);

// Never waits, whether or not the descriptor is in nonblocking mode.
static inline int64_t linux_receive(int socket, void *into, size_t count) {
    return linux_outcome(recv(socket, into, count, MSG_DONTWAIT));
}

// The same for a socket on which descriptors may be passed (unix(7)): `ends_early` is set to 1 where the bytes end
// behind one, though more may be there, else to 0. What was passed has no room (MSG_CTRUNC): the kernel closes it.
static inline int64_t linux_receive_message(int socket, void *into, size_t count, int *ends_early) {
    struct iovec piece = {.iov_base = into, .iov_len = count};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    ssize_t result = recvmsg(socket, &message, MSG_DONTWAIT);
    *ends_early = result >= 0 && (message.msg_flags & MSG_CTRUNC) != 0;
    return linux_outcome(result);
}

static inline int64_t linux_read(int descriptor, void *into, size_t count) {
    return linux_outcome(read(descriptor, into, count));
}

static inline int64_t linux_send(int socket, const void *from, size_t count) {
    return linux_outcome(send(socket, from, count, MSG_DONTWAIT | MSG_NOSIGNAL));
}

static inline int64_t linux_send_pieces(int socket, const struct iovec *pieces, size_t count) {
    struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = count};
    return linux_outcome(sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
}

// Epoll.

static inline int linux_epoll_create(void) {
    return (int)linux_outcome(epoll_create1(EPOLL_CLOEXEC));
}

static inline int linux_epoll_control(int epoll, int operation, int descriptor, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data = {.u64 = data}};
    return (int)linux_outcome(epoll_ctl(epoll, operation, descriptor, &event));
}

static inline int linux_epoll_wait(int epoll, struct epoll_event *into, int capacity, int timeout_ms) {
    return (int)linux_outcome(epoll_wait(epoll, into, capacity, timeout_ms));
}

// struct epoll_event is packed on x86-64: its members are read here rather than through Swift's layout.
static inline uint64_t linux_epoll_data(const struct epoll_event *events, int index) {
    return events[index].data.u64;
}
static inline uint32_t linux_epoll_events(const struct epoll_event *events, int index) {
    return events[index].events;
}
// What a simulated epoll reports.
static inline void linux_epoll_report(struct epoll_event *into, int index, uint32_t events, uint64_t data) {
    into[index] = (struct epoll_event){.events = events, .data = {.u64 = data}};
}

// Macros that Swift sees with other types than epoll_ctl's.
static const uint32_t linux_epoll_input_events = EPOLLIN | EPOLLPRI | EPOLLRDHUP | (1u << 31) /* EPOLLET */;
static const uint32_t linux_epoll_all_events = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | (1u << 31) /* EPOLLET */;
static const uint32_t linux_epoll_edges = 1u << 31 /* EPOLLET */;
static const uint32_t linux_epoll_once = 1u << 30 /* EPOLLONESHOT */;
static const uint32_t linux_epoll_one_read = EPOLLIN | (1u << 30) /* EPOLLONESHOT */;

// Sockets.

static inline int linux_socket(int family) {
    return (int)linux_outcome(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
}
static inline int linux_socket_pair(int *pair) {
    return (int)linux_outcome(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
}
static inline int linux_bind(int socket, const void *address, socklen_t length) {
    return (int)linux_outcome(bind(socket, (const struct sockaddr *)address, length));
}
static inline int linux_connect(int socket, const void *address, socklen_t length) {
    return (int)linux_outcome(connect(socket, (const struct sockaddr *)address, length));
}
static inline int linux_listen(int socket, int backlog) {
    return (int)linux_outcome(listen(socket, backlog));
}
static inline int linux_local_address(int socket, struct sockaddr_storage *into, socklen_t *length) {
    return (int)linux_outcome(getsockname(socket, (struct sockaddr *)into, length));
}
static inline int linux_peer_address(int socket, struct sockaddr_storage *into, socklen_t *length) {
    return (int)linux_outcome(getpeername(socket, (struct sockaddr *)into, length));
}
static inline int linux_set_option(int socket, int level, int name, int value) {
    return (int)linux_outcome(setsockopt(socket, level, name, &value, sizeof value));
}
static inline int linux_option(int socket, int level, int name) {
    int value = 0;
    socklen_t length = sizeof value;
    return getsockopt(socket, level, name, &value, &length) < 0 ? -errno : value;
}
static inline int linux_shutdown(int socket, int how) {
    return (int)linux_outcome(shutdown(socket, how));
}
static inline int linux_close(int descriptor) {
    return (int)linux_outcome(close(descriptor));
}
static inline int linux_set_nonblocking(int descriptor, int on) {
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0) return -errno;
    return (int)linux_outcome(fcntl(descriptor, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}
// From now on closing resets the connection and throws away what was not sent (SO_LINGER with 0 seconds).
static inline int linux_reset_on_close(int socket) {
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    return (int)linux_outcome(setsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
}
// Ends a TCP connection with a reset at once and wakes whatever waits on it (connect(2), AF_UNSPEC).
static inline int linux_abort_connection(int socket) {
    struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    return (int)linux_outcome(connect(socket, &nowhere, sizeof nowhere));
}
// Whether both directions of a connection have ended, or it broke (POLLHUP or POLLERR of poll(2)).
static inline int linux_has_hung_up(int socket) {
    struct pollfd descriptor = {.fd = socket, .events = 0};
    return poll(&descriptor, 1, 0) > 0 && (descriptor.revents & (POLLHUP | POLLERR)) != 0;
}
// What waits in the send buffer (SIOCOUTQ of tcp(7) and unix(7)); 0 where that cannot be said.
static inline int linux_unsent_bytes(int socket) {
    int count = 0;
    return ioctl(socket, SIOCOUTQ, &count) == 0 ? count : 0;
}
// The process at the other end of a unix socket.
int linux_peer_process(int socket, pid_t *process, uid_t *user);
// 0, or -errno where a descriptor is not open or not open for reading (-EBADF).
static inline int linux_can_read(int descriptor) {
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0) return -errno;
    return (flags & O_ACCMODE) == O_WRONLY ? -EBADF : 0;
}

// Signals, wake-ups, clocks.

static inline int linux_event_descriptor(void) {
    return (int)linux_outcome(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}
static inline int64_t linux_write_event(int descriptor, const uint64_t *increment) {
    return linux_outcome(write(descriptor, increment, sizeof *increment));
}
// Waits until an event descriptor can be read, at most so many nanoseconds (ppoll(2)): 1 when it can, 0 when it cannot,
// -errno when a signal came first or the kernel refuses.
int linux_wait_event(int descriptor, uint64_t nanoseconds);
static inline int linux_signal_descriptor(int existing, const sigset_t *signals) {
    return (int)linux_outcome(signalfd(existing, signals, SFD_CLOEXEC | SFD_NONBLOCK));
}
// The next pending signal's number, or -EAGAIN.
static inline int linux_next_signal(int descriptor) {
    struct signalfd_siginfo information;
    int64_t count = linux_read(descriptor, &information, sizeof information);
    return count < 0 ? (int)count : (int)information.ssi_signo;
}
static inline uint64_t linux_monotonic_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}
static inline int64_t linux_wall_clock_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

// Memory that costs nothing until it is touched, and reads as zero; NULL when the kernel has none.
static inline void *linux_zero_pages(size_t bytes) {
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

// Makes the calling thread's later calls of one system call fail with `error`: how tests see what a seccomp profile
// does (seccomp(2)). Cannot be undone; use a thread that ends.
int linux_refuse_system_call(long number, int error);

// Makes each of the calling thread's later calls of one system call wait for an answer of another thread, and gives the
// descriptor to answer at (seccomp_unotify(2)): how tests see what a kernel says once in a while. Cannot be undone.
int linux_supervise_system_call(long number);

// Lets the next call fail with `error`, or do what it does where that is 0. 1, or 0 if none came within 10 ms;
// -ECONNRESET once the thread is gone.
int linux_answer_call(int listener, int error);

// The calls that exist only with _GNU_SOURCE.
#define _GNU_SOURCE
#include "CLinux.h"

int64_t linux_accept(int listener) {
    return linux_outcome(accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

int64_t linux_accept_waiting(int listener) {
    int flags = fcntl(listener, F_GETFL);
    if (flags < 0) return -errno;
    int blocks = !(flags & O_NONBLOCK);
    if (blocks && fcntl(listener, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
    int64_t accepted = linux_accept(listener);
    if (blocks) fcntl(listener, F_SETFL, flags);
    return accepted;
}

int linux_wait_event(int descriptor, uint64_t nanoseconds) {
    struct pollfd waiting = {.fd = descriptor, .events = POLLIN};
    struct timespec time = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
    return (int)linux_outcome(ppoll(&waiting, 1, &time, NULL));
}

int linux_peer_process(int socket, pid_t *process, uid_t *user) {
    struct ucred credentials;
    socklen_t length = sizeof credentials;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0) return -errno;
    *process = credentials.pid;
    *user = credentials.uid;
    return 0;
}

const char *linux_error_name(int error) {
    return strerrorname_np(error);
}

// The floor on epoll: level-triggered, one send() per reader and batch.
#define _GNU_SOURCE
#include "floor.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { readBytesMax = 256 << 10 };

const char backendName[] = "epoll";
static int epollSet;

static void watch(int operation, int fd, uint32_t events) {
    struct epoll_event event = { .events = events, .data.fd = fd };
    if (epoll_ctl(epollSet, operation, fd, &event) < 0) die("epoll_ctl");
}

void openBackend(void) {
    epollSet = epoll_create1(EPOLL_CLOEXEC);
}

void watchListener(int fd) {
    fcntl(fd, F_SETFL, O_NONBLOCK);
    watch(EPOLL_CTL_ADD, fd, EPOLLIN);
}

static ssize_t sendNow(int fd, const char *bytes, size_t count) {
    return send(fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void sendHello(int fd, const char *bytes, size_t count) {
    ssize_t sent = sendNow(fd, bytes, count);
    if (sent != (ssize_t)count && errno != EPIPE && errno != ECONNRESET) die("hello");
}

void sendBatch(struct stream *stream) {
    const char *bytes = stream->log + stream->start;
    size_t count = stream->end - stream->start;
    for (int index = 0; index < stream->count; index++) {
        int fd = stream->readers[index];
        if (fd < 0) continue;
        ssize_t sent = sendNow(fd, bytes, count);
        // A reader that has gone says so by its readiness.
        if (sent == (ssize_t)count || (sent < 0 && errno != EAGAIN)) continue;
        fellBehind(fd, stream->start, sent);
        watch(EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT);
    }
}

static void sendRest(int fd) {
    struct stream *stream = &streams[formatOf[fd]];
    ssize_t sent = sendNow(fd, stream->log + placeOf[fd], stream->end - placeOf[fd]);
    if (tookRest(fd, sent)) watch(EPOLL_CTL_MOD, fd, EPOLLIN);
}

static void acceptAll(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        accepted(fd, kindOf[listener]);
        watch(EPOLL_CTL_ADD, fd, EPOLLIN);
    }
}

static void take(int fd) {
    static char bytes[readBytesMax + 1];
    ssize_t count = recv(fd, bytes, readBytesMax, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) {
        left(fd);
        close(fd);
    } else if (kindOf[fd] == publisher) {
        tookLines(bytes, count);
    } else if (kindOf[fd] == head) {
        tookHead(fd, bytes, count);
    }
}

void run(void) {
    static struct epoll_event events[1024];
    for (;;) {
        int ready = epoll_wait(epollSet, events, 1024, -1);
        for (int place = 0; place < ready; place++) {
            int fd = events[place].data.fd;
            if (kindOf[fd] <= ingest_listener) {
                acceptAll(fd);
                continue;
            }
            if (events[place].events & EPOLLOUT) sendRest(fd);
            if (events[place].events & ~EPOLLOUT) take(fd);
        }
        endTurn();
    }
}

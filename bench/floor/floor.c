// The floor: the least program that sends the same bytes to the same readers. One thread, epoll, one send() per reader
// and batch. No channels, no patterns, no checks of what is published, no limits, no queue: a reader that does not take
// a batch whole ends the program. What a delivery costs here is what the kernel asks for it.
//
//   floor DIR    listens on 127.0.0.1 (HTTP and JSONL, free ports), DIR/events.socket and DIR/ingest.socket, and says
//                where in one line on standard error, in the form in which `fanout serve` says it.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { connectionsMax = 65536, batchBytesMax = 4 << 20, eventBytesMax = 300 << 10 };
enum kind { free_slot, http_listener, jsonl_listener, unix_listener, ingest_listener, head, jsonl, sse, ws, publisher };
enum { formats = 3 };

static const char epoch[] = "00000000f1004000";
static uint8_t kindOf[connectionsMax];
static int readers[formats][connectionsMax], readerCount[formats];
static char batch[formats][batchBytesMax];
static size_t batchBytes[formats];
static char inbox[batchBytesMax];
static size_t inboxBytes;
static uint64_t seq;
static int epollSet;

static void die(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(int fd, enum kind kind) {
    if (fd >= connectionsMax) { errno = EMFILE; die("accept"); }
    kindOf[fd] = kind;
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
    if (epoll_ctl(epollSet, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
}

static void sendWhole(int fd, const char *bytes, size_t count) {
    ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent == (ssize_t)count || (sent < 0 && (errno == EPIPE || errno == ECONNRESET))) return;
    errno = sent < 0 ? errno : EAGAIN;
    die("a reader fell behind, and the floor has no queue");
}

// Frames `text` for one format at the end of that format's batch.
static void append(int format, uint64_t id, const char *name, const char *text, size_t count) {
    char *out = batch[format] + batchBytes[format];
    if (batchBytes[format] + count + 256 > batchBytesMax) { errno = ENOBUFS; die("a batch"); }
    size_t at = 0;
    if (format == 1) {
        if (name) at += sprintf(out, "event: %s\n", name);
        at += sprintf(out + at, "id: %s-%llu\ndata: ", epoch, (unsigned long long)id);
    } else if (format == 2) {
        out[at++] = (char)0x81;
        if (count < 126) {
            out[at++] = (char)count;
        } else if (count < 65536) {
            out[at++] = 126;
            out[at++] = (char)(count >> 8);
            out[at++] = (char)count;
        } else {
            out[at++] = 127;
            for (int shift = 56; shift >= 0; shift -= 8) out[at++] = (char)((uint64_t)count >> shift);
        }
    }
    memcpy(out + at, text, count);
    at += count;
    if (format < 2) out[at++] = '\n';
    if (format == 1) out[at++] = '\n';
    batchBytes[format] += at;
}

static void subscribe(int fd, int format) {
    char text[256];
    int count = sprintf(text, "{\"type\":\"$hello\",\"epoch\":\"%s\",\"seq\":%llu,\"server\":\"floor\",\"heartbeat_s\":0}",
                        epoch, (unsigned long long)seq);
    batchBytes[format] = 0;
    append(format, seq, "$hello", text, count);
    sendWhole(fd, batch[format], batchBytes[format]);
    kindOf[fd] = jsonl + format;
    readers[format][readerCount[format]++] = fd;
}

static void answerHead(int fd) {
    static char request[16384];
    ssize_t count = recv(fd, request, sizeof request - 1, 0);
    if (count <= 0) { close(fd); return; }
    request[count] = 0;
    const char *stream = "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n";
    char answer[512];
    int format = strstr(request, "Upgrade: websocket") ? 2 : strstr(request, "text/event-stream") ? 1 : 0;
    if (format == 2) {
        strcpy(answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
    } else {
        sprintf(answer, stream, format ? "text/event-stream" : "application/x-ndjson");
    }
    sendWhole(fd, answer, strlen(answer));
    subscribe(fd, format);
}

// Numbers and frames every whole line that has come, then sends each reader its format's batch at once.
static void publish(int fd) {
    ssize_t count = recv(fd, inbox + inboxBytes, sizeof inbox - inboxBytes, 0);
    if (count <= 0) { inboxBytes = 0; close(fd); return; }
    inboxBytes += count;
    for (int format = 0; format < formats; format++) batchBytes[format] = 0;
    char *line = inbox, *end;
    while ((end = memchr(line, '\n', inbox + inboxBytes - line))) {
        static char text[eventBytesMax];
        if (end - line > eventBytesMax - 128) { errno = EMSGSIZE; die("an event"); }
        size_t at = sprintf(text, "{\"seq\":%llu,\"channel\":\"events\",", (unsigned long long)++seq);
        memcpy(text + at, line + 1, end - line - 1);
        at += end - line - 1;
        for (int format = 0; format < formats; format++)
            if (readerCount[format]) append(format, seq, NULL, text, at);
        line = end + 1;
    }
    inboxBytes -= line - inbox;
    memmove(inbox, line, inboxBytes);
    for (int format = 0; format < formats; format++) {
        if (!batchBytes[format]) continue;
        for (int index = 0; index < readerCount[format]; index++) {
            sendWhole(readers[format][index], batch[format], batchBytes[format]);
        }
    }
}

static void drain(int fd) {
    char bytes[4096];
    if (recv(fd, bytes, sizeof bytes, 0) > 0) return;
    int format = kindOf[fd] - jsonl;
    for (int index = 0; index < readerCount[format]; index++)
        if (readers[format][index] == fd) readers[format][index] = readers[format][--readerCount[format]];
    kindOf[fd] = free_slot;
    close(fd);
}

static void acceptAll(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        int one = 1;
        enum kind kind = kindOf[listener];
        if (kind <= jsonl_listener) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(fd, kind == http_listener ? head : kind == ingest_listener ? publisher : jsonl);
        if (kind == jsonl_listener || kind == unix_listener) subscribe(fd, 0);
    }
}

static int listenTCP(enum kind kind) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof name;
    if (bind(fd, (struct sockaddr *)&name, size) || listen(fd, 4096)) die("listen");
    getsockname(fd, (struct sockaddr *)&name, &size);
    watch(fd, kind);
    return ntohs(name.sin_port);
}

static void listenUnix(const char *directory, const char *file, enum kind kind) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    snprintf(name.sun_path, sizeof name.sun_path, "%s/%s", directory, file);
    unlink(name.sun_path);
    if (bind(fd, (struct sockaddr *)&name, sizeof name) || listen(fd, 4096)) die(name.sun_path);
    watch(fd, kind);
}

static void leave(int number) {
    (void)number;
    _exit(0);
}

int main(int count, char **words) {
    if (count != 2) { fprintf(stderr, "usage: floor DIR\n"); return 64; }
    signal(SIGTERM, leave);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    epollSet = epoll_create1(EPOLL_CLOEXEC);
    int http = listenTCP(http_listener), lines = listenTCP(jsonl_listener);
    listenUnix(words[1], "events.socket", unix_listener);
    listenUnix(words[1], "ingest.socket", ingest_listener);
    fprintf(stderr, "floor ready · http 127.0.0.1:%d · jsonl 127.0.0.1:%d · events %s/events.socket · ingest %s/ingest.socket · epoll\n",
            http, lines, words[1], words[1]);
    static struct epoll_event events[1024];
    for (;;) {
        int ready = epoll_wait(epollSet, events, 1024, -1);
        for (int place = 0; place < ready; place++) {
            int fd = events[place].data.fd;
            switch ((enum kind)kindOf[fd]) {
            case http_listener: case jsonl_listener: case unix_listener: case ingest_listener: acceptAll(fd); break;
            case head: answerHead(fd); break;
            case publisher: publish(fd); break;
            case jsonl: case sse: case ws: drain(fd); break;
            case free_slot: break;
            }
        }
    }
}

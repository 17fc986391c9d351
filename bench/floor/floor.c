// The floor: the least program that sends the same bytes to the same readers. One thread, one send per reader and
// batch. No channels, no patterns, no checks of what is published, no limits, one publisher at a time. What a delivery
// costs here is what the kernel asks for it. It is linked with epoll.c or with uring.c: one floor for each I/O backend.
//
//   floor-epoll DIR    listens on 127.0.0.1 (HTTP and JSONL, free ports), DIR/events.socket and DIR/ingest.socket, and
//   floor-uring DIR    says where in one line on standard error, in the form in which `fanout serve` says it.
#define _GNU_SOURCE
#include "floor.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

// A log takes what its slowest reader lacks: 1 GiB of address space each, of which only what is used costs memory.
enum { inboxBytesMax = 8 << 20, eventBytesMax = 300 << 10, logBytesMax = 1 << 30 };
enum { sendBufferTCPBytes = 256 << 10, receiveBufferTCPBytes = 256 << 10, sendBufferUnixBytes = 64 << 10 };

struct stream streams[formats];
uint64_t seq;
uint8_t kindOf[connectionsMax], formatOf[connectionsMax];
size_t placeOf[connectionsMax];

static const char epoch[] = "00000000f1004000";
static const char *const responseHeads[formats] = {
    [jsonl] = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nCache-Control: no-store\r\n"
              "Connection: close\r\n\r\n",
    [sse] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
            "Connection: close\r\n\r\n",
    // The answer to the key of RFC 6455's example, which is the one that the load generators send.
    [ws] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
};
static char inbox[inboxBytesMax];
static size_t inboxBytes;
// Where a reader is in its stream's table; who came in this turn, ~descriptor where a response head goes first.
static int indexOf[connectionsMax];
static int joining[connectionsMax], joiningCount;

void die(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

// Frames `text` in one format and returns where the frame ends.
static char *append(char *out, int format, uint64_t id, const char *name, const char *text, size_t count) {
    size_t at = 0;
    if (format == sse) {
        if (name) at += sprintf(out, "event: %s\n", name);
        at += sprintf(out + at, "id: %s-%llu\ndata: ", epoch, (unsigned long long)id);
    } else if (format == ws) {
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
    if (format < ws) out[at++] = '\n';
    if (format == sse) out[at++] = '\n';
    return out + at;
}

// Numbers and frames every whole line that has come.
static void frameInbox(void) {
    static char text[eventBytesMax];
    char *line = inbox, *end;
    while ((end = memchr(line, '\n', inbox + inboxBytes - line))) {
        if (end - line > eventBytesMax - 128) { errno = EMSGSIZE; die("an event"); }
        size_t at = sprintf(text, "{\"seq\":%llu,\"channel\":\"events\",", (unsigned long long)++seq);
        memcpy(text + at, line + 1, end - line - 1);
        at += end - line - 1;
        for (int format = 0; format < formats; format++) {
            struct stream *stream = &streams[format];
            if (!stream->count) continue;
            if (stream->end + at + 256 > logBytesMax) { errno = ENOBUFS; die("a reader is 1 GiB behind"); }
            stream->end = append(stream->log + stream->end, format, seq, NULL, text, at) - stream->log;
        }
        line = end + 1;
    }
    inboxBytes -= line - inbox;
    memmove(inbox, line, inboxBytes);
}

static void subscribe(int fd, int hasHead) {
    int format = formatOf[fd];
    struct stream *stream = &streams[format];
    if (!stream->helloBytes[hasHead]) {
        static const char object[] =
            "{\"type\":\"$hello\",\"epoch\":\"%s\",\"seq\":%llu,\"server\":\"floor\",\"heartbeat_s\":0}";
        char text[256], *out = stream->hello[hasHead];
        int count = sprintf(text, object, epoch, (unsigned long long)seq);
        if (hasHead) out = stpcpy(out, responseHeads[format]);
        stream->helloBytes[hasHead] = append(out, format, seq, "$hello", text, count) - stream->hello[hasHead];
    }
    sendHello(fd, stream->hello[hasHead], stream->helloBytes[hasHead]);
    kindOf[fd] = reader;
    indexOf[fd] = stream->count;
    stream->readers[stream->count++] = fd;
}

void endTurn(void) {
    for (int format = 0; format < formats; format++) {
        struct stream *stream = &streams[format];
        if (!stream->behind) stream->end = 0;
        stream->start = stream->end;
    }
    if (inboxBytes) frameInbox();
    for (int format = 0; format < formats; format++)
        if (streams[format].end > streams[format].start) sendBatch(&streams[format]);
    if (!joiningCount) return;
    for (int format = 0; format < formats; format++)
        streams[format].helloBytes[0] = streams[format].helloBytes[1] = 0;
    for (int index = 0; index < joiningCount; index++) {
        int fd = joining[index] < 0 ? ~joining[index] : joining[index];
        if (kindOf[fd] == head) subscribe(fd, joining[index] < 0);
    }
    joiningCount = 0;
}

void accepted(int fd, enum kind listener) {
    if (fd >= connectionsMax) { errno = EMFILE; die("accept"); }
    int bytes = sendBufferUnixBytes;
    kindOf[fd] = listener == ingest_listener ? publisher : head;
    if (listener == unix_listener) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    if (listener != jsonl_listener && listener != unix_listener) return;
    formatOf[fd] = jsonl;
    joining[joiningCount++] = fd;
}

void tookHead(int fd, char *request, size_t count) {
    request[count] = 0;
    formatOf[fd] = strstr(request, "Upgrade: websocket") ? ws : strstr(request, "text/event-stream") ? sse : jsonl;
    joining[joiningCount++] = ~fd;
}

void tookLines(const char *bytes, size_t count) {
    if (inboxBytes + count > inboxBytesMax) { errno = EMSGSIZE; die("an event"); }
    memcpy(inbox + inboxBytes, bytes, count);
    inboxBytes += count;
}

void left(int fd) {
    if (kindOf[fd] == reader) {
        struct stream *stream = &streams[formatOf[fd]];
        int index = indexOf[fd], last = stream->readers[--stream->count];
        if (stream->readers[index] < 0) stream->behind--;
        stream->readers[index] = last;
        indexOf[last < 0 ? ~last : last] = index;
    }
    kindOf[fd] = free_slot;
}

void fellBehind(int fd, size_t batch, ssize_t sent) {
    struct stream *stream = &streams[formatOf[fd]];
    placeOf[fd] = batch + (sent > 0 ? sent : 0);
    stream->readers[indexOf[fd]] = ~fd;
    stream->behind++;
}

int tookRest(int fd, ssize_t sent) {
    struct stream *stream = &streams[formatOf[fd]];
    if (sent > 0) placeOf[fd] += sent;
    if (placeOf[fd] < stream->end) return 0;
    stream->readers[indexOf[fd]] = fd;
    stream->behind--;
    return 1;
}

static void set(int fd, int level, int option, int value) {
    if (setsockopt(fd, level, option, &value, sizeof value)) die("setsockopt");
}

static int listenTCP(enum kind kind) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof name;
    // Connections that are accepted here have these too. They are the ones of `fanout serve`.
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set(fd, SOL_SOCKET, SO_SNDBUF, sendBufferTCPBytes);
    set(fd, SOL_SOCKET, SO_RCVBUF, receiveBufferTCPBytes);
    if (bind(fd, (struct sockaddr *)&name, size) || listen(fd, 4096)) die("listen");
    getsockname(fd, (struct sockaddr *)&name, &size);
    kindOf[fd] = kind;
    watchListener(fd);
    return ntohs(name.sin_port);
}

static void listenUnix(const char *directory, const char *file, enum kind kind) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    snprintf(name.sun_path, sizeof name.sun_path, "%s/%s", directory, file);
    unlink(name.sun_path);
    if (bind(fd, (struct sockaddr *)&name, sizeof name) || listen(fd, 4096)) die(name.sun_path);
    kindOf[fd] = kind;
    watchListener(fd);
}

static void leave(int number) {
    (void)number;
    _exit(0);
}

int main(int count, char **words) {
    if (count != 2) { fprintf(stderr, "usage: floor-%s DIR\n", backendName); return 64; }
    signal(SIGTERM, leave);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (int format = 0; format < formats; format++) {
        streams[format].log = mmap(NULL, logBytesMax, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (streams[format].log == MAP_FAILED) die("mmap");
    }
    openBackend();
    int http = listenTCP(http_listener), lines = listenTCP(jsonl_listener);
    listenUnix(words[1], "events.socket", unix_listener);
    listenUnix(words[1], "ingest.socket", ingest_listener);
    fprintf(stderr, "floor ready · http 127.0.0.1:%d · jsonl 127.0.0.1:%d · events %s/events.socket"
            " · ingest %s/ingest.socket · %s\n", http, lines, words[1], words[1], backendName);
    run();
}

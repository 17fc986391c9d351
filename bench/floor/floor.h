// What the two floors share: floor.c reads, frames and keeps the tables; epoll.c and uring.c accept, receive and send.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { connectionsMax = 65536 };
enum kind { free_slot, http_listener, jsonl_listener, unix_listener, ingest_listener, head, publisher, reader };
enum { jsonl, sse, ws, formats };

// One format's framed events, and who reads it. What lies from `start` to `end` is this turn's batch. While a reader is
// behind, the log keeps what that reader has not had; else each batch begins at the log's first byte again.
struct stream {
    char *log;
    size_t start, end;
    // Descriptors; ~descriptor while that reader is behind.
    int readers[connectionsMax];
    int count, behind;
    // What new readers are told, the head of an HTTP response before it where there was a request.
    char hello[2][768];
    size_t helloBytes[2];
};

extern struct stream streams[formats];
// The number of the newest event.
extern uint64_t seq;
extern uint8_t kindOf[connectionsMax], formatOf[connectionsMax];
// Of a reader that is behind: the place in its stream's log from which it lacks the rest.
extern size_t placeOf[connectionsMax];

void die(const char *what);

// Called by the backend.
// A connection came in from a listener: its kind is noted.
void accepted(int fd, enum kind listener);
// What a connection sent. `tookHead` makes a subscriber of it, when the turn ends.
void tookLines(const char *bytes, size_t count);
void tookHead(int fd, char *request, size_t count);
// The publisher, a reader or a request has left; its descriptor is closed by the backend.
void left(int fd);
// A batch was not taken whole: `sent` bytes of it, or a negative number.
void fellBehind(int fd, size_t batch, ssize_t sent);
// A reader that was behind took `sent` bytes more; 1 if that was all.
int tookRest(int fd, ssize_t sent);
// The end of a turn: frames what was published, sends it once to each reader, answers whoever came in.
void endTurn(void);

// The backend's part.
extern const char backendName[];
void openBackend(void);
void watchListener(int fd);
// Sends the stream's batch to each reader that is not behind.
void sendBatch(struct stream *stream);
// Sends what a new connection is told; there is always room for it.
void sendHello(int fd, const char *bytes, size_t count);
_Noreturn void run(void);

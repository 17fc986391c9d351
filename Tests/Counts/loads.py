"""What a counted server is given to do. Each load is played to a server of its own, from its start to its end.

Nothing is given to the server before it is asleep: each piece of work begins a turn of its own, whatever else the
machine does, and so counts repeat. Readers are plain sockets; each must get the first reader's very bytes.
"""

import json
import resource
import socket

from instruments import Unavailable

EVENT_BYTES = 200
WARM = 10
DEADLINE_S = 60

UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
REQUESTS = {"sse": "Accept: text/event-stream\r\n", "ws": UPGRADE}
# How a record ends: events and `$hello` alike.
ENDS = {"unix": b"}\n", "tcp": b"}\n", "sse": b"}\n\n", "ws": b"}"}


def connect(place):
    """A socket connected to a path, or to an address and port."""
    if place.startswith("/"):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(DEADLINE_S)
        client.connect(place)
        return client
    address, port = place.rsplit(":", 1)
    client = socket.create_connection((address, int(port)), DEADLINE_S)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


class Reader:
    """One reader that has got its `$hello`."""

    def __init__(self, server, transport):
        self.end = ENDS[transport]
        self.socket = connect(server.place({"unix": "events", "tcp": "jsonl"}.get(transport, "http")))
        if transport in REQUESTS:
            head = f"GET /v1/events HTTP/1.1\r\nHost: {server.place('http')}\r\n{REQUESTS[transport]}\r\n"
            self.socket.sendall(head.encode())
        self.read_record(b'"$hello"')

    def read_record(self, marker):
        """Reads until a record that holds the marker is whole."""
        data = b""
        while marker not in data or not data.endswith(self.end):
            data += self.read(65_536)
        return data

    def read_bytes(self, expected):
        """Reads exactly these bytes."""
        data = b""
        while len(data) < len(expected):
            data += self.read(len(expected) - len(data))
        if data != expected:
            raise RuntimeError(f"two readers got different bytes: {data[:300]} and {expected[:300]}")

    def read(self, count):
        data = self.socket.recv(count)
        if not data:
            raise RuntimeError("a reader's stream ended")
        return data


def event(number):
    """An event of exactly EVENT_BYTES bytes."""
    start = f'{{"type":"count","n":{number},"pad":"'
    return (start + "x" * (EVENT_BYTES - len(start) - 2) + '"}').encode()


def fan_out(transport, readers, events, burst):
    """Events to readers of one transport, published on one ingest socket, the next `burst` when all have the last."""

    def play(server):
        crowd = []
        for _ in range(readers):
            crowd.append(Reader(server, transport))
            server.await_sleep()
        publisher = connect(server.place("ingest"))
        server.await_sleep()
        for number in range(WARM):
            deliver(server, publisher, crowd, range(number, number + 1))
        server.begin()
        for number in range(WARM, WARM + events, burst):
            deliver(server, publisher, crowd, range(number, number + burst))
        server.finish()
        for client in [publisher, *(reader.socket for reader in crowd)]:
            client.close()
            server.await_sleep()

    return play


def deliver(server, publisher, crowd, numbers):
    """Publishes events at once; returns when every reader has them and the server sleeps."""
    publisher.sendall(b"".join(event(number) + b"\n" for number in numbers))
    expected = crowd[0].read_record(f'"n":{numbers[-1]},'.encode())
    for reader in crowd[1:]:
        reader.read_bytes(expected)
    server.await_sleep()


def lines(events):
    """Events on one ingest socket, as fast as they are taken; nobody reads."""

    def play(server):
        server.begin()
        with connect(server.place("ingest")) as client:
            client.sendall(b"".join(event(number) + b"\n" for number in range(events)))
            client.shutdown(socket.SHUT_WR)
            # The end of the server's side is the sign that all lines were used.
            if client.recv(1) != b"":
                raise RuntimeError("an ingest socket answered unasked")
        server.await_sleep()
        server.finish()
        expect_taken(server, events)

    return play


def posts(events, batch):
    """Events in requests of `batch`, on one connection, the next request when the last is answered; nobody reads."""

    def play(server):
        kind = "application/json" if batch == 1 else "application/x-ndjson"
        with connect(server.place("http")) as client:
            server.await_sleep()
            server.begin()
            for start in range(0, events, batch):
                body = b"\n".join(event(number) for number in range(start, start + batch))
                head = (
                    f"POST /v1/events?channel=events HTTP/1.1\r\nHost: {server.place('http')}\r\n"
                    f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
                )
                client.sendall(head.encode() + body)
                read_answer(client)
                server.await_sleep()
            server.finish()
        expect_taken(server, events)

    return play


def visits(transport, readers):
    """Readers that come, get their `$hello` and go, one after the other; one stays all the time."""

    def play(server):
        first = Reader(server, transport)
        server.await_sleep()
        server.begin()
        for _ in range(readers):
            reader = Reader(server, transport)
            server.await_sleep()
            reader.socket.close()
            server.await_sleep()
        server.finish()
        first.socket.close()

    return play


def idle(readers):
    """Readers, a quarter of each transport, who get nothing; the server's own memory with them, in bytes."""

    def play(server):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        if most < 4 * readers:
            raise Unavailable(f"a process may have {most} descriptors only")
        crowd = [Reader(server, transport) for transport in ENDS for _ in range(readers // len(ENDS))]
        server.await_sleep()
        count = server.memory_bytes()
        for reader in crowd:
            reader.socket.close()
        return {"bytes": count}

    return play


def read_answer(client):
    """Reads one answer, which must be 200; its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += client.recv(65_536)
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields[b"content-length"]):
        body += client.recv(65_536)
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"refused: {head} {body}")
    return body


def expect_taken(server, events):
    """All events were taken: the channel says so. One request more, the same in every run."""
    with connect(server.place("http")) as client:
        client.sendall(f"GET /v1/channels HTTP/1.1\r\nHost: {server.place('http')}\r\n\r\n".encode())
        taken = sum(channel["events"] for channel in json.loads(read_answer(client))["channels"])
    if taken != events:
        raise RuntimeError(f"{events} events were published and {taken} taken")
    server.await_sleep()

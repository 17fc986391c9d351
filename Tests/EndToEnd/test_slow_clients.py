"""Who sends a byte a second: requests get 408 at their absolute deadline, streams go on, and nobody else notices.

Both backends at once, and every kind of slowness in the same half minute: that is how long a body may take.
"""

import json
import time

import pytest

import http1
import program
from crowd import Connection, Crowd, allow_many_files
from endings import Replay
from rfc6455 import upgrade_headers
from streams import ByteStream

EACH = 125
HEAD_S, BODY_S = 10, 30
JSON = {"Content-Type": "application/json"}


def lasting(start, filler=b"x"):
    """The bytes of `start` and then filler, without end."""
    yield from (start[index : index + 1] for index in range(len(start)))
    while True:
        yield filler


# Name: what is sent at once, what follows byte by byte, and when it must be over.
HEAD_KINDS = {
    "a request line": (b"", b"GET /"),
    "a field": (b"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"X-Slow: "),
    "a handshake": (http1.request("GET", "/v1/events", upgrade_headers())[:-2], b"X-Slow: "),
    "the second request": (http1.request("GET", "/healthz"), b"GET /"),
}
BODY_KINDS = {
    "a body": (http1.request("POST", "/v1/events", {**JSON, "Content-Length": "1000"}), b'{"a":"'),
    "chunks": (http1.request("POST", "/v1/events", {**JSON, "Transfer-Encoding": "chunked"}), b'3e8\r\n{"a":"'),
    "a chunk's extension": (http1.request("POST", "/v1/events", {**JSON, "Transfer-Encoding": "chunked"}), b"3;"),
    "a batch behind Expect": (
        http1.request(
            "POST",
            "/v1/events",
            {"Content-Type": program.NDJSON, "Content-Length": "1000", "Expect": "100-continue"},
        ),
        b'{"a":1}\n{"a":"',
    ),
}
# The head of a masked text frame of 60,000 bytes; its mask is 0, so that what follows is read as it is sent.
HALF_A_FRAME = b"\x81\xfe\xea\x60\x00\x00\x00\x00"
SUBSCRIBE = b'{"$subscribe":{"types":["none"]}}\n'


class Slow(Connection):
    """Sends `first` at once and then a byte at each tick."""

    def __init__(self, address, kind, first, rest, filler=b"x", **about):
        super().__init__(address, kind=kind, rest=lasting(rest, filler), **about)
        self.began_at = time.monotonic()
        assert not first or self.send(first)

    def tick(self):
        if not self.ended:
            self.send(next(self.rest))


def responses(connection):
    replay, found = Replay(connection.data), []
    while not replay.is_empty():
        found.append(http1.read_response(replay))
    return [response for response in found if response.status != 100]


class Watcher:
    """A server under slow clients: each second it must answer a newcomer and pass an event on to who reads."""

    def __init__(self, server):
        self.server = server
        self.reader = ByteStream.unix(server.events_socket)
        self.reader.until(b"\n")
        self.seq = 0
        self.slowest = 0.0

    def look(self):
        began = time.monotonic()
        assert self.server.get("/healthz").status == 200
        self.seq = self.server.publish('{"type":"probe"}')["seq"]
        assert json.loads(self.reader.until(b"\n"))["seq"] == self.seq
        self.slowest = max(self.slowest, time.monotonic() - began)


@pytest.mark.timeout(240)
def test_a_thousand_slow_clients_get_408_at_their_deadline_and_hold_nobody_up(start_server):
    allow_many_files()
    backends = ["epoll"] if program.io_uring_refusal() else ["io_uring", "epoll"]
    servers = [start_server("--heartbeat", "3600", io=io) for io in backends]
    watchers = [Watcher(server) for server in servers]
    with Crowd() as crowd:
        heads, bodies, silent, streams = [], [], [], []
        for server in servers:
            tcp, unix = ("127.0.0.1", server.http_port), server.http_socket
            for kinds, found in ((HEAD_KINDS, heads), (BODY_KINDS, bodies)):
                for kind, (first, rest) in kinds.items():
                    for number in range(EACH):
                        slow = Slow(unix if number % 10 == 0 else tcp, kind, first, rest)
                        found.append(crowd.add(slow))
            silent += [crowd.add(Slow(tcp, "silent", b"", b"")) for _ in range(50)]
            for _ in range(25):
                streams.append(crowd.add(Slow(server.events_socket, "$subscribe", b"", SUBSCRIBE, b"\n")))
                streams.append(crowd.add(Slow(("127.0.0.1", server.jsonl_port), "$subscribe", b"", SUBSCRIBE, b"\n")))
                handshake = http1.request("GET", "/v1/events", upgrade_headers())
                streams.append(crowd.add(Slow(tcp, "a frame", handshake, HALF_A_FRAME)))
                streams.append(crowd.add(Slow(server.ingest_socket, "a line", b'{"$ack":true}\n', b'{"a":"')))
        everyone = heads + bodies + silent + streams
        for connection in silent:
            connection.rest = iter([b""] * 100)
        began = time.monotonic()
        while not all(connection.ended for connection in heads + bodies + silent):
            assert time.monotonic() - began < BODY_S + 60, "slow requests are not ended"
            for connection in everyone:
                connection.tick()
            for watcher in watchers:
                watcher.look()
            next_second = time.monotonic() + 1
            while time.monotonic() < next_second:
                crowd.read(0.05)

        for found, deadline in ((heads, HEAD_S), (bodies, BODY_S)):
            for connection in found:
                *before, last = responses(connection)
                assert last.status == 408 and last.error_code() == "request_timeout", (connection.kind, last)
                assert last.header("connection") == "close", (connection.kind, last)
                assert [each.status for each in before] == [200] * (connection.kind == "the second request")
                assert connection.ended_at - connection.began_at >= deadline - 1, connection.kind
        assert max(each.ended_at for each in heads) < min(each.ended_at for each in bodies), "each has its own deadline"
        for connection in silent:
            assert not connection.data or responses(connection)[0].status == 408
            assert connection.ended_at - connection.began_at >= HEAD_S - 1

        # A stream has no deadline, however slowly its reader writes.
        for watcher in watchers:
            watcher.server.publish('{"type":"last"}')
        assert [connection.kind for connection in streams if connection.ended] == []
        for connection in streams:
            if connection.kind == "a frame":
                crowd.read_until(lambda c=connection: b'"type":"last"' in c.data, "the last event")
            if connection.kind == "a line":
                connection.send(b'"}\n')
                crowd.read_until(lambda c=connection: b'"seq":' in c.data, "the ack of a line that took its time")
        for watcher in watchers:
            assert watcher.seq > 20 and watcher.slowest < 20
    for watcher in watchers:
        watcher.reader.close()


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_a_subscription_that_comes_a_byte_at_a_time_takes_effect_at_its_end(io, start_server, transport):
    server = start_server()
    address = server.events_socket if transport == "unix" else None
    stream = ByteStream.unix(address) if address else ByteStream.tcp(server.jsonl_port)
    with stream:
        stream.until(b"\n")
        for index in range(len(SUBSCRIBE)):
            server.publish('{"type":"some"}')
            assert json.loads(stream.until(b"\n"))["type"] == "some"
            stream.send(SUBSCRIBE[index : index + 1])
        assert json.loads(stream.until(b"\n"))["type"] == "$hello"
        server.publish('{"type":"some"}')
        server.publish('{"type":"none"}')
        assert json.loads(stream.until(b"\n"))["type"] == "none"

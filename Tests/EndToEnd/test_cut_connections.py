"""Connections that end at any byte: half-closed, reset, or closed without a word, while others read on.

Every script below is cut behind each of its bytes and ended in each way. Afterwards the server is as it was: the same
descriptors and connections, no input kept, and whoever watched has missed nothing.
"""

import json
import os

import pytest

import http1
import program
from crowd import Connection, Crowd, allow_many_files
from endings import PATIENT, TRANSPORTS, Collector, check_bye, pause
from readers import open_reader
from rfc6455 import BINARY, CLOSE, CONTINUATION, PING, TEXT, close_payload, frame, upgrade_headers
from streams import wait_until

AT_ONCE = 200
JSON = {"Content-Type": "application/json"}
EVENTS = "/v1/events"


def get(target, headers=()):
    return http1.request("GET", target, headers, host="localhost")


def post(body, headers=()):
    return http1.request("POST", EVENTS, {**JSON, **dict(headers)}, body, host="localhost")


UPGRADE = get(EVENTS, upgrade_headers())
HTTP_SCRIPTS = {
    "health": get("/healthz"),
    "two requests": get("/healthz") + get("/readyz", {"Connection": "close"}),
    "head": http1.request("HEAD", "/"),
    "page": get("/"),
    "channels": get("/v1/channels"),
    "put and delete": http1.request("PUT", "/v1/channels?channel=cut/me")
    + http1.request("DELETE", "/v1/channels?channel=cut/me"),
    "publish": post(b'{"type":"cut","n":1}'),
    "publish twice": post(b'{"type":"cut","n":1}') + post(b'{"type":"cut","n":2}'),
    "batch": post(b'{"n":1}\n{"n":2}\n{"n":3}', {"Content-Type": program.NDJSON}),
    "chunks": post(http1.chunked(b'{"type"', b':"cut"', b"}"), {"Transfer-Encoding": "chunked"}),
    "chunks with more": post(
        b'7;x="y"\r\n{"n":1}\r\n0\r\nTrailer: dropped\r\n\r\n', {"Transfer-Encoding": "chunked"}
    ),
    "expect": post(b'{"type":"cut"}', {"Expect": "100-continue"}),
    "refused": post(b'{"type":"$cut"}') + get("/nowhere"),
    "malformed": b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n" + get("/healthz"),
    "preflight": http1.request("OPTIONS", EVENTS, {"Origin": "https://app.example"}),
    "jsonl": get(EVENTS + "?channel=a/*&types=x,y&on_lag=gap", {"Accept": program.NDJSON}),
    "sse": get(EVENTS + "?from=start", {"Accept": "text/event-stream", "Last-Event-ID": "0123456789abcdef-7"}),
    "websocket": UPGRADE + frame(PING, b"ping") + frame(TEXT, b'{"$subscribe":{"channel":["a"]}}'),
    "websocket fragments": UPGRADE
    + frame(TEXT, b"a", fin=False)
    + frame(PING, b"between")
    + frame(CONTINUATION, b"b" * 130)
    + frame(CLOSE, close_payload(1000, b"bye")),
    "websocket fault": UPGRADE + frame(BINARY, b"x" * 20) + frame(PING),
}
LINE_SCRIPTS = {
    "subscribe": b'{"$subscribe":{"channel":["a","b/**"],"types":["x"],"on_lag":"gap"}}\nignored\n',
    "subscribe refused": b'{"$subscribe":{"from":"yesterday"}}\n',
}
INGEST_SCRIPTS = {
    "line": b'{"type":"cut","s":"\xc3\xa9\\u0041"}\n',
    "acks": b'{"$ack":true}\n{"n":1}\n\n{"n":2}\r\noops\n{"n":3}',
    "envelopes": b'{"$ack":true}\n{"$publish":{"event":{"n":1},"channel":"a/b"}}\n{"$publish":{"event":{},"ack":"none"}}\n',
}
ENDS = ["half-close", "reset", "close"]


def cases(server):
    """Every script on every place where it is understood, as (name, address, bytes)."""
    tcp = ("127.0.0.1", server.http_port)
    for name, script in HTTP_SCRIPTS.items():
        yield name, tcp, script
    for name in ("publish", "chunks", "sse", "websocket fragments"):
        yield f"{name} on http.socket", server.http_socket, HTTP_SCRIPTS[name]
    for name, script in LINE_SCRIPTS.items():
        yield f"{name} over TCP", ("127.0.0.1", server.jsonl_port), script
        yield name, server.events_socket, script
    for name, script in INGEST_SCRIPTS.items():
        yield name, server.ingest_socket, script
    yield "line to a channel", server.channel_socket("declared"), INGEST_SCRIPTS["line"]


def footprint(server):
    """What a connection costs while it is there: descriptors, places, input buffers."""
    figures = server.metric("fanout_connections"), server.metric("fanout_input_buffers")
    # The connection that asked is about to be closed: the least of several looks is without it.
    looks = []
    for _ in range(20):
        looks.append(len(os.listdir(f"/proc/{server.process.pid}/fd")))
        pause(0.002)
    return min(looks), *figures


def cut_everywhere(server, crowd, end):
    """Cuts each script behind each byte. A half-closed connection must be ended by the server, or be a stream."""
    waiting, cuts = [], 0
    for name, address, script in cases(server):
        for size in range(len(script) + 1):
            connection = Connection(address, name=name, size=size)
            connection.send(script[:size])
            cuts += 1
            if end == "reset":
                connection.reset()
            elif end == "close":
                connection.socket.close()
            else:
                connection.finish()
                waiting.append(crowd.add(connection))
            if len(waiting) >= AT_ONCE:
                settle(crowd, waiting)
    settle(crowd, waiting)
    return cuts


def settle(crowd, waiting):
    def is_settled(connection):
        return connection.ended or b"$hello" in connection.data

    try:
        crowd.read_until(lambda: all(map(is_settled, waiting)), "half-closed connections to be ended")
    except AssertionError:
        stuck = [(each.name, each.size, bytes(each.data[:200])) for each in waiting if not is_settled(each)]
        pytest.fail(f"half-closed, and neither ended nor a stream: {stuck[:5]} and {len(stuck) - 5} more")
    for connection in waiting:
        crowd.remove(connection).socket.close()
    waiting.clear()


@pytest.mark.parametrize("end", ENDS)
def test_a_connection_may_end_at_any_byte(io, start_server, tmp_path, end):
    allow_many_files()
    # No ping comes in between: the watchers are only looked at when all is over.
    patient = program.configured(tmp_path, PATIENT)
    server = start_server("--channel", "declared", "--heartbeat", "3600", *patient)
    watchers = {transport: open_reader(server, transport) for transport in TRANSPORTS}
    epoch = {name: reader.next_control("$hello").json()["epoch"] for name, reader in watchers.items()}
    collector = Collector(watchers)
    before = min(footprint(server) for _ in range(5))
    with Crowd() as crowd:
        assert cut_everywhere(server, crowd, end) > 3_000
    looks = []

    def is_as_before():
        # Of a raw reader that half-closed and then went away the server learns when it sends it something.
        server.publish('{"type":"x"}', channel="a")
        looks.append(footprint(server))
        return looks.count(before) >= 3

    wait_until(is_as_before, "every connection to be accepted and forgotten")
    head = server.publish('{"type":"last"}')["seq"]
    assert head > 100, "the scripts that were whole have been heard"
    server.stop()
    for transport, ending in collector.endings().items():
        assert ending.seqs() == list(range(1, head + 1)), transport
        bye = check_bye(transport, ending, 1001, "shutdown", f"{epoch[transport]}-{head}", comes_back=True)
        assert bye, transport


def test_what_was_cut_publishes_nothing_but_a_last_line(io, start_server):
    """A request that is not whole is none; a line whose writer has closed is one."""
    server = start_server()
    body = b'{"type":"whole"}'
    whole = {
        ("127.0.0.1", server.http_port): post(body),
        server.ingest_socket: body,
    }
    for address, script in whole.items():
        for size in range(len(script) + 1):
            connection = Connection(address)
            connection.socket.settimeout(10)
            connection.send(script[:size])
            connection.finish()
            while connection.socket.recv(4096):
                pass
            connection.socket.close()
    assert server.publish("{}")["seq"] == 3, "one request, one line, and this"


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_a_raw_reader_that_half_closes_goes_on_reading(io, start_server, transport):
    """As `printf … | nc -N` does: it has nothing more to say, and everything to hear."""
    server = start_server()
    with open_reader(server, transport) as reader:
        reader.next_control("$hello")
        reader.stream.finish()
        for number in range(20):
            server.publish(json.dumps({"n": number}))
            assert reader.next_event().json()["n"] == number

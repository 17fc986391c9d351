"""One subscriber per transport, all with the same face: `next()` gives a record as the transport carried it."""

import json
import re
from dataclasses import dataclass
from urllib.parse import urlencode

from http1 import read_head, request
from rfc6455 import WebSocket
from streams import ByteStream

# Every way in which the same events can be read.
TRANSPORTS = [
    "unix",
    "tcp",
    "http-jsonl",
    "sse",
    "websocket",
    "http.socket-jsonl",
    "http.socket-sse",
    "http.socket-websocket",
]
HTTP_TRANSPORTS = [name for name in TRANSPORTS if name not in ("unix", "tcp")]

PING = b'{"type":"$ping"}'
CURSOR = re.compile(r"[0-9a-f]{16}-(0|[1-9][0-9]{0,19})\Z")


def place(cursor, offset=0):
    """The cursor so many numbers further on."""
    epoch, seq = cursor.split("-")
    return f"{epoch}-{int(seq) + offset}"


@dataclass
class Record:
    """A record's JSON text as it was on the wire; on SSE also its other fields."""

    text: bytes
    id: str | None = None
    event: str | None = None
    retry: int | None = None

    def json(self):
        return json.loads(self.text)

    def kind(self):
        """By whichever discriminator the channel has."""
        members = self.json()
        return str(members.get("type", members.get("kind", "")))

    def is_control(self):
        return self.kind().startswith("$")


class Reader:
    """A subscriber. `next()` skips keep-alives; `next_event()` insists on data, `next_control()` on a record."""

    response = None

    def next(self):
        while True:
            record = self._receive()
            if record is not None and record.text not in (PING, PING.replace(b"type", b"kind")):
                return record

    def next_event(self):
        record = self.next()
        assert not record.is_control(), record
        return record

    def next_control(self, kind):
        record = self.next()
        assert record.kind() == kind, record
        return record

    def close(self):
        self.stream.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class LineReader(Reader):
    """JSONL, over a unix socket, over TCP, or as the body of an HTTP response."""

    def __init__(self, stream, response=None):
        self.stream = stream
        self.response = response

    def subscribe(self, **options):
        self.stream.send(subscribe_message(**options) + b"\n")

    def _receive(self):
        line = self.stream.until(b"\n")
        assert b"\r" not in line, line
        return Record(line[:-1])


class EventSourceReader(Reader):
    """Server-sent events, parsed as strictly as the server is meant to write them."""

    def __init__(self, stream, response):
        self.stream = stream
        self.response = response

    def _receive(self):
        block = self.receive_block()
        return None if block == b":\n\n" else parse_block(block)

    def receive_block(self):
        """The bytes up to and including the next blank line; a keep-alive is `:` and a blank line."""
        return self.stream.until(b"\n\n")


class WebSocketReader(Reader):
    def __init__(self, connection):
        self.connection = connection
        self.stream = connection.stream
        self.response = connection.response

    def subscribe(self, **options):
        self.connection.send(1, subscribe_message(**options))

    def _receive(self):
        return Record(self.connection.receive_text())


def parse_block(block):
    """An event of `id:` and `data:`; control records have `event: $name` in front, a `$bye` also `retry:`."""
    form = re.compile(
        rb"(?:retry: ([1-9][0-9]*)\n(?=event: \$bye\n))?"
        rb"(?:event: (\$[a-z]+)\n)?(?:id: ([0-9a-f]{16}-[0-9]+)\n)?data: ([^\r\n]*)\n\n\Z"
    )
    match = form.match(block)
    assert match, f"not a server-sent event as EVENTS.md has it: {block!r}"
    retry, event, identifier, data = match.groups()
    return Record(data, identifier and identifier.decode(), event and event.decode(), retry and int(retry))


def subscribe_message(**options):
    """`{"$subscribe":{…}}`; a trailing underscore keeps clear of Python's own words (`from_`)."""
    return json.dumps({"$subscribe": {name.rstrip("_"): value for name, value in options.items()}}).encode()


def events_target(**query):
    """`/v1/events?…`; a list repeats its name, and `types` is joined by commas."""
    pairs = []
    for name, value in query.items():
        name = name.rstrip("_")
        if name == "types" and isinstance(value, list):
            value = ",".join(value)
        pairs += [(name, item) for item in value] if isinstance(value, list) else [(name, value)]
    return "/v1/events" + ("?" + urlencode(pairs, safe="*/,") if pairs else "")


def open_reader(server, transport, headers=(), **query):
    """A subscriber on that transport; on raw JSONL the query travels in a `$subscribe` line."""
    if transport in ("unix", "tcp"):
        stream = ByteStream.unix(server.events_socket) if transport == "unix" else ByteStream.tcp(server.jsonl_port)
        reader = LineReader(stream)
        if query:
            reader.next_control("$hello")
            reader.subscribe(**query)
        return reader
    stream = (
        ByteStream.unix(server.http_socket) if transport.startswith("http.socket") else ByteStream.tcp(server.http_port)
    )
    return open_http_reader(stream, transport.rpartition("-")[2], headers, **query)


def open_http_reader(stream, form, headers=(), **query):
    """A subscriber over HTTP in one of three forms: jsonl, sse, websocket."""
    target = events_target(**query)
    if form == "websocket":
        return WebSocketReader(WebSocket(stream, target, headers))
    accept = {"jsonl": "application/x-ndjson", "sse": "text/event-stream"}[form]
    stream.send(request("GET", target, {"Accept": accept, **dict(headers)}))
    response = read_head(stream)
    assert response.status == 200, response
    return LineReader(stream, response) if form == "jsonl" else EventSourceReader(stream, response)

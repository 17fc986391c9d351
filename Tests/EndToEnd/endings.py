"""Streams read to their ends, many at a time and as fast as they come; looked at only afterwards, then strictly."""

import contextlib
import json
import selectors
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

from readers import CURSOR, LineReader, Record, WebSocketReader, open_http_reader, open_reader
from rfc6455 import CLOSE, PING, PONG, TEXT
from streams import DEADLINE_S, ByteStream, Ended, wait_until

# One of each kind: what is over http.socket is the same as over TCP.
TRANSPORTS = ["unix", "tcp", "http-jsonl", "sse", "websocket"]

# A configuration under which nobody is a laggard: for tests whose own readers may be late, and do not ask about that.
PATIENT = {"channels": {"**": {"limits": {"events": 1_000_000, "bytes": 1 << 29, "age_ms": 60_000}}}}


class Replay:
    """Bytes that have come already, read as a `ByteStream` is."""

    def __init__(self, data):
        self.data = bytes(data)
        self.position = 0

    def until(self, delimiter):
        end = self.data.find(delimiter, self.position)
        if end < 0:
            raise Ended(f"the stream ended; unread: {self.data[self.position :][:200]!r}")
        return self._take(end + len(delimiter))

    def exactly(self, count):
        if self.position + count > len(self.data):
            raise Ended(f"the stream ended; unread: {self.data[self.position :][:200]!r}")
        return self._take(self.position + count)

    def send(self, data):
        """Answers to pings that are long past."""

    def is_empty(self):
        return self.position == len(self.data)

    def _take(self, end):
        taken = self.data[self.position : end]
        self.position = end
        return taken


@dataclass
class Ending:
    """What a stream carried, in order, and how it ended."""

    records: list = field(default_factory=list)
    objects: list = field(default_factory=list)
    pongs: list = field(default_factory=list)
    bye: Record | None = None
    close_code: int | None = None
    was_reset: bool = False

    def events(self):
        return [each for each in self.objects if not each.get("type", "").startswith("$")]

    def controls(self, kind):
        return [each for each in self.objects if each.get("type") == kind]

    def seqs(self):
        return [event["seq"] for event in self.events()]


class Collector:
    """Reads several subscribers in one thread until each has ended; nothing is looked at while it runs."""

    def __init__(self, readers):
        self.readers = dict(readers)
        self.data = {name: bytearray(reader.stream.pending) for name, reader in self.readers.items()}
        self.was_reset = dict.fromkeys(self.readers, False)
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self):
        with selectors.DefaultSelector() as selector:
            for name, reader in self.readers.items():
                selector.register(reader.stream.socket, selectors.EVENT_READ, name)
            while selector.get_map():
                for key, _ in selector.select():
                    try:
                        received = key.fileobj.recv(1 << 18)
                    except ConnectionResetError:
                        self.was_reset[key.data] = True
                        received = b""
                    if received:
                        self.data[key.data] += received
                    else:
                        # As every client does: a server that stops waits for it.
                        selector.unregister(key.fileobj)
                        with contextlib.suppress(OSError):
                            key.fileobj.shutdown(socket.SHUT_WR)

    def wait_for(self, text):
        """Waits until this is among the last things that every stream has carried."""
        wait_until(lambda: all(text in data[-20_000:] for data in self.data.values()), f"{text!r} on every stream")

    def join(self):
        """Waits until every stream has ended."""
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), "a stream did not end"

    def endings(self):
        """Waits until every stream has ended; what each of them was."""
        self.join()
        return {name: self._ending(name, reader) for name, reader in self.readers.items()}

    def _ending(self, name, reader):
        ending = parse(reader, self.data[name])
        ending.was_reset = self.was_reset[name]
        reader.close()
        return ending


def read_to_end(reader):
    return Collector({"": reader}).endings()[""]


def parse(reader, data):
    """Every byte of a stream accounted for: nothing torn at its end, nothing after `$bye` but a close frame."""
    replay, ending = Replay(data), Ending()
    receive = _receive_frame if isinstance(reader, WebSocketReader) else _receive_record
    while not replay.is_empty():
        assert ending.close_code is None, f"something after the close frame: {replay.data[replay.position :][:200]!r}"
        record = receive(reader, replay, ending)
        if record is None:
            continue
        assert ending.bye is None, f"a record after $bye: {record}"
        parsed = record.json()
        if parsed.get("type") == "$bye":
            ending.bye = record
        elif parsed.get("type") != "$ping":
            ending.records.append(record)
            ending.objects.append(parsed)
    return ending


def _receive_record(reader, replay, _):
    reader.stream, live = replay, reader.stream
    try:
        return reader._receive()
    finally:
        reader.stream = live


def _receive_frame(reader, replay, ending):
    reader.connection.stream, live = replay, reader.connection.stream
    try:
        opcode, payload = reader.connection.receive_frame()
    finally:
        reader.connection.stream = live
    if opcode == TEXT:
        return Record(payload)
    if opcode == PONG:
        ending.pongs.append(payload)
    elif opcode == CLOSE:
        assert len(payload) >= 2, "a close frame of the server has a code"
        ending.close_code = struct.unpack("!H", payload[:2])[0]
        payload[2:].decode("utf-8")
    else:
        assert opcode == PING, opcode
    return None


def check_bye(transport, ending, code, why, last=None, comes_back=False):
    """The `$bye` that this stream must have ended with, whole, on its transport."""
    assert ending.bye is not None, f"{transport}: no $bye, last {ending.records[-1:]}, reset: {ending.was_reset}"
    bye = ending.bye.json()
    assert (bye["code"], bye["why"]) == (code, why), (transport, bye)
    assert list(bye) == ["type", "code", "why", "last"] + ["retry_ms"] * comes_back, (transport, bye)
    assert CURSOR.match(bye["last"]) and last in (None, bye["last"]), (transport, bye, last)
    assert not comes_back or (isinstance(bye["retry_ms"], int) and bye["retry_ms"] > 0), (transport, bye)
    if "sse" in transport:
        assert (ending.bye.event, ending.bye.id, ending.bye.retry) == ("$bye", bye["last"], bye.get("retry_ms"))
    if "websocket" in transport:
        assert ending.close_code == code, (transport, ending.close_code)
    return bye


def last_cursor(reader, ending):
    """The cursor of the last event that this stream carried, or of where it began; `$hello` was read before."""
    return f"{reader.greeting['epoch']}-{(ending.seqs() or [reader.greeting['seq']])[-1]}"


def open_with_small_buffer(server, transport, receive_buffer=65_536, **query):
    """A subscriber that has read its `$hello` and whose kernel takes little on its behalf."""
    if transport == "unix":
        reader = open_reader(server, transport, **query)
    else:
        connected = socket.socket()
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connected.settimeout(DEADLINE_S)
        connected.connect(("127.0.0.1", server.jsonl_port if transport == "tcp" else server.http_port))
        stream = ByteStream(connected)
        if transport == "tcp":
            reader = LineReader(stream)
            if query:
                reader.next_control("$hello")
                reader.subscribe(**query)
        else:
            reader = open_http_reader(stream, transport.rpartition("-")[2], **query)
    reader.greeting = reader.next_control("$hello").json()
    return reader


def pause(seconds):
    """The time that a slow reader lets pass on purpose."""
    time.sleep(seconds)


def lines(count, size, **members):
    """A batch's lines: numbered events of about this many bytes each."""
    filler = "x" * size
    return [json.dumps({"n": number, **members, "filler": filler}) for number in range(count)]

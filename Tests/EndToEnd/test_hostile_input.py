"""Bytes that mean harm: JSON of every bad kind by every door, other protocols, garbage, and lines without end."""

import contextlib
import json
import random
import struct
import threading

import pytest

import http1
import program
from crowd import Connection, Crowd
from endings import PATIENT, TRANSPORTS, Collector, check_bye
from readers import open_reader
from rfc6455 import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, WebSocket, close_payload, frame, upgrade_headers
from streams import ByteStream, wait_until

MEBIBYTE = 1 << 20
EVENT_BYTES_MAX = 262_144
LONG = EVENT_BYTES_MAX - 100

INVALID = {
    "nothing but a space in quotes": b'" ',
    "a lone quote": b'"',
    "a name without a value": b'{"a"}',
    "a value without a name": b"{1}",
    "a comma too many": b'{"a":1,}',
    "a comma too few": b'{"a":1"b":2}',
    "two objects": b'{"a":1}{"a":2}',
    "garbage behind": b'{"a":1}x',
    "a NUL behind": b'{"a":1}\x00',
    "a NUL in a string": b'{"a":"\x00"}',
    "a NUL between": b'{"a":\x001}',
    "a control byte in a string": b'{"a":"\x1b[31m"}',
    "DEL is fine but TAB is not": b'{"a":"\x7f\t"}',
    "a byte order mark": b'\xef\xbb\xbf{"a":1}',
    "a byte order mark behind": b'{"a":1}\xef\xbb\xbf',
    "a no-break space": b'{"a":\xc2\xa01}',
    "a form feed": b'{"a":\x0c1}',
    "an unfinished escape": b'{"a":"\\',
    "half a unicode escape": b'{"a":"\\u00"}',
    "an unknown escape": b'{"a":"\\a"}',
    "an escaped line feed": b'{"a":"\\\r"}',
    "a hexadecimal number": b'{"a":0x10}',
    "leading zeros": b'{"a":-01}',
    "a lone sign": b'{"a":-}',
    "two points": b'{"a":1.2.3}',
    "an exponent without digits": b'{"a":1e+}',
    "infinity": b'{"a":-Infinity}',
    "a comment": b'{"a":1/**/}',
    "single quotes": b"{'a':1}",
    "capital literals": b'{"a":TRUE}',
    "half a literal": b'{"a":nul}',
    "closed by the wrong bracket": b'{"a":[1}',
    "never closed": b'{"a":' + b'{"a":' * 100,
    "closed twice": b'{"a":1}}',
    "a long number that ends badly": b'{"a":' + b"1" * LONG + b"x}",
    "a long string that ends badly": b'{"a":"' + b"x" * LONG + b"\x01}",
    "many members that end badly": b"{" + b'"a":1,' * (LONG // 6) + b"}",
}
BAD_UTF8 = {
    f"bytes {bad.hex()} in a {place}": template % bad
    for bad in [
        b"\x80",
        b"\xbf",
        b"\xfe",
        b"\xff",
        b"\xc0\xaf",
        b"\xc1\x81",
        b"\xe0\x82\x81",
        b"\xf0\x80\x80\xaf",
        b"\xf8\x88\x80\x80\x80",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xc3",
        b"\xe2\x82",
        b"\xf0\x9f\x98",
    ]
    for place, template in [("value", b'{"a":"x%sy"}'), ("name", b'{"x%sy":1}'), ("kind", b'{"type":"%s"}')]
}
NOT_OBJECTS = {
    "an array": b'[{"a":1}]',
    "a string": b'"a"',
    "a number": b"-0.5e3",
    "null": b"null",
    "many brackets, closed": b"[" * 100 + b"]" * 100,
}
TOO_DEEP = {
    "129 objects": b'{"a":' * 128 + b"{}" + b"}" * 128,
    "129 arrays": b'{"a":' + b"[" * 128 + b"]" * 128 + b"}",
    "129 of both": b'{"a":' + b'[{"a":' * 64 + b"1" + b"}]" * 64 + b"}",
    "brackets without end": b'{"a":' + b"[" * 200_000,
    "names without end": b'{"a":' * 50_000,
}
RESERVED_MEMBERS = {
    f"{name.decode()} {form}": template % name
    for name in [b"seq", b"channel", b"s\\u0065q", b"\\u0073\\u0065\\u0071", b"ch\\u0061nnel", b"\\u0063hannel"]
    for form, template in [("first", b'{"%s":1}'), ("last", b'{"a":{"seq":1},"%s":{}}')]
}
RESERVED_KINDS = {
    "a kind of the server's": b'{"type":"$hello"}',
    "an escaped dollar": b'{"type":"\\u0024gap"}',
    "an escaped name": b'{"\\u0074ype":"$bye"}',
    "a lone dollar": b'{"type":"$"}',
}
BAD_DISCRIMINATORS = {
    "two kinds": b'{"type":"a","type":"a"}',
    "two kinds, one escaped": b'{"type":"a","t\\u0079pe":"b"}',
    "a number for a kind": b'{"type":1}',
    "no kind at all": b'{"type":null}',
    "an object for a kind": b'{"type":{"type":"a"}}',
}
TOO_LARGE = {
    "a string one byte too long": b'{"a":"' + b"x" * (EVENT_BYTES_MAX - 7) + b'"}',
    "a number one byte too long": b'{"a":' + b"1" * (EVENT_BYTES_MAX - 5) + b"}",
    "a name one byte too long": b'{"' + b"x" * (EVENT_BYTES_MAX - 5) + b'":1}',
    "one space too many": b"{" + b" " * (EVENT_BYTES_MAX - 1) + b"}",
}
BAD = [
    (name, text, code, status)
    for group, code, status in [
        (INVALID, "invalid_json", 400),
        (BAD_UTF8, "invalid_utf8", 400),
        (NOT_OBJECTS, "not_an_object", 400),
        (TOO_DEEP, "too_deep", 400),
        (RESERVED_MEMBERS, "reserved_member", 422),
        (RESERVED_KINDS, "reserved_kind", 422),
        (BAD_DISCRIMINATORS, "bad_discriminator", 422),
        (TOO_LARGE, "event_too_large", 413),
    ]
    for name, text in group.items()
]
GOOD = {
    "a huge number": b'{"a":-0.' + b"9" * (EVENT_BYTES_MAX - 9) + b"}",
    "a huge exponent": b'{"a":1e' + b"9" * (LONG - 6) + b"}",
    "a huge name": b'{"' + b"k" * (EVENT_BYTES_MAX - 6) + b'":1}',
    "many members": b"{" + b'"a":1,' * (LONG // 6) + b'"b":2}',
    "many escapes": b'{"a":"' + b"\\u0000" * (LONG // 6) + b'"}',
    "128 levels": b'{"a":' * 127 + b"{}" + b"}" * 127,
    "lone surrogates": b'{"a":"\\ud800","\\udfff":"\\ud800\\u0041"}',
    "separators, DEL, the last character": '{"a":"\u2028\u2029\x7f\U0010ffff\ufeff"}'.encode(),
    "an empty name": b'{"":""}',
    "names twice": b'{"a":1,"a":2}',
    "reserved further in": b'{"a":{"seq":1,"channel":2,"type":"$x"}}',
}


@pytest.fixture
def watched(io, start_server, tmp_path):
    """A server with a reader on each transport; at the end each must have every event that was accepted."""
    patient = program.configured(tmp_path, PATIENT)
    server = start_server("--channel", "declared", "--heartbeat", "3600", *patient)
    readers = {transport: open_reader(server, transport) for transport in TRANSPORTS}
    epoch = [reader.next_control("$hello").json()["epoch"] for reader in readers.values()][0]
    collector = Collector(readers)
    yield server
    head = server.publish('{"type":"last"}')["seq"]
    server.stop()
    for transport, ending in collector.endings().items():
        assert ending.seqs() == list(range(1, head + 1)), transport
        check_bye(transport, ending, 1001, "shutdown", f"{epoch}-{head}", comes_back=True)


def test_bad_json_is_refused_by_every_door_with_the_same_code(watched):
    """HTTP, a batch's second line, an ingest line, and an envelope on an ingest socket."""
    wrong = []

    def expect(door, name, found, wanted):
        if found != wanted:
            wrong.append((door, name, found, wanted))

    accepted = 0
    for name, text, code, status in BAD:
        response = watched.post(text)
        expect("HTTP", name, (response.status, response.error_code()), (status, code))
        if b"\n" in text or b"\r" in text:
            continue
        response = watched.post(b'{"n":1}\n' + text + b"\n", media=program.NDJSON)
        expect("a batch", name, (response.status, response.error_code()), (status, code))
        answers = watched.ingest(b'{"$ack":true}\n' + text + b'\n{"n":2}\n').splitlines()
        expect("a line", name, json.loads(answers[0])["error"]["code"], code)
        # An oversized line ends the connection; any other costs nothing but itself.
        if code != "event_too_large":
            accepted += 1
            expect("behind a bad line", name, "seq" in json.loads(answers[1]), True)
    assert wrong == []
    assert watched.publish("{}")["seq"] == accepted + 1, "nothing that was refused has taken a number"


def test_what_is_only_unusual_is_accepted_by_every_door(watched):
    for name, text in GOOD.items():
        assert watched.post(text).status == 200, name
        assert watched.post(text + b"\n", media=program.NDJSON).status == 200, name
        assert "seq" in json.loads(watched.ingest(b'{"$ack":true}\n' + text + b"\n")), name
        assert "seq" in json.loads(watched.ingest(b'{"$ack":true}\n' + text)), f"{name}, without a line feed"


ENVELOPES = {
    "no event": b'{"$publish":{}}',
    "an event that is none": b'{"$publish":{"event":[]}}',
    "a bad event": b'{"$publish":{"event":{"seq":1}}}',
    "a channel that is none": b'{"$publish":{"event":{},"channel":"../x"}}',
    "a channel of control bytes": b'{"$publish":{"event":{},"channel":"\\u001b[31m"}}',
    "an escaped slash": b'{"$publish":{"event":{},"channel":"a\\/\\/b"}}',
    "a channel too long": b'{"$publish":{"event":{},"channel":"' + b"x" * 256 + b'"}}',
    "two events": b'{"$publish":{"event":{},"event":{}}}',
    "two channels": b'{"$publish":{"event":{},"channel":"a","channel":"b"}}',
    "an unknown member": b'{"$publish":{"event":{},"evnt":{}}}',
    "a list": b'{"$publish":[{"event":{}}]}',
    "a level that is none": b'{"$publish":{"event":{},"ack":"\\u0000"}}',
    "half of it": b'{"$publish":{"event":{}',
    "garbage behind": b'{"$publish":{"event":{}}}}',
}


@pytest.mark.parametrize("name", ENVELOPES)
def test_a_hostile_envelope_is_answered_and_forgotten(server, name):
    bad, good = server.ingest(b'{"$ack":true}\n' + ENVELOPES[name] + b'\n{"n":1}\n').splitlines()
    assert "error" in json.loads(bad), bad
    assert "seq" in json.loads(good)


SUBSCRIBES = {
    "no object": b'{"$subscribe":1}',
    "a list": b'{"$subscribe":[]}',
    "129 channels": b'{"$subscribe":{"channel":[' + b",".join(b'"c%d"' % n for n in range(129)) + b"]}}",
    "129 types": b'{"$subscribe":{"types":[' + b",".join(b'"t%d"' % n for n in range(129)) + b"]}}",
    "a channel of slashes": b'{"$subscribe":{"channel":"////"}}',
    "stars inside": b'{"$subscribe":{"channel":"a/**/b"}}',
    "an object for a channel": b'{"$subscribe":{"channel":{}}}',
    "a number for from": b'{"$subscribe":{"from":7}}',
    "a cursor too long": b'{"$subscribe":{"from":"0123456789abcdef-99999999999999999999999"}}',
    "names twice": b'{"$subscribe":{"from":"now","from":"start"}}',
    "an unknown name": b'{"$subscribe":{"\\u0000":"x"}}',
    "a list in a list": b'{"$subscribe":{"types":[["a"]]}}',
}


@pytest.mark.parametrize("name", SUBSCRIBES)
@pytest.mark.parametrize("transport", ["unix", "tcp", "websocket"])
def test_a_hostile_subscription_is_1008_and_hurts_nobody(server, transport, name):
    with open_reader(server, transport) as reader, open_reader(server, transport) as other:
        for each in (reader, other):
            each.next_control("$hello")
        if transport == "websocket":
            reader.connection.send(TEXT, SUBSCRIBES[name])
        else:
            reader.stream.send(SUBSCRIBES[name] + b"\n")
        bye = reader.next_control("$bye").json()
        assert bye["code"] == 1008 and bye["why"] and "retry_ms" not in bye
        ack = server.publish("{}")
        assert other.next_event().json()["seq"] == ack["seq"]


# Other protocols, garbage


def garbage(seed, size):
    return random.Random(seed).randbytes(size)


GARBAGE = {
    "a TLS hello": bytes.fromhex("16030100f8010000f40303") + garbage(1, 240),
    "an HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + struct.pack("!I", 0) + garbage(2, 60),
    "a PROXY line": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a PROXY header": b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + garbage(3, 12),
    "a mail client": b"EHLO mail.example\r\nMAIL FROM:<>\r\n",
    "a Redis client": b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n",
    "a NATS client": b'CONNECT {"verbose":false}\r\nPING\r\n',
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n" + garbage(4, 100),
    "SOCKS": b"\x05\x01\x00\x04\x01",
    "a lone line feed": b"\n",
    "line feeds": b"\n" * 5_000,
    "carriage returns": b"\r" * 5_000,
    "NULs": b"\x00" * 70_000,
    "0xff": b"\xff" * 70_000,
    "quotes": b'"' * 70_000,
    "frames before any handshake": frame(TEXT, b"x") * 50,
    **{f"random bytes {seed}": garbage(seed, 100 * seed * seed) for seed in range(5, 30)},
}


def places(server):
    yield "http", ("127.0.0.1", server.http_port)
    yield "http.socket", server.http_socket
    yield "jsonl", ("127.0.0.1", server.jsonl_port)
    yield "events", server.events_socket
    yield "ingest", server.ingest_socket
    yield "declared", server.channel_socket("declared")


def test_garbage_at_every_door_hurts_nobody(watched):
    """Whole, then the writer ends its side: HTTP answers 4xx or 5xx, if at all, and ends; nobody else notices."""
    with Crowd() as crowd:
        sent = []
        for place, address in places(watched):
            for name, data in GARBAGE.items():
                connection = crowd.add(Connection(address, place=place, name=name))
                for start in range(0, len(data), 60_000):
                    connection.send(data[start : start + 60_000])
                    crowd.read()
                connection.finish()
                sent.append(connection)
        of_http = [each for each in sent if each.place.startswith("http")]
        crowd.read_until(lambda: all(each.ended for each in of_http), "HTTP to end what is not HTTP")
        writers = [each for each in sent if each.place in ("ingest", "declared")]
        crowd.read_until(lambda: all(each.ended for each in writers), "writers to be let go")
        for connection in of_http:
            if connection.data and b"HTTP/1.1 200" not in connection.data:
                status = int(connection.data.split(b" ")[1])
                assert 400 <= status <= 505, (connection.name, connection.data[:100])
    assert watched.metric("fanout_events_refused_total") > 0


@pytest.mark.parametrize("seed", range(3))
def test_garbage_behind_a_good_beginning_hurts_nobody(watched, seed):
    """A handshake, a request head, an ack line, and then anything: in pieces, from many at once."""
    dice = random.Random(seed)
    beginnings = {
        "http": [
            http1.request("GET", "/v1/events", upgrade_headers()),
            http1.request("GET", "/v1/events", {"Accept": "text/event-stream"}),
            http1.request("POST", "/v1/events", {"Content-Type": "application/json", "Content-Length": "1000"}),
            http1.request("POST", "/v1/events", {"Content-Type": program.NDJSON, "Transfer-Encoding": "chunked"}),
        ],
        "ingest": [b'{"$ack":true}\n', b'{"$publish":{"event":'],
        "events": [b'{"$subscribe":'],
    }
    addresses = dict(places(watched))
    with Crowd() as crowd:
        for _ in range(150):
            place = dice.choice(list(beginnings))
            connection = crowd.add(Connection(addresses[place]))
            pieces = [dice.choice(beginnings[place]), *(dice.randbytes(dice.randrange(1, 3_000)) for _ in range(4))]
            for piece in pieces:
                connection.send(piece)
                crowd.read()
            if dice.random() < 0.5:
                crowd.remove(connection).reset()


def test_lines_without_end_cost_their_writers_the_connection(watched):
    """At every door at once; what is kept of them meanwhile is bounded by the longest line there may be."""
    with contextlib.ExitStack() as opened:
        streams = [opened.enter_context(ByteStream.unix(watched.ingest_socket)) for _ in range(4)]
        streams += [opened.enter_context(ByteStream.unix(watched.channel_socket("declared"))) for _ in range(4)]
        senders = [
            threading.Thread(target=stream.send_until_refused, args=(b'{"a":"' + b"x" * (2 * MEBIBYTE),))
            for stream in streams
        ]
        for thread in senders:
            thread.start()
        for thread in senders:
            thread.join()
        for stream in streams:
            assert stream.rest() == b""
    wait_until(lambda: watched.metric("fanout_input_buffers") == 0, "the input to be forgotten")


# WebSocket: what test_websocket.py leaves


def zeros(head, payload=b""):
    """A frame by its first two bytes, masked with zeros."""
    return head + b"\x00\x00\x00\x00" + payload


FRAMES = {
    **{f"reserved opcode {opcode}": (frame(opcode, b""), 1002) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    **{f"reserved bits {bits}": (frame(TEXT, b"x", reserved=bits), 1002) for bits in range(1, 8)},
    "a reserved bit on a continuation": (
        frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b", reserved=4),
        1002,
    ),
    "an unmasked ping": (frame(PING, b"x", masked=False), 1002),
    "an unmasked close": (frame(CLOSE, close_payload(1000), masked=False), 1002),
    "an unmasked continuation": (
        frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b", masked=False),
        1002,
    ),
    "a ping of 126 bytes": (frame(PING, b"x" * 126), 1002),
    "a ping whose length takes 64 bits": (frame(PING, b"x", length_form=64), 1002),
    "a fragmented close": (frame(CLOSE, close_payload(1000), fin=False), 1002),
    "125 bytes in 16 bits": (zeros(b"\x81\xfe\x00\x7d", b"x" * 125), 1002),
    "0 bytes in 16 bits": (zeros(b"\x81\xfe\x00\x00"), 1002),
    "65,535 bytes in 64 bits": (zeros(b"\x81\xff" + struct.pack("!Q", 65_535), b"x" * 65_535), 1002),
    "the top bit of 64": (zeros(b"\x81\xff" + struct.pack("!Q", 1 << 63)), 1002),
    "all bits of 64": (zeros(b"\x81\xff" + b"\xff" * 8), 1002),
    "a message of 2^62": (zeros(b"\x81\xff" + struct.pack("!Q", 1 << 62)), 1009),
    "64 KiB and a byte": (frame(TEXT, b"x" * 65_537), 1009),
    "64 KiB and a byte in fragments": (
        frame(TEXT, b"x" * 65_000, fin=False) + frame(CONTINUATION, b"x" * 537),
        1009,
    ),
    "a binary beginning": (frame(BINARY, b"x", fin=False), 1003),
    "a binary message behind a text": (frame(TEXT, b"x") + frame(BINARY, b"y"), 1003),
    "a continuation of nothing": (frame(CONTINUATION, b"", fin=False), 1002),
    "a continuation behind a whole message": (frame(TEXT, b"x") + frame(CONTINUATION, b"y"), 1002),
    "a ping between, then a new message": (
        frame(TEXT, b"a", fin=False) + frame(PONG, b"") + frame(TEXT, b"b"),
        1002,
    ),
    "an overlong character": (frame(TEXT, b"\xc0\x80"), 1007),
    "a character beyond the last": (frame(TEXT, b"\xf4\x90\x80\x80"), 1007),
    "half a character at the end of fragments": (
        frame(TEXT, b"\xf0\x9f", fin=False) + frame(CONTINUATION, b"\x98"),
        1007,
    ),
    "a bad character over three fragments": (
        frame(TEXT, b"\xf0", fin=False) + frame(CONTINUATION, b"\x9f", fin=False) + frame(CONTINUATION, b"\x28"),
        1007,
    ),
    "1,025 fragments": (
        frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * 1_023 + frame(CONTINUATION, b""),
        1008,
    ),
    "a close of one byte": (frame(CLOSE, b"\x03"), 1002),
    **{
        f"a close with {code}": (frame(CLOSE, close_payload(code)), 1002)
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535)
    },
    "a close whose reason is not UTF-8": (frame(CLOSE, close_payload(1000, b"\xed\xa0\x80")), 1007),
}


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "in pieces"])
def test_a_frame_that_breaks_a_rule_ends_with_its_code_alone(server, name, pieces):
    data, code = FRAMES[name]
    with server.connect() as stream:
        socket = WebSocket(stream)
        socket.receive_text()
        if pieces and len(data) < 5_000:
            stream.send_in_pieces(data, until_refused=True)
        else:
            stream.send_until_refused(data)
        assert socket.receive_close() == code
        assert socket.texts_before_close == [] or code == 1003, "after its own fault a client gets no $bye"
        assert stream.rest() == b""


def test_a_hundred_control_frames_at_once_are_answered_and_twice_as_many_are_not(server):
    """The limit is a hundred a second: two hundred and one are too many for any two seconds that they may fall into."""
    with server.connect() as stream:
        socket = WebSocket(stream)
        socket.receive_text()
        stream.send(b"".join(frame(PING, b"%d" % number) for number in range(100)))
        assert [socket.receive_frame() for _ in range(100)] == [(PONG, b"%d" % number) for number in range(100)]
    with server.connect() as stream:
        socket = WebSocket(stream)
        socket.receive_text()
        stream.send_until_refused(frame(PING, b"x") * 201)
        assert socket.receive_close() == 1008

"""Which events a subscriber gets: channels, patterns, kinds, `$subscribe`, and silence about control records."""

import pytest

import program
from http1 import request
from readers import HTTP_TRANSPORTS, TRANSPORTS, subscribe_message
from rfc6455 import PING, PONG, TEXT, upgrade_headers
from streams import ByteStream

MATCHES = [
    ("a/b", "a/b", True),
    ("a/b", "a/bc", False),
    ("a/b", "a", False),
    ("a/b", "a/b/c", False),
    ("a/*", "a/b", True),
    ("a/*", "a", False),
    ("a/*", "a/b/c", False),
    ("*/b", "a/b", True),
    ("*/b", "b", False),
    ("*/*/c", "a/b/c", True),
    ("a/*/c", "a/b/d", False),
    ("a/**", "a/b", True),
    ("a/**", "a/b/c", True),
    ("a/**", "a/b/c/d", True),
    ("a/**", "a", False),
    ("a/**", "ab/c", False),
    ("*/**", "a/b/c", True),
    ("*/**", "a", False),
    ("*", "a", True),
    ("*", "a/b", False),
    ("**", "a", True),
    ("**", "a/b/c", True),
]


@pytest.mark.parametrize("pattern, name, matches", MATCHES)
def test_patterns_match_whole_segments(server, greeted, channel, pattern, name, matches):
    reader = greeted("http-jsonl", channel=[pattern, channel])
    published = server.publish('{"n":1}', channel=name)
    sentinel = server.publish('{"n":2}', channel=channel)
    reads = reader.next().json()["seq"]
    # Whatever did not match is skipped, so the first record read tells.
    assert reads == (published if matches else sentinel)["seq"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_subscriber_names_several_channels(server, greeted, channel, transport):
    reader = greeted(transport, channel=[f"{channel}/a", f"{channel}/b/*"])
    wanted = []
    for name in ("a", "x", "b/1", "b", "b/2", "a"):
        ack = server.publish("{}", channel=f"{channel}/{name}")
        if name not in ("x", "b"):
            wanted.append(ack["seq"])
    assert [reader.next().json()["seq"] for _ in wanted] == wanted


def test_an_event_that_two_patterns_match_comes_once(server, greeted, channel):
    reader = greeted("http-jsonl", channel=[f"{channel}/a", f"{channel}/*", f"{channel}/**", f"{channel}/a"])
    first = server.publish("{}", channel=f"{channel}/a")
    second = server.publish("{}", channel=f"{channel}/b")
    assert [reader.next().json()["seq"] for _ in range(2)] == [first["seq"], second["seq"]]


def test_a_pattern_may_be_percent_encoded(server, channel):
    with server.connect() as stream:
        stream.send(request("GET", f"/v1/events?channel={channel}%2F%2a%2A"))
        stream.until(b"\n")
        stream.until(b"$hello")
        stream.until(b"\n")
        ack = server.publish("{}", channel=f"{channel}/a/b")
        assert stream.until(b"\n").startswith(b'{"seq":%d,' % ack["seq"])


BAD_PATTERNS = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    "a b",
    "a,b",
    "**/a",
    "a/**/b",
    "a*",
    "*a",
    "a/b*",
    "***",
    "a/***",
    "é",
    "$a",
    "a?",
    "%zz",
]


@pytest.mark.parametrize("pattern", BAD_PATTERNS)
def test_what_is_no_pattern_is_refused(server, pattern):
    encoded = pattern if pattern == "%zz" else "".join(f"%{byte:02x}" for byte in pattern.encode())
    response = server.get(f"/v1/events?channel={encoded}", {"Accept": "text/event-stream"})
    assert response.status == 400, response
    assert response.error_code()


BAD_NAMES = ["", "/a", "a/", "a//b", "a b", "a,b", "*", "a/*", "**", "é", "a$", ".", "..", "a/../b", "a/./b", "x" * 256]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_what_is_no_channel_name_is_refused(server, name):
    response = server.post("{}", channel=name)
    assert response.status == 400, response
    assert response.error_code()


@pytest.mark.parametrize("name", ["a", "A.b_c~d-9", "...", "0/1/2/3/4/5/6/7/8/9", "x" * 255])
def test_what_is_a_channel_name_is_taken_as_it_is(server, greeted, name):
    reader = greeted("unix")
    ack = server.publish("{}", channel=name)
    assert reader.next().text == b'{"seq":%d,"channel":"%s"}' % (ack["seq"], name.encode())


# Kinds


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_types_picks_events_by_kind(server, greeted, channel, transport):
    reader = greeted(transport, channel=[channel], types=["a", "b.c"])
    kinds = ["a", "x", "b.c", "ab", "", "a", "A", "b"]
    acks = [server.publish('{"type":"%s"}' % kind, channel=channel) for kind in kinds]
    server.publish("{}", channel=channel)
    server.publish('{"nested":{"type":"a"}}', channel=channel)
    last = server.publish('{"n":1,"type":"a"}', channel=channel)
    wanted = [acks[0]["seq"], acks[2]["seq"], acks[5]["seq"], last["seq"]]
    assert [reader.next().json()["seq"] for _ in wanted] == wanted


def test_a_kind_written_with_escapes_is_the_same_kind(server, greeted, channel):
    reader = greeted("http-jsonl", channel=[channel], types=["ab"])
    ack = server.publish('{"t\\u0079pe":"\\u0061b"}', channel=channel)
    assert reader.next().text == b'{"seq":%d,"channel":"%s","t\\u0079pe":"\\u0061b"}' % (ack["seq"], channel.encode())


def test_a_kind_may_be_percent_encoded(server, channel):
    with server.connect() as stream:
        stream.send(request("GET", f"/v1/events?channel={channel}&types=caf%C3%A9,a%20b"))
        stream.until(b"$hello")
        stream.until(b"\n")
        server.publish('{"type":"x"}', channel=channel)
        for kind in ("café", "a b"):
            ack = server.publish('{"type":"%s"}' % kind, channel=channel)
            assert stream.until(b"\n").startswith(b'{"seq":%d,' % ack["seq"])


# $subscribe


@pytest.mark.parametrize("transport", ["unix", "tcp", "websocket", "http.socket-websocket"])
def test_subscribe_replaces_what_the_reader_had(server, greeted, channel, transport):
    reader = greeted(transport)
    server.publish('{"n":0}', channel=f"{channel}/other")
    assert reader.next_event().json()["n"] == 0
    reader.subscribe(channel=[f"{channel}/*"], types=["t"])
    reader.next_control("$hello")
    server.publish('{"type":"t"}', channel="other")
    server.publish('{"type":"u"}', channel=f"{channel}/a")
    ack = server.publish('{"type":"t"}', channel=f"{channel}/a")
    assert reader.next_event().json()["seq"] == ack["seq"]


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_what_else_a_line_reader_writes_is_ignored(server, greeted, transport):
    reader = greeted(transport)
    reader.stream.send(b'hello\n\x00\xff\n{"$subscribe":{"channel":["nowhere"]}}\n')
    ack = server.publish("{}")
    assert reader.next_event().json()["seq"] == ack["seq"]


def test_what_else_a_websocket_reader_writes_is_ignored(server, greeted):
    reader = greeted("websocket")
    for text in (b"hello", b'{"$subscribe":{"channel":["nowhere"]}}', b"{", b""):
        reader.connection.send(TEXT, text)
    reader.connection.send(PING, b"done")
    assert reader.connection.receive_frame() == (PONG, b"done")
    ack = server.publish("{}")
    assert reader.next_event().json()["seq"] == ack["seq"]


def test_subscribe_may_come_before_hello_has_been_read(server, channel):
    with ByteStream.unix(server.events_socket) as stream:
        stream.send(subscribe_message(channel=[channel]) + b"\n")
        assert b"$hello" in stream.until(b"\n")
        assert b"$hello" in stream.until(b"\n")
        server.publish("{}", channel=f"{channel}-other")
        ack = server.publish("{}", channel=channel)
        assert stream.until(b"\n").startswith(b'{"seq":%d,' % ack["seq"])


def test_subscribe_may_come_in_pieces(server, channel):
    with ByteStream.tcp(server.jsonl_port) as stream:
        stream.until(b"\n")
        stream.send_in_pieces(subscribe_message(channel=[channel]) + b"\n")
        assert b"$hello" in stream.until(b"\n")
        ack = server.publish("{}", channel=channel)
        assert stream.until(b"\n").startswith(b'{"seq":%d,' % ack["seq"])


# control=off


@pytest.mark.parametrize("transport", [name for name in HTTP_TRANSPORTS])
def test_control_off_leaves_nothing_but_events(server, read, channel, transport):
    # Over HTTP the response's head, which `read` waits for, says that the subscription stands.
    reader = read(transport, channel=[channel], control="off")
    ack = server.publish('{"type":"x"}', channel=channel)
    assert reader.next().json()["seq"] == ack["seq"]


def test_control_off_may_be_asked_for_on_a_websocket_by_subscribe(server, greeted, channel):
    reader = greeted("websocket")
    reader.subscribe(channel=[channel], control="off")
    reader.connection.send(PING, b"subscribed")
    opcode, payload = reader.connection.receive_frame()
    assert (opcode, payload) == (PONG, b"subscribed")
    ack = server.publish("{}", channel=channel)
    assert reader.next().json()["seq"] == ack["seq"]


@pytest.mark.parametrize("wish", [{"channel": "a"}, {"control": "on"}])
def test_where_nobody_is_greeted_who_does_not_ask_the_second_hello_is_still_ones_own(start_server, tmp_path, wish):
    """So whoever asks in a line need not know how the server is configured."""
    silent = {"channels": {"**": {"control": "off"}}}
    server = start_server(*program.configured(tmp_path, silent))
    with ByteStream.unix(server.events_socket) as stream:
        first = server.publish("{}", channel="a")["seq"]
        assert stream.until(b"\n").startswith(b'{"seq":%d,' % first)
        stream.send(subscribe_message(**wish) + b"\n")
        if "control" in wish:
            assert b'"$hello"' in stream.until(b"\n")
            assert b'"$hello"' in stream.until(b"\n")
        else:
            server.publish("{}", channel="a")
            stream.until(b"\n")
        last = server.publish("{}", channel="a")["seq"]
        assert stream.until(b"\n").startswith(b'{"seq":%d,' % last)


@pytest.mark.parametrize("name", ["events.socket", "http"])
def test_tail_reads_where_nobody_is_greeted_who_does_not_ask(start_server, start, tmp_path, name):
    server = start_server(*program.configured(tmp_path, {"channels": {"**": {"control": "off"}}}))
    tail = start("tail", "--control", server.url if name == "http" else server.events_socket)
    tail.stdout.wait_for_event(type="$hello")
    server.publish('{"type":"x"}')
    tail.stdout.wait_for_event(type="x")


def test_control_on_is_the_same_as_saying_nothing(read):
    assert read("sse", control="on").next().event == "$hello"


@pytest.mark.parametrize("query", ["control=maybe", "on_lag=explode", "on_gap=maybe", "from=yesterday", "from="])
def test_a_value_that_means_nothing_is_refused(server, query):
    response = server.get(f"/v1/events?{query}")
    assert response.status == 400, response
    assert response.error_code()


def test_a_websocket_reader_refused_in_its_query_gets_an_http_answer(server):
    response = server.get("/v1/events?channel=a,b", upgrade_headers())
    assert response.status == 400
    assert response.error_code()

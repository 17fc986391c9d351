"""Keep-alives: what an idle reader hears on each transport. Servers here beat once a second instead of every 15."""

import pytest

from program import Server
from readers import PING as PING_RECORD
from readers import open_reader
from rfc6455 import PING


@pytest.fixture(scope="module")
def beating(io):
    server = Server("--heartbeat", "1", io=io)
    yield server
    server.stop()
    server.remove()


@pytest.mark.parametrize("transport", ["tcp", "http-jsonl", "http.socket-jsonl"])
def test_lines_get_a_ping_record(beating, transport):
    with open_reader(beating, transport) as reader:
        assert reader.next().json()["heartbeat_s"] == 1
        assert [reader.stream.until(b"\n") for _ in range(2)] == [PING_RECORD + b"\n"] * 2


@pytest.mark.parametrize("transport", ["sse", "http.socket-sse"])
def test_server_sent_events_get_a_comment(beating, transport):
    with open_reader(beating, transport) as reader:
        reader.next()
        assert [reader.receive_block() for _ in range(2)] == [b":\n\n"] * 2


@pytest.mark.parametrize("transport", ["websocket", "http.socket-websocket"])
def test_websockets_get_a_ping_frame(beating, transport):
    with open_reader(beating, transport) as reader:
        reader.next()
        assert reader.connection.receive_frame()[0] == PING


def test_the_events_socket_stays_silent(beating):
    with open_reader(beating, "unix") as silent, open_reader(beating, "tcp") as pinged:
        silent.next()
        pinged.next()
        for _ in range(3):
            assert pinged.stream.until(b"\n") == PING_RECORD + b"\n"
        ack = beating.publish("{}")
        assert silent.stream.until(b"\n").startswith(b'{"seq":%d,' % ack["seq"])


def test_control_off_silences_the_ping_record_too(beating):
    with open_reader(beating, "http-jsonl", control="off") as silent, open_reader(beating, "tcp") as pinged:
        pinged.next()
        for _ in range(3):
            assert pinged.stream.until(b"\n") == PING_RECORD + b"\n"
        ack = beating.publish("{}")
        assert silent.stream.until(b"\n").startswith(b'{"seq":%d,' % ack["seq"])


def test_control_off_leaves_the_comment_on_sse(beating):
    with open_reader(beating, "sse", control="off") as reader:
        assert reader.receive_block() == b":\n\n"


def test_events_do_not_break_keep_alives_in_two(beating):
    with open_reader(beating, "sse") as sse, open_reader(beating, "tcp") as lines:
        sse.next()
        lines.next()
        for reader in (sse, lines):
            for _ in range(50):
                ack = beating.publish('{"filler":"%s"}' % ("x" * 5_000))
                assert reader.next_event().json()["seq"] <= ack["seq"]

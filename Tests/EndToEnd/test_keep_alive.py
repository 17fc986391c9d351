"""Keep-alives: what an idle reader hears on each transport. Servers here beat once a second instead of every 15."""

import contextlib

import pytest

from program import Server
from readers import PING as PING_RECORD
from readers import TRANSPORTS, open_reader
from rfc6455 import PING, PONG


@pytest.fixture(scope="module")
def beating(io):
    server = Server("--heartbeat", "1", io=io)
    yield server
    server.stop()
    server.remove()


def test_each_transport_is_kept_alive_in_its_own_way(beating):
    """A record on lines, a comment on SSE, a ping frame on WebSockets. All at once: each period is a second."""
    with contextlib.ExitStack() as open_readers:
        readers = {
            transport: open_readers.enter_context(open_reader(beating, transport))
            for transport in TRANSPORTS
            if transport != "unix"
        }
        for reader in readers.values():
            assert reader.next_control("$hello").json()["heartbeat_s"] == 1
        for _ in range(2):
            for transport, reader in readers.items():
                if "websocket" in transport:
                    opcode, payload = reader.connection.receive_frame()
                    assert opcode == PING, transport
                    reader.connection.send(PONG, payload)
                elif "sse" in transport:
                    assert reader.receive_block() == b":\n\n", transport
                else:
                    assert reader.stream.until(b"\n") == PING_RECORD + b"\n", transport


def test_the_events_socket_and_control_off_are_silent_but_for_the_comment_on_sse(beating):
    with contextlib.ExitStack() as open_readers:

        def opened(transport, **query):
            return open_readers.enter_context(open_reader(beating, transport, **query))

        silent = {
            "events socket": opened("unix"),
            "lines": opened("http-jsonl", control="off"),
            "http.socket": opened("http.socket-jsonl", control="off"),
        }
        commented, pinged = opened("sse", control="off"), opened("tcp")
        silent["events socket"].next_control("$hello")
        pinged.next_control("$hello")
        for _ in range(3):
            assert pinged.stream.until(b"\n") == PING_RECORD + b"\n"
        assert commented.receive_block() == b":\n\n"
        ack = beating.publish("{}")
        for name, reader in silent.items():
            assert reader.stream.until(b"\n").startswith(b'{"seq":%d,' % ack["seq"]), name


def test_events_do_not_break_keep_alives_in_two(beating):
    with open_reader(beating, "sse") as sse, open_reader(beating, "tcp") as lines:
        sse.next()
        lines.next()
        for reader in (sse, lines):
            for _ in range(50):
                ack = beating.publish('{"filler":"%s"}' % ("x" * 5_000))
                assert reader.next_event().json()["seq"] <= ack["seq"]

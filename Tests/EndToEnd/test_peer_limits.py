"""Too many connections of one address or one user: each is told in its own way, and nobody else notices."""

import contextlib
import json
import os
import socket

import pytest

from http1 import read_response, request
from readers import open_http_reader, open_reader, parse_block
from rfc6455 import upgrade_headers
from streams import DEADLINE_S, ByteStream, Ended, wait_until

LIMIT = 3


def dial(port, source):
    """A TCP connection from an address of this machine: all of 127.0.0.0/8 is."""
    return ByteStream(socket.create_connection(("127.0.0.1", port), DEADLINE_S, (source, 0)))


def ask(stream, target, headers=()):
    with stream:
        stream.send(request("GET", target, headers))
        return read_response(stream)


def check_refused(response):
    assert (response.status, response.error_code()) == (429, "too_many_connections"), response
    assert response.header("retry-after").isdigit() and response.header("connection") == "close"


def check_turned_away(bye):
    assert (bye["type"], bye["code"], bye["why"]) == ("$bye", 1013, "too_many_connections"), bye
    assert "last" not in bye and bye["retry_ms"] > 0, bye


@pytest.fixture
def crowded(io, start_server):
    """A server that allows three connections an address, with as many readers of 127.0.0.2."""
    server = start_server("--max-per-address", LIMIT)
    readers = [open_http_reader(dial(server.http_port, "127.0.0.2"), "sse") for _ in range(LIMIT)]
    for reader in readers:
        reader.next_control("$hello")
    yield server, readers
    for reader in readers:
        reader.close()


def test_each_transport_is_told_in_its_own_way(crowded):
    server, readers = crowded
    for target, headers in {"/v1/events": {}, "/v1/channels": {}, "/": {}}.items():
        check_refused(ask(dial(server.http_port, "127.0.0.2"), target, headers))
    check_refused(ask(dial(server.http_port, "127.0.0.2"), "/v1/events", upgrade_headers()))
    forged = {"X-Forwarded-For": "192.0.2.9", "Forwarded": "for=192.0.2.9"}
    check_refused(ask(dial(server.http_port, "127.0.0.2"), "/v1/events", forged))
    browser = {"Accept": "text/event-stream", "Sec-Fetch-Mode": "cors", "Cache-Control": "no-cache"}
    stream = ask(dial(server.http_port, "127.0.0.2"), "/v1/events", browser)
    assert stream.status == 200 and stream.header("content-type") == "text/event-stream"
    bye = parse_block_without_id(stream.body)
    check_turned_away(bye)
    with dial(server.jsonl_port, "127.0.0.2") as raw:
        (line,) = raw.rest().splitlines()
        check_turned_away(json.loads(line))
    for target in ("/healthz", "/readyz", "/metrics"):
        assert ask(dial(server.http_port, "127.0.0.2"), target).status == 200
    assert server.metric("fanout_refused_total", reason="address") == 7
    assert server.metric("fanout_refused_total", reason="user") == 0
    # Nobody else is turned away, and those who were there get what is published.
    assert ask(dial(server.http_port, "127.0.0.3"), "/v1/channels").status == 200
    cursor = server.publish('{"n":1}')["cursor"]
    assert [reader.next_event().id for reader in readers] == [cursor] * LIMIT


def parse_block_without_id(body):
    """The one `$bye` of a stream that never began: it has no id, or a browser would forget the one it has."""
    assert b"\nid:" not in body, body
    record = parse_block(body)
    assert record.event == "$bye" and record.retry == record.json()["retry_ms"], record
    return record.json()


def test_a_place_that_is_left_is_free_again(crowded):
    server, readers = crowded
    check_refused(ask(dial(server.http_port, "127.0.0.2"), "/v1/channels"))
    readers.pop().close()

    def served():
        return ask(dial(server.http_port, "127.0.0.2"), "/v1/channels").status == 200

    wait_until(served, "the place to be free")


def test_a_flood_of_one_address_takes_a_bounded_number_of_places(crowded):
    """Sixty-four connections beyond the limit may ask why; the others are reset, and the server stays free."""
    server, _ = crowded
    with contextlib.ExitStack() as opened:
        flood = []
        for _ in range(200):
            # A reset may come before `connect` has returned.
            with contextlib.suppress(ConnectionResetError):
                flood.append(opened.enter_context(dial(server.http_port, "127.0.0.2")))

        def turned_away():
            return server.metric("fanout_refused_total", reason="address")

        wait_until(lambda: turned_away() >= 200 - 64, "the others to be reset")
        assert server.metric("fanout_connections", transport="http") <= 64 + 2
        answered = 0
        for stream in flood:
            with contextlib.suppress(Ended, ConnectionResetError, BrokenPipeError):
                stream.send(request("GET", "/v1/channels"))
                check_refused(read_response(stream))
                answered += 1
        assert 1 <= answered <= 64
        assert ask(dial(server.http_port, "127.0.0.3"), "/v1/channels").status == 200
    log = server.stderr.text()
    assert log.count("127.0.0.2 has 3 connections open, and no address may have more") >= 1, log
    assert len(log.splitlines()) < 20, log


def test_without_a_limit_one_address_may_have_any_number(io, start_server):
    server = start_server()
    with contextlib.ExitStack() as opened:
        for _ in range(1100):
            opened.enter_context(ByteStream.tcp(server.http_port))
        assert server.get("/v1/channels").status == 200
    assert server.metric("fanout_refused_total") == 0


@contextlib.contextmanager
def user(number):
    """This thread as another user, as far as sockets are concerned."""
    before = os.geteuid()
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")
def test_users_of_the_unix_sockets_are_limited_one_by_one(io, start_server):
    server = start_server("--max-per-user", LIMIT)
    for place in (server.directory, server.runtime, *server.runtime.glob("*.socket")):
        place.chmod(0o777)
    readers = []
    with user(1234):
        readers += [open_reader(server, "unix"), open_reader(server, "http.socket-sse")]
        ingest = ByteStream.unix(server.ingest_socket)
    # 65534 stands for every user without a number here, and counts as one of its own.
    with user(65_534):
        readers += [open_reader(server, "unix") for _ in range(LIMIT)]
    for reader in readers:
        reader.next_control("$hello")
    for number in (1234, 65_534):
        with user(number):
            with ByteStream.unix(server.events_socket) as raw:
                (line,) = raw.rest().splitlines()
                check_turned_away(json.loads(line))
            check_refused(ask(ByteStream.unix(server.http_socket), "/v1/events"))
            assert ask(ByteStream.unix(server.http_socket), "/healthz").status == 200
            with ByteStream.unix(server.ingest_socket) as refused:
                refused.send_until_refused(b'{"n":0}\n')
                assert refused.rest() == b""
    assert server.metric("fanout_refused_total", reason="user") == 6
    assert server.ingest(b'{"$ack":true}\n{"n":1}\n'), "root is another user"
    ingest.send(b'{"n":2}\n')
    for reader in readers:
        assert [reader.next_event().json()["n"] for _ in range(2)] == [1, 2]
        reader.close()
    ingest.close()

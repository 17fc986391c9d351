"""How streams end: every code of the one vocabulary, on every transport, and what a server does that is told to stop."""

import contextlib
import random
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

import http1
import program
from endings import TRANSPORTS, Collector, check_bye, last_cursor, lines, open_with_small_buffer, read_to_end
from readers import EventSourceReader, open_reader
from rfc6455 import BINARY, TEXT, upgrade_headers
from streams import ByteStream, Ended, wait_until

SIGNALS = [signal.SIGTERM, signal.SIGINT]
WRITTEN_BYTES_MAX = 65_536


def greeted(server, transport, **query):
    reader = open_reader(server, transport, **query)
    reader.greeting = reader.next_control("$hello").json()
    return reader


def all_greeted(server, **query):
    return {transport: greeted(server, transport, **query) for transport in TRANSPORTS}


def delete(server, channel):
    response = server.exchange(http1.request("DELETE", f"/v1/channels?channel={channel}"))
    assert response.status == 200, response


# 1000


def test_the_end_of_a_channel_ends_every_stream_of_it(io, start_server):
    server = start_server()
    readers = all_greeted(server, channel=["jobs/7"])
    other = greeted(server, "unix")
    for number in range(3):
        last = server.publish('{"n":%d}' % number, channel="jobs/7")["cursor"]
    delete(server, "jobs/7")
    for transport, ending in Collector(readers).endings().items():
        assert [event["n"] for event in ending.events()] == [0, 1, 2], transport
        check_bye(transport, ending, 1000, "ended", last)
        assert not ending.was_reset, transport
    server.publish('{"n":3}')
    assert [other.next_event().json()["n"] for _ in range(4)] == [0, 1, 2, 3], "who reads more goes on"
    other.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_who_comes_after_the_end_is_told_so(server, channel, transport):
    last = server.publish("{}", channel=channel)["cursor"]
    delete(server, channel)
    if transport == "sse":
        response = server.get(f"/v1/events?channel={channel}", {"Accept": "text/event-stream"})
        assert response.status == 204, "a browser's EventSource stops on a 204"
        return
    ending = read_to_end(greeted(server, transport, channel=[channel]))
    assert ending.records == []
    check_bye(transport, ending, 1000, "ended", last)


def test_the_end_of_the_input_ends_every_stream(io, start_server):
    server = start_server("--stdin", "--exit-on-eof", stdin=subprocess.PIPE)
    readers = all_greeted(server)
    collector = Collector(readers)
    server.stdin.write(b"".join(b'{"n":%d}\n' % number for number in range(500)))
    server.stdin.close()
    for transport, ending in collector.endings().items():
        assert ending.seqs() == list(range(1, 501)), transport
        check_bye(transport, ending, 1000, "ended", last_cursor(readers[transport], ending))
    server.check_stopped()


# 1001


@pytest.mark.parametrize("number", SIGNALS)
def test_a_stop_under_load_cuts_no_event_and_names_the_last_one(io, start_server, number):
    server = start_server()
    readers = {f"{transport} {copy}": greeted(server, transport) for transport in TRANSPORTS for copy in range(2)}
    collector = Collector(readers)
    acked = []

    def publish():
        with server.connect() as stream, contextlib.suppress(Ended, ConnectionError):
            body = b'{"filler":"%s"}\n' % (b"x" * 200) * 20
            request = http1.request("POST", "/v1/events", {"Content-Type": program.NDJSON}, body)
            while True:
                stream.send(request)
                acked.append(http1.read_response(stream).json()["seq"])

    def ingest():
        with ByteStream.unix(server.ingest_socket) as stream, contextlib.suppress(ConnectionError):
            while True:
                stream.send(b'{"a":1}\n' * 10)
                time.sleep(0.005)

    publishers = [threading.Thread(target=publish), threading.Thread(target=ingest)]
    for thread in publishers:
        thread.start()
    wait_until(lambda: acked and acked[-1] > 2_000, "the load")
    server.signal(number)
    endings = collector.endings()
    for thread in publishers:
        thread.join()
    server.check_stopped()
    for name, ending in endings.items():
        seqs = ending.seqs()
        assert seqs == list(range(1, len(seqs) + 1)), f"{name}: a hole"
        check_bye(name, ending, 1001, "shutdown", last_cursor(readers[name], ending), comes_back=True)
        assert seqs[-1] >= acked[-1], f"{name}: an event that was acked is not there"
        assert not ending.was_reset, name


def test_a_server_does_not_wait_for_readers_who_stay(start_server):
    """They take nothing and close nothing; both backends at once, as each waits for its five seconds."""
    backends = ["epoll"] if program.io_uring_refusal() else ["io_uring", "epoll"]
    servers = [start_server(io=io) for io in backends]
    stayed = [{transport: greeted(server, transport) for transport in TRANSPORTS} for server in servers]
    for server in servers:
        server.signal(signal.SIGTERM)
    for server, readers in zip(servers, stayed, strict=True):
        server.check_stopped()
        for transport, ending in Collector(readers).endings().items():
            check_bye(transport, ending, 1001, "shutdown", comes_back=True)


def test_fifty_readers_are_not_told_to_come_back_at_once(io, start_server):
    server = start_server()
    readers = {f"{transport} {copy}": greeted(server, transport) for transport in TRANSPORTS for copy in range(10)}
    collector = Collector(readers)
    server.signal(signal.SIGTERM)
    times = []
    for name, ending in collector.endings().items():
        times.append(check_bye(name, ending, 1001, "shutdown", comes_back=True)["retry_ms"])
    assert len(set(times)) >= 10, sorted(times)
    server.check_stopped()


@pytest.fixture
def held_up(io, start_server):
    """Makes a server whose drain is held up: by a reader that takes nothing of what waits for it."""
    with contextlib.ExitStack() as stopped:

        def make():
            server = start_server()
            reader = stopped.enter_context(open_with_small_buffer(server, "tcp"))
            for _ in range(3):
                server.publish_batch(lines(900, 1_000))
            return server, reader

        yield make


def readiness(server, unix):
    try:
        return server.get("/readyz", unix=unix).status
    except (ConnectionError, FileNotFoundError, Ended):
        return None


def test_a_server_that_drains_is_not_ready_and_still_ends_by_itself(held_up):
    server, stopped = held_up()
    with server.connect() as kept:
        kept.send(http1.request("GET", "/readyz"))
        assert http1.read_response(kept).status == 200
        healthy = greeted(server, "sse")
        server.signal(signal.SIGTERM)
        check_bye("sse", read_to_end(healthy), 1001, "shutdown", comes_back=True)
        began = time.monotonic()
        with contextlib.suppress(ConnectionError, Ended):
            kept.send(http1.request("GET", "/readyz"))
            assert http1.read_response(kept).status == 503
        looks = 0
        while server.is_running() and time.monotonic() - began < 2:
            assert {readiness(server, unix) for unix in (False, True)} <= {None, 503}
            looks += 1
        assert looks > 1, "the stopped reader should have held the drain up"
    server.check_stopped()
    stopped.close()


@pytest.mark.parametrize("first, second, code", [("INT", "TERM", 143), ("TERM", "INT", 130)])
def test_a_second_signal_of_the_other_kind_ends_at_once_too(held_up, first, second, code):
    server, _ = held_up()
    healthy = greeted(server, "unix")
    server.signal(signal.Signals[f"SIG{first}"])
    check_bye("unix", read_to_end(healthy), 1001, "shutdown", comes_back=True)
    assert server.is_running()
    server.signal(signal.Signals[f"SIG{second}"])
    assert server.wait() == code


def test_a_broken_pipe_is_nothing(io, start_server):
    """The signal itself, and readers that break away while their events are on the way."""
    server = start_server()
    staying = Collector({"staying": greeted(server, "unix")})
    batch = lines(20, 500)
    dice = random.Random(13)
    for round_ in range(40):
        reader = greeted(server, dice.choice(TRANSPORTS))
        server.publish_batch(batch)
        reader.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        reader.close()
        server.publish_batch(batch)
        if round_ % 10 == 0:
            server.signal(signal.SIGPIPE)
    server.stop()
    assert staying.endings()["staying"].seqs() == list(range(1, 40 * 2 * len(batch) + 1))


# 1003, 1008: what the reader itself did


def test_a_binary_message_is_1003(server):
    reader = greeted(server, "websocket")
    last = server.publish("{}")["cursor"]
    reader.next_event()
    reader.connection.send(BINARY, b"x")
    check_bye("websocket", read_to_end(reader), 1003, "binary", last)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_reader_that_writes_too_much_is_1008(server, transport):
    other = greeted(server, transport)
    reader = greeted(server, transport)
    last = server.publish("{}")["cursor"]
    reader.next_event()
    collector = Collector({transport: reader})
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for _ in range(WRITTEN_BYTES_MAX // 1_000 + 2):
            if transport == "websocket":
                reader.connection.send(TEXT, b"x" * 1_000)
            else:
                reader.stream.send(b"x" * 999 + b"\n")
    check_bye(transport, collector.endings()[transport], 1008, "policy", last)
    server.publish("{}")
    assert [other.next_event().json()["channel"] for _ in range(2)] == ["events"] * 2
    other.close()


@pytest.mark.parametrize("transport", ["unix", "tcp", "websocket"])
@pytest.mark.parametrize(
    "options, why",
    [
        ({"from_": "yesterday"}, "bad_cursor"),
        ({"channel": ["a//b"]}, "bad_channel"),
        ({"on_lag": "never"}, "bad_on_lag"),
    ],
)
def test_a_subscription_in_a_line_that_cannot_be_is_1008(server, transport, options, why):
    reader = greeted(server, transport)
    last = server.publish("{}")["cursor"]
    reader.next_event()
    reader.subscribe(**options)
    check_bye(transport, read_to_end(reader), 1008, why, last)


# 1013


@pytest.fixture
def full(io, start_server):
    """A server that has no place left, the readers that have them, and a writer who came before."""
    server = start_server("--max-connections", "24")
    writer = ByteStream.unix(server.ingest_socket)
    writer.send(b'{"$ack":true}\n{}\n')
    writer.until(b"\n")
    placed = []
    for _ in range(24):
        reader = open_reader(server, "unix")
        reader.greeting = reader.next().json()
        if reader.greeting["type"] == "$bye":
            break
        placed.append(reader)
    else:
        pytest.fail("the server never was full")
    yield server, placed, writer
    for opened in [*placed, writer]:
        opened.close()


def check_shed(ending):
    """Nothing but a `$bye` 1013; it names no last event, for there was none."""
    assert ending.records == []
    bye = ending.bye.json()
    assert list(bye) == ["type", "code", "why", "retry_ms"], bye
    assert (bye["code"], bye["why"]) == (1013, "overload")
    assert isinstance(bye["retry_ms"], int) and bye["retry_ms"] > 0
    return ending.bye


def test_sse_is_shed_so_that_a_browser_comes_back(full):
    """Never by 503, on which an EventSource gives up for good; and not everybody at once."""
    server, placed, _ = full
    times = []
    for _ in range(12):
        with server.connect() as stream:
            place = {"Last-Event-ID": f"{placed[0].greeting['epoch']}-0"}
            stream.send(http1.request("GET", "/v1/events", {"Accept": "text/event-stream", **place}))
            response = http1.read_head(stream)
            assert response.status == 200
            assert response.header("content-type").split(";")[0] == "text/event-stream"
            bye = check_shed(read_to_end(EventSourceReader(stream, response)))
            assert bye.id is None, "the reader was sent nothing: it must keep the place that it came with"
            assert bye.retry == bye.json()["retry_ms"]
            times.append(bye.retry)
    assert len(set(times)) > 3, times


def test_who_wants_no_control_records_is_shed_without_one(full):
    """The end of the stream is then the only sign, and still no status on which an EventSource gives up."""
    server, _, _ = full
    response = server.get("/v1/events?control=off", {"Accept": "text/event-stream"})
    assert (response.status, response.body) == (200, b"")
    assert response.header("content-type") == "text/event-stream"


def test_only_a_subscription_is_shed_by_a_stream(full):
    """A page that looks for channels, and a WebSocket, get a status that says what is wrong."""
    server, _, _ = full
    accept = {"Accept": "text/event-stream, */*"}
    for target, headers in (("/v1/channels", accept), ("/", accept), ("/v1/events", {**upgrade_headers(), **accept})):
        response = server.get(target, headers)
        assert response.status == 503 and response.error_code() == "overload", (target, response)


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_a_line_reader_is_shed_with_a_bye(full, transport):
    server, _, _ = full
    check_shed(read_to_end(open_reader(server, transport)))


@pytest.mark.parametrize("headers", [{"Accept": "application/x-ndjson"}, upgrade_headers()], ids=["jsonl", "websocket"])
def test_other_streams_are_shed_before_they_start(full, headers):
    server, _, _ = full
    response = server.get("/v1/events", headers)
    assert response.status == 503 and response.error_code() == "overload"
    assert int(response.header("retry-after")) >= 0


def test_a_full_server_says_how_it_is_hurts_nobody_and_has_a_place_again(full):
    server, placed, writer = full
    for target in ("/healthz", "/metrics"):
        assert server.get(target).status == 200
    writer.send(b'{"n":1}\n')
    writer.until(b"\n")
    assert [reader.next_event().json()["n"] for reader in placed] == [1] * len(placed)
    for _ in range(4):
        placed.pop().close()

    def has_a_place():
        with open_reader(server, "unix") as reader:
            return reader.next().json()["type"] == "$hello"

    wait_until(has_a_place, "a place")


# 4408, 4410


def test_a_place_that_is_gone_is_4410_with_that_place_in_it(io, start_server):
    """On a stream that has begun already; `last` is where the reader was, for it was sent nothing since."""
    server = start_server("--history", "0")
    server.publish("{}")
    for transport in ("unix", "tcp", "websocket"):
        reader = greeted(server, transport)
        place = f"{reader.greeting['epoch']}-0"
        reader.subscribe(from_=place, on_gap="fail")
        ending = read_to_end(reader)
        assert [record["type"] for record in ending.objects] == ["$hello"], transport
        check_bye(transport, ending, 4410, "cursor_gone", place, comes_back=True)


def test_a_place_that_is_gone_is_410_before_the_stream(io, start_server):
    server = start_server("--history", "0")
    cursor = server.publish("{}")["cursor"]
    target = f"/v1/events?on_gap=fail&from={cursor.split('-')[0]}-0"
    for headers in ({"Accept": program.NDJSON}, {"Accept": "text/event-stream"}, upgrade_headers()):
        response = server.get(target, headers)
        assert (response.status, response.error_code()) == (410, "cursor_gone")


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("code", [1000, 1001, 1008])
def test_who_wants_no_control_records_gets_no_bye_either(io, start_server, transport, code):
    """The stream ends behind the last whole event; on a WebSocket the close frame says the code, being no record."""
    server = start_server()
    server.publish("{}", channel="a")
    with contextlib.ExitStack() as opened:
        if transport in ("unix", "tcp"):
            reader = opened.enter_context(open_reader(server, transport))
            reader.next_control("$hello")
            reader.subscribe(channel=["a"], control="off")
        else:
            reader = opened.enter_context(open_reader(server, transport, channel=["a"], control="off"))
        wait_until(lambda: server.publish('{"n":1}', channel="a")["subscribers"] == 1, "the subscription")
        if code == 1000:
            delete(server, "a")
        elif code == 1001:
            server.signal(signal.SIGTERM)
        else:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for _ in range(WRITTEN_BYTES_MAX // 1_000 + 2):
                    if transport == "websocket":
                        reader.connection.send(TEXT, b"x" * 1_000)
                    else:
                        reader.stream.send(b"x" * 999 + b"\n")
        ending = read_to_end(reader)
        assert ending.bye is None and ending.controls("$gap") == []
        assert {event.get("n") for event in ending.events()} == {1}
        assert ending.close_code == (code if transport == "websocket" else None)
    if code == 1001:
        server.check_stopped()


def test_a_missing_pong_is_4408(io, start_server):
    server = start_server("--heartbeat", "1")
    reader = greeted(server, "websocket")
    reader.connection.answers_pings = False
    last = server.publish("{}")["cursor"]
    ending = read_to_end(reader)
    assert len(ending.events()) == 1
    check_bye("websocket", ending, 4408, "no_pong", last, comes_back=True)


def test_who_asked_for_an_end_instead_of_a_gap_gets_it_on_lag_too(io, start_server, tmp_path):
    limits = {"events": 50, "bytes": 65_536, "age_ms": 60_000}
    server = start_server(*program.configured(tmp_path, {"channels": {"**": {"limits": limits}}}))
    readers = {
        transport: open_with_small_buffer(server, transport, on_lag="gap", on_gap="fail") for transport in TRANSPORTS
    }
    batch = lines(500, 1_000)

    def all_noticed():
        server.publish_batch(batch)
        return server.metric("fanout_laggards_total") >= len(readers)

    wait_until(all_noticed, "every reader to have fallen behind")
    for transport, ending in Collector(readers).endings().items():
        seqs = ending.seqs()
        assert ending.controls("$gap") == [], transport
        assert seqs == list(range(1, len(seqs) + 1)), transport
        end = {4008: "slow", 4410: "cursor_gone"}
        code = ending.bye.json()["code"]
        last = last_cursor(readers[transport], ending)
        check_bye(transport, ending, code, end.get(code), last, comes_back=True)

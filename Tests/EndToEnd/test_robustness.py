"""What a reader, a writer or a burst may do to the server, and what must not follow from it."""

import contextlib
import json
import subprocess
import threading

import pytest

import http1
import program
from streams import ByteStream, wait_until


def lines_until(stream, member, value):
    """The objects up to and including the one whose member has this value."""
    objects = []
    while not objects or objects[-1].get(member) != value:
        objects.append(json.loads(stream.until(b"\n")))
    return objects


@pytest.fixture
def own(io, tmp_path):
    """Makes servers with a configuration file; they are ended with the test."""
    servers = []

    def make(configuration=None, *arguments, **how):
        if configuration is not None:
            path = tmp_path / "fanout.json"
            path.write_text(json.dumps(configuration))
            arguments = ("--config", path, *arguments)
        servers.append(program.Server(*arguments, io=io, **how))
        return servers[-1]

    yield make
    for server in servers:
        try:
            if server.is_running():
                server.stop()
        finally:
            server.remove()


def subscribe(server, query):
    stream = server.connect()
    stream.send(http1.request("GET", f"/v1/events?{query}"))
    assert http1.read_head(stream).status == 200
    assert json.loads(stream.until(b"\n"))["type"] == "$hello"
    return stream


def test_a_channel_named_twice_is_read_once(server):
    """Before the channel exists: its readers are then found by its name."""
    with subscribe(server, "channel=named/twice&channel=named/twice") as stream:
        server.publish('{"n":1}', channel="named/twice")
        server.publish('{"n":2}', channel="named/twice")
        assert [event["n"] for event in lines_until(stream, "n", 2)] == [1, 2]
    wait_until(lambda: server.publish('{"n":3}', channel="named/twice")["subscribers"] == 0, "the reader to be gone")
    # Whoever comes into the place of that subscription reads what it asked for and nothing else.
    with subscribe(server, "channel=named/else") as stream:
        assert server.publish('{"n":4}', channel="named/twice")["subscribers"] == 0
        server.publish('{"n":5}', channel="named/else")
        assert [event["n"] for event in lines_until(stream, "n", 5)] == [5]


@pytest.mark.parametrize("target", ["/v1/events", "/nowhere", "/%2F", "/v1/channels", "/healthz", "/"])
def test_no_answer_to_head_has_a_body(server, target):
    with server.connect() as stream:
        stream.send(http1.request("HEAD", target) + http1.request("GET", "/healthz"))
        http1.read_response(stream, of="HEAD")
        assert http1.read_response(stream).body == b"ok\n"


def test_a_line_that_is_too_long_costs_standard_input_only_itself(own):
    server = own(None, "--stdin", stdin=subprocess.PIPE)
    with ByteStream.unix(server.events_socket) as stream:
        stream.until(b"\n")
        server.stdin.write(b'{"a":"%s"}\n' % (b"x" * 270_000) + b"".join(b'{"n":%d}\n' % n for n in range(10)))
        server.stdin.flush()
        assert [event["n"] for event in lines_until(stream, "n", 9)] == list(range(10))


def test_a_burst_does_not_drop_a_reader_that_reads(own):
    """9,000 events are more than twice what a reader may be behind, and are there at once."""
    server = own()
    with ByteStream.unix(server.events_socket) as stream, ByteStream.unix(server.ingest_socket) as writer:
        stream.until(b"\n")
        writer.send(b'{"a":1}\n' * 9_000)
        received = b""
        while b'{"seq":9000,' not in received[-1000:] and b"$bye" not in received[-1000:]:
            received += stream.socket.recv(1 << 18)
        assert [json.loads(line)["seq"] for line in received.splitlines()] == list(range(1, 9_001))


@pytest.mark.parametrize("policy", ["close", "gap"])
def test_a_reader_that_stops_is_noticed_by_age_alone(own, policy):
    """Its socket takes nothing of the send that waits, which therefore never completes."""
    limits = {"events": 1_000_000, "bytes": 1 << 29, "age_ms": 500}
    server = own({"channels": {"**": {"limits": limits, "on_lag": policy}}})
    with ByteStream.unix(server.events_socket) as stream:
        stream.until(b"\n")
        for _ in range(60):
            assert server.publish(json.dumps({"pad": "x" * 4000}))["subscribers"] == 1
        wait_until(lambda: server.metric("fanout_laggards_total") == 1, "the reader to be cut")
        if policy == "close":
            assert json.loads(stream.rest().splitlines()[-1])["code"] == 4008
        else:
            gap = lines_until(stream, "type", "$gap")[-1]
            assert gap["to"] == 60 and gap["to"] - gap["from"] + 1 == gap["dropped"]


def test_a_reader_that_subscribes_anew_while_it_skips_is_told_of_everything_missed(own):
    limits = {"events": 20, "bytes": 1 << 20, "age_ms": 60_000}
    server = own({"channels": {"**": {"limits": limits, "on_lag": "gap"}}})
    with ByteStream.unix(server.events_socket) as stream:
        stream.until(b"\n")
        for _ in range(120):
            server.publish(json.dumps({"pad": "x" * 4000}))
        wait_until(lambda: server.metric("fanout_laggards_total") == 1, "the reader to be skipping")
        stream.send(b'{"$subscribe":{"channel":["other"]}}\n')
        wait_until(lambda: channel_subscribers(server, "events") == 0, "the new subscription")
        records = lines_until(stream, "type", "$gap")
        last = max(record.get("seq", 0) for record in records if "channel" in record)
        assert records[-1]["from"] == last + 1
        assert records[-1]["to"] == 120 and records[-1]["dropped"] == 120 - last


def channel_subscribers(server, name):
    channels = server.get("/v1/channels").json()["channels"]
    return next(channel["subscribers"] for channel in channels if channel["channel"] == name)


def test_blank_lines_of_a_reader_count_as_what_it_writes(server):
    with ByteStream.unix(server.events_socket) as stream:
        stream.until(b"\n")
        stream.send_until_refused(b"\n" * (64 * 1024 + 1))
        assert json.loads(stream.rest().splitlines()[-1])["code"] == 1008


def test_declaring_channels_without_end_leaves_descriptors_for_readers(own):
    server = own()
    with server.connect() as stream:
        for number in range(1100):
            stream.send(http1.request("PUT", f"/v1/channels?channel=many/{number}"))
            response = http1.read_response(stream)
            if response.status != 201:
                break
        assert response.status == 503 and response.error_code() == "too_many_sockets"
        names = [channel["channel"] for channel in server.get("/v1/channels").json()["channels"]]
        assert f"many/{number}" not in names and f"many/{number - 1}" in names, "what is refused is not made"
        stream.send(http1.request("DELETE", "/v1/channels?channel=many/0"))
        assert http1.read_response(stream).status == 200
        stream.send(http1.request("PUT", "/v1/channels?channel=many/again"))
        assert http1.read_response(stream).status == 201
    with ByteStream.unix(server.events_socket) as reader:
        assert json.loads(reader.until(b"\n"))["type"] == "$hello"


def test_requests_sent_far_ahead_are_answered_in_order(server):
    """Far more than the answers that may wait: they stay in the connection's buffer, whole and cut anywhere."""
    target, whole = "/v1/events?channel=ahead", {"Content-Type": "application/json"}
    pieces = whole | {"Transfer-Encoding": "chunked"}
    requests = b"".join(
        http1.request("POST", target, whole, b'{"n":%d}' % number)
        + http1.request("POST", target, pieces, http1.chunked(b'{"n"', b":%d}" % number))
        for number in range(2000)
    )
    with subscribe(server, "channel=ahead&on_lag=gap") as reader, server.connect() as stream:
        writer = threading.Thread(target=stream.send, args=(requests,))
        writer.start()
        seqs = [http1.read_response(stream).json()["seq"] for _ in range(4000)]
        writer.join()
        assert seqs == sorted(set(seqs))
        events = [json.loads(reader.until(b"\n")) for _ in range(4000)]
        assert [event["n"] for event in events] == [number for number in range(2000) for _ in range(2)]


def test_a_publisher_is_not_turned_away_by_readers_that_came_later(own):
    server = own(None, "--max-connections", "20")
    event = http1.request("POST", "/v1/events", {"Content-Type": "application/json"}, b"{}")
    with server.connect() as publisher, contextlib.ExitStack() as readers:
        publisher.send(event)
        assert http1.read_response(publisher).status == 200
        for _ in range(11):
            reader = readers.enter_context(ByteStream.unix(server.events_socket))
            reader.until(b"\n")
        publisher.send(event)
        assert http1.read_response(publisher).status == 200
        assert server.get("/v1/events").status == 503
        assert server.get("/healthz").status == 200

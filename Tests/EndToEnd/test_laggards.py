"""Readers that stop, crawl or stutter: what they are told, what they get afterwards, and that nobody else notices."""

import json
import signal
import threading

import pytest

import http1
import program
from endings import (
    TRANSPORTS,
    Collector,
    check_bye,
    last_cursor,
    lines,
    open_with_small_buffer,
    pause,
    read_to_end,
)
from readers import open_reader
from rfc6455 import PING
from streams import DEADLINE_S, wait_until

UNBOUNDED = {"events": 10_000_000, "bytes": 1 << 30, "age_ms": 600_000}
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
TIGHT = {"events": 200, "bytes": 262_144, "age_ms": 60_000}


def limited(limits, **rules):
    return {"channels": {"**": {"limits": limits, **rules}}}


def greeted(server, transport, **query):
    reader = open_reader(server, transport, **query)
    reader.greeting = reader.next_control("$hello").json()
    return reader


def stall(server, readers, batch):
    """Publishes until every one of these readers, who take nothing, has been noticed."""
    before = server.metric("fanout_laggards_total")

    def all_noticed():
        server.publish_batch(batch)
        return server.metric("fanout_laggards_total") >= before + len(readers)

    wait_until(all_noticed, "the stopped readers to be noticed")


# Both policies


def test_stopped_readers_are_ended_by_4008_and_the_others_miss_nothing(io, start_server, tmp_path):
    server = start_server(*program.configured(tmp_path, limited(TIGHT)))
    stopped = {transport: open_with_small_buffer(server, transport) for transport in TRANSPORTS}
    healthy = {transport: greeted(server, transport) for transport in TRANSPORTS}
    watching = Collector(healthy)
    stall(server, stopped, lines(20, 3_000))
    later = server.publish_batch(lines(100, 10, late=True))["seq"]
    for transport, ending in Collector(stopped).endings().items():
        seqs = ending.seqs()
        assert seqs == list(range(1, len(seqs) + 1)), f"{transport}: a hole before $bye"
        assert not any("late" in event for event in ending.events()), f"{transport}: events after the cut"
        last = last_cursor(stopped[transport], ending)
        check_bye(transport, ending, 4008, "slow", last, comes_back=True)
    assert server.metric("fanout_closed_total", reason="slow") == len(stopped)
    server.stop()
    for transport, ending in watching.endings().items():
        assert ending.seqs() == list(range(1, later + 1)), f"{transport}: hurt by somebody else"
        assert ending.controls("$gap") == []
        check_bye(transport, ending, 1001, "shutdown", comes_back=True)


@pytest.mark.parametrize("by", ["the reader", "the channel", "the flag"])
def test_readers_that_skip_are_told_of_exactly_what_is_missing(io, start_server, tmp_path, by):
    flags = ["--on-lag", "gap"] if by == "the flag" else []
    rules = {"on_lag": "gap"} if by == "the channel" else {}
    wish = {"on_lag": "gap"} if by == "the reader" else {}
    server = start_server(*program.configured(tmp_path, limited(TIGHT, **rules)), *flags)
    stopped = {transport: open_with_small_buffer(server, transport, **wish) for transport in TRANSPORTS}
    watching = Collector({transport: greeted(server, transport) for transport in TRANSPORTS})
    stall(server, stopped, lines(20, 3_000))
    head = int(server.metric("fanout_head_seq"))
    going_on = Collector(stopped)
    going_on.wait_for(b"$gap")
    final = server.publish_batch(lines(50, 10, late=True))
    going_on.wait_for(b'"seq":%d,' % final["seq"])
    server.stop()
    for transport, ending in going_on.endings().items():
        check_bye(transport, ending, 1001, "shutdown", final["cursor"], comes_back=True)
        (gap,) = ending.controls("$gap")
        assert list(gap) == ["type", "epoch", "from", "to", "dropped", "why"], transport
        assert gap["epoch"] == stopped[transport].greeting["epoch"] and gap["why"] == "lagged", (transport, gap)
        assert gap["to"] == head and gap["dropped"] == gap["to"] - gap["from"] + 1, (transport, gap, head)
        expected = [*range(1, gap["from"]), *range(gap["to"] + 1, final["seq"] + 1)]
        assert ending.seqs() == expected, f"{transport}: not what the gap leaves"
        kinds = [record.json()["seq"] if not record.is_control() else "$gap" for record in ending.records]
        assert kinds.index("$gap") == gap["from"] - 1, f"{transport}: the gap is not where the events are missing"
    for transport, ending in watching.endings().items():
        assert ending.seqs() == list(range(1, final["seq"] + 1)), f"{transport}: hurt by somebody else"


def test_a_gap_counts_what_this_reader_would_have_got(io, start_server, tmp_path):
    """Every third event is for it."""
    server = start_server(*program.configured(tmp_path, limited(TIGHT)))
    filters = {"types": {"types": ["mine"]}, "channel": {"channel": ["mine"]}}
    stopped = {
        (name, transport): open_with_small_buffer(server, transport, on_lag="gap", **query)
        for name, query in filters.items()
        for transport in ("unix", "sse", "websocket")
    }
    mine = [lines(1, 3_000, type="mine")[0], *lines(2, 10, type="other")]

    def publish():
        server.publish_batch(mine * 10, channel="mine")
        server.publish_batch(lines(10, 10, type="other"), channel="other")

    def all_noticed():
        publish()
        return server.metric("fanout_laggards_total") >= len(stopped)

    wait_until(all_noticed, "the stopped readers to be noticed")
    head = int(server.metric("fanout_head_seq"))
    for_types = [seq for seq in range(1, head + 1) if (seq - 1) % 40 < 30 and (seq - 1) % 40 % 3 == 0]
    for_channel = [seq for seq in range(1, head + 1) if (seq - 1) % 40 < 30]
    collector = Collector(stopped)
    collector.wait_for(b"$gap")
    server.stop()
    for (name, transport), ending in collector.endings().items():
        (gap,) = ending.controls("$gap")
        every = for_types if name == "types" else for_channel
        missing = [seq for seq in every if gap["from"] <= seq <= gap["to"]]
        assert ending.seqs() == [seq for seq in every if seq not in set(missing)], (name, transport)
        assert gap["dropped"] == len(missing) > 0, (name, transport, gap)


def test_each_stall_is_one_gap(io, start_server, tmp_path):
    server = start_server(*program.configured(tmp_path, limited(TIGHT, on_lag="gap")))
    reader = open_with_small_buffer(server, "unix")
    received = bytearray()
    for _ in range(4):
        stall(server, [reader], lines(20, 3_000))
        gap_to = b'"to":%d,' % int(server.metric("fanout_head_seq"))
        while gap_to not in received[-4_000:]:
            more = reader.stream.socket.recv(1 << 16)
            assert more, received[-300:]
            received += more
        pause(0.1)
    final = server.publish("{}")["seq"]
    server.stop()
    reader.stream.pending = bytes(received)
    ending = read_to_end(reader)
    gaps = ending.controls("$gap")
    assert len(gaps) == 4
    missed = {seq for gap in gaps for seq in range(gap["from"], gap["to"] + 1)}
    assert sum(gap["dropped"] for gap in gaps) == len(missed)
    assert sorted(missed | set(ending.seqs())) == list(range(1, final + 1))
    assert not missed & set(ending.seqs())


def test_a_stop_in_the_middle_of_a_skip_hides_nothing(io, start_server, tmp_path):
    """`$bye` names what really came last, or a `$gap` stands before it."""
    server = start_server(*program.configured(tmp_path, limited(TIGHT, on_lag="gap")))
    stopped = {transport: open_with_small_buffer(server, transport) for transport in TRANSPORTS}
    stall(server, stopped, lines(20, 3_000))
    head = int(server.metric("fanout_head_seq"))
    server.signal(signal.SIGTERM)
    endings = Collector(stopped).endings()
    server.check_stopped()
    for transport, ending in endings.items():
        last, gaps = ending.seqs()[-1], ending.controls("$gap")
        bye = check_bye(transport, ending, 1001, "shutdown", comes_back=True)
        named = int(bye["last"].rpartition("-")[2])
        assert last < head, f"{transport}: nothing was skipped"
        if gaps:
            assert len(gaps) == 1 and (gaps[0]["from"], gaps[0]["to"]) == (last + 1, head), transport
            assert named in (last, head), transport
        else:
            assert named == last, f"{transport}: whoever comes back to `last` would miss what was skipped"


# Each limit, and only when it is reached


def test_every_limit_works_alone_and_where_it_is_set(io, start_server, tmp_path):
    """Readers of four channels stop in the same way: three have one limit each, one has none."""
    limits = {"events": {"events": 100}, "bytes": {"bytes": 200_000}, "age": {"age_ms": 700}, "none": {}}
    channels = {name: {"limits": {**UNBOUNDED, **limit}} for name, limit in limits.items()}
    server = start_server(*program.configured(tmp_path, {"channels": channels}))
    stopped = {
        (name, transport): open_with_small_buffer(server, transport, channel=[name])
        for name in limits
        for transport in ("unix", "tcp", "sse")
    }
    for _ in range(15):
        for name in limits:
            server.publish_batch(lines(40, 4_000), channel=name)
    wait_until(lambda: server.metric("fanout_laggards_total") == 9, "every limit to be noticed")
    for name in limits:
        server.publish('{"late":true}', channel=name)
    pause(1)
    assert server.metric("fanout_laggards_total") == 9
    collector = Collector(stopped)
    wait_until(lambda: b'"late"' in collector.data["none", "sse"][-1_000:], "the reader without limits to catch up")
    server.stop()
    for (name, transport), ending in collector.endings().items():
        if name == "none":
            check_bye(transport, ending, 1001, "shutdown", comes_back=True)
            assert [event["n"] for event in ending.events()[:-1]] == [*range(40)] * 15, transport
        else:
            check_bye(transport, ending, 4008, "slow", comes_back=True)
            numbers = [event["n"] for event in ending.events()]
            assert numbers == ([*range(40)] * 15)[: len(numbers)], (name, transport)


def test_a_limit_says_how_much_is_accepted(io, start_server, tmp_path):
    """Events that are within every limit wait for a stopped reader, as long as it likes."""
    limits = {"events": 3_000, "bytes": 4_000_000, "age_ms": 60_000}
    server = start_server(*program.configured(tmp_path, limited(limits)))
    readers = {transport: open_with_small_buffer(server, transport) for transport in TRANSPORTS}
    for _ in range(3):
        server.publish_batch(lines(1_000, 900))
    pause(1)
    assert server.metric("fanout_laggards_total") == 0
    collector = Collector(readers)
    server.stop()
    for transport, ending in collector.endings().items():
        assert ending.seqs() == list(range(1, 3_001)), transport
        check_bye(transport, ending, 1001, "shutdown", comes_back=True)


def test_each_listener_may_have_limits_of_its_own(io, start_server, tmp_path):
    """Readers stop in the same way on all of them, and each is judged by the one limit of its listener."""
    listeners = {"http": {"events": 100}, "jsonl": {"bytes": 300_000}, "events": {"age_ms": 1_500}}
    named = {name: {"limits": limits} for name, limits in listeners.items()}
    server = start_server(*program.configured(tmp_path, {"limits": UNBOUNDED, "listeners": named}))
    stopped = {transport: open_with_small_buffer(server, transport) for transport in TRANSPORTS}
    unlimited = greeted(server, "http.socket-sse")
    for _ in range(15):
        server.publish_batch(lines(40, 4_000))
    wait_until(lambda: server.metric("fanout_laggards_total") == 5, "every limit to be noticed")
    reasons = {
        ("events", "jsonl_http"): 1,
        ("events", "sse"): 1,
        ("events", "websocket"): 1,
        ("bytes", "jsonl_tcp"): 1,
        ("age", "jsonl_unix"): 1,
    }
    for (reason, transport), count in reasons.items():
        assert server.metric("fanout_laggards_total", reason=reason, transport=transport) == count, (reason, transport)
    final = server.publish('{"late":true}')["seq"]
    collector = Collector(stopped)
    whole = Collector({"": unlimited})
    whole.wait_for(b'"late"')
    server.stop()
    for transport, ending in collector.endings().items():
        assert not any("late" in event for event in ending.events()), transport
        check_bye(transport, ending, 4008, "slow", last_cursor(stopped[transport], ending), comes_back=True)
    assert whole.endings()[""].seqs() == list(range(1, final + 1))


@pytest.mark.parametrize("limit", [{"lag_events": 50}, {"lag_bytes": 200_000}, {"lag_ms": 1_000}], ids=str)
def test_a_reader_may_ask_for_less_on_every_transport(io, start_server, tmp_path, limit):
    server = start_server(*program.configured(tmp_path, {"limits": UNBOUNDED}))
    asking = {transport: open_with_small_buffer(server, transport, **limit) for transport in TRANSPORTS}
    others = {transport: open_with_small_buffer(server, transport) for transport in TRANSPORTS}
    for _ in range(15):
        server.publish_batch(lines(40, 4_000))
    wait_until(lambda: server.metric("fanout_laggards_total") == len(asking), "the smaller limits to be noticed")
    reason = {"lag_events": "events", "lag_bytes": "bytes", "lag_ms": "age"}[next(iter(limit))]
    assert server.metric("fanout_laggards_total", reason=reason) == len(asking)
    final = server.publish('{"late":true}')["seq"]
    cut, kept = Collector(asking), Collector(others)
    kept.wait_for(b'"late"')
    server.stop()
    for transport, ending in cut.endings().items():
        check_bye(transport, ending, 4008, "slow", last_cursor(asking[transport], ending), comes_back=True)
    for transport, ending in kept.endings().items():
        assert ending.seqs() == list(range(1, final + 1)), f"{transport}: hurt by its neighbour's limits"


def test_nobody_may_ask_for_more(io, start_server, tmp_path):
    limits = {"events": 100, "bytes": 5_000, "age_ms": 3_000}
    server = start_server(*program.configured(tmp_path, {"limits": limits}))
    for name, most in {"lag_events": 100, "lag_bytes": 5_000, "lag_ms": 3_000}.items():
        greeted(server, "sse", **{name: most}).close()
        for headers in ({"Accept": "application/x-ndjson"}, {"Accept": "text/event-stream"}, UPGRADE):
            response = server.get(f"/v1/events?{name}={most + 1}", headers)
            assert response.status == 400, response
            assert response.json()["error"]["code"] == "bad_lag_limit", response
            assert f"{name} is at most {most} here" in response.json()["error"]["message"], response
        for transport in ("unix", "tcp", "websocket"):
            for value in (most + 1, str(most + 1), 0, -1, 1.5, "x"):
                reader = greeted(server, transport)
                reader.subscribe(**{name: value})
                check_bye(transport, read_to_end(reader), 1008, "bad_lag_limit")
    # Of those that come within a second the operator reads the first, and how many more there were.
    assert "a $subscribe was refused: bad_lag_limit: lag_events is at most 100 here" in server.stderr.text()


# Readers that read


def crawl(reader, bytes_at_once, pause_s, until, slow=lambda: True):
    """Reads a little, waits a little (as long as it is slow), until this is in the stream or it has ended."""
    received = bytearray(reader.stream.pending)
    connected = reader.stream.socket
    while until not in received[-8_000:]:
        try:
            more = connected.recv(bytes_at_once)
        except ConnectionResetError:
            reader.was_reset = True
            break
        if not more:
            break
        received += more
        if slow():
            pause(pause_s)
    reader.stream.pending = bytes(received)


def test_a_reader_that_is_slow_but_within_its_limits_is_never_ended(io, start_server, tmp_path):
    """It takes seconds for what came at once: always behind, by less than the limits."""
    limits = {"events": 4_000, "bytes": 4_000_000, "age_ms": 20_000}
    server = start_server(*program.configured(tmp_path, limited(limits)))
    readers = {transport: open_with_small_buffer(server, transport) for transport in TRANSPORTS}
    crawling = [
        threading.Thread(target=crawl, args=(reader, 16_384, 0.02, b'"seq":2500,')) for reader in readers.values()
    ]
    for thread in crawling:
        thread.start()
    for _ in range(5):
        server.publish_batch(lines(500, 800))
        pause(0.3)
    for thread in crawling:
        thread.join(DEADLINE_S)
    assert server.metric("fanout_laggards_total") == 0
    collector = Collector(readers)
    server.stop()
    for transport, ending in collector.endings().items():
        assert ending.seqs() == list(range(1, 2_501)), transport
        check_bye(transport, ending, 1001, "shutdown", comes_back=True)


def test_reading_is_not_enough_when_the_oldest_byte_is_too_old(io, start_server, tmp_path):
    server = start_server(*program.configured(tmp_path, limited({**UNBOUNDED, "age_ms": 1_000})))
    readers = {transport: open_with_small_buffer(server, transport) for transport in TRANSPORTS}
    for _ in range(4):
        server.publish_batch(lines(900, 1_000))
    noticed = threading.Event()
    how = (1_000, 0.01, b"$bye", lambda: not noticed.is_set())
    crawling = [threading.Thread(target=crawl, args=(reader, *how)) for reader in readers.values()]
    for thread in crawling:
        thread.start()
    wait_until(lambda: server.metric("fanout_laggards_total") == len(readers), "the age to be noticed")
    # They go on for a while, so that a reset before `$bye` would be seen.
    pause(1)
    noticed.set()
    for thread in crawling:
        thread.join(2 * DEADLINE_S)
    reset = [transport for transport, reader in readers.items() if hasattr(reader, "was_reset")]
    assert reset == [], "reset while they were reading, before their $bye"
    for transport, ending in Collector(readers).endings().items():
        check_bye(transport, ending, 4008, "slow", last_cursor(readers[transport], ending), comes_back=True)


def test_a_server_that_stood_still_blames_nobody_for_it(io, start_server, tmp_path):
    """It is stopped for longer than the age limit, with much waiting for readers who then take all that there is."""
    server = start_server(*program.configured(tmp_path, limited({**UNBOUNDED, "age_ms": 3_000})))
    readers = {transport: open_with_small_buffer(server, transport) for transport in TRANSPORTS}
    for _ in range(20):
        server.publish_batch(lines(40, 4_000))
    server.signal(signal.SIGSTOP)
    collector = Collector(readers)
    pause(4)
    server.signal(signal.SIGCONT)
    final = server.publish('{"late":true}')["seq"]
    collector.wait_for(b'"late"')
    server.stop()
    for transport, ending in collector.endings().items():
        assert ending.seqs() == list(range(1, final + 1)), transport
        check_bye(transport, ending, 1001, "shutdown", comes_back=True)


@pytest.mark.parametrize("way", ["ingest", "batches"])
def test_twenty_thousand_events_at_once_end_nobody_who_reads(io, start_server, way):
    """Five times what may wait for one reader, by default limits."""
    server = start_server()
    readers = {transport: greeted(server, transport) for transport in TRANSPORTS}
    collector = Collector(readers)
    if way == "ingest":
        assert server.ingest(b'{"a":1}\n' * 20_000) == b""
    else:
        batch = http1.request("POST", "/v1/events", {"Content-Type": program.NDJSON}, b'{"a":1}\n' * 1_000)
        with server.connect() as stream:
            stream.send(batch * 20)
            assert [http1.read_response(stream).status for _ in range(20)] == [200] * 20
    wait_until(lambda: server.metric("fanout_head_seq") == 20_000, "the burst to be taken")
    server.stop()
    for name, ending in collector.endings().items():
        assert ending.seqs() == list(range(1, 20_001)), f"{name}: {ending.bye}"
        check_bye(name, ending, 1001, "shutdown", last_cursor(readers[name], ending), comes_back=True)


# Control records and frames do not wait for room among the data


def test_pongs_of_a_reader_that_is_full_are_not_lost(io, start_server, tmp_path):
    server = start_server(*program.configured(tmp_path, limited(TIGHT, on_lag="gap")))
    reader = open_with_small_buffer(server, "websocket")
    stall(server, [reader], lines(20, 3_000))
    for number in range(20):
        reader.connection.send(PING, b"ping %d" % number)
    server.publish("{}")
    received = bytearray(reader.stream.pending)
    while b"ping 19" not in received[-8_000:]:
        received += reader.stream.socket.recv(1_000)
    reader.stream.pending = bytes(received)
    collector = Collector({"": reader})
    server.stop()
    ending = collector.endings()[""]
    assert ending.pongs == [b"ping %d" % number for number in range(20)]
    assert len(ending.controls("$gap")) == 1


def test_what_waits_is_dropped_for_a_bye_and_not_sent_before_it(io, start_server, tmp_path):
    """A large backlog within the server is not played to a reader that has been given up."""
    server = start_server(*program.configured(tmp_path, limited({**UNBOUNDED, "age_ms": 1_500})))
    reader = open_with_small_buffer(server, "unix")
    for _ in range(20):
        server.publish_batch(lines(240, 4_000))
    wait_until(lambda: server.metric("fanout_laggards_total") == 1, "the age to be noticed")
    ending = read_to_end(reader)
    check_bye("unix", ending, 4008, "slow", last_cursor(reader, ending), comes_back=True)
    assert len(ending.events()) < 1_000, "of 4,800"


def test_fanout_tail_comes_back_after_a_stop_and_misses_nothing(io, start_server, start, tmp_path):
    """Step 5 of the first five minutes: Ctrl-Z and then fg."""
    server = start_server(*program.configured(tmp_path, limited(TIGHT)))
    tail = start("tail", server.url)
    wait_until(lambda: server.metric("fanout_connections", transport="jsonl_http") == 1, "tail to subscribe")
    server.publish('{"n":"first"}')
    tail.stdout.wait_for_event(n="first")
    tail.signal(signal.SIGSTOP)
    stall(server, [tail], lines(20, 3_000))
    tail.signal(signal.SIGCONT)

    def is_back():
        server.publish('{"n":"again"}')
        return b'"again"' in tail.stdout.text().encode()[-2_000:]

    wait_until(is_back, "tail to have come back")
    assert server.metric("fanout_closed_total", reason="slow") == 1
    events = [json.loads(line) for line in list(tail.stdout.lines)]
    seqs = [event["seq"] for event in events if "channel" in event]
    assert seqs == list(range(1, len(seqs) + 1)), "everything, for the server held it"
    assert "gap" not in tail.stderr.text()

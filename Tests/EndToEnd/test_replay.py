"""Replay while it goes on: beside publishers, beyond what is held, and to readers who stop or break away."""

import json
import random
import signal
import socket
import struct
import subprocess

import pytest

import http1
import program
from backlog import Publisher, epoch_of, fill, filler, greeted, seqs, skip_to_hello
from endings import PATIENT, TRANSPORTS, Collector, check_bye, open_with_small_buffer, pause
from readers import TRANSPORTS as ALL_TRANSPORTS
from readers import events_target, open_reader, subscribe_message
from rfc6455 import upgrade_headers
from streams import Lines, wait_until
from test_lag_report import LABELS

MEBIBYTE = 1 << 20
UNBOUNDED = {"events": 10_000_000, "bytes": 1 << 30, "age_ms": 600_000}


def limited(limits, **more):
    return {"channels": {"**": {"limits": limits}}, **more}


def test_whoever_comes_while_events_are_published_gets_each_of_them_once(io, start_server, tmp_path):
    server = start_server(*program.configured(tmp_path, PATIENT))
    epoch, dice, readers = epoch_of(server), random.Random(11), {}
    some = {"channel": ["a/*"], "types": ["x", "z"]}
    with Publisher(server) as publisher:
        for number in range(6):
            for transport in ALL_TRANSPORTS:
                place = max(0, publisher.published[-1][0] - dice.choice([0, 1, 10, 300, 10_000]))
                query = some if number % 2 else {}
                reader = open_reader(server, transport, from_=f"{epoch}-{place}", **query)
                skip_to_hello(reader)
                readers[transport, place, number] = reader
    last = server.publish('{"type":"x"}', channel="a/1")["seq"]
    published = [*publisher.published, (last, "a/1", "x")]
    assert [seq for seq, _, _ in published] == list(range(1, last + 1))
    collector = Collector(readers)
    collector.wait_for(b'"seq":%d,' % last)
    server.stop()
    for (transport, place, number), ending in collector.endings().items():
        wanted = [
            seq
            for seq, channel, kind in published
            if seq > place and (number % 2 == 0 or (channel in ("a/1", "a/2") and kind in "xz"))
        ]
        assert ending.seqs() == wanted, (transport, place)
        assert ending.controls("$gap") == [], (transport, place)


@pytest.mark.parametrize("kibibytes", [300, 20 * 1024])
def test_a_backlog_beyond_every_limit_is_replayed_whole_to_who_reads(io, start_server, tmp_path, kibibytes):
    """Limits are about what waits for a reader; what is replayed waits in the past. Small and large events in turn."""
    tight = {"events": 200, "bytes": 65_536, "age_ms": 60_000}
    server = start_server(*program.configured(tmp_path, limited(tight)))
    large = kibibytes * 768 // 262_100
    batch = filler((kibibytes * 1024 - large * 262_100) // 10 // 985)
    expected = []
    for part in range(10):
        for number in range(large * part // 10, large * (part + 1) // 10):
            expected.append('{"large":%d,"text":"%s"}' % (number, "y" * 262_000))
            server.publish(expected[-1])
        expected += batch
        for start in range(0, len(batch), 900):
            server.publish_batch(batch[start : start + 900])
    assert sum(map(len, expected)) > 0.9 * kibibytes * 1024
    expected = [b'{"seq":%d,"channel":"events",' % seq + each[1:].encode() for seq, each in enumerate(expected, 1)]
    collector = Collector({transport: greeted(server, transport, from_="start") for transport in TRANSPORTS})
    collector.wait_for(b'"seq":%d,' % len(expected))
    assert server.metric("fanout_laggards_total") == 0
    assert server.metric("fanout_replayed_bytes_total") >= len(TRANSPORTS) * sum(map(len, expected))
    wait_until(lambda: server.metric("fanout_replaying_subscribers") == 0, "everybody to be at the head")
    server.publish('{"live":true}')
    collector.wait_for(b'"live"')
    server.stop()
    for transport, ending in collector.endings().items():
        *records, live = ending.records
        assert live.json()["live"], transport
        wrong = [at for at, record in enumerate(records) if record.text != expected[at]]
        assert (len(records), wrong) == (len(expected), []), transport
        check_bye(transport, ending, 1001, "shutdown", comes_back=True)


# More than is held


@pytest.fixture
def small(io, start_server, tmp_path):
    """A server that holds a mebibyte and has had three."""
    server = start_server("--history", "1M", *program.configured(tmp_path, PATIENT))
    server.head = fill(server, 3)
    server.epoch = epoch_of(server)
    server.first = int(server.metric("fanout_history_first_seq"))
    return server


def check_pruned(gap, epoch, first, last):
    """A `$gap` of a reader of everything, that covers exactly the numbers from first to last."""
    members = {"epoch": epoch, "from": first, "to": last, "dropped": last - first + 1, "why": "pruned"}
    assert list(gap.json().items()) == [("type", "$gap"), *members.items()]


def test_the_newest_events_are_held_and_no_more_of_them_than_was_said(small):
    assert small.metric("fanout_history_events") == small.head - small.first + 1
    assert 0.75 * MEBIBYTE < small.metric("fanout_history_bytes") <= MEBIBYTE + 131_072


@pytest.mark.parametrize("transport", ALL_TRANSPORTS)
def test_what_is_not_held_any_more_is_one_exact_gap_and_then_the_rest(small, transport):
    last_gone = small.first - 1
    for place in ("start", 7, last_gone - 1):
        asked = place if place == "start" else f"{small.epoch}-{place}"
        with open_reader(small, transport, from_=asked) as reader:
            hello, gap = reader.next_control("$hello"), reader.next_control("$gap")
            behind = 0 if place == "start" else place
            check_pruned(gap, small.epoch, behind + 1, last_gone)
            assert seqs(reader, small.head - last_gone) == list(range(small.first, small.head + 1))
            if "sse" in transport:
                assert (hello.id, gap.id) == (f"{small.epoch}-{behind}", f"{small.epoch}-{last_gone}")
    for place in (last_gone, small.first, small.head - 1):
        with open_reader(small, transport, from_=f"{small.epoch}-{place}") as reader:
            reader.next_control("$hello")
            assert seqs(reader, small.head - place) == list(range(place + 1, small.head + 1))


def test_a_gap_is_only_said_to_those_whose_channels_have_lost_something(small):
    """`early` is gone whole; `late` is held whole; the rest of what was published is neither's."""
    early = small.publish('{"type":"a"}', channel="early")["seq"]
    head = fill(small, 2)
    late = [small.publish('{"type":"b"}', channel="late")["seq"] for _ in range(3)]
    first = int(small.metric("fanout_history_first_seq"))
    assert early < first < head
    for transport in ALL_TRANSPORTS:
        with open_reader(small, transport, from_="start", channel=["late"], on_gap="fail") as reader:
            reader.next_control("$hello")
            assert seqs(reader, 3) == late
        for place in ("start", f"{small.epoch}-{early - 1}"):
            with open_reader(small, transport, from_=place, channel=["early", "late"]) as reader:
                reader.next_control("$hello")
                gap = reader.next_control("$gap").json()
                begin = 1 if place == "start" else early
                assert (gap["why"], gap["from"], gap.get("dropped", 1)) == ("pruned", begin, 1)
                assert early <= gap["to"] < late[0]
                assert seqs(reader, 3) == late
        # Of kinds nothing is remembered: that something is gone is said even if it was of another kind.
        with open_reader(small, transport, from_="start", channel=["early", "late"], types=["b"]) as reader:
            reader.next_control("$hello")
            assert reader.next_control("$gap").json()["why"] == "pruned"
            assert seqs(reader, 3) == late
        with open_reader(small, transport, from_=f"{small.epoch}-{early}", channel=["early", "late"]) as reader:
            reader.next_control("$hello")
            assert seqs(reader, 3) == late


@pytest.mark.parametrize("why", ["unknown_epoch", "ahead"])
def test_a_place_that_is_not_known_is_followed_by_all_that_is_held(small, why):
    asked = "0123456789abcdef-7" if why == "unknown_epoch" else f"{small.epoch}-{small.head + 1}"
    for transport in TRANSPORTS:
        with open_reader(small, transport, from_=asked) as reader:
            reader.next_control("$hello")
            gap = reader.next_control("$gap")
            assert list(gap.json().items()) == [("type", "$gap"), ("epoch", small.epoch), ("why", why)]
            assert gap.id == (f"{small.epoch}-{small.first - 1}" if transport == "sse" else None)
            assert seqs(reader, small.head - small.first + 1) == list(range(small.first, small.head + 1))


def test_on_gap_fail_ends_those_who_have_lost_something_and_nobody_else(small):
    gone, held = f"{small.epoch}-{small.first - 2}", f"{small.epoch}-{small.first - 1}"
    for headers in ({"Accept": "text/event-stream"}, {"Accept": program.NDJSON}, upgrade_headers()):
        response = small.get(events_target(from_=gone, on_gap="fail"), headers)
        assert (response.status, response.error_code()) == (410, "cursor_gone")
    for transport in ("unix", "tcp", "websocket"):
        with greeted(small, transport) as reader:
            reader.subscribe(from_=gone, on_gap="fail")
            reader.next_control("$hello")
            bye = reader.next_control("$bye").json()
            assert (bye["code"], bye["why"], bye["last"]) == (4410, "cursor_gone", gone)
            if transport == "websocket":
                assert reader.connection.receive_close() == 4410
            assert reader.stream.rest() == b""
    for transport in ALL_TRANSPORTS:
        with greeted(small, transport, from_=held, on_gap="fail") as reader:
            assert seqs(reader, 2) == [small.first, small.first + 1]


def test_control_off_hides_the_gap_and_nothing_else(small):
    for form in ("http-jsonl", "sse", "websocket"):
        with open_reader(small, form, from_="start", control="off") as reader:
            numbers = [reader.next().json()["seq"] for _ in range(small.head - small.first + 1)]
            assert numbers == list(range(small.first, small.head + 1))


@pytest.mark.parametrize("transport", ["unix", "sse", "websocket"])
def test_an_ended_channel_whose_events_are_gone_is_a_gap_and_an_end(small, transport):
    last = small.publish("{}", channel="jobs/7")
    small.exchange(http1.request("DELETE", "/v1/channels?channel=jobs/7"))
    fill(small, 2)
    with open_reader(small, transport, from_="start", channel=["jobs/7"]) as reader:
        reader.next_control("$hello")
        gap = reader.next_control("$gap").json()
        assert (gap["why"], gap["from"]) == ("pruned", 1) and gap["to"] >= last["seq"]
        assert reader.next_control("$bye").json()["code"] == 1000


def test_a_reader_whose_events_go_while_it_is_stopped_is_told_where_they_are_missing(io, start_server, tmp_path):
    configuration = limited(UNBOUNDED, history=MEBIBYTE)
    server = start_server(*program.configured(tmp_path, configuration))
    fill(server, 1)
    epoch, first = epoch_of(server), int(server.metric("fanout_history_first_seq"))
    asked = {"from_": f"{epoch}-{first - 1}"}
    told = {transport: open_with_small_buffer(server, transport, **asked) for transport in TRANSPORTS}
    ended = {transport: open_with_small_buffer(server, transport, on_gap="fail", **asked) for transport in TRANSPORTS}
    head = fill(server, 3)
    last_gone = int(server.metric("fanout_history_first_seq")) - 1
    collector = Collector(told)
    for transport, ending in Collector(ended).endings().items():
        numbers = ending.seqs()
        assert numbers == list(range(first, first + len(numbers))) and numbers[-1] < last_gone, transport
        check_bye(transport, ending, 4410, "cursor_gone", f"{epoch}-{numbers[-1]}", comes_back=True)
    collector.wait_for(b'"seq":%d,' % head)
    server.stop()
    for transport, ending in collector.endings().items():
        at = [record.is_control() for record in ending.records].index(True)
        before, gap, after = ending.records[:at], ending.records[at], ending.records[at + 1 :]
        assert [record.json()["seq"] for record in before] == list(range(first, first + at)), transport
        check_pruned(gap, epoch, first + at, last_gone)
        assert gap.id == (f"{epoch}-{last_gone}" if transport == "sse" else None)
        assert [record.json()["seq"] for record in after] == list(range(last_gone + 1, head + 1)), transport


# Who does not read, or not on


def test_who_takes_nothing_of_a_replay_is_ended_by_age_alone_and_comes_back(io, start_server, tmp_path):
    """Or, if it wants to skip, is left alone: it holds nothing up and loses nothing."""
    limits = {"events": 50, "bytes": 65_536, "age_ms": 2_000}
    server = start_server(*program.configured(tmp_path, limited(limits)))
    fill(server, 4)
    closing = {transport: open_with_small_buffer(server, transport, from_="start") for transport in TRANSPORTS}
    skipping = {
        transport: open_with_small_buffer(server, transport, from_="start", on_lag="gap") for transport in TRANSPORTS
    }
    ack = server.publish('{"late":true}')
    assert (ack["subscribers"], ack["behind"]) == (10, 10), "a reader that replays is a reader"
    assert server.metric("fanout_replaying_subscribers") == 10
    wait_until(lambda: server.metric("fanout_laggards_total") == len(closing), "the stopped readers to be noticed")
    assert server.metric("fanout_laggards_total", reason="age") == len(closing)
    epoch, head = epoch_of(server), ack["seq"]
    for transport, ending in Collector(closing).endings().items():
        got = len(ending.events())
        assert ending.seqs() == list(range(1, got + 1)) and got < head, transport
        bye = check_bye(transport, ending, 4008, "slow", f"{epoch}-{got}", comes_back=True)
        with greeted(server, transport, from_=bye["last"]) as again:
            assert seqs(again, head - got) == list(range(got + 1, head + 1)), transport
    collector = Collector(skipping)
    collector.wait_for(b'"late"')
    server.stop()
    for transport, ending in collector.endings().items():
        assert ending.seqs() == list(range(1, head + 1)) and ending.controls("$gap") == [], transport
        check_bye(transport, ending, 1001, "shutdown", f"{epoch}-{head}", comes_back=True)


def test_what_waits_of_a_replay_is_not_held_against_the_next_subscription(io, start_server, tmp_path):
    """Its channels begin at the start; it sees that that is not what it wanted, and says so before it has read it."""
    limits = {"events": 100, "bytes": 32_768, "age_ms": 60_000}
    rules = {"channels": {"**": {"from": "start", "limits": limits}}}
    server = start_server(*program.configured(tmp_path, rules))
    for _ in range(20):
        head = server.publish_batch(filler(1_000, 20))["seq"]
    readers = {transport: open_with_small_buffer(server, transport) for transport in ("unix", "tcp", "websocket")}
    pause(0.2)
    for reader in readers.values():
        reader.subscribe(from_="now")
    pause(0.6)
    assert server.metric("fanout_laggards_total") == 0
    live = server.publish('{"live":true}')["seq"]
    collector = Collector(readers)
    collector.wait_for(b'"live"')
    server.stop()
    for transport, ending in collector.endings().items():
        at = [record.is_control() for record in ending.records].index(True)
        assert ending.seqs() == [*range(1, at + 1), live] and at < head, transport
        assert ending.objects[at]["type"] == "$hello" and ending.objects[at]["seq"] == head, transport


def test_a_stop_in_the_middle_of_a_replay_names_the_last_event_that_was_sent(io, start_server):
    server = start_server()
    head = fill(server, 4)
    epoch = epoch_of(server)
    readers = {transport: open_with_small_buffer(server, transport, from_="start") for transport in TRANSPORTS}
    assert server.metric("fanout_replaying_subscribers") == len(TRANSPORTS)
    server.signal(signal.SIGTERM)
    endings = Collector(readers).endings()
    server.check_stopped()
    for transport, ending in endings.items():
        got = len(ending.events())
        assert ending.seqs() == list(range(1, got + 1)) and got < head, transport
        check_bye(transport, ending, 1001, "shutdown", f"{epoch}-{got}", comes_back=True)


def readers_of(server):
    """How many there are on each transport."""
    return [int(server.metric("fanout_connections", transport=LABELS[name])) for name in TRANSPORTS]


def test_readers_that_break_away_in_the_middle_of_a_replay_hurt_nobody(io, start_server, tmp_path):
    server = start_server(*program.configured(tmp_path, PATIENT))
    fill(server, 6)
    staying = {transport: greeted(server, transport, from_="start") for transport in TRANSPORTS}
    collector = Collector(staying)
    for _ in range(4):
        for number, transport in enumerate(TRANSPORTS * 3):
            reader = open_with_small_buffer(server, transport, from_="start")
            if number % 3 == 1:
                reader.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif number % 3 == 2:
                reader.stream.finish()
            reader.close()
        last = server.publish('{"type":"last"}')["seq"]
    wait_until(lambda: server.metric("fanout_replaying_subscribers") == 0, "nobody to be replaying")
    wait_until(lambda: readers_of(server) == [1] * len(TRANSPORTS), "the connections to be forgotten")
    collector.wait_for(b'"seq":%d,' % last)
    server.stop()
    for transport, ending in collector.endings().items():
        assert ending.seqs() == list(range(1, last + 1)), transport
        check_bye(transport, ending, 1001, "shutdown", comes_back=True)


@pytest.mark.parametrize("by", ["unix", "tcp"])
def test_nc_that_writes_no_more_gets_the_past_and_goes_on(io, start_server, by):
    """`printf … | nc -N`: its side is closed before the replay has begun."""
    server = start_server()
    head = fill(server, 1)
    address = ["-U", server.events_socket] if by == "unix" else ["127.0.0.1", server.jsonl_port]
    with subprocess.Popen(
        ["nc", "-N", *map(str, address)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as reading:
        lines = Lines(reading.stdout)
        reading.stdin.write(subscribe_message(from_="start") + b"\n")
        reading.stdin.close()
        lines.wait_for_event(seq=head, channel="events")
        last = server.publish('{"live":true}')["seq"]
        lines.wait_for_event(live=True)
        reading.kill()
    events = [json.loads(line) for line in lines.lines]
    assert [event["seq"] for event in events if "channel" in event] == list(range(1, last + 1))


# fanout tail


@pytest.mark.parametrize("by", ["socket", "url"])
def test_tail_prints_the_past_from_a_place_as_it_was(io, start_server, start, by):
    server = start_server()
    live = greeted(server, "unix")
    server.publish_batch(filler(500))
    texts = [live.next_event().text + b"\n" for _ in range(500)]
    place = ["--runtime-dir", server.runtime] if by == "socket" else ["--url", server.url]
    for asked, behind in (("start", 0), (f"{epoch_of(server)}-300", 300)):
        tail = start("tail", *place, "--from", asked, "--count", 500 - behind)
        assert tail.wait() == 0
        assert (tail.stdout.lines, tail.stderr.text()) == (texts[behind:], "")


def test_tail_says_what_is_not_held_any_more(small, start):
    count = small.head - small.first + 1
    tail = start("tail", "--url", small.url, "--from", "start", "--count", count)
    assert tail.wait() == 0
    gone = small.first - 1
    assert tail.stderr.text() == f"fanout tail: gap (pruned): {gone} events missed, seq 1 to {gone}\n"
    assert [json.loads(line)["seq"] for line in tail.stdout.lines] == list(range(small.first, small.head + 1))

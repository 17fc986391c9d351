"""Where a reader starts: every place is answered by exactly what follows it, as it was live, or by one `$gap` first."""

import json

import pytest

import http1
import program
from backlog import seqs
from readers import CURSOR, TRANSPORTS, events_target, open_reader, place
from rfc6455 import upgrade_headers

OTHER_EPOCH = "0123456789abcdef"
HTTP_FORMS = ["http-jsonl", "sse", "websocket"]
LINE_FORMS = ["unix", "tcp", "websocket"]
# Each way to say a place, on each transport that has it.
WAYS = [
    *[(transport, name) for transport in TRANSPORTS for name in ("from", "last_event_id")],
    *[(transport, "header") for transport in TRANSPORTS if transport not in ("unix", "tcp")],
    *[(transport, "late $subscribe") for transport in LINE_FORMS],
]


def come_back(read, transport, way, cursor, **query):
    """A reader that says its place in this way; its `$hello` is next."""
    if way == "header":
        return read(transport, headers={"Last-Event-ID": cursor}, **query)
    if way == "late $subscribe":
        reader = read(transport)
        reader.next_control("$hello")
        reader.subscribe(from_=cursor, **query)
        return reader
    return read(transport, **{way: cursor}, **query)


def publish_numbered(server, count, **query):
    """The acks of so many events, published one by one."""
    return [server.publish('{"n":%d}' % number, **query) for number in range(count)]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_from_now_starts_with_the_next_event(server, read, transport):
    server.publish("{}")
    reader = read(transport, from_="now")
    reader.next_control("$hello")
    ack = server.publish("{}")
    assert reader.next_event().json()["seq"] == ack["seq"]


@pytest.mark.parametrize("transport, way", WAYS)
def test_a_place_is_followed_by_exactly_what_came_after_it(server, read, transport, way):
    cursors = [ack["cursor"] for ack in publish_numbered(server, 5)]
    reader = come_back(read, transport, way, cursors[1])
    hello = reader.next_control("$hello")
    assert place(cursors[4]) == f"{hello.json()['epoch']}-{hello.json()['seq']}", "`seq` is the head's"
    records = [reader.next_event() for _ in range(3)]
    live = server.publish('{"n":5}')
    records.append(reader.next_event())
    assert [record.json()["n"] for record in records] == [2, 3, 4, 5]
    assert [record.json()["seq"] for record in records] == list(range(live["seq"] - 3, live["seq"] + 1))
    if "sse" in transport:
        assert hello.id == cursors[1], "a reader that is cut here must come back to where it was"
        assert [record.id for record in records] == [*cursors[2:], live["cursor"]]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_cursor_at_the_head_goes_on_with_the_next_event(server, read, transport):
    cursor = server.publish("{}")["cursor"]
    reader = read(transport, from_=cursor)
    hello = reader.next_control("$hello")
    ack = server.publish("{}")
    assert reader.next_event().json()["seq"] == ack["seq"]
    assert hello.id == (cursor if "sse" in transport else None)


def test_the_header_wins_over_the_query(server, read):
    acks = publish_numbered(server, 3)
    reader = read("sse", headers={"Last-Event-ID": acks[1]["cursor"]}, from_=acks[0]["cursor"])
    reader.next_control("$hello")
    assert reader.next_event().json()["seq"] == acks[2]["seq"]


def test_from_start_on_a_fresh_server_is_everything(io, start_server):
    server = start_server()
    with open_reader(server, "sse", from_="start") as waiting:
        waiting.next_control("$hello")
        acks = publish_numbered(server, 3)
        assert seqs(waiting, 3) == [1, 2, 3]
    for transport in TRANSPORTS:
        with open_reader(server, transport, from_="start") as reader:
            hello = reader.next_control("$hello")
            assert hello.id == (place(acks[0]["cursor"], -1) if "sse" in transport else None)
            assert seqs(reader, 3) == [1, 2, 3], transport


KINDS_OF_EVENTS = [
    '{"type":"a","n":1}',
    '{ "type" : "b" , "text" : "caf\u00e9 \\u00e9 \\ud800 \\/" }',
    '{"no":"kind","n":1.50e+1}',
    "{}",
    *['{"type":"sized","text":"%s"}' % ("x" * size) for size in (60, 90, 100, 4_096, 65_450, 65_536, 262_000)],
    '{"type":"end"}',
]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_is_replayed_has_the_bytes_that_it_had_live(server, greeted, read, channel, transport):
    live = greeted(transport, channel=[channel])
    cursor = place(server.publish("{}", channel="elsewhere")["cursor"])
    for event in KINDS_OF_EVENTS:
        server.publish(event, channel=channel)
    again = read(transport, channel=[channel], from_=cursor)
    again.next_control("$hello")
    end = b'"type":"end"}'
    assert again.stream.until(end) == live.stream.until(end)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_only_what_the_subscription_asks_for_is_replayed(server, read, channel, transport):
    cursor = server.publish("{}")["cursor"]
    names = ["a", "b/1", "b/2", "b/2/3", "c"]
    wanted = []
    for number in range(60):
        name, kind = names[number % 5], "xyz"[number % 3]
        ack = server.publish('{"type":"%s"}' % kind, channel=f"{channel}/{name}")
        if name in ("a", "b/1", "b/2") and kind in "xz":
            wanted.append(ack["seq"])
    query = {"channel": [f"{channel}/a", f"{channel}/b/*"], "types": ["x", "z"]}
    reader = read(transport, from_=cursor, **query)
    reader.next_control("$hello")
    assert seqs(reader, len(wanted)) == wanted
    server.publish('{"type":"x"}', channel=f"{channel}/c")
    server.publish('{"type":"y"}', channel=f"{channel}/a")
    ack = server.publish('{"type":"z"}', channel=f"{channel}/a")
    assert reader.next_event().json()["seq"] == ack["seq"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_where_nothing_matches_the_stream_goes_on_with_what_comes(server, read, channel, transport):
    cursor = server.publish("{}")["cursor"]
    head = publish_numbered(server, 50)[-1]
    reader = read(transport, from_=cursor, channel=[channel])
    assert reader.next_control("$hello").json()["seq"] == head["seq"]
    ack = server.publish("{}", channel=channel)
    assert reader.next_event().json()["seq"] == ack["seq"]


@pytest.mark.parametrize("transport", [transport for transport in TRANSPORTS if transport not in ("unix", "tcp")])
def test_control_off_replays_nothing_but_events(server, read, transport):
    acks = publish_numbered(server, 4)
    reader = read(transport, from_=acks[0]["cursor"], control="off")
    assert [reader.next().json()["seq"] for _ in range(3)] == [ack["seq"] for ack in acks[1:]]
    ack = server.publish("{}")
    assert reader.next().json()["seq"] == ack["seq"]


@pytest.mark.parametrize("stamp", [[], ["time"], ["channel"]])
def test_a_place_is_exact_where_events_carry_no_number(io, start_server, tmp_path, stamp):
    server = start_server(*program.configured(tmp_path, {"channels": {"raw": {"stamp": stamp}}}))
    cursors = [ack["cursor"] for ack in publish_numbered(server, 20, channel="raw")]
    for transport in TRANSPORTS:
        with open_reader(server, transport, from_=cursors[9], channel=["raw"]) as reader:
            reader.next_control("$hello")
            records = [reader.next_event() for _ in range(10)]
            assert [record.json()["n"] for record in records] == list(range(10, 20)), transport
            assert "sse" not in transport or [record.id for record in records] == cursors[10:]


# Places that name nothing here


@pytest.mark.parametrize("why, offset", [("unknown_epoch", None), ("ahead", 1), ("ahead", 2**64 - 1 - 20)])
def test_a_place_that_is_not_known_is_said_and_then_everything_held_follows(io, start_server, why, offset):
    server = start_server()
    for number in range(20):
        head = server.publish('{"n":%d}' % number, channel="ab"[number % 2])["cursor"]
    cursor = f"{OTHER_EPOCH}-1" if offset is None else place(head, offset)
    for transport in TRANSPORTS:
        for query, numbers in (({}, list(range(20))), ({"channel": ["b"]}, list(range(1, 20, 2)))):
            with open_reader(server, transport, from_=cursor, **query) as reader:
                hello = reader.next_control("$hello")
                gap = reader.next_control("$gap")
                assert list(gap.json().items()) == [("type", "$gap"), ("epoch", head.split("-")[0]), ("why", why)]
                assert [reader.next_event().json()["n"] for _ in numbers] == numbers, transport
                if "sse" in transport:
                    assert (hello.id, gap.id) == (cursor, place(head, -20)), "the gap's is before the oldest held"
    ack = server.publish("{}", channel="b")
    assert ack["seq"] == 21


MALFORMED = [
    "x",
    "1",
    f"{OTHER_EPOCH}",
    f"{OTHER_EPOCH}-",
    f"{OTHER_EPOCH}-x",
    f"{OTHER_EPOCH}-01",
    f"{OTHER_EPOCH}-+1",
    f"{OTHER_EPOCH}--1",
    f"{OTHER_EPOCH}-1-1",
    f"{OTHER_EPOCH}-1 ",
    f"{OTHER_EPOCH}-18446744073709551616",
    f"{OTHER_EPOCH}-999999999999999999999",
    f"{OTHER_EPOCH.upper()}-1",
    f"{OTHER_EPOCH[1:]}-1",
    f"0{OTHER_EPOCH}-1",
]


@pytest.mark.parametrize("cursor", MALFORMED)
@pytest.mark.parametrize("name", ["from", "last_event_id"])
def test_a_malformed_cursor_in_the_query_is_refused(server, cursor, name):
    response = server.get(events_target(**{name: cursor}), {"Accept": "text/event-stream"})
    assert (response.status, response.error_code()) == (400, "bad_cursor"), response


@pytest.mark.parametrize("cursor", MALFORMED)
def test_a_malformed_cursor_in_the_header_is_an_unknown_epoch(server, read, channel, cursor):
    ack = server.publish("{}", channel=channel)
    reader = read("sse", headers={"Last-Event-ID": cursor}, channel=[channel])
    reader.next_control("$hello")
    assert reader.next_control("$gap").json()["why"] == "unknown_epoch"
    assert reader.next_event().id == ack["cursor"]


# on_gap=fail


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_on_gap_fail_changes_nothing_where_nothing_is_gone(server, read, transport):
    acks = publish_numbered(server, 3)
    reader = read(transport, from_=acks[0]["cursor"], on_gap="fail")
    reader.next_control("$hello")
    assert seqs(reader, 2) == [acks[1]["seq"], acks[2]["seq"]]
    ack = server.publish("{}")
    assert reader.next_event().json()["seq"] == ack["seq"]


@pytest.mark.parametrize("offset", [None, 1])
def test_on_gap_fail_is_about_every_kind_of_gap(server, greeted, offset):
    head = server.publish("{}")["cursor"]
    cursor = f"{OTHER_EPOCH}-1" if offset is None else place(head, offset)
    target = events_target(from_=cursor, on_gap="fail")
    for headers in ({"Accept": "text/event-stream"}, {"Accept": program.NDJSON}, upgrade_headers()):
        response = server.get(target, headers)
        assert (response.status, response.error_code()) == (410, "cursor_gone")
    for transport in LINE_FORMS:
        reader = greeted(transport)
        reader.subscribe(from_=cursor, on_gap="fail")
        reader.next_control("$hello")
        assert reader.next_control("$bye").json()["code"] == 4410, transport


# Ended channels


def end(server, channel):
    response = server.exchange(http1.request("DELETE", f"/v1/channels?channel={channel}"))
    assert response.status == 200, response


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_place_before_the_end_of_a_channel_gets_the_rest_and_then_the_end(server, read, channel, transport):
    before = server.publish("{}")["cursor"]
    acks = publish_numbered(server, 5, channel=channel)
    later = server.publish("{}")["cursor"]
    end(server, channel)
    for cursor, rest in ((before, acks), (acks[2]["cursor"], acks[3:])):
        reader = read(transport, from_=cursor, channel=[channel])
        reader.next_control("$hello")
        assert seqs(reader, len(rest)) == [ack["seq"] for ack in rest]
        bye = reader.next_control("$bye")
        assert (bye.json()["code"], bye.json()["why"]) == (1000, "ended")
        assert bye.json()["last"] in (acks[4]["cursor"], later), "nothing of the channel lies between"
        assert "retry_ms" not in bye.json()
        if "websocket" in transport:
            assert reader.connection.receive_close() == 1000
        assert reader.stream.rest() == b""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_place_at_or_after_the_end_of_a_channel_gets_only_the_end(server, read, channel, transport):
    last = publish_numbered(server, 2, channel=channel)[-1]["cursor"]
    end(server, channel)
    later = server.publish("{}")["cursor"]
    for cursor in (last, later):
        if "sse" in transport:
            target = events_target(channel=channel, from_=cursor)
            response = server.get(target, {"Accept": "text/event-stream"}, unix="socket" in transport)
            assert response.status == 204, "a browser's EventSource stops on a 204"
            continue
        reader = read(transport, from_=cursor, channel=[channel])
        reader.next_control("$hello")
        assert reader.next_control("$bye").json()["code"] == 1000


@pytest.mark.parametrize("transport", ["http-jsonl", "sse", "http.socket-sse"])
def test_who_wants_no_control_records_gets_the_rest_of_an_ended_channel_and_no_more(server, read, channel, transport):
    acks = publish_numbered(server, 3, channel=channel)
    end(server, channel)
    reader = read(transport, from_=acks[0]["cursor"], channel=[channel], control="off")
    assert [reader.next().json()["seq"] for _ in range(2)] == [ack["seq"] for ack in acks[1:]]
    assert reader.stream.rest() == b""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_channel_that_has_ended_ends_no_subscription_that_has_others(server, read, channel, transport):
    first = server.publish("{}", channel=f"{channel}/over")
    second = server.publish("{}", channel=f"{channel}/on")
    end(server, f"{channel}/over")
    reader = read(transport, from_=place(first["cursor"], -1), channel=[f"{channel}/over", f"{channel}/on"])
    reader.next_control("$hello")
    assert seqs(reader, 2) == [first["seq"], second["seq"]]
    third = server.publish("{}", channel=f"{channel}/on")
    assert reader.next_event().json()["seq"] == third["seq"]


# Without a past: --history 0


@pytest.fixture(params=["flag", "variable", "file"])
def forgetful(request, io, start_server, tmp_path):
    """A server that holds nothing, which each of the three ways can say."""
    if request.param == "flag":
        return start_server("--history", "0")
    if request.param == "variable":
        return start_server(environment=program.clean_environment(FANOUT_HISTORY="0"))
    return start_server(*program.configured(tmp_path, {"history": 0}))


def test_a_server_that_holds_nothing_names_what_is_missing_by_one_gap(forgetful):
    server = forgetful
    cursor = server.publish("{}")["cursor"]
    for transport in TRANSPORTS:
        head = [server.publish("{}") for _ in range(3)][-1]
        cases = {place(cursor): int(cursor.split("-")[1]) + 1, "start": 1}
        for asked, first in cases.items():
            with open_reader(server, transport, from_=asked) as reader:
                assert reader.next_control("$hello").json()["seq"] == head["seq"]
                gap = reader.next_control("$gap")
                members = gap.json()
                assert (members["from"], members["to"], members["why"]) == (first, head["seq"], "pruned")
                assert members.get("dropped", head["seq"] - first + 1) == head["seq"] - first + 1
                assert gap.id == (head["cursor"] if "sse" in transport else None)
                ack = server.publish("{}")
                assert reader.next_event().json()["seq"] == ack["seq"] == head["seq"] + 1
                head = ack
        response = server.get(events_target(from_=cursor, on_gap="fail"))
        assert (response.status, response.error_code()) == (410, "cursor_gone")
    assert server.metric("fanout_history_bytes") == server.metric("fanout_history_events") == 0
    assert server.metric("fanout_replaying_subscribers") == 0


@pytest.mark.parametrize("size", ["1", "1048575", "1023k", "-1", "much", ""])
def test_a_size_that_history_cannot_have_is_refused(directory, size):
    ended = program.run("serve", "--runtime-dir", directory / "run", "--listen", "127.0.0.1:0", "--history", size)
    assert ended.returncode in (64, 78), ended.stderr
    assert b"history" in ended.stderr and ended.stdout == b""


def test_every_ack_is_a_place_to_come_back_to(server, read):
    """Of single events, of batches and of lines: what each names is where the reader goes on."""
    single = server.publish("{}")
    batch = server.publish_batch(["{}"] * 7)
    lines = [json.loads(line) for line in server.ingest(b'{"$ack":true}\n{}\n{}\n').splitlines()]
    head = lines[-1]["seq"]
    for cursor in (single["cursor"], batch["first"], batch["cursor"], lines[0]["cursor"]):
        assert CURSOR.match(cursor)
        reader = read("unix", from_=cursor)
        reader.next_control("$hello")
        after = int(cursor.split("-")[1])
        assert seqs(reader, head - after) == list(range(after + 1, head + 1))

"""Readers that come back to the next server on a database: exactly what follows their place, or what they lost."""

import shutil

import pytest

import http1
from backlog import seqs
from readers import CURSOR, TRANSPORTS, events_target, open_reader, place
from stored import ENDS, FILE, HIGH_WATER, come_back, copy, epoch_of, gone, head_of
from streams import wait_until
from test_resume import KINDS_OF_EVENTS

# One of each kind, where all eight would show no more.
SOME = ["unix", "tcp", "http-jsonl", "sse", "websocket"]
LINE_FORMS = ["unix", "tcp", "websocket"]


def publish_numbered(server, numbers, **query):
    """The cursors of events, published one by one."""
    return [server.publish('{"n":%d}' % number, **query)["cursor"] for number in numbers]


def epoch(cursor):
    return cursor.partition("-")[0]


def seq(cursor):
    return int(cursor.partition("-")[2])


def numbers(reader, count):
    return [reader.next_event().json()["n"] for _ in range(count)]


def check_rewound(server, cursor, first_lost, then, transports=SOME, **query):
    """A cursor beyond what was kept: one `$gap` in its own numbering, then these numbers, on each transport."""
    for transport in transports:
        with come_back(server, transport, cursor, **query) as reader:
            gap = reader.next_control("$gap")
            members = {"type": "$gap", "epoch": epoch(cursor), "from": first_lost, "to": seq(cursor)}
            said = gap.json()
            assert {name: said.get(name) for name in members} == members, (transport, said)
            assert said["why"] == "rewound" and set(said) <= {*members, "why", "dropped"}, (transport, said)
            assert numbers(reader, len(then)) == then, transport
            if transport == "sse":
                with come_back(server, "sse", gap.id, **query) as again:
                    assert numbers(again, len(then)) == then, "the gap's own place is behind it"
    gone(server, cursor)


# A clean stop


def test_a_stop_in_order_keeps_the_epoch_and_numbers_go_on(life):
    cursors = publish_numbered(life.begin(), range(3))
    for number in range(3, 9):
        server = life.again()
        assert head_of(server) == cursors[-1]
        cursors += publish_numbered(server, [number])
    assert {epoch(cursor) for cursor in cursors} == {epoch(cursors[0])}
    assert [seq(cursor) for cursor in cursors] == list(range(1, 10))


@pytest.mark.parametrize("how", ENDS)
def test_every_kind_of_reader_goes_on_with_the_bytes_that_were_live(life, how):
    """Each event in each form as it was before the restart, from each place, then what comes live."""
    server = life.begin()
    before = publish_numbered(server, [-1])[0]
    live = {transport: open_reader(server, transport) for transport in TRANSPORTS}
    for reader in live.values():
        reader.next_control("$hello")
    cursors = [server.publish(event, channel=f"c/{at % 3}")["cursor"] for at, event in enumerate(KINDS_OF_EVENTS)]
    end = b'"type":"end"}'
    was = {transport: reader.stream.until(end) for transport, reader in live.items()}
    for reader in live.values():
        reader.close()
    again = life.again(how)
    now = epoch_of(again).encode()
    for transport in TRANSPORTS:
        with come_back(again, transport, before) as reader:
            came = reader.stream.until(end).replace(b"id: " + now, b"id: " + epoch(before).encode())
            assert came == was[transport], transport
        for at in (0, 3, len(cursors) - 2):
            with come_back(again, transport, cursors[at], channel=["c/*"]) as reader:
                assert seqs(reader, len(cursors) - at - 1) == [seq(each) for each in cursors[at + 1 :]]
                ack = again.publish('{"n":1}', channel="c/live")
                assert reader.next_event().json()["seq"] == ack["seq"]
            cursors.append(ack["cursor"])


@pytest.mark.parametrize("transport", SOME)
def test_the_place_that_a_stopping_server_names_is_where_to_go_on(life, transport):
    server = life.begin()
    with open_reader(server, transport) as reader:
        reader.next_control("$hello")
        publish_numbered(server, range(5))
        assert numbers(reader, 5) == list(range(5))
        server.signal(15)
        bye = reader.next_control("$bye").json()
    server.check_stopped()
    assert bye["code"] == 1001
    server = life.begin()
    publish_numbered(server, range(5, 8))
    with come_back(server, transport, bye["last"]) as reader:
        assert numbers(reader, 3) == [5, 6, 7]


def test_a_place_at_the_head_goes_on_with_what_comes(life):
    last = publish_numbered(life.begin(), range(3))[-1]
    server = life.again()
    readers = [come_back(server, transport, last) for transport in TRANSPORTS]
    publish_numbered(server, [3])
    assert [numbers(reader, 1) for reader in readers] == [[3]] * len(TRANSPORTS)


def test_from_start_is_everything_since_the_first_server(life):
    publish_numbered(life.begin(), range(3))
    publish_numbered(life.again(), range(3, 5))
    server = life.again("killed")
    publish_numbered(server, range(5, 7))
    for transport in TRANSPORTS:
        with open_reader(server, transport, from_="start") as reader:
            reader.next_control("$hello")
            assert numbers(reader, 7) == list(range(7)), transport


def test_ahead_and_unknown_places_are_said_and_then_everything_stored_follows(life):
    last = publish_numbered(life.begin(), range(20))[-1]
    server = life.again()
    for cursor, why in ((place(last, 1), "ahead"), ("0123456789abcdef-7", "unknown_epoch")):
        for transport in SOME:
            with come_back(server, transport, cursor) as reader:
                gap = reader.next_control("$gap").json()
                assert gap == {"type": "$gap", "epoch": epoch(last), "why": why}
                assert numbers(reader, 20) == list(range(20)), transport
        gone(server, cursor)
        answer = server.get(f"/v1/history?after={cursor}&limit=3").json()
        assert (answer["gap"], [event["n"] for event in answer["events"]]) == ({"why": why}, [0, 1, 2])


# Channels


def end(server, channel):
    assert server.exchange(http1.request("DELETE", f"/v1/channels?channel={channel}")).status == 200


@pytest.mark.parametrize("how", ENDS)
def test_a_channel_that_has_ended_stays_so_until_it_is_declared_anew(life, how):
    server = life.begin()
    cursors = publish_numbered(server, range(4), channel="jobs/7")
    end(server, "jobs/7")
    publish_numbered(server, [9])
    server = life.again(how)
    assert server.post("{}", channel="jobs/7").error_code() == "channel_ended"
    target = events_target(channel="jobs/7", from_=cursors[3])
    assert server.get(target, {"Accept": "text/event-stream"}).status == 204
    for transport in SOME:
        with come_back(server, transport, cursors[1], channel=["jobs/7"]) as reader:
            assert numbers(reader, 2) == [2, 3], transport
            bye = reader.next_control("$bye").json()
            assert (bye["code"], bye["why"]) == (1000, "ended")
    response = server.exchange(http1.request("PUT", "/v1/channels?channel=jobs/7"))
    assert response.status in (200, 201), response
    publish_numbered(server, [4], channel="jobs/7")
    server = life.again(how)
    publish_numbered(server, [5], channel="jobs/7")
    events = server.get("/v1/history?channel=jobs/7").json()["events"]
    assert [event["n"] for event in events] == list(range(6))


@pytest.mark.parametrize("how", ENDS)
def test_channels_are_listed_as_they_were(life, how):
    server = life.begin()
    for name in ("b", "a/1", "b"):
        publish_numbered(server, [1], channel=name)
    publish_numbered(server, [1, 2], channel="over")
    end(server, "over")
    publish_numbered(server, [1])
    before = server.get("/v1/channels").json()["channels"]
    server = life.again(how)
    after = server.get("/v1/channels").json()["channels"]
    shown = [
        [(each["channel"], each["events"], seq(each["head"]), each.get("ended")) for each in listed]
        for listed in (before, after)
    ]
    assert shown[0] == shown[1]


# An end that was none


def test_after_a_kill_a_new_epoch_begins_behind_every_number_that_was_used(life):
    cursors, epochs = publish_numbered(life.begin(), range(3)), []
    for number in range(3, 7):
        server = life.again("killed")
        assert epoch_of(server) not in epochs
        epochs.append(epoch_of(server))
        cursors += publish_numbered(server, [number])
    used = [seq(cursor) for cursor in cursors]
    assert used == sorted(set(used)) and len({epoch(cursor) for cursor in cursors}) == 5
    # Any place that anybody was ever told is followed by exactly what came after it.
    for transport in SOME:
        for at, cursor in enumerate(cursors):
            with come_back(server, transport, cursor) as reader:
                assert numbers(reader, len(cursors) - at - 1) == list(range(at + 1, 7)), (transport, at)
    # Also where a reader names what an earlier epoch left by the present one, as JSONL and WebSocket readers do.
    for cursor in cursors:
        with come_back(server, "websocket", f"{epochs[-1]}-{seq(cursor)}") as reader:
            then = [each for each in used if each > seq(cursor)]
            assert seqs(reader, len(then)) == then


def test_a_place_beyond_what_was_kept_is_rewound_and_then_what_follows(life):
    last = publish_numbered(life.begin(), range(5))[-1]
    server = life.again("killed")
    publish_numbered(server, [5, 6])
    check_rewound(server, place(last, 3), seq(last) + 1, [5, 6])
    check_rewound(server, place(last, 1), seq(last) + 1, [5, 6], transports=["sse"], channel=["events"])
    for transport in LINE_FORMS:
        with open_reader(server, transport) as reader:
            reader.next_control("$hello")
            reader.subscribe(from_=place(last, 3), on_gap="fail")
            reader.next_control("$hello")
            bye = reader.next_control("$bye").json()
            assert (bye["code"], bye["why"]) == (4410, "cursor_gone")
    # The same answer after another stop, and after another kill.
    server = life.again()
    check_rewound(server, place(last, 3), seq(last) + 1, [5, 6], transports=["sse", "unix"])
    server = life.again("killed")
    check_rewound(server, place(last, 3), seq(last) + 1, [5, 6], transports=["sse", "unix"])


def test_what_an_older_epoch_left_may_be_pruned_and_what_it_lost_is_rewound_first(life):
    last = publish_numbered(life.begin(), range(5))[-1]
    later = publish_numbered(life.again("killed"), range(5, 9))
    server = life.again("stopped", configuration={"channels": {"**": {"retention": {"count": 3}}}})
    wait_until(lambda: len(server.get("/v1/history").json()["events"]) == 3, "retention to have its way")
    pruned = {"epoch": epoch(later[0]), "to": seq(later[0]), "why": "pruned"}
    for cursor in (place(last, -3), last, f"{epoch(later[0])}-2", place(last, 2), place(last, 1 << 40)):
        for transport in SOME:
            with come_back(server, transport, cursor) as reader:
                behind = min(seq(cursor), seq(last))
                if seq(cursor) > behind:
                    gap = reader.next_control("$gap").json()
                    told = {name: gap[name] for name in ("epoch", "from", "to", "why")}
                    assert told == {"epoch": epoch(last), "from": 6, "to": seq(cursor), "why": "rewound"}, transport
                gap = reader.next_control("$gap").json()
                told = {name: gap[name] for name in ("epoch", "from", "to", "why")}
                assert told == {"from": behind + 1, **pruned}, (transport, cursor)
                assert numbers(reader, 3) == [6, 7, 8]


def test_history_says_what_was_rewound(life):
    last = publish_numbered(life.begin(), range(5))[-1]
    server = life.again("killed")
    publish_numbered(server, [5, 6])
    answer = server.get(f"/v1/history?after={place(last, 3)}").json()
    gap = {name: answer["gap"][name] for name in ("from", "to", "why")}
    assert gap == {"from": seq(last) + 1, "to": seq(last) + 3, "why": "rewound"}
    assert [event["n"] for event in answer["events"]] == [5, 6]
    answer = server.get(f"/v1/history?after={place(last, -2)}").json()
    assert "gap" not in answer and [event["n"] for event in answer["events"]] == [3, 4, 5, 6]


def test_a_second_signal_ends_at_once_and_loses_nothing_that_was_acked(life):
    cursors = publish_numbered(life.begin(), range(20))
    life.server.signal(15)
    life.server.signal(15)
    assert life.server.wait() in (0, 143)
    server = life.begin()
    with come_back(server, "unix", cursors[0]) as reader:
        assert numbers(reader, 19) == list(range(1, 20))


# Copies


def test_a_copy_in_another_folder_begins_an_epoch_of_its_own(life):
    cursors = publish_numbered(life.begin(), range(5))
    life.end()
    copy(life.data, life.folder / "copy")
    original = life.begin()
    publish_numbered(original, [5])
    assert epoch_of(original) == epoch(cursors[0])
    life.data, original_data = life.folder / "copy", life.data
    server = life.begin()
    assert epoch_of(server) != epoch(cursors[0])
    publish_numbered(server, [50, 51])
    with come_back(server, "sse", cursors[2]) as reader:
        assert numbers(reader, 4) == [3, 4, 50, 51]
    check_rewound(server, place(cursors[4], 1), 6, [50, 51], transports=["sse", "websocket"])
    life.data, life.server = original_data, original


@pytest.mark.parametrize("what", ["both files", "the database", "by renaming", "the folder", "in place"])
def test_a_copy_that_is_put_back_begins_a_new_epoch(life, what):
    """Even of a clean stop, whichever way it comes back: its numbers mean other events from then on."""
    first = publish_numbered(life.begin(), range(5))
    life.end()
    kept = copy(life.data, life.folder / "copy")
    later = publish_numbered(life.begin(), range(5, 8))
    life.end()
    assert epoch(later[0]) == epoch(first[0])
    if what == "both files":
        for name in (FILE, HIGH_WATER):
            shutil.copy2(kept / name, life.data / name)
    elif what == "the database":
        shutil.copy2(kept / FILE, life.data / FILE)
    elif what == "by renaming":
        for name in (FILE, HIGH_WATER):
            (kept / name).replace(life.data / name)
    elif what == "the folder":
        shutil.rmtree(life.data)
        shutil.move(kept, life.data)
    else:
        for name in (FILE, HIGH_WATER):
            with open(life.data / name, "r+b") as file:
                file.write((kept / name).read_bytes())
                file.truncate()
    server = life.begin()
    assert epoch_of(server) != epoch(first[0])
    new = publish_numbered(server, [50, 51])
    assert {epoch(cursor) for cursor in new} == {epoch_of(server)}
    for transport in ("unix", "sse"):
        with come_back(server, transport, first[1]) as reader:
            assert numbers(reader, 5) == [2, 3, 4, 50, 51]
    check_rewound(server, later[1], 6, [50, 51])


def test_what_was_not_changed_goes_on_wherever_the_folder_is_named_from(life):
    """Another path to the same files is no copy."""
    publish_numbered(life.begin(), range(3))
    was = epoch_of(life.server)
    life.end()
    link = life.folder / "link"
    link.symlink_to(life.data)
    life.data = link
    assert epoch_of(life.begin()) == was
    life.end()
    link.unlink()
    (life.folder / "data").rename(life.folder / "moved")
    life.data = life.folder / "moved"
    assert epoch_of(life.begin()) == was


@pytest.mark.parametrize("loss", ["the high-water file", "its content"])
def test_without_its_high_water_file_a_new_epoch_begins(life, loss):
    last = publish_numbered(life.begin(), range(3))[-1]
    life.end()
    if loss == "its content":
        (life.data / HIGH_WATER).write_bytes(b"")
    else:
        (life.data / HIGH_WATER).unlink()
    server = life.begin()
    assert epoch_of(server) != epoch(last)
    assert CURSOR.match(publish_numbered(server, [3])[0])
    with come_back(server, "sse", place(last, -2)) as reader:
        assert numbers(reader, 3) == [1, 2, 3]

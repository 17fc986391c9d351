"""examples/hyperhive-agent: an agent's bus that is a tail and not a log, its log of 2,000, its state, its terminal."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import sqlite3
import struct
import subprocess
import termios
import threading

import pytest

import profiles
from endings import open_with_small_buffer
from profiles import Example, kind, load, profile, run_example
from readers import open_reader
from streams import DEADLINE_S, wait_until

AGENT, TERMINAL = "hyperhive-agent/agent.py", "hyperhive-agent/terminal.py"
LOG, STATUS = "agents/alder/log", "agents/alder/status"
LIMIT, KEPT = 256, 2000
LIVED = ("--fast", "--seed", 2, "--seconds", 600)


def members(event):
    """What the agent said: the event without what the server stamps."""
    return {name: value for name, value in event.items() if name not in ("seq", "time", "channel")}


def note(number, pad=""):
    return json.dumps({"kind": "note", "text": f"note {number}{pad}"})


def history(server, limit, channel=LOG):
    return server.get(f"/v1/history?channel={channel}&limit={limit}").json()["events"]


def publish_notes(server, first, last, pad="", ack="accepted"):
    """Notes with these numbers, in batches."""
    for start in range(first, last + 1, 100):
        numbers = range(start, min(last, start + 99) + 1)
        server.publish_batch([note(number, pad) for number in numbers], channel=LOG, ack=ack)


def numbers_of(events):
    return [int(event["text"].split()[1]) for event in events]


@pytest.fixture
def server(io, start_server, tmp_path):
    return start_server(*profile("hyperhive-agent"), "--data", tmp_path / "data")


@pytest.fixture
def begin(io, start_server, tmp_path):
    """Starts a server on the test's database, again and again."""
    return lambda: start_server(*profile("hyperhive-agent"), "--data", tmp_path / "data")


def test_a_turn_is_told_from_its_start_to_its_end(server):
    run_example(AGENT, server, *LIVED)
    events = [members(event) for event in history(server, 10_000)]
    assert {event["kind"] for event in events} == {"turn_start", "stream", "note", "turn_end"}
    turn, unread = None, []
    for event in events:
        match event["kind"]:
            case "turn_start":
                assert turn is None and set(event) == {"kind", "from", "body", "unread"}
                turn = event
                unread.append(event["unread"])
            case "stream":
                assert turn is not None and set(event) == {"kind", "value"}
            case "turn_end":
                assert turn is not None and set(event) in ({"kind", "ok"}, {"kind", "ok", "note"})
                assert event["ok"] is ("note" not in event)
                turn = None
            case "note":
                assert turn is None and isinstance(event["text"], str)
    assert max(unread) > 0
    assert {event["ok"] for event in events if event["kind"] == "turn_end"} == {True, False}


@pytest.mark.parametrize(
    "text",
    ["null", "true", "-0.0", "12345678901234567890", "1.50e+1", '"caf\\u00e9 \\ud800"', "[]", "{}",
     '{"kind":"$hello","seq":[1,{"deep":[null]}]}', '[[["x"]],{"a":{"a":{"a":0}}}]'],
)  # fmt: skip
def test_stream_carries_any_json_as_it_was_written(server, text):
    with open_reader(server, "sse", channel=LOG) as reader:
        assert reader.next().kind() == "$hello"
        server.publish(f'{{"kind":"stream","value": {text} }}', channel=LOG)
        assert reader.next().text.endswith(f'"kind":"stream","value":{text}}}'.encode())


@pytest.mark.parametrize(
    "event",
    [{"kind": "turn_middle"}, {"kind": "turn_start", "from": "a", "body": "b"}, {"kind": "note", "text": 1},
     {"kind": "turn_start", "from": "a", "body": "b", "unread": -1}, {"kind": "turn_end"}, {"kind": "stream"}],
)  # fmt: skip
def test_nothing_else_gets_onto_the_bus(server, event):
    refused = server.post(json.dumps(event), channel=LOG)
    assert (refused.status, refused.error_code()) == (422, "schema")
    assert history(server, 10) == []


# A tail: a ring of 256, and who is behind skips


def test_who_falls_behind_256_skips_and_goes_on(server):
    """With no word of its own a subscriber skips: it gets one gap that counts what it missed, and then the present."""
    slow = open_with_small_buffer(server, "sse", channel=LOG)
    other = profiles.Follower(server, "sse", channel=LOG)
    wait_until(lambda: other.records, "$hello")
    published, pad = 0, " " + "x" * 6000

    def is_behind():
        nonlocal published
        publish_notes(server, published + 1, published + 50, pad)
        published += 50
        return server.metric("fanout_laggards_total", reason="events") == 1

    wait_until(is_behind, "the slow one to be behind")
    publish_notes(server, published + 1, published + 300)
    published += 300
    received, gaps = [], []
    while not gaps:
        record = slow.next()
        (gaps if record.kind() == "$gap" else received).append(record.json())
    (gap,) = gaps
    assert gap["why"] == "lagged" and gap["dropped"] >= LIMIT
    publish_notes(server, published + 1, published + 3)
    after = [slow.next().json()]
    while numbers_of(after)[-1] < published + 3:
        after.append(slow.next().json())
    assert numbers_of(received) == list(range(1, len(received) + 1))
    assert numbers_of(after)[0] == len(received) + gap["dropped"] + 1
    assert numbers_of(after) == list(range(numbers_of(after)[0], published + 4))
    assert (gap["from"], gap["to"]) == (received[-1]["seq"] + 1, after[0]["seq"] - 1)
    wait_until(lambda: len(other.events()) == published + 3, "the other one to have everything")
    assert numbers_of(other.events()) == list(range(1, published + 4))
    slow.close()


def test_the_ring_is_256_events_for_everyone(server):
    refused = server.get(f"/v1/events?channel={LOG}&lag_events={LIMIT + 1}")
    assert (refused.status, refused.error_code()) == (400, "bad_lag_limit")
    assert f"at most {LIMIT} " in refused.json()["error"]["message"]
    with open_reader(server, "sse", channel=LOG, lag_events=str(LIMIT)) as reader:
        assert reader.next().kind() == "$hello"


def test_a_new_subscriber_sees_only_the_future(server):
    publish_notes(server, 1, 30)
    with open_reader(server, "sse", channel=LOG) as reader:
        assert reader.next().json()["seq"] == 30
        publish_notes(server, 31, 31)
        event = reader.next().json()
        assert (event["seq"], event["text"]) == (31, "note 31")
    assert numbers_of(history(server, 100)) == list(range(1, 32)), "and takes the past from history"


# A log of 2,000


def test_history_is_the_newest_n_oldest_first(server):
    publish_notes(server, 1, 120)
    for limit in (1, 7, 120, 5000):
        assert numbers_of(history(server, limit)) == list(range(max(1, 121 - limit), 121))
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"]) for event in history(server, 120))


def test_the_newest_2000_are_kept_and_older_ones_are_swept(begin, tmp_path):
    server = begin()
    run_example(AGENT, server, "--fast", "--model", "opus", "--seconds", 1)
    publish_notes(server, 1, 3300)
    wanted = list(range(3300 - KEPT + 1, 3301))

    def are_swept():
        return server.metric("fanout_storage_pruned_total") >= 3300 - KEPT

    wait_until(are_swept, "the sweep")
    server.stop()
    with contextlib.closing(sqlite3.connect(tmp_path / "data/events.db")) as database:
        query = """SELECT seq, time_ms, kind, line FROM event JOIN channel ON channel.id = event.channel
                   WHERE channel.name = ? ORDER BY seq"""
        rows = database.execute(query, (LOG,)).fetchall()
    assert len(rows) == KEPT
    assert [row[0] for row in rows] == sorted({row[0] for row in rows})
    assert {row[2] for row in rows} == {"note"} and all(row[1] > 1_600_000_000_000 for row in rows)
    assert numbers_of(json.loads(row[3]) for row in rows) == wanted
    again = begin()
    assert numbers_of(history(again, 10_000)) == wanted
    assert [event["model"] for event in snapshot_of(again) if event["kind"] == "model_changed"] == ["opus"]


def test_without_its_database_it_warns_and_lives_without_history(io, start_server, tmp_path):
    (tmp_path / "data").write_text("in the way")
    for _ in range(2):
        server = start_server(*profile("hyperhive-agent"), "--data", tmp_path / "data")
        server.stderr.wait_for(lambda line: b"warning" in line and b"data" in line)
        assert history(server, 100) == [], "nothing of the life before"
        with open_reader(server, "sse", channel=LOG) as reader:
            assert reader.next().kind() == "$hello"
            assert server.publish(note(1), channel=LOG)["level"] == "accepted"
            assert reader.next().json()["text"] == "note 1"
        run_example(AGENT, server, "--fast", "--seconds", 60)
        assert any(event["kind"] == "turn_start" for event in history(server, 1000))
        server.stop()
    assert (tmp_path / "data").read_text() == "in the way"


# State with a since-time, and a setting


def snapshot_of(server):
    return server.get(f"/v1/snapshot?channel={STATUS}").json()["events"]


@pytest.fixture
def bus(server):
    """The agent's own bus, and the time that it lives in."""
    life = load("shared/life.py").Life(1, fast=True)
    client = load("shared/fanout_client.py").Fanout(server.url)
    return load(AGENT).Bus(life, client, "alder"), life


def test_to_set_the_state_that_is_set_changes_nothing(server, bus):
    bus, life = bus
    for state, seconds in [("idle", 10), ("idle", 10), ("thinking", 5), ("thinking", 5), ("thinking", 1), ("idle", 0)]:
        bus.set_state(state)
        life.now += seconds
    told = [(event["state"], event["since"][11:19]) for event in history(server, 100, STATUS)]
    assert told[-1] == ("idle", "00:00:31")
    (row,) = snapshot_of(server)
    assert (row["state"], row["since"][11:19]) == ("idle", "00:00:31")
    assert row["seq"] == 3, "three changes, three events"


def test_the_state_is_one_of_three_and_has_a_since_time(server):
    follower = profiles.Follower(server, "sse", channel=STATUS)
    wait_until(lambda: follower.records, "$hello")
    run_example(AGENT, server, *LIVED)
    wait_until(lambda: follower.records[-1]["seq"] == snapshot_of(server)[-1]["seq"], "the last change")
    changes = [event for event in follower.events() if event["kind"] == "state_changed"]
    states = [event["state"] for event in changes]
    assert set(states) == {"idle", "thinking", "compacting"} and len(states) > 10
    assert all(old != new for old, new in zip(states, states[1:]))
    since = [event["since"] for event in changes]
    assert since == sorted(since) and since[0].startswith("2026-01-01T00:00:00")
    for bad in ({"state": "asleep", "since": since[0]}, {"state": "idle", "since": "yesterday"}, {"state": "idle"}):
        refused = server.post(json.dumps({"kind": "state_changed", **bad}), channel=STATUS)
        assert (refused.status, refused.error_code()) == (422, "schema")
    # Who comes now knows at once what is so, and since when.
    with open_reader(server, "sse", channel=STATUS, from_="snapshot") as reader:
        kinds = [reader.next().json() for _ in range(5)]
        assert [kind(record) for record in kinds] == ["$hello", "$snapshot", "model_changed", "state_changed", "$live"]
        assert kinds[3] == changes[-1]


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_the_setting_survives_restarts(begin, end):
    server = begin()
    run_example(AGENT, server, "--fast", "--model", "opus", "--seconds", 5)
    for _ in range(2):
        if end == "stopped":
            server.stop()
        else:
            server.kill()
        server = begin()
        assert [event["model"] for event in snapshot_of(server) if event["kind"] == "model_changed"] == ["opus"]
    before = len(history(server, 10_000))
    run_example(AGENT, server, "--fast", "--seconds", 60)
    told = [event["value"] for event in history(server, 10_000)[before:] if event["kind"] == "stream"]
    assert {value["model"] for value in told if value.get("subtype") == "init"} == {"opus"}
    run_example(AGENT, server, "--fast", "--model", "sonnet", "--seconds", 5)
    assert [event["model"] for event in snapshot_of(server) if event["kind"] == "model_changed"] == ["sonnet"]


# The terminal


def printed_numbers(text):
    return [int(number) for number in re.findall(r"^· note (\d+)$", text, re.MULTILINE)]


def test_the_terminal_shows_the_past_and_then_the_present_without_a_race(server):
    """Terminals that come at any moment under a publisher: no hole and nothing twice where the past ends."""
    publish_notes(server, 1, 400)
    stop = threading.Event()
    last = 400

    def publish():
        nonlocal last
        while not stop.is_set():
            publish_notes(server, last + 1, last + 3)
            last += 3

    publisher = threading.Thread(target=publish)
    publisher.start()
    with contextlib.ExitStack() as stack:
        terminals = [stack.enter_context(Example(TERMINAL, server, "--last", 50)) for _ in range(5)]
        for terminal in terminals:
            terminal.stdout.wait_for(lambda line: b"note" in line)
        wanted = last + 60
        wait_until(lambda: last >= wanted, "the present")
        stop.set()
        publisher.join()
        end = f"· note {last}\n".encode()
        for terminal in terminals:
            terminal.stdout.wait_for(lambda line: line == end)
            numbers = printed_numbers(terminal.stdout.text())
            assert numbers == list(range(numbers[0], last + 1)) and len(numbers) > 100
            assert terminal.stderr.text() == ""


def test_the_terminal_goes_on_where_it_was_over_a_restart(io, start_server, tmp_path):
    flags = (*profile("hyperhive-agent"), "--data", tmp_path / "data")
    server = start_server(*flags)
    publish_notes(server, 1, 20)
    with Example(TERMINAL, server, "--last", 10) as terminal:
        terminal.stdout.wait_for(lambda line: line == "· note 20\n".encode())
        server.stop()
        terminal.stdout.wait_for(lambda line: b"connection is gone" in line)
        again = start_server(*flags, listen=f"127.0.0.1:{server.http_port}")
        publish_notes(again, 21, 40)
        terminal.stdout.wait_for(lambda line: line == "· note 40\n".encode())
        assert printed_numbers(terminal.stdout.text()) == list(range(11, 41))


def test_the_terminal_shows_each_kind_and_what_it_skipped(server):
    server.publish('{"kind":"turn_start","from":"manager","body":"look","unread":2}', channel=LOG)
    values = [
        {"type": "assistant", "message": {"content": [{"type": "text", "text": "Let me see.\x1b[2J"}]}},
        {"type": "assistant", "message": {"content": [{"type": "tool_use", "name": "Read", "input": {"path": "a.py"}}]}},
        {"type": "user", "message": {"content": [{"type": "tool_result", "content": "one\ntwo"}]}},
        {"type": "result"}, [1, None], {"message": {"content": "text"}}, {"message": {"content": [7]}}, None,
    ]  # fmt: skip
    for value in values:
        server.publish(json.dumps({"kind": "stream", "value": value}), channel=LOG)
    server.publish('{"kind":"turn_end","ok":false,"note":"overloaded"}', channel=LOG)
    server.publish('{"kind":"turn_end","ok":true}', channel=LOG)
    with Example(TERMINAL, server) as terminal:
        terminal.stdout.wait_for(lambda line: line == "└ done\n".encode())
        lines = terminal.stdout.text().splitlines()
        assert lines[:4] == ["┌ manager: look, 2 more unread", "│ Let me see. [2J", "│ → Read a.py", "│ ← one two"]
        assert lines[-2:] == ["└ failed: overloaded", "└ done"]
        assert len(lines) == 11 and all(line.startswith("│") for line in lines[1:9])
    screen = load(TERMINAL)
    told = []
    fake = type("Fake", (), {"line": lambda self, text, *_: told.append(text)})()
    screen.show(fake, {"kind": "$gap", "from": 3, "to": 314, "dropped": 312, "why": "lagged"})
    assert told == ["… 312 events skipped (lagged)"]


def test_the_terminals_bottom_line_says_the_state_and_since_when(server, bus):
    bus, _ = bus
    bus.set_model("haiku")
    bus.set_state("thinking")
    publish_notes(server, 1, 3)
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 60, 0, 0))
    environment = profiles.clean_environment(PYTHONDONTWRITEBYTECODE="1", TZ="UTC", TERM="xterm")
    environment = {name: value for name, value in environment.items() if name not in ("LINES", "COLUMNS")}
    process = subprocess.Popen(
        profiles.command(TERMINAL, server.url), stdin=terminal, stdout=terminal, stderr=terminal, env=environment
    )
    os.close(terminal)
    seen = bytearray()

    def collect():
        with contextlib.suppress(OSError):
            while data := os.read(controller, 4096):
                seen.extend(data)

    reader = threading.Thread(target=collect)
    reader.start()
    try:
        wait_until(lambda: "thinking since 00:00:00 · model haiku".encode() in seen, "the state")
        wait_until(lambda: b"note 3" in seen, "the past")
        bus.set_model("opus")
        bus.set_state("compacting")
        wait_until(lambda: "compacting since 00:00:00 · model opus".encode() in seen, "the new state")
        assert b"\x1b[1;9r" in seen, "the last row does not scroll"
        assert b"\x1b[10;1H\x1b[7m" in seen
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 0
    finally:
        process.kill()
        process.wait()
        reader.join()
        os.close(controller)

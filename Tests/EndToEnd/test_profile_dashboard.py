"""examples/hyperhive-dashboard: a hive's one channel, and dashboards that must show what is really so.

The hive (`hive.py`) is run as a user runs it, with `--fast`; its `--report` is the truth that every way of following the
channel is held against.
"""

import json
import re

import pytest

import profiles
from endings import open_with_small_buffer
from profiles import Example, Follower, is_control, kind, load, profile, run_example
from readers import open_reader
from streams import wait_until

HIVE = "hyperhive-dashboard/hive.py"
UNION = profiles.schema_of("hyperhive-dashboard/dashboard.jtd.json")["mapping"]
KINDS = (
    "sent delivered approval_added approval_resolved question_added question_resolved transient_set transient_cleared "
    "container_state_changed container_removed tombstones_changed meta_inputs_changed rebuild_queue_changed "
    "meta_update_running"
).split()
LONG = ("--fast", "--seed", 3, "--seconds", 900, "--report")
# Long enough that clients come while it lives.
LONGER = ("--fast", "--seed", 3, "--seconds", 2000, "--report")


class Table:
    """What a dashboard knows after some events: written from the description of the kinds, not from model.js."""

    def __init__(self, events=()):
        self.rows = {"containers": {}, "approvals": {}, "questions": {}, "transients": {}}
        self.lists = {"tombstones": [], "inputs": [], "queue": [], "updating": False}
        self.seq = 0
        for event in events:
            self.take(event)

    def take(self, event):
        self.seq = event["seq"]
        known = {name: value for name, value in event.items() if name not in ("kind", "seq")}
        match event["kind"]:
            case "container_state_changed":
                self.rows["containers"][event["container"]["name"]] = event["container"]
            case "container_removed":
                self.rows["containers"].pop(event["name"], None)
            case "approval_added" | "question_added":
                self.rows[event["kind"].removesuffix("_added") + "s"][event["id"]] = known
            case "approval_resolved" | "question_resolved":
                self.rows[event["kind"].removesuffix("_resolved") + "s"].pop(event["id"], None)
            case "transient_set":
                self.rows["transients"][event["name"]] = known
            case "transient_cleared":
                self.rows["transients"].pop(event["name"], None)
            case "tombstones_changed":
                self.lists["tombstones"] = event["tombstones"]
            case "meta_inputs_changed":
                self.lists["inputs"] = event["inputs"]
            case "rebuild_queue_changed":
                self.lists["queue"] = event["queue"]
            case "meta_update_running":
                self.lists["updating"] = event["running"]

    def shown(self):
        return self.rows | self.lists


def truth(report):
    """The hive's report, whose keys JSON has made text."""
    told = json.loads(report)
    for name in ("approvals", "questions"):
        told[name] = {int(key): row for key, row in told[name].items()}
    return told


def everything(server):
    """All that is held of the channel."""
    page = server.get("/v1/history?channel=dashboard&limit=10000").json()
    assert page["next"] is None
    return page["events"]


@pytest.fixture
def server(io, start_server):
    return start_server(*profile("hyperhive-dashboard"))


@pytest.fixture
def lived(server):
    """A quarter of an hour of a hive: all that it said, as one browser connection got it, and what was so at its end."""
    browser = Follower(server, "sse", channel="dashboard")
    wait_until(lambda: browser.records, "$hello")
    report = truth(run_example(HIVE, server, *LONG))
    wait_until(lambda: browser.records[-1].get("seq") == server.metric("fanout_head_seq"), "the last event")
    return browser.events(), report


def test_one_connection_carries_all_fourteen_kinds(server, lived):
    events, _ = lived
    assert len(UNION) == 14 and set(UNION) == set(KINDS)
    assert {event["kind"] for event in events} == set(KINDS)
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", event["kind"]) for event in events)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events == everything(server)


def test_optional_members_are_left_out_when_they_are_empty(lived):
    events, _ = lived
    seen = {}

    def look(value, form, place):
        for name in form.get("optionalProperties", {}):
            seen.setdefault((place, name), set()).add(name in value)
            assert name not in value or value[name], (place, name, value)

    container = profiles.schema_of("hyperhive-dashboard/dashboard.jtd.json")["definitions"]["container"]
    for event in events:
        look(event, UNION[event["kind"]], event["kind"])
        if event["kind"] == "container_state_changed":
            look(event["container"], container, "container")
    # Each of these is there where there is something to say, and not there where there is nothing.
    for place in [("sent", "in_reply_to"), ("approval_resolved", "note"), ("question_added", "options"),
                  ("question_added", "multi"), ("container", "port"), ("container", "needs_update"),
                  ("container", "unread")]:
        assert seen[place] == {True, False}, place
    assert not any(value is None for event in events for value in event.values())


@pytest.mark.parametrize(
    "event",
    [
        {"kind": "container_exploded", "name": "a"},
        {"kind": "container_removed"},
        {"kind": "container_removed", "name": 7},
        {"kind": "container_removed", "name": "a", "why": "x"},
        {"kind": "meta_update_running", "running": None},
        {"name": "a"},
    ],
    ids=["unknown kind", "member missing", "wrong type", "member too many", "null", "no kind"],
)
def test_the_union_is_closed(server, event):
    with open_reader(server, "sse", channel="dashboard") as reader:
        assert kind(reader.next().json()) == "$hello"
        refused = server.post(json.dumps(event), channel="dashboard")
        assert (refused.status, refused.error_code()) == (422, "schema")
        assert refused.json()["error"]["errors"]
        ack = server.publish('{"kind":"container_removed","name":"a"}', channel="dashboard")
        assert reader.next().json() == {"seq": ack["seq"], "kind": "container_removed", "name": "a"}


def test_seq_belongs_to_the_process(io, start_server):
    epochs = []
    for _ in range(2):
        server = start_server(*profile("hyperhive-dashboard"))
        with open_reader(server, "sse", channel="dashboard") as reader:
            hello = reader.next().json()
            assert hello["seq"] == 0
            epochs.append(hello["epoch"])
            seqs = [server.publish('{"kind":"transient_cleared","name":"a"}', channel="dashboard")["seq"] for _ in "123"]
            assert seqs == [1, 2, 3] == [reader.next().json()["seq"] for _ in "123"]
        server.stop()
    assert epochs[0] != epochs[1]


class Recorder:
    """Publishes to the server, as the hive's own stream does, and remembers what was published."""

    def __init__(self, server):
        client = load("shared/fanout_client.py").Fanout(server.url)
        self.said = []

        def publish(channel, event):
            self.said.append(json.loads(json.dumps(event)))
            return client.publish(channel, event)

        self.publish = publish


@pytest.fixture
def parts(server):
    """The hive's own parts, with a server: (hive, what it has said so far)."""
    module, life = load(HIVE), load("shared/life.py")
    recorder = Recorder(server)
    hive = module.Hive(life.Life(5, fast=True), recorder)
    return hive, recorder.said


def test_the_forwarder_mirrors_the_broker_and_each_frame_gets_a_fresh_seq(server, parts):
    hive, said = parts
    frames = []
    hive.broker.subscribers.append(frames.append)
    for number in range(20):
        hive.broker.send("operator", "alder", f"task {number}")
        hive.broker.send("alder", "manager", "done", in_reply_to=number or None)
        if number % 2:
            hive.broker.take("alder")
        if number % 3 == 0:
            hive.stream.say("container_removed", name="x")
        if number % 5 == 0:
            hive.forwarder.forward()
    assert hive.broker.take("nobody") is None
    hive.forwarder.forward()
    mirrored = [event for event in everything(server) if event["kind"] in ("sent", "delivered")]
    own = [frame.pop("seq") for frame in frames]
    fresh = [event.pop("seq") for event in mirrored]
    assert mirrored == frames and len(frames) == 50
    assert own == list(range(1, 51))
    assert fresh == sorted(set(fresh)) and fresh != own and fresh[-1] == len(said)
    # The broker's number cannot slip through: it would be the stream's.
    refused = server.post(json.dumps({"seq": 7, **frames[0]}), channel="dashboard")
    assert (refused.status, refused.error_code()) == (422, "reserved_member")


def test_a_rescan_says_only_what_has_changed(parts):
    hive, said = parts
    for name in ("alder", "birch", "cedar"):
        hive._create(name)
    hive.rescan()
    assert [event["container"]["name"] for event in said] == ["alder", "birch", "cedar"]
    hive.rescan()
    assert len(said) == 3
    hive.machine["birch"].running = False
    hive.rescan()
    (change,) = said[3:]
    row = hive.listing()["birch"]
    assert change == {"kind": "container_state_changed", "container": row}
    assert row["running"] is False and "port" not in row and row["revision"] == hive.machine["birch"].revision
    del hive.machine["alder"]
    hive.machine["cedar"].commit += 1
    hive.rescan()
    assert said[4:] == [
        {"kind": "container_state_changed", "container": hive.listing()["cedar"]},
        {"kind": "container_removed", "name": "alder"},
    ]
    assert said[4]["container"]["needs_update"] is True
    hive.rescan()
    assert len(said) == 6


def test_rows_are_said_whole_and_only_when_they_differ(lived):
    events, report = lived
    table = Table()
    for event in events:
        before = dict(table.rows["containers"])
        if event["kind"] == "container_state_changed":
            assert before.get(event["container"]["name"]) != event["container"]
        elif event["kind"] == "container_removed":
            assert event["name"] in before
        table.take(event)
    assert table.shown() == report
    assert report["containers"]["manager"]["is_manager"]


def test_lists_are_said_whole_each_time(lived):
    events, _ = lived
    for name, member in [("tombstones_changed", "tombstones"), ("rebuild_queue_changed", "queue")]:
        lists = [event[member] for event in events if event["kind"] == name]
        assert [] in lists and max(map(len, lists)) > 1
        # One more or one less than before, or one of them in another state: a list says all that there is.
        assert all(abs(len(old) - len(new)) <= 1 and old != new for old, new in zip(lists, lists[1:]))
    inputs = [event["inputs"] for event in events if event["kind"] == "meta_inputs_changed"]
    assert {tuple(entry["name"] for entry in each) for each in inputs} == {("hive", "nixpkgs", "agents")}


def test_whether_an_update_runs_is_said_only_when_the_count_crosses_zero(lived):
    events, _ = lived
    said = [event["running"] for event in events if event["kind"] == "meta_update_running"]
    assert len(said) >= 4 and said == [index % 2 == 0 for index in range(len(said))]
    updating, begun, most, running = set(), 0, 0, False
    for event in events:
        if event["kind"] == "meta_update_running":
            running = event["running"]
            assert running or not updating
        elif event["kind"] == "meta_inputs_changed":
            now = {entry["name"] for entry in event["inputs"] if entry.get("updating")}
            begun += len(now - updating)
            updating = now
            most = max(most, len(now))
            assert running or not updating
    assert most > 1 and begun > said.count(True), "several at once, and said once"


def test_the_same_seed_lives_the_same_life(server, start_server, lived):
    events, report = lived
    again = start_server(*profile("hyperhive-dashboard"))
    assert truth(run_example(HIVE, again, *LONG)) == report
    assert everything(again) == events
    run_example(HIVE, again, "--fast", "--seed", 4, "--seconds", 60)
    other = everything(again)[len(events) :]
    assert other and [event["kind"] for event in other] != [event["kind"] for event in events[: len(other)]]


def test_the_snapshot_has_every_row_and_list_and_its_own_seq(server, lived):
    events, report = lived
    answer = server.get("/v1/snapshot?channel=dashboard").json()
    rows = answer["events"]
    assert answer["seq"] == events[-1]["seq"] and answer["cursor"].endswith(f"-{answer['seq']}")
    assert Table(rows).shown() == report
    assert [row["seq"] for row in rows] == sorted({row["seq"] for row in rows})
    assert all(row in events for row in rows)
    keyed = sum(len(report[name]) for name in ("containers", "approvals", "questions", "transients"))
    assert len(rows) == keyed + 4
    gone = {"sent", "delivered", "container_removed", "approval_resolved", "question_resolved", "transient_cleared"}
    assert not gone & {row["kind"] for row in rows}


def wait_for_progress(server, events, hive):
    """Until so many more events have been published, by a hive that must not be at its end."""
    goal = server.metric("fanout_head_seq") + events
    wait_until(lambda: server.metric("fanout_head_seq") >= goal, f"{events} more events")
    assert hive.process.poll() is None, "it lived too short a life"


def test_a_client_that_keeps_live_traffic_drops_what_its_snapshot_has(server):
    """Listen, keep what comes, ask, drop `seq <= snapshot.seq`, apply the rest: whenever it comes, it is right."""
    clients, dropped = [], 0
    with Example(HIVE, server, *LONGER) as hive:
        for _ in range(8):
            client = Follower(server, "sse", channel="dashboard")
            wait_until(lambda client=client: client.records, "$hello")
            wait_for_progress(server, 10, hive)
            clients.append((client, server.get("/v1/snapshot?channel=dashboard").json()))
        report = truth(hive.finish())
    server.stop()
    for client, snapshot in clients:
        client.finish()
        events = client.events()
        table = Table(snapshot["events"])
        late = [event for event in events if event["seq"] > snapshot["seq"]]
        dropped += len(events) - len(late)
        assert [event["seq"] for event in late] == list(range(snapshot["seq"] + 1, late[-1]["seq"] + 1) if late else [])
        for event in late:
            table.take(event)
        assert table.shown() == report
    assert dropped >= 80, "each of them had something to drop"


@pytest.mark.parametrize("transport", ["sse", "websocket", "http-jsonl"])
def test_a_stream_from_the_snapshot_needs_no_second_request(server, transport):
    with Example(HIVE, server, *LONGER) as hive:
        wait_for_progress(server, 50, hive)
        clients = []
        for _ in range(6):
            clients.append(Follower(server, transport, channel="dashboard", from_="snapshot"))
            wait_for_progress(server, 20, hive)
        report = truth(hive.finish())
    head = server.metric("fanout_head_seq")
    clients.append(Follower(server, transport, channel="dashboard", from_="snapshot"))
    wait_until(lambda: any(kind(record) == "$live" for record in clients[-1].records), "$live")
    server.stop()
    for client in clients:
        records = client.finish()
        kinds = [kind(record) for record in records]
        assert kinds[:2] == ["$hello", "$snapshot"] and kinds.count("$live") == 1
        live = kinds.index("$live")
        rows, after = records[2:live], records[live + 1 :]
        assert records[1]["count"] == len(rows) and records[1]["seq"] == records[live]["seq"]
        assert [row["seq"] for row in rows] == sorted({row["seq"] for row in rows})
        assert not rows or rows[-1]["seq"] <= records[1]["seq"]
        events = [record for record in after if not is_control(record)]
        assert [event["seq"] for event in events] == list(range(records[live]["seq"] + 1, int(head) + 1))
        assert Table(rows + events).shown() == report


def test_a_dashboard_that_falls_behind_is_brought_up_to_date(server):
    """A laptop that slept: no list of a thousand changes, but one gap, and then what is so now."""
    sleeper = open_with_small_buffer(server, "http-jsonl", channel="dashboard", from_="snapshot", lag_events="50")
    kinds = []

    def take():
        record = sleeper.next().json()
        kinds.append(kind(record))
        return record

    while take()["kind"] != "$live":
        pass
    big = json.dumps({"kind": "sent", "id": 1, "from": "a", "to": "b", "body": "x" * 4000, "at": "2026-01-01T00:00:00Z"})

    def fell_behind():
        server.publish_batch([big] * 100, channel="dashboard")
        return server.metric("fanout_laggards_total") == 1

    wait_until(fell_behind, "the sleeper to be behind")
    report = truth(run_example(HIVE, server, *LONG))
    table = Table()
    gap = None
    while True:
        record = take()
        if record["kind"] == "$gap":
            gap = record
        elif record["kind"] == "$snapshot":
            table = Table()
        elif record["kind"] == "$live":
            table.seq = record["seq"]
            if gap is not None:
                break
        elif not is_control(record):
            table.take(record)
    assert gap["why"] == "lagged" and gap["dropped"] > 100
    last = int(server.metric("fanout_head_seq"))
    while table.seq < last:
        record = take()
        assert not is_control(record), record
        table.take(record)
    assert table.shown() == report
    sleeper.close()


def test_a_hive_that_is_started_anew_clears_away_what_the_last_one_left(server):
    for seed in range(1, 5):
        run_example(HIVE, server, "--fast", "--seed", seed, "--seconds", 130 + 30 * seed)
    report = truth(run_example(HIVE, server, "--fast", "--seed", 9, "--seconds", 1, "--report"))
    assert sorted(report["containers"]) == ["alder", "birch", "cedar", "manager"]
    assert Table(server.get("/v1/snapshot?channel=dashboard").json()["events"]).shown() == report
    assert Table(everything(server)).shown() == report

"""Readers that fall behind and are brought up to date: by the newest event of each key, or by the whole state."""

import json

import pytest

import program
from endings import TRANSPORTS, Collector, open_with_small_buffer
from streams import wait_until

STATE = {"upsert": {"put": "/key"}, "remove": {"gone": "/key"}}
TIGHT = {"events": 200, "bytes": 262_144, "age_ms": 60_000}
# More than the kernel takes for a reader with a small buffer, in a few batches.
KEYS, FILL = 40, "x" * 3_000


class Board:
    """A server with one channel that keeps state, and everything that was published there."""

    def __init__(self, start_server, tmp_path, *flags, **rules):
        rules = {"channels": {"board": {"state": STATE, "limits": TIGHT, **rules}}}
        self.server = start_server(*program.configured(tmp_path, rules), *flags)
        self.events = []

    def publish(self, *events):
        self.events += events
        lines = [json.dumps(event) for event in events]
        assert self.server.publish_batch(lines, channel="board")["seq"] == len(self.events)

    def stall(self, count):
        """Publishes until so many stopped readers have been noticed: changes of a few keys, and what has none."""
        before = self.server.metric("fanout_laggards_total")

        def all_noticed():
            first = len(self.events)
            self.publish(*(self.change(first + n) for n in range(20)))
            return self.server.metric("fanout_laggards_total") >= before + count

        wait_until(all_noticed, "the stopped readers to be noticed")

    @staticmethod
    def change(n):
        if n % 7 == 3:
            return {"type": "gone", "key": f"k{n * 5 % KEYS}"}
        if n % 11 == 5:
            return {"type": "note", "n": n}
        return {"type": "put", "key": f"k{n % KEYS}", "n": n, "fill": FILL}

    def state(self, upto=None):
        """The newest event of each key: its number."""
        return model(enumerate(self.events[:upto], 1))


def model(events, rows=None):
    rows = {} if rows is None else rows
    for seq, event in events:
        if event["type"] == "put":
            rows[event["key"]] = seq
        elif event["type"] == "gone":
            rows.pop(event["key"], None)
    return rows


def asked(by, policy):
    """Flags, a channel's rules and a reader's query by which a policy is asked for."""
    flags = ["--on-lag", policy] if by == "the flag" else []
    rules = {"on_lag": policy} if by == "the channel" else {}
    return flags, rules, {"on_lag": policy} if by == "the reader" else {}


def wait_for_gap(going_on):
    wait_until(lambda: all(b"$gap" in data for data in going_on.data.values()), "$gap on every stream")


def stopped_and_back(board, **wish):
    """What readers on every transport have got in the end that stopped reading, and went on when they were noticed."""
    stopped = {each: open_with_small_buffer(board.server, each, channel="board", **wish) for each in TRANSPORTS}
    board.stall(len(stopped))
    going_on = Collector(stopped)
    wait_for_gap(going_on)
    board.publish({"type": "put", "key": "last", "n": 1})
    going_on.wait_for(b'"seq":%d,' % len(board.events))
    board.server.stop()
    return going_on.endings()


@pytest.mark.parametrize("by", ["the reader", "the channel", "the flag"])
def test_conflate_sends_the_newest_event_of_each_key_and_counts_the_others(io, start_server, tmp_path, by):
    flags, rules, wish = asked(by, "conflate")
    board = Board(start_server, tmp_path, *flags, **rules)
    for transport, ending in stopped_and_back(board, **wish).items():
        gaps = ending.controls("$gap")
        assert gaps and {gap["why"] for gap in gaps} == {"conflated"}, (transport, gaps)
        assert ending.controls("$snapshot") == ending.controls("$live") == [], transport
        seqs = ending.seqs()
        assert seqs == sorted(set(seqs)), transport
        for gap in gaps:
            inside = [seq for seq in seqs if gap["from"] <= seq <= gap["to"]]
            assert gap["dropped"] == gap["to"] - gap["from"] + 1 - len(inside), (transport, gap)
            before, after = board.state(gap["from"] - 1), board.state(gap["to"])
            told = ((seq, board.events[seq - 1]) for seq in inside)
            assert model(told, before) == after, f"{transport}: not what the newest of each key makes of the state"
        missing = set(range(1, len(board.events) + 1)) - set(seqs)
        assert len(missing) == sum(gap["dropped"] for gap in gaps), transport
        assert model((seq, board.events[seq - 1]) for seq in seqs) == board.state(), transport


@pytest.mark.parametrize("by", ["the reader", "the channel", "the flag"])
def test_resnapshot_drops_what_waits_and_sends_the_state(io, start_server, tmp_path, by):
    flags, rules, wish = asked(by, "resnapshot")
    board = Board(start_server, tmp_path, *flags, **rules)
    for transport, ending in stopped_and_back(board, **wish).items():
        kinds = [each.get("type", "") for each in ending.objects]
        place = kinds.index("$gap")
        gap = ending.objects[place]
        assert gap["why"] == "lagged", (transport, gap)
        snapshot = ending.objects[place + 1]
        assert snapshot["type"] == "$snapshot", (transport, snapshot)
        rows = ending.objects[place + 2 : place + 2 + snapshot["count"]]
        live = ending.objects[place + 2 + snapshot["count"]]
        assert live["type"] == "$live" and live["seq"] == snapshot["seq"] == gap["to"], (transport, live)
        assert {row["key"]: row["seq"] for row in rows} == board.state(snapshot["seq"]), transport
        assert [row["seq"] for row in rows] == sorted(row["seq"] for row in rows), transport
        if not kinds[place + 1 :].count("$gap"):
            later = [each["seq"] for each in ending.objects[place + 3 + snapshot["count"] :] if "seq" in each]
            assert later == list(range(snapshot["seq"] + 1, len(board.events) + 1)), transport


@pytest.mark.parametrize("policy", ["conflate", "resnapshot"])
def test_a_channel_without_state_has_nothing_to_bring_anybody_up_to_date_with(io, start_server, tmp_path, policy):
    """Both are `gap` then."""
    rules = {"channels": {"board": {"limits": TIGHT}}}
    board = Board.__new__(Board)
    board.server, board.events = start_server(*program.configured(tmp_path, rules)), []
    for transport, ending in stopped_and_back(board, on_lag=policy).items():
        gaps = ending.controls("$gap")
        assert gaps and {gap["why"] for gap in gaps} == {"lagged"}, (transport, gaps)
        assert ending.controls("$snapshot") == [], transport
        missing = set(range(1, len(board.events) + 1)) - set(ending.seqs())
        assert missing == {seq for gap in gaps for seq in range(gap["from"], gap["to"] + 1)}, transport


@pytest.mark.parametrize("policy", ["conflate", "resnapshot"])
def test_who_is_being_brought_up_to_date_is_seen_and_counted(io, start_server, tmp_path, policy):
    board = Board(start_server, tmp_path)
    stopped = {"sse": open_with_small_buffer(board.server, "sse", channel="board", on_lag=policy)}
    board.stall(1)
    (reader,) = board.server.get("/v1/lag").json()["subscribers"]
    assert reader["state"] == {"conflate": "conflating", "resnapshot": "resnapshotting"}[policy]
    going_on = Collector(stopped)
    wait_for_gap(going_on)
    counter = {"conflate": "fanout_conflations_total", "resnapshot": "fanout_resnapshots_total"}[policy]
    assert board.server.metric(counter) >= 1
    board.server.stop()
    going_on.join()

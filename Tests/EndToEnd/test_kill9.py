"""A server that is killed again and again under publishers with acks and readers that come back: `kill9.py`."""

import json

import pytest

from kill9 import Verdict, kill_again_and_again


@pytest.mark.parametrize("seed, visible", [(1, "accepted"), (2, "synced")])
def test_nothing_acked_is_lost_and_no_number_is_used_twice_whenever_the_server_is_killed(io, tmp_path, seed, visible):
    figures = kill_again_and_again(io, 3, seed, tmp_path, visible)
    assert figures["acks"] > 20 and figures["comebacks"] >= 3, figures


# The checker, checked


class Told:
    """A run of two servers as it might have been told, with nothing wrong in it."""

    def __init__(self):
        line = b'{"seq":%d,"channel":"lines","p":"l0","k":%d,"i":0}'
        self.log = [(seq, line % (seq, n)) for n, seq in enumerate((1, 2, 9, 10))]
        self.epochs, self.visible = ["a", "b"], "accepted"
        publisher = type("LinePublisher", (), {})()
        publisher.name, publisher.acked = "l0", []
        for n, (seq, _) in enumerate(self.log):
            payload = '{"p":"l0","k":%d,"i":0}' % n
            publisher.acked.append((f"l0-{n}", [payload], {"seq": seq, "cursor": f"a-{seq}"}))
        reader = type("Follower", (), {})()
        lost = line % (3, 2)
        gap = {"type": "$gap", "epoch": "a", "from": 3, "to": 8, "why": "rewound"}
        seen = [text for _, text in self.log]
        reader.name, reader.seen = "tcp", [("a", each) for each in [*seen[:2], lost, gap, *seen[2:]]]
        self.publishers, self.readers = [publisher], [reader]


def test_the_checker_finds_nothing_where_nothing_is_wrong():
    told = Told()
    Verdict(told, told.log).check()


def event_at(told, at, **members):
    epoch, text = told.readers[0].seen[at]
    told.readers[0].seen[at] = (epoch, json.dumps({**json.loads(text), **members}, separators=(",", ":")).encode())


FAULTS = {
    "an acked event is lost": lambda told: told.log.pop(),
    "an event is stored twice": lambda told: told.log.append((11, told.log[-1][1].replace(b":10", b":11"))),
    "an ack names another event": lambda told: told.publishers[0].acked[1][2].update(seq=9, cursor="a-9"),
    "an epoch is used twice": lambda told: told.epochs.append("a"),
    "a reader misses an event": lambda told: told.readers[0].seen.pop(),
    "a reader has an event twice": lambda told: told.readers[0].seen.insert(1, told.readers[0].seen[0]),
    "a reader has another event under a number": lambda told: event_at(told, 0, k=7),
    "a gap takes back too much": lambda told: told.readers[0].seen[3][1].update({"from": 2}),
    "a gap takes back too little": lambda told: told.readers[0].seen[3][1].update({"to": 2}),
    "what a gap takes back comes after it": lambda told: told.readers[0].seen.insert(0, told.readers[0].seen[3]),
    "a hole is not told whole": lambda told: told.readers[0].seen[3][1].update({"to": 7}),
    "a lost event is not taken back": lambda told: told.readers[0].seen.pop(3),
    "what was seen when synced is taken back": lambda told: setattr(told, "visible", "synced"),
    "a gap has another reason": lambda told: told.readers[0].seen[3][1].update({"why": "pruned"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_checker_finds_each_fault(fault):
    told = Told()
    FAULTS[fault](told)
    with pytest.raises(AssertionError):
        Verdict(told, told.log).check()

"""An events socket for a daemon that has sessions: what the tests of such a daemon's own socket pin, through fanout.

A small daemon keeps a table of sessions and says each change under the table's lock, on an ingest socket whose channel
leaves its bytes alone. The snapshot that a newcomer begins with is the daemon's own event, said under the same lock when
somebody has come: no change can get between it and the changes that follow. A daemon that would rather answer than
publish it gives its table with the `seq` of the last ack, and the newcomer drops what is not newer.
"""

import json
import random
import signal
import socket
import threading

import pytest

import program
from endings import Collector, check_bye
from readers import open_reader
from streams import ByteStream, Ended, wait_until

CREATED, ATTACHED, DETACHED, REMOVED = (
    f"session.{change}" for change in ("created", "attached", "detached", "removed")
)
SNAPSHOT = "snapshot"
RULES = {"channels": {"**": {"stamp": []}}}


class Sessions:
    """A table of sessions whose every change is published before its lock is let go."""

    def __init__(self, path):
        self.lock = threading.Lock()
        self.attached = {}
        self.stream = ByteStream.unix(path)
        self.said = []

    def _say(self, kind, name, **more):
        self._write({"type": kind, "name": name, **more})

    def _write(self, event):
        line = json.dumps(event, separators=(",", ":"))
        self.said.append(line)
        self.stream.send(line.encode() + b"\n")

    def publish_snapshot(self):
        """Somebody has come: the whole table as one event, in the place that it has among the changes."""
        with self.lock:
            self._write({"type": SNAPSHOT, "sessions": dict(self.attached)})

    def create(self, name):
        """Puts a session of this name in the place of the one that has it."""
        with self.lock:
            if name in self.attached:
                self._say(REMOVED, name, reason="killed")
            self.attached[name] = False
            self._say(CREATED, name)

    def attach(self, name):
        with self.lock:
            if self.attached.get(name) is False:
                self.attached[name] = True
                self._say(ATTACHED, name)

    def detach(self, name):
        with self.lock:
            if self.attached.get(name):
                self.attached[name] = False
                self._say(DETACHED, name)

    def remove(self, name, reason):
        """Called by whoever notices first that a session is over: its exit, or the one that killed it."""
        with self.lock:
            if self.attached.pop(name, None) is not None:
                self._say(REMOVED, name, reason=reason)


@pytest.fixture
def daemon(io, start_server, tmp_path):
    """A server beside a daemon with sessions."""
    server = start_server("--channel", "sessions", *program.configured(tmp_path, RULES))
    sessions = Sessions(server.channel_socket("sessions"))
    yield server, sessions
    sessions.stream.close()


def subscribe(server):
    reader = open_reader(server, "unix")
    reader.greeting = reader.next_control("$hello").json()
    return reader


def kinds(reader, count):
    """The next changes' kinds; a `$` record among them fails."""
    changes = [reader.next().json() for _ in range(count)]
    return [change["type"].removeprefix("session.") for change in changes]


def said_nothing_more(reader, sessions):
    """What is said next comes next."""
    sessions.create("marker")
    assert reader.next().json() == {"type": CREATED, "name": "marker"}


class Mirror:
    """A user interface: the table as the events say it is, from the first snapshot on."""

    def __init__(self):
        self.table = None

    def take(self, event):
        kind = event["type"]
        if kind == SNAPSHOT:
            assert self.table in (None, event["sessions"]), "a snapshot for somebody else says what is known already"
            self.table = dict(event["sessions"])
        elif self.table is None:
            pass  # What was said before the snapshot is in it.
        elif kind == CREATED:
            assert event["name"] not in self.table
            self.table[event["name"]] = False
        elif kind == REMOVED:
            del self.table[event["name"]]
        else:
            assert self.table[event["name"]] is (kind == DETACHED)
            self.table[event["name"]] = kind == ATTACHED


def test_a_snapshot_comes_first_and_then_each_change(daemon):
    server, sessions = daemon
    with subscribe(server) as reader:
        sessions.publish_snapshot()
        sessions.create("a")
        sessions.attach("a")
        sessions.remove("a", "killed")
        assert reader.next().json() == {"type": SNAPSHOT, "sessions": {}}
        assert kinds(reader, 3) == ["created", "attached", "removed"]
        said_nothing_more(reader, sessions)


def test_the_snapshot_has_what_was_there_already(daemon):
    server, sessions = daemon
    sessions.create("gone")
    sessions.create("idle")
    sessions.create("busy")
    sessions.attach("busy")
    sessions.remove("gone", "exited")
    wait_until(lambda: server.metric("fanout_head_seq") == len(sessions.said), "the past to be over")
    with subscribe(server) as reader:
        sessions.publish_snapshot()
        assert reader.next().json() == {"type": SNAPSHOT, "sessions": {"idle": False, "busy": True}}
        sessions.detach("busy")
        assert kinds(reader, 1) == ["detached"]
        said_nothing_more(reader, sessions)


def change_at_random(sessions, seed, count):
    dice = random.Random(seed)
    for _ in range(count):
        name = f"s{dice.randrange(5)}"
        dice.choice([sessions.create, sessions.attach, sessions.detach, lambda name: sessions.remove(name, "exited")])(
            name
        )


def test_no_change_gets_between_a_snapshot_and_what_follows_it(daemon):
    """Newcomers while four threads change the table: each builds the same table, whenever it came."""
    server, sessions = daemon
    workers = [threading.Thread(target=change_at_random, args=(sessions, seed, 400)) for seed in range(4)]
    newcomers = {}
    for thread in workers:
        thread.start()
    for number in range(12):
        newcomers[number] = subscribe(server)
        sessions.publish_snapshot()
    collector = Collector(newcomers)
    for thread in workers:
        thread.join()
    wait_until(lambda: server.metric("fanout_head_seq") == len(sessions.said), "every change to be published")
    server.stop()
    for number, ending in collector.endings().items():
        mirror = Mirror()
        for event in ending.events():
            mirror.take(event)
        assert mirror.table == sessions.attached, number


class AnsweringSessions(Sessions):
    """Such a daemon that answers questions: each change is acked under the lock, so its table has a `seq`."""

    def __init__(self, path):
        super().__init__(path)
        self.seq = 0
        self.stream.send(b'{"$ack":true}\n')

    def _write(self, event):
        super()._write(event)
        self.seq = json.loads(self.stream.until(b"\n"))["seq"]

    def snapshot(self):
        with self.lock:
            return self.seq, dict(self.attached)


def test_a_snapshot_that_is_asked_for_fits_the_stream_by_its_seq(io, start_server):
    """Subscribe, ask, drop what is not newer: the way of a page that paints from an answer."""
    server = start_server("--channel", "sessions")
    sessions = AnsweringSessions(server.channel_socket("sessions"))
    workers = [threading.Thread(target=change_at_random, args=(sessions, seed, 150)) for seed in range(4)]
    readers, snapshots = {}, {}
    for thread in workers:
        thread.start()
    for number in range(8):
        readers[number] = subscribe(server)
        snapshots[number] = sessions.snapshot()
    collector = Collector(readers)
    for thread in workers:
        thread.join()
    server.stop()
    for number, ending in collector.endings().items():
        seq, table = snapshots[number]
        mirror = Mirror()
        mirror.take({"type": SNAPSHOT, "sessions": table})
        for event in ending.events():
            if event["seq"] > seq:
                mirror.take(event)
        assert mirror.table == sessions.attached, number
    sessions.stream.close()


def test_a_session_is_followed_from_its_start_to_its_end(daemon):
    server, sessions = daemon
    with subscribe(server) as reader:
        sessions.create("a")
        sessions.attach("a")
        sessions.detach("a")
        sessions.remove("a", "exited")
        assert kinds(reader, 4) == ["created", "attached", "detached", "removed"]
        said_nothing_more(reader, sessions)


def test_the_lines_are_the_daemons_own(daemon):
    """Byte for byte, with nothing put in front: `{"type":"session.created",…}` and no more."""
    server, sessions = daemon
    with subscribe(server) as reader:
        sessions.create("a")
        sessions.remove("a", "killed")
        assert reader.stream.until(b"\n") == b'{"type":"session.created","name":"a"}\n'
        assert reader.stream.until(b"\n") == b'{"type":"session.removed","name":"a","reason":"killed"}\n'


def test_several_subscribers_get_full_streams_of_their_own(daemon):
    server, sessions = daemon
    early = [subscribe(server) for _ in range(5)]
    sessions.create("a")
    late = [subscribe(server) for _ in range(5)]
    early.pop().close()
    sessions.attach("a")
    late.pop().close()
    sessions.remove("a", "exited")
    assert [kinds(reader, 3) for reader in early] == [["created", "attached", "removed"]] * 4
    assert [kinds(reader, 2) for reader in late] == [["attached", "removed"]] * 4
    for reader in [*early, *late]:
        reader.close()


def test_what_a_subscriber_writes_is_ignored(daemon):
    server, sessions = daemon
    with subscribe(server) as reader, subscribe(server) as other:
        reader.stream.send(b'hello\n{"type":"session.removed","name":"a"}\n\x00\xff\n')
        sessions.create("a")
        assert kinds(reader, 1) == kinds(other, 1) == ["created"]


def test_a_detach_is_one_event(daemon):
    server, sessions = daemon
    with subscribe(server) as reader:
        sessions.create("a")
        sessions.attach("a")
        sessions.detach("a")
        sessions.detach("a")
        assert kinds(reader, 3) == ["created", "attached", "detached"]
        said_nothing_more(reader, sessions)


def test_attaching_again_is_attached_only(daemon):
    server, sessions = daemon
    with subscribe(server) as reader:
        sessions.create("a")
        for _ in range(3):
            sessions.attach("a")
            sessions.detach("a")
        assert kinds(reader, 7) == ["created"] + ["attached", "detached"] * 3
        said_nothing_more(reader, sessions)


def test_a_kill_that_races_an_exit_is_one_removal(daemon):
    server, sessions = daemon
    with subscribe(server) as reader:
        for number in range(50):
            name, gate = f"s{number}", threading.Barrier(2)

            def end(reason, name=name, gate=gate):
                gate.wait()
                sessions.remove(name, reason)

            sessions.create(name)
            racing = [threading.Thread(target=end, args=(reason,)) for reason in ("killed", "exited")]
            for thread in racing:
                thread.start()
            for thread in racing:
                thread.join()
            created, removed = (reader.next().json() for _ in range(2))
            assert (created["type"], removed["type"]) == (CREATED, REMOVED)
            assert created["name"] == removed["name"] == name
        said_nothing_more(reader, sessions)


def test_overwriting_a_session_is_removed_and_then_created(daemon):
    server, sessions = daemon
    with subscribe(server) as reader:
        sessions.create("a")
        sessions.create("a")
        assert kinds(reader, 3) == ["created", "removed", "created"]
        said_nothing_more(reader, sessions)


def test_the_order_on_the_wire_is_the_order_of_causes(daemon):
    """Many threads change the table at once; every subscriber, early or late, reads a history that could have been."""
    server, sessions = daemon
    early = {number: subscribe(server) for number in range(3)}
    late = {}
    collector = Collector(early)

    workers = [threading.Thread(target=change_at_random, args=(sessions, seed, 150)) for seed in range(4)]
    for thread in workers:
        thread.start()
    for number in range(3):
        late[number] = subscribe(server)
    late_collector = Collector(late)
    for thread in workers:
        thread.join()
    wait_until(lambda: server.metric("fanout_head_seq") == len(sessions.said), "every change to be published")
    server.stop()
    expected = [json.loads(line) for line in sessions.said]
    for ending in collector.endings().values():
        assert ending.events() == expected
        check_bye("unix", ending, 1001, "shutdown", comes_back=True)
    for ending in late_collector.endings().values():
        heard = ending.events()
        assert heard == expected[len(expected) - len(heard) :]
    present = {}
    for change in expected:
        name = change["name"]
        if change["type"] == CREATED:
            assert name not in present
            present[name] = False
        elif change["type"] == REMOVED:
            present.pop(name)
        else:
            assert present[name] is (change["type"] == DETACHED)
            present[name] = change["type"] == ATTACHED


def test_tail_prints_each_change_at_once(daemon, start):
    """As such a daemon's own `events` command does, for `| jq`."""
    server, sessions = daemon
    tail = start("tail", server.events_socket)

    def is_printed():
        sessions.create("before")
        return tail.stdout.text()

    wait_until(is_printed, "tail to print")
    for name in ("a", "b"):
        sessions.create(name)
        assert tail.stdout.wait_for_event(type=CREATED, name=name) == {"type": CREATED, "name": name}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_no_socket_file_behind(daemon, number):
    server, sessions = daemon
    sessions.create("a")
    names = ["events.socket", "http.socket", "ingest.socket", "ingest/sessions.socket"]
    assert server.socket_files() == names
    server.stop(number)
    with pytest.raises((FileNotFoundError, ConnectionRefusedError)), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(server.events_socket))


def test_a_slow_subscriber_is_dropped_and_comes_back_by_itself(io, start_server, tmp_path):
    """The queue of 64 events that such daemons have; the others do not notice."""
    rules = {"stamp": [], "limits": {"events": 64, "bytes": 1 << 20, "age_ms": 60_000}}
    server = start_server("--channel", "sessions", *program.configured(tmp_path, {"channels": {"**": rules}}))
    sessions = Sessions(server.channel_socket("sessions"))
    slow, other = subscribe(server), Collector({"other": subscribe(server)})

    def dropped():
        sessions.create("x" * 3_000)
        return server.metric("fanout_laggards_total") == 1

    wait_until(dropped, "the slow one to be dropped")
    records = []
    with pytest.raises(Ended):
        while True:
            records.append(slow.next().json())
    assert records[-1]["type"] == "$bye" and records[-1]["code"] == 4008
    with subscribe(server) as again:
        sessions.create("b")
        assert again.next().json() == {"type": CREATED, "name": "b"}
    server.stop()
    assert [json.dumps(event, separators=(",", ":")) for event in other.endings()["other"].events()] == sessions.said
    sessions.stream.close()
    slow.close()

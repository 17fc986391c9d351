"""The profile shpool-events: a table of sessions whose every change is an event, in both designs, over breaks of any side."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import program
from streams import DEADLINE_S, ByteStream, Ended, Lines, wait_until

PROFILE = Path(__file__).parents[2] / "examples/shpool-events"
sys.path.insert(0, str(PROFILE))
import sessions as daemon  # noqa: E402

SESSION_LIST = program.BINARY.parent / "session-list"
CREATED, ATTACHED, DETACHED, REMOVED = (
    f"session.{change}" for change in ("created", "attached", "detached", "removed")
)


class Table(daemon.Sessions):
    """The daemon's table in this process, beside its server."""

    def __init__(self, server, bare=False):
        super().__init__(daemon.Publisher(server.runtime, bare))
        self.said = []
        self.catch_up()
        assert self.publisher.in_step

    def _say(self, kind, session, **more):
        self.said.append({"type": f"session.{kind}", "name": session.name, **more})
        super()._say(kind, session, **more)

    def line(self):
        """The snapshot of the table as it is on the wire."""
        return daemon.compact(daemon.snapshot(self.table)) + b"\n"


class Subscriber:
    """Somebody who connects to `events.socket` and reads."""

    def __init__(self, server):
        self.stream = ByteStream.unix(server.events_socket)

    def line(self):
        return self.stream.until(b"\n")

    def event(self):
        return json.loads(self.line())

    def kinds(self, count):
        return [self.event()["type"].removeprefix("session.") for _ in range(count)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()


class Listener(threading.Thread):
    """A subscriber that reads as fast as it can, up to the session called `last`: 64 events are soon behind."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.reader = Subscriber(server)
        self.events = [self.reader.event()]
        self.start()

    def run(self):
        with self.reader, contextlib.suppress(Ended):
            while self.events[-1].get("name") != "last":
                self.events.append(self.reader.event())

    def heard(self):
        self.join(DEADLINE_S)
        assert self.events[-1].get("name") == "last", self.events[-1]
        return self.events


def watching(server):
    """How many read the sessions: those whom nothing greets are there when the server says so."""
    return server.metric("fanout_connections", transport="jsonl_unix")


def said_nothing_more(reader, table):
    """What is said next comes next."""
    table.create("marker")
    assert reader.event()["type"] == CREATED


@pytest.fixture
def beside(io, start_server, directory):
    """Starts the server of one of the designs in the daemon's folder."""
    return lambda design: start_server("--config", PROFILE / f"{design}.json", directory=directory)


@pytest.fixture
def full(beside):
    """The first design: a snapshot, then changes with all they have."""
    server = beside("fanout")
    return server, Table(server)


@pytest.fixture
def bare(beside):
    """The final design: types and nothing else."""
    server = beside("bare")
    return server, Table(server, bare=True)


class Mirror:
    """A user interface that takes nothing for granted: every change must be one of the table that it knows."""

    def __init__(self):
        self.table = None

    def take(self, event):
        kind, name = event["type"], event.get("name")
        if kind == "snapshot":
            self.table = {row["name"]: row["attached"] for row in event["sessions"]}
        elif kind == CREATED:
            assert name not in self.table
            self.table[name] = False
        elif kind == REMOVED:
            assert event["reason"] in ("exited", "killed")
            del self.table[name]
        else:
            assert self.table[name] is (kind == DETACHED)
            self.table[name] = kind == ATTACHED


def state_of(table):
    return {row["name"]: row["attached"] for row in table.list()}


def change_at_random(table, seed, count):
    dice = random.Random(seed)
    for _ in range(count):
        name = f"s{dice.randrange(5)}"
        session = table.get(name)
        change = dice.choice(["create", "attach", "detach", "exit"])
        if change == "create":
            table.create(name)
        elif change == "attach":
            table.attach(name)
        elif session:
            table.detach(session) if change == "detach" else table.remove(session, "exited")


# The first design


def test_the_first_line_is_a_snapshot_and_each_change_follows(full):
    server, table = full
    with Subscriber(server) as reader:
        assert reader.line() == b'{"type":"snapshot","sessions":[]}\n'
        session = table.attach("a")
        table.detach(session)
        table.remove(session, "killed")
        for line in (
            b'{"type":"session.created","name":"a"}\n',
            b'{"type":"session.attached","name":"a"}\n',
            b'{"type":"session.detached","name":"a"}\n',
            b'{"type":"session.removed","name":"a","reason":"killed"}\n',
        ):
            assert reader.line() == line
        said_nothing_more(reader, table)


def test_the_snapshot_has_what_was_there_already(full):
    server, table = full
    table.remove(table.create("gone"), "exited")
    table.create("idle")
    busy = table.attach("busy")
    with Subscriber(server) as reader:
        assert reader.event() == {
            "type": "snapshot",
            "sessions": [{"name": "idle", "attached": False}, {"name": "busy", "attached": True}],
        }
        table.detach(busy)
        assert reader.event() == {"type": DETACHED, "name": "busy"}
        said_nothing_more(reader, table)


def test_no_change_gets_between_a_snapshot_and_what_follows_it(full):
    """Newcomers while four threads change the table: each builds the daemon's own table, whenever it came."""
    server, table = full
    workers = [threading.Thread(target=change_at_random, args=(table, seed, 100)) for seed in range(4)]
    for thread in workers:
        thread.start()
    listeners = [Listener(server) for _ in range(12)]
    for thread in workers:
        thread.join()
    table.create("last")
    for listener in listeners:
        mirror = Mirror()
        events = listener.heard()
        assert [event["type"] for event in events].index("snapshot") == 0
        for event in events:
            mirror.take(event)
        assert mirror.table == state_of(table)


def test_the_order_on_the_wire_is_the_order_of_causes(full):
    server, table = full
    listener = Listener(server)
    workers = [threading.Thread(target=change_at_random, args=(table, seed, 60)) for seed in range(4)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    table.create("last")
    assert listener.heard()[1:] == table.said


# The final design


def test_bare_events_have_a_type_and_nothing_else(bare):
    server, table = bare
    with Subscriber(server) as reader:
        session = table.attach("a")
        table.detach(session)
        table.remove(session, "exited")
        for change in ("created", "attached", "detached", "removed"):
            assert reader.line() == b'{"type":"session.%s"}\n' % change.encode()
        said_nothing_more(reader, table)


# Both


@pytest.fixture(params=["fanout", "bare"])
def either(request, beside):
    server = beside(request.param)
    return server, Table(server, bare=request.param == "bare")


def subscribe(server, table):
    reader = Subscriber(server)
    if not table.publisher.bare:
        assert reader.line() == table.line()
    return reader


def test_several_subscribers_get_full_streams_of_their_own(either):
    server, table = either
    early = [subscribe(server, table) for _ in range(5)]
    session = table.create("a")
    for reader in early:
        assert reader.kinds(1) == ["created"]
    early.pop().stream.close()
    late = [subscribe(server, table) for _ in range(5)]
    if table.publisher.bare:
        wait_until(lambda: watching(server) >= 9, "all to be there")
    table.attach("a")
    late.pop().stream.close()
    table.remove(session, "exited")
    for reader in [*early, *late]:
        assert reader.kinds(2) == ["attached", "removed"]
        reader.stream.close()


def test_what_a_subscriber_writes_is_ignored(either):
    server, table = either
    with subscribe(server, table) as reader, subscribe(server, table) as other:
        reader.stream.send(b'hello\n{"type":"session.removed","name":"a"}\n\x00\xff\n')
        if table.publisher.bare:
            wait_until(lambda: watching(server) == 2, "both to be there")
        table.create("a")
        assert reader.kinds(1) == other.kinds(1) == ["created"]


def test_attaching_again_is_attached_only(full):
    server, table = full
    with subscribe(server, table) as reader:
        for _ in range(3):
            table.detach(table.attach("a"))
        assert reader.kinds(7) == ["created"] + ["attached", "detached"] * 3
        said_nothing_more(reader, table)


def test_a_kill_that_races_an_exit_is_one_removal(full):
    server, table = full
    with subscribe(server, table) as reader:
        for number in range(30):
            session, gate, done = table.create(f"s{number}"), threading.Barrier(2), []

            def end(reason, session=session, gate=gate, done=done):
                gate.wait()
                done.append(table.remove(session, reason))

            racing = [threading.Thread(target=end, args=(reason,)) for reason in ("killed", "exited")]
            for thread in racing:
                thread.start()
            for thread in racing:
                thread.join()
            assert sorted(done) == [False, True]
            assert reader.kinds(2) == ["created", "removed"]
        said_nothing_more(reader, table)


def test_overwriting_a_session_is_removed_and_then_created(full):
    server, table = full
    with subscribe(server, table) as reader:
        old = table.create("a")
        new = table.create("a")
        assert reader.kinds(3) == ["created", "removed", "created"]
        # The end of the one that was overwritten is no end of the other.
        assert not table.remove(old, "exited") and table.get("a") is new
        said_nothing_more(reader, table)


def test_a_slow_subscriber_is_dropped_and_begins_anew_with_the_table(full):
    """64 events wait for it, and no more; the others do not notice."""
    server, table = full
    with subscribe(server, table) as slow, subscribe(server, table) as other:
        count = 0
        while server.metric("fanout_laggards_total", reason="events") == 0:
            # Long names, so that the kernel's own buffers are full soon.
            table.remove(table.create(f"{'x' * 3_000}-{count}"), "exited")
            assert other.kinds(2) == ["created", "removed"]
            count += 1
        session = table.attach("b")
        with pytest.raises(Ended):
            while True:
                assert not slow.event()["type"].startswith("$")
        with subscribe(server, table) as again:
            assert again.stream.pending == b""
            table.detach(session)
            assert again.event() == {"type": DETACHED, "name": "b"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_no_socket_file_behind(full, number):
    server, _ = full
    assert "events.socket" in server.socket_files()
    server.stop(number)
    assert server.socket_files() == []


# The daemon as a process


@pytest.fixture
def run_daemon():
    """Starts the daemon; what still runs at the test's end is killed."""
    started = []

    def run(folder, *arguments):
        command = [sys.executable, PROFILE / "sessions.py", "--runtime-dir", folder, *map(str, arguments)]
        process = subprocess.Popen(command, env=program.clean_environment(), stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout.readline() == f"sessions on {folder / 'shpool.socket'}\n".encode()
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


class Terminal:
    """A connection to the daemon's own socket."""

    def __init__(self, server):
        self.stream = ByteStream.unix(server.runtime / "shpool.socket")

    def __call__(self, command):
        self.stream.send(command.encode() + b"\n")
        return json.loads(self.stream.until(b"\n"))


def test_the_events_socket_stands_next_to_the_daemons_own(beside, run_daemon):
    server = beside("fanout")
    run_daemon(server.runtime, "--people", 0)
    assert {"events.socket", "shpool.socket"} <= set(server.socket_files())


def test_an_explicit_detach_and_the_end_of_the_connection_are_one_event(beside, run_daemon):
    server = beside("fanout")
    run_daemon(server.runtime, "--people", 0)
    with Subscriber(server) as reader:
        assert reader.event() == {"type": "snapshot", "sessions": []}
        terminal = Terminal(server)
        assert terminal("attach a") == terminal("detach a") == {"ok": True}
        terminal.stream.close()
        assert reader.kinds(3) == ["created", "attached", "detached"]
        # Without the word: the connection's end is the detach.
        terminal = Terminal(server)
        assert terminal("attach a") == {"ok": True}
        assert Terminal(server)("attach a") == {"ok": False}, "somebody looks at it"
        terminal.stream.close()
        assert reader.kinds(2) == ["attached", "detached"]
        terminal = Terminal(server)
        assert terminal("kill a") == {"ok": True} and terminal("kill a") == {"ok": False}
        assert reader.event() == {"type": REMOVED, "name": "a", "reason": "killed"}
        assert terminal("list") == {"sessions": []}
        terminal.stream.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_daemons_own_socket_goes_too_and_one_that_is_gone_already_is_tolerated(directory, run_daemon, number):
    for removes_it in (False, True):
        process = run_daemon(directory, "--people", 0)
        if removes_it:
            (directory / "shpool.socket").unlink()
        process.send_signal(number)
        assert process.wait(DEADLINE_S) == 0
        assert not (directory / "shpool.socket").exists()


def test_a_life_is_the_same_each_time_and_every_change_in_it_has_a_cause(beside, run_daemon):
    lives = []
    server = beside("fanout")
    for number, seed in enumerate((7, 7, 8)):
        with Subscriber(server) as reader:
            process = run_daemon(server.runtime, "--fast", "--seed", seed, "--steps", 60)
            assert process.wait(DEADLINE_S) == 0
            server.publish(f'{{"type":"end","life":{number}}}', channel="sessions")
            mirror, life = Mirror(), []
            while (event := reader.event()).get("life") != number:
                if event["type"] == "end":
                    continue  # Said of an earlier life behind its last snapshot, hence part of how things are.
                # Each life begins with an empty table, which everybody is told.
                life = [] if event["type"] == "snapshot" else [*life, event]
                mirror.take(event)
            lives.append(life)
    assert lives[0] == lives[1] != lives[2]
    assert {event["type"] for event in lives[0]} == {CREATED, ATTACHED, DETACHED, REMOVED}
    assert {event["reason"] for event in lives[0] if "reason" in event} == {"exited", "killed"}


def test_the_daemon_needs_no_server_and_tells_one_that_comes_what_there_is(io, directory, run_daemon, beside):
    folder = directory / "run"
    folder.mkdir()
    run_daemon(folder, "--people", 0, "--pace", 0.05)
    terminal = ByteStream.unix(folder / "shpool.socket")
    terminal.send(b"attach a\n")
    assert json.loads(terminal.until(b"\n")) == {"ok": True}
    for _ in range(2):
        server = beside("fanout")

        def table(server=server):
            with Subscriber(server) as reader:
                reader.stream.socket.settimeout(0.2)
                with contextlib.suppress(TimeoutError):
                    return reader.event()

        assert wait_until(table, "the table") == {"type": "snapshot", "sessions": [{"name": "a", "attached": True}]}
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    terminal.close()


# The list on another screen


@pytest.fixture
def session_list(request):
    """Starts `session-list` on a socket, and collects what it prints."""
    started = []

    def run(path):
        started.append(subprocess.Popen([SESSION_LIST, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        lines = Lines(started[-1].stdout)
        lines.complaints = Lines(started[-1].stderr)
        lines.process = started[-1]
        return lines

    yield run
    for process in started:
        process.kill()
        process.wait()


def test_the_list_shows_each_change_and_ignores_kinds_that_it_does_not_know(full, session_list):
    server, table = full
    table.create("old")
    shown = session_list(server.events_socket)
    shown.wait_for(lambda line: line == b"old\n")
    session = table.attach("new")
    server.publish('{"type":"session.renamed","name":"old","to":"x"}', channel="sessions")
    server.publish('{"no":"type"}', channel="sessions")
    table.detach(session)
    table.remove(session, "killed")
    table.remove(table.get("old"), "exited")
    shown.wait_for(lambda line: line == b"no sessions\n")
    assert shown.text().splitlines() == ["old", "new old", "new* old", "new old", "old", "no sessions"]


def test_the_list_stays_right_over_a_server_that_is_restarted(full, session_list, beside):
    server, table = full
    table.attach("a")
    shown = session_list(server.events_socket)
    shown.wait_for(lambda line: line == b"a*\n")
    server.stop()
    # While nobody listens the table goes on changing.
    table.remove(table.get("a"), "exited")
    table.create("b")
    beside("fanout")

    def is_in_step():
        table.catch_up()
        return table.publisher.in_step

    wait_until(is_in_step, "the daemon to have found the server")
    shown.wait_for(lambda line: line == b"b\n")
    table.attach("b")
    shown.wait_for(lambda line: line == b"b*\n")


def test_the_list_stays_right_after_it_was_too_slow(full, session_list):
    server, table = full
    shown = session_list(server.events_socket)
    shown.wait_for(lambda line: line == b"no sessions\n")
    shown.process.send_signal(signal.SIGSTOP)
    while server.metric("fanout_laggards_total", reason="events") == 0:
        table.remove(table.create("x" * 3_000), "exited")
    table.attach("after")
    shown.process.send_signal(signal.SIGCONT)
    shown.wait_for(lambda line: line == b"after*\n")
    shown.complaints.wait_for(lambda line: b"again in" in line)


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not here")
def test_each_line_can_be_piped_on_at_once(bare):
    """`shpool events | jq`: nothing waits in a buffer for what comes next."""
    server, table = bare
    command = f"{program.BINARY} tail {server.events_socket} | jq -r --unbuffered .type"
    pipeline = subprocess.Popen(
        ["bash", "-c", command], stdout=subprocess.PIPE, env=program.clean_environment(), start_new_session=True
    )
    try:
        lines = Lines(pipeline.stdout)

        def is_read():
            table.create("before")
            return lines.text()

        wait_until(is_read, "tail to read")
        session = table.attach("a")
        lines.wait_for(lambda line: line == b"session.attached\n")
        table.detach(session)
        lines.wait_for(lambda line: line == b"session.detached\n")
    finally:
        os.killpg(pipeline.pid, signal.SIGKILL)
        pipeline.wait()

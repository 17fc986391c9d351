"""Signals at random times, under load and during the start: the exit code, no socket left, and a `$bye` for everyone."""

import contextlib
import random
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import program
from crowd import Connection, Crowd
from endings import PATIENT, TRANSPORTS, Collector, check_bye, last_cursor, parse
from readers import open_reader
from streams import DEADLINE_S, ByteStream, Ended

TIMES = 16
AT_ONCE = 4
LINES = b'{"filler":"%s"}\n' % (b"x" * 120) * 20


def many_times(trial):
    """Runs `trial(dice)` often, several at once; the first fault of any is the test's."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(trial, random.Random(seed)) for seed in range(TIMES)]:
            done.result()


class Loaded:
    """A server with a reader on each transport and a writer that does not stop until the server does."""

    def __init__(self, io, **how):
        with tempfile.TemporaryDirectory() as folder:
            self.server = program.Server(*program.configured(folder, PATIENT), io=io, **how)
        self.readers = {transport: open_reader(self.server, transport) for transport in TRANSPORTS}
        for reader in self.readers.values():
            reader.greeting = reader.next_control("$hello").json()
        self.collector = Collector(self.readers)

    def load_for(self, seconds):
        with ByteStream.unix(self.server.ingest_socket) as writer, contextlib.suppress(ConnectionError):
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                writer.send(LINES)
            # What was written last is still on its way when the signal comes.
            writer.send(LINES)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.remove()


def check_whole(name, ending):
    seqs = ending.seqs()
    assert seqs == list(range(1, len(seqs) + 1)), f"{name}: a hole"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_at_any_time_under_load_tells_everyone_and_leaves_nothing(io, number):
    def trial(dice):
        with Loaded(io) as loaded:
            loaded.load_for(dice.random() * 0.05)
            loaded.server.signal(number)
            endings = loaded.collector.endings()
            loaded.server.check_stopped()
            for name, ending in endings.items():
                check_whole(name, ending)
                last = last_cursor(loaded.readers[name], ending)
                check_bye(name, ending, 1001, "shutdown", last, comes_back=True)
                assert not ending.was_reset, name

    many_times(trial)


def test_a_second_signal_at_any_time_ends_at_once_and_leaves_nothing(io):
    """Also while everyone is being told: the code is 143 or 130, or 0 for a server that had ended by then."""

    def trial(dice):
        first, second = (dice.choice([signal.SIGTERM, signal.SIGINT]) for _ in range(2))
        with Loaded(io) as loaded:
            loaded.load_for(dice.random() * 0.02)
            loaded.server.signal(first)
            time.sleep(dice.random() * 0.01)
            loaded.server.signal(second)
            # Of two that wait together the kernel hands over the one with the smaller number first.
            assert loaded.server.wait() in (0, 128 + first, 128 + second)
            assert loaded.server.socket_files() == []

    many_times(trial)


def test_a_signal_at_any_time_of_the_start_leaves_no_socket(io, directory):
    """Before there is anybody to take it the process dies of it; from then on it ends in order."""

    def trial(dice):
        place = directory / f"run{dice.random()}"
        process = subprocess.Popen(
            [program.BINARY, "serve", "--runtime-dir", place, "--listen", "127.0.0.1:0", "--io", io],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=program.clean_environment(),
        )
        try:
            time.sleep(dice.random() * 0.04)
            process.send_signal(dice.choice([signal.SIGTERM, signal.SIGINT]))
            assert process.wait(DEADLINE_S) in (0, -signal.SIGTERM, -signal.SIGINT)
        finally:
            process.kill()
        assert [path for path in place.rglob("*") if path.is_socket()] == []

    many_times(trial)


@pytest.mark.parametrize("number", [signal.SIGPIPE, signal.SIGURG, signal.SIGWINCH, signal.SIGCONT, signal.SIGCHLD])
def test_signals_that_mean_nothing_do_nothing(io, start_server, number):
    server = start_server()
    with open_reader(server, "unix") as reader:
        reader.next_control("$hello")
        for _ in range(TIMES):
            server.signal(number)
            ack = server.publish("{}")
            assert reader.next_event().json()["seq"] == ack["seq"]


def test_under_nohup_a_server_outlives_its_terminal(io, start_server):
    server = start_server(through=("nohup",))
    server.signal(signal.SIGHUP)
    with open_reader(server, "unix") as reader:
        reader.next_control("$hello")
        server.publish("{}")
        reader.next_event()
    assert "stopping" not in server.stderr.text()


def test_a_server_that_was_stopped_by_ctrl_z_goes_on_where_it_was(io, start_server):
    server = start_server()
    with open_reader(server, "sse") as reader, ByteStream.unix(server.ingest_socket) as writer:
        reader.next_control("$hello")
        for _ in range(5):
            server.signal(signal.SIGSTOP)
            writer.send(b'{"n":1}\n')
            server.signal(signal.SIGCONT)
            assert reader.next_event().json()["n"] == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGUSR1])
def test_what_a_killed_server_leaves_confuses_neither_its_readers_nor_the_next_one(io, directory, number):
    """The streams end without a `$bye`, with no event torn but the last; the next server takes the place at once."""
    dice = random.Random(number)
    for _ in range(5):
        place = directory / str(dice.random())
        with Loaded(io, directory=place) as loaded:
            loaded.load_for(dice.random() * 0.03)
            loaded.server.signal(number)
            loaded.collector._thread.join(DEADLINE_S)
            loaded.server.wait()
            for name, reader in loaded.readers.items():
                data = bytes(loaded.collector.data[name])
                assert b"$bye" not in data, name
                if name != "websocket":
                    end = {"sse": b"\n\n"}.get(name, b"\n")
                    check_whole(name, parse(reader, data[: data.rfind(end) + len(end)] if end in data else b""))
                reader.close()
        next_one = program.Server(io=io, directory=place)
        try:
            with open_reader(next_one, "sse", from_=f"{loaded.readers['unix'].greeting['epoch']}-1") as reader:
                assert reader.next_control("$hello").json()["epoch"] != loaded.readers["unix"].greeting["epoch"]
                assert reader.next_control("$gap").json()["why"] == "unknown_epoch"
            next_one.stop()
        finally:
            next_one.remove()


def test_newcomers_while_a_server_stops_are_told_or_turned_away(io, start_server):
    """Whoever gets in before the doors close is told as everybody is; nobody is left without an end."""
    server = start_server()
    with Crowd() as crowd:
        arrived = []
        for number in range(300):
            if number == 150:
                crowd.read_until(lambda: any(each.data for each in arrived), "the first to be greeted")
                server.signal(signal.SIGTERM)
            with contextlib.suppress(ConnectionError, FileNotFoundError, Ended):
                arrived.append(crowd.add(Connection(server.events_socket)))
        crowd.read_until(lambda: all(each.ended for each in arrived), "every stream to end")
        greeted = [connection for connection in arrived if b"$hello" in connection.data]
        assert greeted
        for connection in greeted:
            assert b'"code":1001,' in connection.data.splitlines()[-1], connection.data
    server.check_stopped()

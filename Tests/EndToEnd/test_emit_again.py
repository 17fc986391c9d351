"""`fanout emit` over connections that break and servers that go away: every event is published once, in order."""

import contextlib
import json
import random
import select
import socket
import subprocess
import threading
import time

import pytest

import program
from streams import DEADLINE_S, ByteStream, wait_until

EVENTS = 3_000


class Breaking:
    """A socket in front of a server's, whose connections break after a random number of bytes in either direction."""

    def __init__(self, path, server, seed, bytes_max=40_000, breaks=25):
        self.server = str(server)
        self.chance = random.Random(seed)
        self.bytes_max = bytes_max
        self.breaks_left = breaks
        self.connections = 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(64)
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.breaks_left -= 1
            left = self.chance.randrange(self.bytes_max) if self.breaks_left >= 0 else float("inf")
            self._relay(client, left)

    def _relay(self, client, left):
        """One connection after the other: what the last one sent has reached the server before the next one does."""
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self.server)
            other = {client: server, server: client}
            reading = {client, server}
            while left > 0 and reading:
                for source in select.select(reading, [], [])[0]:
                    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                        if data := source.recv(int(min(left, 4_096))):
                            left -= len(data)
                            other[source].sendall(data)
                            continue
                    reading.discard(source)
                    if source is server:
                        return
                    with contextlib.suppress(OSError):
                        server.shutdown(socket.SHUT_WR)

    def close(self):
        self.listener.close()


@pytest.fixture
def keyed(server):
    """A server that knows keys."""
    response = server.post("{}", headers={"Idempotency-Key": f"probe-{time.monotonic_ns()}"}, channel="probe")
    if response.status == 501:
        pytest.skip(f"this server knows no keys: {response.body.decode()}")
    return server


@pytest.fixture
def breaking(directory):
    opened = []

    def start(server, **how):
        opened.append(Breaking(directory / "ingest.socket", server.ingest_socket, **how))
        return opened[-1]

    yield start
    for proxy in opened:
        proxy.close()


@pytest.mark.parametrize("seed", range(4))
def test_a_stream_over_breaking_connections_is_published_once_and_in_order(keyed, read, breaking, directory, seed):
    channel = f"again-{seed}-{time.monotonic_ns()}"
    reader = read("unix", channel=[channel])
    reader.next_control("$hello")
    proxy = breaking(keyed, seed=seed)
    lines = b"".join(b'{"n":%d}\n' % number for number in range(EVENTS))
    ended = program.run("emit", "-", "--runtime-dir", directory, "--channel", channel, input=lines)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert proxy.connections > 5
    acks = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(acks) == EVENTS
    seqs = [ack["seq"] for ack in acks]
    assert seqs == sorted(set(seqs)), "each event has its own place, in the order of the lines"
    events = [reader.next_event().json() for _ in range(EVENTS)]
    assert [event["n"] for event in events] == list(range(EVENTS))
    assert [event["seq"] for event in events] == seqs
    keyed.publish('{"n":-1}', channel=channel)
    assert reader.next_event().json()["n"] == -1, "nothing was published twice"
    assert any(ack["dup"] for ack in acks), "not one answer was lost: the test has tested nothing"


def test_the_key_that_emit_names_when_it_gives_up_does_not_publish_twice(keyed, read, directory):
    """The answer is lost and nothing listens any more: the event was taken, which emit cannot know."""
    channel = f"named-{time.monotonic_ns()}"
    reader = read("unix", channel=[channel])
    reader.next_control("$hello")
    path = directory / "ingest.socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        command = [program.BINARY, "emit", '{"n":1}', "--runtime-dir", directory, "--channel", channel]
        emitting = subprocess.Popen(
            [*map(str, command), "--timeout", "700"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=program.clean_environment(),
        )
        connection = ByteStream(listener.accept()[0])
        sent = connection.until(b"\n") + connection.until(b"\n")
        path.unlink()
    keyed.ingest(sent)
    connection.close()
    output, errors = emitting.communicate(timeout=DEADLINE_S)
    assert (emitting.returncode, output) == (69, b"")
    assert b"whether the event was taken is unknown" in errors
    key = errors.split(b"--key ")[1].split()[0].decode()
    again = program.run("emit", '{"n":1}', "--runtime-dir", keyed.runtime, "--channel", channel, "--key", key)
    assert json.loads(again.stdout)["dup"] is True
    other = program.run("emit", '{"n":2}', "--runtime-dir", keyed.runtime, "--channel", channel, "--key", key)
    assert other.returncode == 64 and b"id_conflict" in other.stderr
    assert reader.next_event().json()["n"] == 1
    keyed.publish('{"n":-1}', channel=channel)
    assert reader.next_event().json()["n"] == -1


@pytest.mark.parametrize("by", ["socket", "url"])
def test_a_stream_goes_on_with_the_server_that_comes_next(io, start_server, start, directory, by):
    server = start_server(directory=directory)
    listen = f"127.0.0.1:{server.http_port}"
    place = ["--runtime-dir", server.runtime] if by == "socket" else ["--url", server.url]
    emitting = start("emit", "-", *place, stdin=subprocess.PIPE)

    def write(number):
        emitting.stdin.write(b'{"n":%d}\n' % number)
        emitting.stdin.flush()

    for number in range(4):
        # Every second event comes while nobody is there.
        if number % 2 == 0:
            write(number)
        else:
            server.stop()
            write(number)
            time.sleep(0.3)
            server = start_server(directory=directory, listen=listen)
        # Each server begins to count anew.
        answers = emitting.stdout.lines
        wait_until(lambda: len(answers) == number + 1 or not emitting.is_running(), "the answer")  # noqa: B023
        assert len(answers) == number + 1, emitting.said()
        assert b'"seq":%d,' % (1 + (number == 2)) in answers[-1]
    # Nobody has anything to say while the last one comes.
    server.kill()
    server = start_server(directory=directory, listen=listen)
    write(4)
    emitting.stdin.close()
    assert emitting.wait() == 0
    assert emitting.stderr.text() == ""
    assert len(emitting.stdout.lines) == 5


def test_a_server_that_comes_back_in_time_is_waited_for(directory):
    """The first connection was made; from there on it is waited for until --timeout."""
    path = directory / "ingest.socket"
    answer = b'{"cursor":"0123456789abcdef-1","seq":1,"level":"accepted","dup":true,"subscribers":0,"behind":0}\n'
    lines = []
    for attempt in range(3):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(1)
        if attempt == 0:
            emitting = subprocess.Popen(
                [program.BINARY, "emit", '{"n":1}', "--runtime-dir", str(directory)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=program.clean_environment(),
            )
        with listener:
            connection = ByteStream(listener.accept()[0])
        path.unlink()
        assert connection.until(b"\n") == b'{"$ack":true}\n'
        lines.append(connection.until(b"\n"))
        if attempt == 2:
            connection.send(answer)
            assert connection.rest() == b""
        connection.close()
        time.sleep(0.3)
    output, errors = emitting.communicate(timeout=DEADLINE_S)
    assert (emitting.returncode, output, errors) == (0, answer, b"")
    assert len(set(lines)) == 1 and b'"id":"' in lines[0]


@pytest.mark.parametrize("arguments", [[], ["--quiet-if-absent"]])
def test_emit_gives_up_at_its_timeout_whatever_the_server_does(directory, arguments):
    """Connections are taken and cut, again and again."""
    path = directory / "ingest.socket"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(16)

    def cut():
        with contextlib.suppress(OSError, StopIteration):
            while True:
                listener.accept()[0].close()

    threading.Thread(target=cut, daemon=True).start()
    started = time.monotonic()
    ended = program.run("emit", '{"n":1}', "--runtime-dir", directory, "--timeout", 600, *arguments)
    # The rest is for a busy machine.
    assert 0.5 < time.monotonic() - started < 10
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    if arguments:
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    else:
        assert (ended.returncode, ended.stdout) == (69, b"")
        # What the kernel never took is known not to have been taken.
        assert b"taken" in ended.stderr and b"with --key" in ended.stderr and ended.stderr.count(b"\n") == 1


def test_the_lines_that_have_no_answer_are_named(directory):
    """Two are answered, then the server goes for good."""
    path = directory / "ingest.socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        emitting = subprocess.Popen(
            [program.BINARY, *map(str, ["emit", "-", "--runtime-dir", directory, "--timeout", "500"])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=program.clean_environment(),
        )
        emitting.stdin.write(b'{"n":1}\n\n{"n":2}\n{"n":3}\n{"n":4}\n')
        emitting.stdin.close()
        connection = ByteStream(listener.accept()[0])
        path.unlink()
    for _ in range(5):
        connection.until(b"\n")
    connection.send(b'{"seq":1}\n{"seq":2}\n')
    connection.close()
    assert emitting.wait(DEADLINE_S) == 69
    assert emitting.stdout.read() == b'{"seq":1}\n{"seq":2}\n'
    said = emitting.stderr.read().decode()
    assert said.startswith("fanout emit: lines 4 to 5: cannot connect to "), said
    assert said.endswith("whether these 2 events were taken is unknown\n"), said

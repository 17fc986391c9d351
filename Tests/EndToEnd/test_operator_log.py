"""What the operator reads: nothing that a client sends can forge a line, flood it, or stop the server by way of it."""

import contextlib
import fcntl
import json
import os
import re
import socket
import subprocess
import threading
import time

import pytest

import program
from readers import open_reader
from streams import DEADLINE_S, ByteStream, Ended, wait_until

# A pipe of one page: F_SETPIPE_SZ, which the fcntl module has only since Python 3.10.
SET_PIPE_SIZE = 1031
HOSTILE_TEXTS = [
    "a\nfanout: error: forged",
    "\x1b[2J\x1b[31mred",
    "\r\x08\x07\x00bell",
    "\u2028\u202eright to left\u0085\u009b31m",
    "x" * 10_000,
]
LINE = re.compile(r"fanout: (error|warning|info|debug): (.*?)(?: \(and ([0-9]+) more like it\))?\n")


class Quiet:
    """A server whose standard error the test holds: nothing is read of it unless the test does."""

    def __init__(self, io, directory, stderr, *arguments, **how):
        self.runtime = directory / "run"
        flags = ["--runtime-dir", self.runtime, "--listen", "127.0.0.1:0", "--io", io]
        self.process = subprocess.Popen(
            [program.BINARY, "serve", *map(str, flags), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=program.clean_environment(),
            **how,
        )

    def wait_until_it_serves(self):
        def greets():
            with contextlib.suppress(OSError, Ended), self.reader() as stream:
                return b"$hello" in stream.until(b"\n")

        wait_until(greets, "the server to serve")

    def reader(self):
        return ByteStream.unix(self.runtime / "events.socket")

    def provoke(self):
        """Something for the operator: a `$subscribe` that is refused."""
        with self.reader() as stream:
            stream.until(b"\n")
            stream.send(b'{"$subscribe":{"from":"\\u001b[31m"}}\n')
            assert json.loads(stream.until(b"\n"))["why"] == "bad_cursor"
            stream.rest()

    def publish(self):
        with ByteStream.unix(self.runtime / "ingest.socket") as stream:
            stream.send(b'{"$ack":true}\n{}\n')
            assert b'"seq":' in stream.until(b"\n")

    def check_that_it_serves_and_stops(self):
        self.provoke()
        self.publish()
        self.process.terminate()
        assert self.process.wait(DEADLINE_S) == 0


@pytest.fixture
def quiet(io, directory):
    """Starts servers whose standard error is what the test says; those that still run at its end are killed."""
    started = []

    def start(stderr, *arguments, **how):
        started.append(Quiet(io, directory, stderr, *arguments, **how))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


@pytest.fixture
def small_pipe():
    """A pipe that holds 4 KiB, as (reading end, writing end)."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, SET_PIPE_SIZE, 4096)
    yield reading, writing
    for end in (reading, writing):
        with contextlib.suppress(OSError):
            os.close(end)


def fill(writing):
    """Fills a pipe to the last byte; the number of bytes that it took."""
    os.set_blocking(writing, False)
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(writing, b"#")
    os.set_blocking(writing, True)
    return filled


def read_exactly(descriptor, count):
    data = b""
    while len(data) < count:
        data += os.read(descriptor, count - len(data))
    return data


def test_a_pipe_that_nobody_reads_stops_nobody_and_the_lines_lost_are_counted(quiet, small_pipe):
    reading, writing = small_pipe
    server = quiet(writing)
    server.wait_until_it_serves()
    assert b" ready " in os.read(reading, 4096)
    filled = fill(writing)
    for _ in range(5):
        server.provoke()
    read_exactly(reading, filled)
    told = b""
    while told.count(b"\n") < 2:
        server.provoke()
        os.set_blocking(reading, False)
        with contextlib.suppress(BlockingIOError):
            told += os.read(reading, 4096)
        os.set_blocking(reading, True)
    assert re.match(rb"fanout: warning: [1-9] lines before this one are lost: [^\n]*\nfanout: info: ", told), told
    fill(writing)
    server.check_that_it_serves_and_stops()


def test_a_pipe_that_is_full_at_the_start_stops_nobody(quiet, small_pipe):
    fill(small_pipe[1])
    server = quiet(small_pipe[1])
    server.wait_until_it_serves()
    server.check_that_it_serves_and_stops()


def test_a_pipe_whose_reader_is_gone_stops_nobody(quiet, small_pipe):
    os.close(small_pipe[0])
    server = quiet(small_pipe[1])
    server.wait_until_it_serves()
    server.check_that_it_serves_and_stops()


def test_a_full_disk_stops_nobody(quiet):
    with open("/dev/full", "wb") as full:
        server = quiet(full)
    server.wait_until_it_serves()
    server.check_that_it_serves_and_stops()


@pytest.mark.parametrize("closed", [(2,), (0, 1, 2)], ids=str)
def test_closed_descriptors_are_given_to_no_socket(quiet, closed):
    """What is meant for the operator would be written to whatever has number 2."""

    def close_them():
        for descriptor in closed:
            os.close(descriptor)

    server = quiet(subprocess.DEVNULL, preexec_fn=close_them)
    server.wait_until_it_serves()
    for descriptor in range(3):
        assert os.readlink(f"/proc/{server.process.pid}/fd/{descriptor}") == "/dev/null"
    with server.reader() as stream:
        stream.until(b"\n")
        server.provoke()
        server.publish()
        assert json.loads(stream.until(b"\n")) == {"seq": 1, "channel": "events"}, "nothing but events comes here"
    server.check_that_it_serves_and_stops()


def lines_of(server):
    """The operator's lines after the ready line, each as (text, how many it stands for)."""
    lines = server.stderr.text().splitlines(keepends=True)[1:]
    found = []
    for line in lines:
        match = LINE.fullmatch(line)
        assert match, f"not a line of the log: {line!r}"
        assert len(line.encode()) < 2_200, line
        assert line[:-1].isprintable(), repr(line)
        found.append((match[2], 1 + int(match[3] or 0)))
    return found


def test_a_flood_of_refused_subscriptions_is_a_line_a_second_and_counted(io, start_server):
    """Each is a little different, in words that would forge a line if they were printed."""
    server = start_server()
    count_of_each, began = 60, time.monotonic()
    names = ["from", "channel", "on_lag", "control", "\u001b[31mno such name\n"]

    def flood(transport):
        for number in range(count_of_each):
            reader = open_reader(server, transport)
            reader.next_control("$hello")
            reader.subscribe(**{names[number % len(names)]: HOSTILE_TEXTS[number % 4] + str(number)})
            assert reader.next_control("$bye").json()["code"] == 1008
            reader.close()

    floods = [threading.Thread(target=flood, args=(transport,)) for transport in ("unix", "tcp", "websocket")]
    for thread in floods:
        thread.start()
    for thread in floods:
        thread.join()
    seconds = time.monotonic() - began
    wait_until(lambda: sum(count for _, count in lines_of(server)) == 3 * count_of_each, "all of them to be counted")
    assert len(lines_of(server)) <= 2 * (seconds + 3), lines_of(server)


def test_a_flood_of_bad_lines_on_standard_input_is_a_line_a_second_and_counted(io, start_server):
    server = start_server("--stdin", stdin=subprocess.PIPE)
    bad = [b"\x1b[31m", b'{"a":"\xff"}', b"[]", b'{"seq":1}', b'{"type":"$\x7f"}', b"{" * 300, b"y" * 300_000]
    with open_reader(server, "unix") as reader:
        reader.next_control("$hello")
        rounds, began = 200, time.monotonic()
        for number in range(rounds):
            server.stdin.write(b"\n".join(bad if number % 20 == 0 else bad[:-1]) + b'\n{"n":%d}\n' % number)
        server.stdin.flush()
        assert [reader.next_event().json()["n"] for _ in range(rounds)] == list(range(rounds))
    seconds = time.monotonic() - began
    expected = rounds * (len(bad) - 1) + rounds // 20
    wait_until(lambda: sum(count for _, count in lines_of(server)) == expected, "all of them to be counted")
    assert len(lines_of(server)) <= 2 * (seconds + 3), lines_of(server)


def test_what_clients_send_is_in_no_line(io, start_server):
    """Requests, fields, lines and frames with control bytes, in every place where a careless server prints them."""
    server = start_server("--log-level", "debug")
    mark = "marked-by-a-client"
    with open_reader(server, "unix") as reader:
        reader.next_control("$hello")
        for text in HOSTILE_TEXTS:
            for place in (
                f"GET /{mark}{text} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
                f"GET / HTTP/1.1\r\nHost: {mark}{text}\r\n\r\n",
                f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: {mark}{text}\r\n\r\n",
                f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://{mark}{text}\r\n\r\n",
                f"{mark}{text}\r\n\r\n",
            ):
                with server.connect() as stream:
                    stream.send_until_refused(place.encode("utf-8", "replace"))
                    stream.finish()
                    stream.rest()
            server.ingest(b'{"$ack":true}\n' + f"{mark}{text}\n".encode() + json.dumps({"$" + mark: text}).encode())
            server.post(json.dumps({"type": "$" + mark + text}))
            server.publish(json.dumps({mark: text}))
    lines_of(server)
    assert mark not in server.stderr.text()


@pytest.mark.parametrize("command", [["tail"], ["emit", "{}"]], ids=["tail", "emit"])
@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=range(len(HOSTILE_TEXTS)))
def test_what_a_hostile_server_says_is_one_harmless_line_of_the_command(start, command, text):
    body = json.dumps({"error": {"code": f"bad{text}", "message": f"because {text}"}}).encode()
    answer = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    with OneAnswer(answer + body) as address:
        process = start(command[0], "--url", address, *command[1:])
        assert process.wait() == 64
    said = process.stderr.text()
    assert said.count("\n") == 1 and said[:-1].isprintable() and len(said) < 2_000, said


@pytest.mark.parametrize("code", [1000, 1008])
def test_the_reason_of_a_hostile_end_is_one_harmless_line(start, code):
    hello = {"type": "$hello", "epoch": "0123456789abcdef", "seq": 0, "server": "x", "heartbeat_s": 15}
    gap = {"type": "$gap", "epoch": "0123456789abcdef", "why": HOSTILE_TEXTS[0]}
    bye = {"type": "$bye", "code": code, "why": HOSTILE_TEXTS[1], "last": "0123456789abcdef-0"}
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"
    with OneAnswer(head + b"".join(json.dumps(each).encode() + b"\n" for each in (hello, gap, bye))) as address:
        process = start("tail", "--url", address)
        process.wait()
    lines = process.stderr.text().splitlines()
    assert len(lines) == 2 and all(line.isprintable() and line.startswith("fanout tail: ") for line in lines), lines


class OneAnswer:
    """Something at a port that answers whatever comes with these bytes and ends."""

    def __init__(self, answer):
        self.answer = answer
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connected, _ = self.listener.accept()
                with ByteStream(connected) as stream:
                    stream.until(b"\r\n\r\n")
                    stream.send(self.answer)
                    stream.finish()

    def __enter__(self):
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def __exit__(self, *_):
        self.listener.close()

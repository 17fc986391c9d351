"""Running out of descriptors: readers that are there lose nothing, accepting rests instead of spinning, and comes back.

The deadlines for slow heads and bodies (10 s, 30 s) cannot be configured, so their 408 is shown in the simulation only.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from endings import TRANSPORTS, Collector, check_bye
from http1 import read_response, request
from readers import open_reader
from streams import ByteStream, wait_until

FILES_MAX = 256
DIALS = 2_000
TRIES_PER_SECOND_MAX = 20
LIMITED = ("prlimit", f"--nofile={FILES_MAX}:{FILES_MAX}")
# The server reckons with 64 descriptors for other things: with these beside it has fewer than it has places.
HOARD = 120
HOARDING = (sys.executable, str(Path(__file__).parent / "hoarding.py"), str(HOARD))
# The design says 1.1 s; a busy machine may take its time to look.
BACK_WITHIN_S = 3


class Watch:
    """The server's figures over a connection that it had before: a new one could be the one that is turned away."""

    def __init__(self, server):
        self.server = server
        self.stream = server.connect()
        self.figure("fanout_uptime_seconds")

    def figure(self, name):
        self.stream.send(request("GET", "/metrics"))
        text = read_response(self.stream).body.decode()
        return next(float(line.split(" ")[1]) for line in text.splitlines() if line.startswith(f"{name} "))

    def publish(self, number):
        body = b'{"n":%d}' % number
        self.stream.send(request("POST", "/v1/events", {"Content-Type": "application/json"}, body))
        assert read_response(self.stream).status == 200

    def cpu_seconds(self):
        with open(f"/proc/{self.server.process.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def check_it_rests(self, seconds=3):
        """While nothing can be accepted: few tries, little work, and what is published comes through."""
        wait_until(lambda: self.figure("fanout_accept_resting") > 0, "a listener to rest")
        began, errors, cpu = time.monotonic(), self.figure("fanout_accept_errors_total"), self.cpu_seconds()
        number = 0
        while time.monotonic() - began < seconds:
            self.publish(number)
            number += 1
            time.sleep(0.1)
        elapsed = time.monotonic() - began
        tries = self.figure("fanout_accept_errors_total") - errors
        assert tries <= TRIES_PER_SECOND_MAX * elapsed, f"{tries} tries in {elapsed:.1f} s"
        assert tries > 0, "nothing was tried"
        assert self.cpu_seconds() - cpu < 0.2 * elapsed, "the server is busy with what it cannot do"
        assert self.figure("fanout_accept_shed_total") >= tries, "a refusal without anybody turned away"
        assert 0 < self.figure("fanout_accept_backoffs_total") <= self.figure("fanout_accept_errors_total")
        (warning,) = [line for line in self.server.stderr.text().splitlines() if "accepting rests" in line]
        assert "ulimit -n" in warning
        return number


def dial(server, count):
    """That many connections that nobody may have accepted yet."""
    dialled = []
    for _ in range(count):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", server.http_port))
        dialled.append(client)
    return dialled


def serves(server):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.http_port), 5) as client:
        client.settimeout(5)
        client.sendall(request("GET", "/healthz"))
        return client.recv(100).startswith(b"HTTP/1.1 200 ")


def set_files_max(server, soft):
    subprocess.run(["prlimit", "--pid", str(server.process.pid), f"--nofile={soft}:{FILES_MAX}"], check=True)


def descriptors(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


@pytest.fixture(params=["places", "descriptors"])
def wanting(request):
    """What there is too little of: places in the server's table, or descriptors before the table is full."""
    return LIMITED if request.param == "places" else (*LIMITED, *HOARDING)


@pytest.fixture
def subscribed(io, start_server, wanting):
    """A server that may have 256 files, its figures, and ten readers who are already there."""
    yield from subscribe(start_server, wanting)


def subscribe(start_server, through):
    server = start_server("--max-connections", "100000", through=through)
    readers = {f"{transport} {copy}": open_reader(server, transport) for transport in TRANSPORTS for copy in range(2)}
    for reader in readers.values():
        reader.greeting = reader.next_control("$hello").json()
    watch = Watch(server)
    collector = Collector(readers)
    yield server, watch, collector
    watch.stream.close()


def check_nothing_is_lost(server, collector, published):
    server.signal(signal.SIGTERM)
    for name, ending in collector.endings().items():
        assert [event["n"] for event in ending.events()] == published, name
        check_bye(name, ending, 1001, "shutdown", comes_back=True)
    server.check_stopped()


def test_two_thousand_dials_at_256_files_hurt_nobody(subscribed):
    server, watch, collector = subscribed
    dialled = dial(server, DIALS)
    try:
        count = watch.check_it_rests()
        assert descriptors(server) <= FILES_MAX
    finally:
        for client in dialled:
            client.close()
    freed = time.monotonic()
    wait_until(lambda: serves(server), "the server to accept again")
    assert time.monotonic() - freed < BACK_WITHIN_S
    check_nothing_is_lost(server, collector, list(range(count)))


@pytest.fixture
def starving(io, start_server):
    """As `subscribed`, where a limit that falls while the server runs is felt by the next accept."""
    if io == "io_uring":
        pytest.skip("the kernel reads RLIMIT_NOFILE when a multishot accept is armed, not when it accepts")
    yield from subscribe(start_server, LIMITED)


@pytest.mark.parametrize("way", ["a raised limit", "a closed connection"])
def test_without_a_descriptor_accepting_rests_and_comes_back(starving, way):
    """The limit falls below what is open: every accept fails until it rises, or enough is closed."""
    server, watch, collector = starving
    idle = [server.connect() for _ in range(12)]
    wait_until(lambda: descriptors(server) >= 12 + 10 + 5, "the connections to be accepted")
    before = descriptors(server)
    errors = watch.figure("fanout_accept_errors_total")
    set_files_max(server, before - 4)
    dialled = dial(server, 50)
    try:
        wait_until(lambda: watch.figure("fanout_accept_errors_total") > errors, "an accept to fail")
        count = watch.check_it_rests()
    finally:
        for client in dialled:
            client.close()
    if way == "a raised limit":
        set_files_max(server, FILES_MAX)
    else:
        for stream in idle:
            stream.close()
    freed = time.monotonic()
    wait_until(lambda: serves(server), "the server to accept again")
    assert time.monotonic() - freed < BACK_WITHIN_S
    for stream in idle:
        stream.close()
    check_nothing_is_lost(server, collector, list(range(count)))


def test_every_listener_turns_away_and_comes_back(subscribed):
    """The unix sockets and the port for lines as well as HTTP: raw readers hear why, the others are just closed."""
    server, watch, collector = subscribed
    idle = dial(server, FILES_MAX)
    wait_until(lambda: watch.figure("fanout_accept_resting") > 0, "a listener to rest")
    for raw in (ByteStream.unix(server.events_socket), ByteStream.tcp(server.jsonl_port)):
        with raw:
            (bye,) = raw.rest().splitlines()
            assert re.fullmatch(rb'\{"type":"\$bye","code":1013,"why":"overload","retry_ms":[1-9][0-9]+\}', bye)
    for silent in (ByteStream.unix(server.http_socket), ByteStream.unix(server.ingest_socket)):
        with silent:
            assert silent.rest() == b""
    for client in idle:
        client.close()
    freed = time.monotonic()
    for transport in ("unix", "tcp", "sse", "http.socket-sse"):
        wait_until(lambda transport=transport: greets(server, transport), f"{transport} to be accepted again")
    wait_until(lambda: takes_an_event(server), "the ingest socket to be accepted again")
    assert time.monotonic() - freed < BACK_WITHIN_S
    wait_until(lambda: watch.figure("fanout_accept_resting") == 0, "every listener to accept again")
    check_nothing_is_lost(server, collector, [0])


def test_whoever_waits_is_served_when_others_leave(subscribed):
    """Not turned away one by one: more wait than there are tries."""
    server, watch, collector = subscribed
    idle = dial(server, FILES_MAX)
    wait_until(lambda: watch.figure("fanout_accept_resting") > 0, "a listener to rest")
    waiting = [ByteStream.tcp(server.jsonl_port) for _ in range(60)]
    for client in idle:
        client.close()
    wait_until(lambda: watch.figure("fanout_accept_resting") == 0, "every listener to accept again")
    first = [stream.until(b"\n") for stream in waiting]
    greeted = [stream for stream, line in zip(waiting, first, strict=True) if b"$hello" in line]
    assert len(greeted) >= 20, "most were turned away"
    watch.publish(7)
    for stream in greeted:
        assert b'"n":7' in stream.until(b"\n")
    for stream in waiting:
        stream.close()
    check_nothing_is_lost(server, collector, [7])


def takes_an_event(server):
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        return b'"seq":1' in server.ingest(b'{"$ack":true}\n{"n":0}\n')


def greets(server, transport):
    try:
        with open_reader(server, transport) as reader:
            return reader.next().json()["type"] == "$hello"
    except Exception as error:
        assert type(error).__name__ in ("Ended", "ConnectionResetError", "AssertionError", "BrokenPipeError"), error
        return False

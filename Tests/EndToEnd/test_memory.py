"""Readers that stop and crawl, a small `--max-memory`, a cgroup of the formula + 10 %: is anybody else hurt?"""

import os
import re
import selectors
import subprocess
import threading
import time
from pathlib import Path

import pytest

import program
from endings import TRANSPORTS, Collector, lines, open_with_small_buffer
from readers import open_reader
from streams import DEADLINE_S, ByteStream, Ended, wait_until

MEBIBYTE = 1 << 20
MAX_MEMORY = 16 * MEBIBYTE
# Small: what the history holds weighs on nobody, and this is about those who make the server hold more.
HISTORY = 2 * MEBIBYTE
READERS = 1000
EVENT_BYTES = 128 * 1024
# Ten times the budget, in events that each reader on `bulk` gets.
EVENTS = 10 * MAX_MEMORY // EVENT_BYTES
UNBOUNDED = {"events": 1 << 30, "bytes": 1 << 30, "age_ms": 1 << 30}


def published(name):
    """A number of the formula, as EVENTS.md has it."""
    text = (Path(__file__).parents[2] / "EVENTS.md").read_text()
    return int(re.search(rf"^\| {name} \| ([0-9,]+) \|", text, re.MULTILINE)[1].replace(",", ""))


def heap_formula(connections):
    history = HISTORY + published("spare")
    return published("base") + connections * published("connection") + MAX_MEMORY + history + published("turn")


def kernel_formula(tcp, unix):
    tcp_bytes = published("send buffer, TCP") + published("receive buffer, TCP")
    return tcp * tcp_bytes + unix * published("send buffer, unix")


class Group:
    """A memory cgroup of the test's own, of version 2 where that has the memory controller, else of version 1.

    Version 2 charges the process's memory and its sockets' buffers. Version 1 charges what waits in unix sockets, twice
    SO_SNDBUF for a full one, but TCP's buffers only to a counter of their own that nothing limits here.
    """

    def __init__(self):
        self.folder = None
        self.why_not = "no memory cgroup is mounted"
        self.charges_tcp = _has_version_2()
        places = [("/sys/fs/cgroup", "memory.max", "memory.peak")] if self.charges_tcp else []
        places.append(("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"))
        for root, limit, peak in places:
            folder = Path(root) / f"fanout-test-{os.getpid()}-{time.monotonic_ns()}"
            if not Path(root, "cgroup.procs").exists():
                continue
            try:
                folder.mkdir()
                self.folder, self.limit, self.peak = folder, folder / limit, folder / peak
                self.why_not = self._fault()
                if self.why_not is None:
                    return
                self.folder = None
                folder.rmdir()
            except OSError as fault:
                self.why_not = str(fault)

    def _fault(self):
        """What keeps a process from being put under a limit here, None if nothing does."""
        if not (self.limit.exists() and self.peak.exists()):
            return f"{self.folder.parent} has no {self.limit.name} or no {self.peak.name} for its groups"
        tried = subprocess.run([*self.through(1 << 30), "true"], capture_output=True, text=True)
        return tried.stderr.strip() if tried.returncode else None

    def through(self, byte_count):
        """The command that puts a server into the group."""
        self.limit.write_text(str(byte_count))
        return ["sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$@"', "sh"]

    def peak_bytes(self):
        return int(self.peak.read_text())

    def remove(self):
        if self.folder:
            wait_until(self._is_removed, "the group to be empty")

    def _is_removed(self):
        try:
            self.folder.rmdir()
        except OSError:
            return False
        return True


def _has_version_2():
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    return controllers.exists() and "memory" in controllers.read_text().split()


@pytest.fixture
def group():
    made = Group()
    yield made
    made.remove()


def resident_peak(server):
    """The most that was ever resident, as the kernel counts it."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024


class Checker:
    """Reads many streams in one thread and checks every event as it comes: the next number, the whole filler."""

    EVENT = re.compile(rb'"channel":"(bulk|tick)","n":(\d+),')

    def __init__(self, readers):
        self.readers = readers
        self.next = {reader: {b"bulk": 0, b"tick": 0} for reader in readers}
        self.filler = dict.fromkeys(readers, 0)
        self.tail = dict.fromkeys(readers, b"")
        self.faults = []
        self.stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        with selectors.DefaultSelector() as selector:
            for reader in self.readers:
                self._take(reader, reader.stream.pending)
                selector.register(reader.stream.socket, selectors.EVENT_READ, reader)
            while not self.stopping and not self.faults:
                for key, _ in selector.select(0.1):
                    data = key.fileobj.recv(1 << 20)
                    if not data:
                        self.faults.append(f"a healthy reader was ended: {self.tail[key.data]!r}")
                        return
                    self._take(key.data, data)

    def _take(self, reader, data):
        self.filler[reader] += data.count(b"x")
        text = self.tail[reader] + data
        end = 0
        for match in self.EVENT.finditer(text):
            channel, number = match[1], int(match[2])
            if number != self.next[reader][channel]:
                self.faults.append(f"event {number} on {channel} instead of {self.next[reader][channel]}")
            self.next[reader][channel] = number + 1
            end = match.end()
        if b'"$gap"' in text or b'"$bye"' in text:
            self.faults.append(f"a healthy reader was told of a loss or an end: {text[-300:]!r}")
        self.tail[reader] = text[max(end, len(text) - 64) :]

    def wait_for(self, count_of):
        """Until every reader has everything that it is to have."""

        def all_there():
            return self.faults or all(
                self.next[reader] == {b"bulk": bulk, b"tick": tick} and self.filler[reader] >= bulk * EVENT_BYTES
                for reader in self.readers
                for bulk, tick in [count_of(reader)]
            )

        wait_until(all_there, "every healthy reader to have everything")

    def stop(self):
        self.stopping = True
        self._thread.join(DEADLINE_S)
        assert not self.faults, self.faults[:3]


class Crawlers:
    """Readers that take a kilobyte a second."""

    def __init__(self, readers):
        self.readers = readers
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        left = list(self.readers)
        for reader in left:
            reader.stream.socket.setblocking(False)
        while not self.stopping.wait(1):
            for reader in list(left):
                try:
                    if not reader.stream.socket.recv(1024):
                        left.remove(reader)
                except BlockingIOError:
                    pass
                except ConnectionResetError:
                    left.remove(reader)

    def stop(self):
        self.stopping.set()
        self._thread.join(DEADLINE_S)


class Newcomers:
    """Connects again and again and notes what the first record says."""

    def __init__(self, server):
        self.server = server
        self.seen = {}
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self.stopping.wait(0.02):
            with ByteStream.unix(self.server.events_socket) as stream:
                try:
                    record = stream.until(b"\n")
                except (Ended, ConnectionResetError):
                    record = b"nothing"
                kind = b"1013" if b'"code":1013' in record else b"$hello" if b'"$hello"' in record else record
                self.seen[kind] = self.seen.get(kind, 0) + 1

    def stop(self):
        self.stopping.set()
        self._thread.join(DEADLINE_S)


def test_stopped_and_crawling_readers_cost_what_the_formula_says_and_hurt_nobody(io, group, start_server, tmp_path):
    heap = heap_formula(READERS + 100)
    tcp = READERS * 4 // 5 + 100
    charged = heap + kernel_formula(tcp if group.charges_tcp else 0, READERS // 5 + 100)
    budget = {"max_memory": MAX_MEMORY, "history": HISTORY}
    flags = program.configured(tmp_path, {**budget, "channels": {"**": {"limits": UNBOUNDED}}})
    through = group.through(charged + charged // 10) if group.folder else ()
    # Nobody here answers pings.
    server = start_server(*flags, "--heartbeat", "3600", through=through)

    def open_some(count, opening, **query):
        return [opening(server, TRANSPORTS[number % len(TRANSPORTS)], **query) for number in range(count)]

    stopped = open_some(50, open_with_small_buffer, channel=["bulk", "tick"], on_lag="close")
    skipping = open_some(50, open_with_small_buffer, channel=["bulk", "tick"], on_lag="gap")
    crawling = open_some(50, open_with_small_buffer, channel=["bulk", "tick"], on_lag="close")
    crawling += open_some(50, open_with_small_buffer, channel=["bulk", "tick"], on_lag="gap")
    healthy = open_some(10, open_reader, channel=["bulk", "tick"])
    others = open_some(READERS - 210, open_reader, channel="tick")
    for reader in healthy + others:
        reader.next_control("$hello")
    readers_of_bulk = set(healthy)
    checker, crawlers, newcomers = Checker(healthy + others), Crawlers(crawling), Newcomers(server)
    bulk = lines(EVENTS, EVENT_BYTES)
    ticks = 0
    for start in range(0, EVENTS, 5):
        server.publish_batch(bulk[start : start + 5], channel="bulk")
        if start % 20 == 0:
            server.publish_batch(['{"n":%d,"t":1}' % ticks], channel="tick")
            ticks += 1
        # Readers that keep up are what this is about: no faster than they are.
        sent = start + 5
        checker.wait_for(lambda reader, sent=sent: (sent if reader in readers_of_bulk else 0, ticks))
    newcomers.stop()
    crawlers.stop()
    assert server.is_running(), f"exit {server.process.returncode}: {server.stderr.text()[-2000:]}"
    checker.stop()
    peak = resident_peak(server)
    figures = {name: int(server.metric(f"fanout_memory_{name}_total")) for name in ("resets", "refusals")}
    figures["cuts"] = int(server.metric("fanout_laggards_total", reason="memory"))
    held = int(server.metric("fanout_memory_bytes"))
    print(
        f"{io}: resident {peak >> 20} MiB of {heap >> 20}, held {held >> 20}, {figures}, newcomers {newcomers.seen}"
        + (f", charged {group.peak_bytes() >> 20} MiB of {charged >> 20}" if group.folder else "")
    )
    assert server.is_running()
    assert peak <= heap, f"{peak} bytes were resident, the formula allows {heap}"
    assert held <= MAX_MEMORY
    assert HISTORY // 2 < server.metric("fanout_history_bytes") <= HISTORY + published("spare")
    if group.folder:
        assert group.peak_bytes() <= charged, f"{group.peak_bytes()} bytes were charged, the formula allows {charged}"
    assert figures["cuts"] >= len(stopped) + len(skipping) - figures["resets"]
    assert newcomers.seen.get(b"1013", 0) > 0, newcomers.seen
    assert set(newcomers.seen) <= {b"1013", b"$hello"}, newcomers.seen
    with open_reader(server, "unix") as late:
        late.next_control("$hello")
    # What the stopped ones were told, once they read: events in order without a hole, then why not more, or a reset.
    reset = 0
    collector = Collector(dict(enumerate(stopped)))
    collector.join()
    for data in collector.data.values():
        numbers = [int(match[2]) for match in Checker.EVENT.finditer(data) if match[1] == b"bulk"]
        assert numbers == list(range(len(numbers))), "a hole before the end"
        if b'"$bye"' in data[-400:]:
            assert re.search(rb'"\$bye","code":4008,"why":"slow","last":"[0-9a-f]{16}-\d+"', data[-400:]), data[-400:]
        else:
            reset += 1
    assert reset <= figures["resets"] < figures["cuts"], "ended without a word"
    for reader in skipping + crawling + healthy + others:
        reader.close()
    if not group.folder:
        pytest.skip(f"held against the formula, but not under a limit: {group.why_not}")

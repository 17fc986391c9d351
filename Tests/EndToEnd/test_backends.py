"""One script of everything, on every kernel interface and wherever io_uring is refused: each client reads the same bytes.

Left out are what no two runs have in common: the epoch, dates, `retry_ms`. A reader that falls behind is compared by
what it was told, as how much its kernel took before is nobody's promise.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import program
from endings import Collector, lines, open_with_small_buffer, parse
from http1 import request
from readers import TRANSPORTS, open_reader
from streams import ByteStream

LAUNCHER = Path(__file__).parent / "refusing.py"
SETUP, ENTER, REGISTER = 425, 426, 427
LIMITS = {"events": 200, "bytes": 262_144, "age_ms": 60_000}
CONFIGURATION = {"channels": {"lag/**": {"limits": LIMITS}, "stamped": {"stamp": ["seq", "channel"]}}}
FLAGS = ("--heartbeat", "3600", "--channel", "declared")
COUNTS = re.compile(rb'(?i)("subscribers":|"behind":|content-length: )\d+')


def refusing(error, *numbers):
    return (sys.executable, LAUNCHER, error, ",".join(map(str, numbers)))


@pytest.fixture(scope="session")
def seccomp():
    """For tests that make system calls fail. Skipped, with the kernel's reason, where no filter can be set up."""
    tried = subprocess.run([*refusing("EPERM", SETUP), "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"system calls cannot be made to fail here: {tried.stderr.strip()}")


def normalised(data):
    """Bytes without what differs from run to run."""
    for pattern, name in (
        (rb"\b[0-9a-f]{16}\b", b"<epoch>"),
        (rb'"retry_ms":\d+', b'"retry_ms":<ms>'),
        (rb"retry: \d+", b"retry: <ms>"),
        (rb"(?mi)^date: .*\r$", b"date: <date>\r"),
        (rb"(?mi)^sec-websocket-accept: .*\r$", b"sec-websocket-accept: <key>\r"),
    ):
        data = re.sub(pattern, name, data)
    return data


def without_frame_lengths(data):
    """The length of `$bye`'s frame follows from the number of digits of `retry_ms`."""
    return re.sub(rb'\x81[\x00-\x7d](?=\{"type":"\$bye")', b"<frame>", data)


class Play:
    """The script. What each client got is kept by the client's name."""

    def __init__(self, server):
        self.server = server
        self.got = {}

    def say(self, name, data, unix=False):
        """A client that writes these bytes, ends its side, and reads to the end."""
        with self.server.connect(unix) as stream:
            stream.send(data)
            stream.finish()
            self.got[name] = stream.rest()

    def run(self):
        readers = {f"{transport} all": self.greeted(transport) for transport in TRANSPORTS}
        for transport in ("unix", "tcp", "sse", "websocket"):
            readers[f"{transport} types"] = self.greeted(transport, types=["mine", "late"])
            readers[f"{transport} channels"] = self.greeted(transport, channel=["a/**", "stamped"])
            readers[f"{transport} missed"] = self.greeted(transport, from_="0000000000000000-7")
        quiet = open_reader(self.server, "http-jsonl", control="off")
        readers["http-jsonl quiet"] = quiet
        self.refused()
        collector = Collector(readers)
        self.publish()
        self.leave_in_the_middle()
        self.lag()
        self.ingest(b'{"type":"late","channels":"all"}\n')
        self.server.post('{"type":"late"}', channel="a/b")
        self.server.post('{"type":"late"}', channel="stamped")
        collector.wait_for(b'"late"')
        self.server.signal(signal.SIGTERM)
        collector.endings()
        self.server.check_stopped()
        for name in readers:
            assert not collector.was_reset[name], name
            self.got[name] = bytes(collector.data[name])
        for name, data in self.got.items():
            if isinstance(data, bytes):
                self.got[name] = without_frame_lengths(normalised(data))
        return self.got

    def greeted(self, transport, **query):
        """With `$hello` the subscription stands. It is kept with the rest: it is a part of the stream."""
        reader = open_reader(self.server, transport, **query)
        hello = reader.stream.until(b"}")
        assert b"$hello" in hello
        reader.stream.pending = hello + reader.stream.pending
        return reader

    def refused(self):
        self.say("not http", b"\x16\x03\x01\r\n\r\n")
        self.say("no such path", request("GET", "/nowhere"))
        self.say("pipelined", request("GET", "/healthz") + request("GET", "/readyz") + request("GET", "/v1/none"))
        self.say("not an event", request("POST", "/v1/events", {"Content-Type": "application/json"}, b"[1]"))
        self.say("half a request", b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n{")
        self.say("over http.socket", request("GET", "/nowhere"), unix=True)

    def publish(self):
        for number in range(30):
            body = b'{"type":"%s","n":%d}' % (b"mine" if number % 3 else b"other", number)
            headers = {"Content-Type": "application/json", "Connection": "close"}
            target = f"/v1/events?channel={['a/b', 'stamped', 'declared'][number % 3]}"
            self.say(f"publish {number}", request("POST", target, headers, body))
            # How many readers are behind at the moment is between them and the machine.
            self.got[f"publish {number}"] = COUNTS.sub(rb"\1<n>", self.got[f"publish {number}"])
        self.ingest(b"".join(b'{"n":%d,"pad":"%s"}\n' % (number, b"x" * (number * 97)) for number in range(100)))
        self.ingest(b'not json\n{"type":"mine"}\n{"seq":1}\n', name="bad lines")
        self.server.publish_batch(lines(200, 1_000, type="mine"), channel="a/c")
        self.server.publish('{"type":"mine","large":"%s"}' % ("y" * 200_000), channel="a/b")

    def ingest(self, data, name=None):
        """Lines with acks: when all are answered, all are published."""
        with ByteStream.unix(self.server.ingest_socket) as stream:
            stream.send(b'{"$ack":true}\n' + data)
            stream.finish()
            answers = stream.rest()
        self.got[name or f"ingest {len(self.got)}"] = COUNTS.sub(rb"\1<n>", answers)

    def leave_in_the_middle(self):
        """A reader that closes, one that resets, one that only ends its side: the others notice nothing."""
        for transport in ("unix", "tcp", "sse", "websocket"):
            reader = self.greeted(transport, channel=f"left/{transport}")
            self.server.publish('{"n":1}', channel=f"left/{transport}")
            self.got[f"{transport} left"] = reader.stream.until(b'"n":1}')
            reader.close()

    def lag(self):
        """Two that take nothing while 2.4 MB go by: one is cut, one skips."""
        cut = open_with_small_buffer(self.server, "unix", channel="lag/a", on_lag="close")
        skips = open_with_small_buffer(self.server, "unix", channel="lag/a", on_lag="gap")
        for _ in range(40):
            self.server.publish_batch(lines(20, 3_000), channel="lag/a")
        last = self.server.publish('{"type":"mine"}', channel="stamped")["seq"]
        ended = Collector({"": cut}).endings()[""]
        seqs = ended.seqs()
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) and len(seqs) > 0
        assert ended.bye.json()["last"].endswith(f"-{seqs[-1]}")
        self.got["cut"] = (seqs[0], ended.bye.json()["code"], ended.bye.json()["why"])
        collector = Collector({"": skips})
        collector.wait_for(b"$gap")
        self.server.publish('{"after":"the gap"}', channel="lag/a")
        collector.wait_for(b"the gap")
        skips.stream.socket.shutdown(2)
        data = bytes(collector.data[""])
        whole = parse(skips, data[: data.rindex(b"\n") + 1])
        (gap,) = whole.controls("$gap")
        before = [seq for seq in whole.seqs() if seq < gap["from"]]
        # The last number is not on its channel.
        assert gap["to"] == last and gap["dropped"] == gap["to"] - gap["from"]
        assert before == list(range(before[0], gap["from"]))
        self.got["skips"] = (before[0], gap["to"], [event for event in whole.events() if event["seq"] > gap["to"]])


WAYS = {
    "io_uring": {"io": "io_uring"},
    "no memory may be locked": {"io": "auto", "through": ("prlimit", "--memlock=0:0")},
    "io_uring_setup is forbidden": {"io": "auto", "through": refusing("EPERM", SETUP)},
    "io_uring_setup is unknown": {"io": "auto", "through": refusing("ENOSYS", SETUP)},
    "io_uring_enter is forbidden": {"io": "auto", "through": refusing("EPERM", ENTER)},
    "io_uring_register is forbidden": {"io": "auto", "through": refusing("EACCES", REGISTER)},
    "all of io_uring is unknown": {"io": "auto", "through": refusing("ENOSYS", SETUP, ENTER, REGISTER)},
}


@pytest.fixture(scope="module")
def with_epoll(tmp_path_factory):
    """What every client reads where epoll is asked for."""
    server = program.Server(
        *program.configured(tmp_path_factory.mktemp("configuration"), CONFIGURATION), *FLAGS, io="epoll"
    )
    try:
        return Play(server).run()
    finally:
        server.remove()


@pytest.mark.parametrize("way", WAYS)
def test_every_client_reads_the_same_bytes(way, request, start_server, tmp_path, with_epoll):
    if LAUNCHER in WAYS[way].get("through", ()):
        request.getfixturevalue("seccomp")
    if way == "io_uring" and (refusal := program.io_uring_refusal()):
        pytest.skip(f"io_uring is refused here: {refusal}")
    server = start_server(*program.configured(tmp_path, CONFIGURATION), *FLAGS, **WAYS[way])
    if "is" in way.split():
        assert " · epoll (io_uring refused: io_uring_" in server.ready_line
        assert server.metric("fanout_io_backend", backend="epoll") == 1
    got = Play(server).run()
    assert list(got) == list(with_epoll)
    for name in got:
        assert got[name] == with_epoll[name], name


@pytest.mark.parametrize("number", [SETUP, ENTER, REGISTER])
@pytest.mark.parametrize("error", ["EPERM", "ENOSYS", "EACCES", "ENOMEM", "EINVAL", "EMFILE"])
def test_the_reason_for_epoll_is_in_the_ready_line(error, number, seccomp, start_server):
    server = start_server(io="auto", through=refusing(error, number))
    call = {SETUP: "io_uring_setup", ENTER: "io_uring_enter", REGISTER: "io_uring_register"}[number]
    assert re.search(rf" · epoll \(io_uring refused: {call}[^·]*\b{error}\b[^·]*\) · pid", server.ready_line)
    assert server.metric("fanout_io_backend", backend="epoll") == 1
    assert server.metric("fanout_io_backend", backend="io_uring") == 0


# What io_uring_register is asked for, and whether a ring is of use without it.
REGISTRATIONS = {
    "probe": (8, False),
    "receive buffers": (22, False),
    "enabling": (12, False),
    "restrictions": (11, True),
    "the ring's descriptor": (20, True),
}


@pytest.mark.parametrize("error", ["EPERM", "EINVAL"])
@pytest.mark.parametrize("name", REGISTRATIONS)
def test_what_a_ring_can_do_without_is_done_without(name, error, seccomp, start_server):
    if refusal := program.io_uring_refusal():
        pytest.skip(f"io_uring is refused here: {refusal}")
    number, can_do_without = REGISTRATIONS[name]
    server = start_server(io="auto", through=refusing(error, f"{REGISTER}/{number}"))
    if can_do_without:
        assert " · io_uring (" in server.ready_line
    else:
        assert re.search(rf" · epoll \(io_uring refused: [^·]*\({name}\): {error} ", server.ready_line)
    reader = open_reader(server, "unix")
    reader.next_control("$hello")
    server.publish('{"n":1}')
    assert reader.next_event().json()["n"] == 1
    reader.close()


@pytest.mark.parametrize("number", [SETUP, ENTER, REGISTER])
@pytest.mark.parametrize(
    "error, advice",
    [("EPERM", "seccomp profile"), ("ENOSYS", "6.0 or newer"), ("ENOMEM", "ulimit -l"), ("EMFILE", "ulimit -n")],
)
def test_a_demand_for_io_uring_that_is_refused_is_fatal(error, advice, number, seccomp, start, directory):
    process = start(
        "serve", "--runtime-dir", directory / "run", "--listen", "127.0.0.1:0", "--io", "io_uring",
        through=refusing(error, number),
    )  # fmt: skip
    assert process.wait() == 74
    (line,) = process.stderr.lines
    assert line.startswith(b"fanout serve: ") and error.encode() in line and advice.encode() in line
    assert b"io_uring_" in line
    assert process.stdout.lines == []


def test_epoll_asked_for_makes_no_ring(start_server):
    server = start_server(io="epoll")
    assert " · epoll (asked for) · " in server.ready_line
    folder = Path(f"/proc/{server.process.pid}/fd")
    kinds = [os.readlink(each) for each in folder.iterdir()]
    assert "anon_inode:[eventpoll]" in kinds and "anon_inode:[io_uring]" not in kinds

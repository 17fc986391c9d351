"""Nobody starves: keep-alives and health while publishers flood and thousands of readers come back at once."""

import json
import random
import re
import threading
import time

import pytest

import http1
import program
from crowd import Connection, Crowd, allow_many_files
from endings import PATIENT, TRANSPORTS, Collector, check_bye
from readers import open_reader
from rfc6455 import PING, WebSocket
from streams import ByteStream, wait_until

HEARTBEAT_S = 2
FLOOD_S = 4
# Where thousands of sockets are opened by this process, whose own answers to pings may then be late.
SLOW_HEARTBEAT_S = 5
BATCH = http1.request(
    "POST",
    "/v1/events?channel=flood",
    {"Content-Type": program.NDJSON},
    b'{"filler":"%s"}\n' % (b"x" * 180) * 500,
)
LINES = b'{"$publish":{"channel":"flood","event":{"filler":"%s"}}}\n' % (b"y" * 150) * 500


class Listener(threading.Thread):
    """A reader of a quiet channel: counts what keeps it alive, and how long it heard nothing."""

    def __init__(self, server, form):
        super().__init__(daemon=True)
        self.form, self.heard, self.longest, self.fault = form, 0, 0.0, None
        self.stopped = threading.Event()
        if form == "websocket":
            self.reader = WebSocket(server.connect(), "/v1/events?channel=quiet")
            self.reader.receive_text()
        else:
            self.reader = open_reader(server, form, channel=["quiet"])
            self.reader.next_control("$hello")

    def hear_one(self):
        if self.form == "websocket":
            opcode, payload = self.reader.receive_frame()
            assert opcode == PING, opcode
            self.reader.send(0xA, payload)
        elif self.form == "sse":
            assert self.reader.receive_block() == b":\n\n"
        else:
            assert self.reader.stream.until(b"\n") == b'{"type":"$ping"}\n'

    def run(self):
        try:
            while not self.stopped.is_set():
                began = time.monotonic()
                self.hear_one()
                self.longest = max(self.longest, time.monotonic() - began)
                self.heard += 1
        except Exception as fault:
            self.fault = fault


class Probe(threading.Thread):
    """Asks for /healthz on a new connection again and again."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.slowest, self.fault, self.looks = server, 0.0, None, 0
        self.stopped = threading.Event()

    def run(self):
        try:
            while not self.stopped.wait(0.2):
                began = time.monotonic()
                assert self.server.get("/healthz").status == 200
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.looks += 1
        except Exception as fault:
            self.fault = fault


class Quiet:
    """Who must not notice: a reader of each kind and a prober. `with` starts them; its end looks at how they fared."""

    def __init__(self, server, heartbeat):
        # A keep-alive comes within every period. The bound is generous: it is the machine that may be slow.
        self.silence_max = 3 * heartbeat + 2
        forms = ["tcp", "http-jsonl", "sse", "websocket"] * 2
        self.threads = [*(Listener(server, form) for form in forms), Probe(server)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.began = time.monotonic()
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            return
        *listeners, probe = self.threads
        wait_until(lambda: all(each.heard or each.fault for each in listeners), "everybody to be kept alive once")
        seconds = time.monotonic() - self.began
        for thread in self.threads:
            thread.stopped.set()
        for thread in self.threads:
            thread.join(30)
            assert thread.fault is None, (getattr(thread, "form", "probe"), thread.fault)
        for listener in listeners:
            assert listener.heard >= seconds / self.silence_max, (listener.form, listener.heard, seconds)
            assert listener.longest <= self.silence_max, (listener.form, listener.longest)
            listener.reader.close()
        assert probe.looks >= 1 and probe.slowest < 5, (probe.looks, probe.slowest)


def flood(server, way, until, counted):
    """Publishes as fast as the server takes it."""
    seqs = 0
    if way == "pipelined batches":
        with server.connect() as stream:
            for _ in range(4):
                stream.send(BATCH)
            while time.monotonic() < until:
                stream.send(BATCH)
                assert http1.read_response(stream).status == 200
                seqs += 500
            for _ in range(4):
                assert http1.read_response(stream).status == 200
                seqs += 500
    else:
        with ByteStream.unix(server.ingest_socket) as stream:
            while time.monotonic() < until:
                stream.send(LINES)
                seqs += 500
            stream.finish()
            stream.rest()
    counted.append(seqs)


@pytest.mark.parametrize("readers", [0, 200])
def test_flooding_publishers_starve_neither_keep_alives_nor_health(io, start_server, readers):
    """A pipelining publisher and two streams of lines, beside readers of the flood and readers of silence."""
    allow_many_files()
    server = start_server("--heartbeat", str(HEARTBEAT_S), "--on-lag", "gap")
    counted = []
    with Crowd() as crowd:
        over = threading.Event()
        for number in range(readers):
            address = server.events_socket if number % 2 else ("127.0.0.1", server.jsonl_port)
            crowd.add(Connection(address))

        def read():
            while not over.is_set():
                crowd.read(0.1)
                for connection in crowd.open:
                    connection.data.clear()

        reading = threading.Thread(target=read, daemon=True)
        reading.start()
        try:
            server.metric("fanout_loop_lag_milliseconds")
            with Quiet(server, HEARTBEAT_S):
                until = time.monotonic() + FLOOD_S
                ways = ["pipelined batches", "lines", "lines"]
                floods = [threading.Thread(target=flood, args=(server, way, until, counted)) for way in ways]
                for thread in floods:
                    thread.start()
                for thread in floods:
                    thread.join()
            assert server.metric("fanout_loop_busy_milliseconds_total") >= 1, "the metric moves"
            assert len(counted) == 3 and min(counted) > 0, "every publisher got its turn"
            assert server.metric("fanout_events_in_total") == sum(counted)
        finally:
            over.set()
            reading.join()


def test_thousands_who_resume_at_once_starve_nobody(io, start_server):
    """Each comes with a place of its own, to a server of thousands of channels, and gets exactly what it missed."""
    allow_many_files()
    server = start_server("--heartbeat", str(SLOW_HEARTBEAT_S))
    lines = b"".join(b'{"$publish":{"event":{},"channel":"c/%d/x"}}\n' % number for number in range(5_000))
    server.ingest(lines)
    wait_until(lambda: server.metric("fanout_head_seq") == 5_000, "the channels")
    epoch = server.publish("{}")["cursor"].split("-")[0]
    dice = random.Random(3)
    answers = []
    with Quiet(server, SLOW_HEARTBEAT_S), Crowd() as crowd:
        for number in range(2_000):
            channel = dice.choice(["c/*/x", f"c/{number}/*", f"c/{number}/x", "**", "other/**"])
            place = dice.randrange(4_500 if channel in ("c/*/x", "**") else 0, 5_000)
            target = f"/v1/events?channel={channel}&from={epoch}-{place}"
            connection = Connection(("127.0.0.1", server.http_port), channel=channel, place=place)
            connection.send(http1.request("GET", target))
            answers.append(crowd.add(connection))
        crowd.read_until(lambda: all(b"$hello" in each.data for each in answers), "everybody to be served")
        last = server.publish('{"type":"last"}', channel="c/7/x")
        assert last["subscribers"] > 1
        # All channels have a slash but `events`; of each other one there is one event.
        matched = {"c/*/x": (5_000, [last["seq"]]), "**": (5_001, [last["seq"]]), "other/**": (0, [])}
        for each in answers:
            past, live = matched.get(each.channel, (0, []))
            each.wanted = [*range(each.place + 1, past + 1), *live]
            if each.channel not in matched:
                number = int(each.channel.split("/")[1])
                each.wanted = [number + 1] * (number >= each.place) + live
                each.wanted += [last["seq"]] * (number == 7)

        left = list(answers)

        def all_there():
            while left and left[-1].data.count(b'{"seq":') >= len(left[-1].wanted):
                left.pop()
            return not left

        crowd.read_until(all_there, "everybody to have what it missed", 60)
        assert not any(each.ended for each in answers)
        for each in answers:
            assert [int(seq) for seq in re.findall(rb'\{"seq":(\d+),', each.data)] == each.wanted, each.channel


def test_readers_reset_at_once_and_back_within_a_second_hurt_nobody(io, start_server, tmp_path):
    """E3, at a size that fits here: all are served, and those who stayed have missed nothing."""
    files = allow_many_files()
    count = min(4_000, files // 4)
    server = start_server("--heartbeat", "3600", *program.configured(tmp_path, PATIENT))
    watchers = {transport: open_reader(server, transport) for transport in TRANSPORTS}
    for reader in watchers.values():
        reader.greeting = reader.next_control("$hello").json()
    epoch = watchers["unix"].greeting["epoch"]
    collector = Collector(watchers)
    tcp, http = ("127.0.0.1", server.jsonl_port), ("127.0.0.1", server.http_port)
    sse = http1.request("GET", "/v1/events", {"Accept": "text/event-stream"})

    def arrive(crowd, start):
        arrived = []
        for number in range(count):
            kind = number % 3
            connection = Connection([tcp, http, server.events_socket][kind])
            if kind == 1:
                connection.send(start)
            arrived.append(crowd.add(connection))
        crowd.read_until(lambda: all(b"$hello" in each.data for each in arrived), "everybody to be served", 60)
        return arrived

    stop_publishing = threading.Event()
    seqs = []

    def publish():
        with server.connect() as stream:
            while not stop_publishing.wait(0.01):
                stream.send(http1.request("POST", "/v1/events", {"Content-Type": "application/json"}, b"{}"))
                seqs.append(http1.read_response(stream).json()["seq"])

    publisher = threading.Thread(target=publish)
    with Crowd() as crowd:
        first = arrive(crowd, sse)
        publisher.start()
        for connection in first:
            crowd.remove(connection).reset()
        place = {"Last-Event-ID": f"{epoch}-0"}
        again = arrive(crowd, sse[:-2] + b"Last-Event-ID: %s\r\n\r\n" % place["Last-Event-ID"].encode())
        stop_publishing.set()
        publisher.join()
        last = server.publish('{"type":"last"}')["seq"]
        assert seqs == list(range(1, last))
        crowd.read_until(lambda: all(b'"type":"last"' in each.data for each in again), "the last event everywhere")
        for connection in again:
            if connection.data.startswith(b"{"):
                events = [json.loads(line) for line in connection.data.splitlines()]
                heard = [event["seq"] for event in events if event.get("type") in (None, "last")]
                assert heard == list(range(heard[0], last + 1))
            else:
                heard = [int(seq) for seq in re.findall(rb'^data: \{"seq":(\d+),', connection.data, re.MULTILINE)]
                assert heard == list(range(1, last + 1)), "who says a place gets all that came after it"

    def only_watchers_are_left():
        # Of a raw TCP reader that has closed the server learns when it sends it something.
        nonlocal last
        last = server.publish("{}")["seq"]
        return server.metric("fanout_connections") == len(watchers) + 1

    wait_until(only_watchers_are_left, "everybody else to be gone")
    server.stop()
    for transport, ending in collector.endings().items():
        assert ending.seqs() == list(range(1, last + 1)), transport
        check_bye(transport, ending, 1001, "shutdown", f"{epoch}-{last}", comes_back=True)

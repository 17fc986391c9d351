"""A database under load: stops in the middle of it, and clients that leave in the middle of everything."""

import json
import random
import threading
import time

import pytest

import http1
from endings import PATIENT, Collector
from program import NDJSON
from readers import events_target, open_reader, subscribe_message
from rfc6455 import upgrade_headers
from stored import come_back, epoch_of
from streams import ByteStream, Ended, wait_until


class Writer(threading.Thread):
    """Publishes batches over HTTP, or lines on an ingest socket, until the server ends; `acked`: numbers with texts."""

    def __init__(self, server, name, is_line):
        super().__init__(daemon=True)
        self.server, self.name, self.is_line = server, name, is_line
        self.acked = []
        self.start()

    def run(self):
        try:
            if self.is_line:
                self.write_lines()
            else:
                self.post_batches()
        except (OSError, Ended, AssertionError):
            return

    def event(self, number):
        return '{"w":"%s","n":%d,"f":"%s"}' % (self.name, number, "x" * (number % 300))

    def post_batches(self):
        with self.server.connect() as stream:
            for start in range(0, 1 << 30, 20):
                events = [self.event(n) for n in range(start, start + 20)]
                body = "\n".join(events).encode()
                stream.send(http1.request("POST", "/v1/events", {"Content-Type": NDJSON}, body))
                response = http1.read_response(stream)
                if response.status != 200:
                    return
                first = response.json()["seq"] - 19
                self.acked += [(first + at, event) for at, event in enumerate(events)]

    def write_lines(self):
        with ByteStream.unix(self.server.ingest_socket) as stream:
            stream.send(b'{"$ack":true}\n')
            for start in range(0, 1 << 30, 20):
                events = [self.event(n) for n in range(start, start + 20)]
                stream.send(("\n".join(events) + "\n").encode())
                for event in events:
                    self.acked.append((json.loads(stream.until(b"\n"))["seq"], event))


@pytest.mark.parametrize("seconds", [0.05, 0.4])
def test_a_stop_under_load_keeps_all_that_anybody_was_told_or_sent(io, life, seconds):
    server = life.begin(configuration=PATIENT)
    epoch = epoch_of(server)
    collector = Collector({each: come_back(server, each, f"{epoch}-0") for each in ("unix", "sse", "websocket")})
    writers = [Writer(server, f"w{n}", n % 2 == 0) for n in range(4)]
    wait_until(lambda: all(writer.acked for writer in writers), "everybody's first ack")
    time.sleep(seconds)
    server.stop()
    endings = collector.endings()
    for writer in writers:
        writer.join(10)
    server = life.begin()
    assert epoch_of(server) == epoch, "the end was a clean one"
    last = server.publish('{"last":true}')["seq"]
    with come_back(server, "unix", f"{epoch}-0") as reader:
        stored = [reader.next_event().text for _ in range(last)]
    for writer in writers:
        for seq, event in writer.acked:
            assert stored[seq - 1] == f'{{"seq":{seq},"channel":"events",{event[1:]}'.encode(), writer.name
    for transport, ending in endings.items():
        texts = [record.text for record in ending.records if not record.is_control()]
        assert texts == stored[: len(texts)], transport
        assert ending.bye is not None and ending.bye.json()["last"] == f"{epoch}-{len(texts)}", transport


class Rover:
    """Does one thing of many, and leaves at any moment of it."""

    def __init__(self, server, seed):
        self.server, self.dice = server, random.Random(seed)

    def rove(self):
        dice = self.dice
        what = dice.choice([self.publish, self.publish_keyed, self.write, self.history, self.subscribe, self.channels])
        stream, request = what()
        try:
            stream.send(request[: dice.choice([len(request), len(request), dice.randint(1, len(request))])])
            if dice.random() < 0.7:
                stream.socket.settimeout(dice.choice([0.0005, 0.005, 0.05]))
                stream.exactly(dice.choice([1, 100, 3_000]))
        except (OSError, Ended):
            pass
        finally:
            if dice.random() < 0.3:
                stream.socket.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")
            stream.close()

    def publish(self, headers=()):
        body = b'{"r":1}\n' * self.dice.randint(1, 30)
        level = self.dice.choice(["none", "accepted", "committed", "synced"])
        fields = {"Content-Type": NDJSON, **dict(headers)}
        one = http1.request("POST", f"/v1/events?channel=r&ack={level}", fields, body)
        return self.server.connect(), one * self.dice.choice([1, 1, 5])

    def publish_keyed(self):
        return self.publish({"Idempotency-Key": f"k{self.dice.randint(0, 20)}"})

    def write(self):
        lines = b'{"r":2}\n{"$publish":{"event":{"r":3},"channel":"r","id":"i%d"}}\n' % self.dice.randint(0, 20)
        return ByteStream.unix(self.server.ingest_socket), b'{"$ack":true}\n' + lines * self.dice.randint(1, 20)

    def history(self):
        query = self.dice.choice(["limit=10000&after=%s-0", "channel=r&limit=3&before=%s-5000", "types=x&after=%s-7"])
        request = http1.request("GET", "/v1/history?" + query % self.server.epoch)
        return self.server.connect(), request * self.dice.choice([1, 1, 4])

    def subscribe(self):
        place = f"{self.server.epoch}-{self.dice.choice([0, 0, 500, 5_000, 10**9])}"
        query = self.dice.choice([{}, {"channel": "old"}, {"channel": "r", "types": "x"}])
        form = self.dice.choice(["sse", "websocket", "raw"])
        if form == "raw":
            return ByteStream.unix(self.server.events_socket), subscribe_message(from_=place) + b"\n"
        headers = {"Accept": "text/event-stream"} if form == "sse" else upgrade_headers()
        return self.server.connect(), http1.request("GET", events_target(from_=place, **query), headers)

    def channels(self):
        method = self.dice.choice(["PUT", "DELETE", "GET"])
        return self.server.connect(), http1.request(method, f"/v1/channels?channel=c/{self.dice.randint(0, 5)}")


def test_clients_that_leave_in_the_middle_of_everything_hurt_nobody(io, life):
    """Half of it reads what only the database has; a steady writer and a steady reader must not notice."""
    server = life.begin(configuration=PATIENT)
    for _ in range(6):
        server.publish_batch(['{"f":"%s"}' % ("x" * 900)] * 1_000, channel="old")
    server = life.again("stopped", "--history", "1M")
    server.epoch = epoch_of(server)
    collector = Collector({"sse": come_back(server, "sse", f"{server.epoch}-6000")})
    writer = Writer(server, "w", is_line=True)
    until = time.monotonic() + 1

    def rove(seed):
        rover = Rover(server, seed)
        while time.monotonic() < until:
            rover.rove()

    rovers = [threading.Thread(target=rove, args=[seed], daemon=True) for seed in range(12)]
    for each in rovers:
        each.start()
    for each in rovers:
        each.join(20)
        assert not each.is_alive()
    assert server.is_running(), server.stderr.text()
    count = len(writer.acked)
    wait_until(lambda: len(writer.acked) > count, "the writer to go on")
    wait_until(lambda: server.metric("fanout_history_requests") == 0, "every question to be answered or forgotten")
    wait_until(lambda: server.metric("fanout_replaying_subscribers") == 0, "nobody to be waited for")
    with open_reader(server, "websocket", from_="start") as reader:
        reader.next_control("$hello")
        assert [reader.next_event().json()["seq"] for _ in range(6_000)] == list(range(1, 6_001))
    server.stop()
    [ending] = collector.endings().values()
    assert ending.seqs() == list(range(6_001, 6_001 + len(ending.seqs())))
    got = {event["seq"]: event["n"] for event in ending.events() if "w" in event}
    assert all(got[seq] == json.loads(event)["n"] for seq, event in writer.acked)
    assert epoch_of(life.begin()) == server.epoch

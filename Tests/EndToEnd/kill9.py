"""Publishers that must have their acks, readers that come back, and a server that is killed again and again.

Two publishers send batches over HTTP and two send envelopes on an ingest socket, all with keys, all at `synced`, and
say again under the same key whatever was not answered. A reader of each protocol comes back to its last place. The
server is killed at random moments, some of them of its start, and started again on the same database.

    kill9.py [--kills 200] [--seed 1] [--io epoll]

prints its figures, half of the kills with `visible: synced`. Afterwards every promise is checked: `Verdict`.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import http1
import program
from readers import open_reader
from stored import FILE, check_sound, greeting, rows
from streams import ByteStream, Ended

# What ends a conversation whose server was killed.
CUT = (OSError, Ended, AssertionError, ValueError)
BATCH_MAX = 40
IN_FLIGHT_MAX = 50


class Ring:
    """Where the present server is; those who lost theirs wait here for the next."""

    def __init__(self):
        self.changed = threading.Condition()
        self.server = None
        self.is_over = False

    def put(self, server):
        with self.changed:
            self.server = server
            self.changed.notify_all()

    def present(self):
        with self.changed:
            self.changed.wait_for(lambda: self.server is not None or self.is_over, 30)
            return self.server


class Worker(threading.Thread):
    """Something that goes on from server to server until it is told to finish; a fault in it is the run's."""

    def __init__(self, ring, name, seed):
        super().__init__(name=name, daemon=True)
        self.ring, self.name = ring, name
        self.dice = random.Random(f"{seed}/{name}")
        self.finishing = threading.Event()
        self.fault = None
        self.cuts = 0

    def run(self):
        try:
            while not self.is_done():
                server = self.ring.present()
                if server is None:
                    return
                try:
                    self.talk(server)
                except CUT as error:
                    self.cut(server, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run must not pass
            self.fault = error

    def cut(self, server, error):
        """A conversation that ended: only a kill may be the reason."""
        if self.ring.server is server and server.is_running():
            time.sleep(0.005)
            if self.ring.server is server and server.is_running() and not isinstance(error, OSError | Ended):
                raise error
        self.cuts += 1
        time.sleep(0.001)


class Publisher(Worker):
    """`acked` is (key, its payloads, the ack) of each publication that was answered."""

    def __init__(self, *about):
        super().__init__(*about)
        self.acked = []
        self.sent = 0
        self.repeated = 0

    def is_done(self):
        return self.finishing.is_set() and not self.waiting()

    def payloads(self, count):
        number = self.sent
        self.sent += 1
        filler = "x" * self.dice.choice([0, 10, 200, 1_000, 5_000])
        return f"{self.name}-{number}", [
            '{"p":"%s","k":%d,"i":%d,"f":"%s"}' % (self.name, number, at, filler) for at in range(count)
        ]

    def note(self, key, payloads, ack):
        assert ack["level"] == "synced", ack
        self.acked.append((key, payloads, ack))
        self.repeated += ack["dup"]


class BatchPublisher(Publisher):
    """One batch at a time over HTTP."""

    unanswered = None

    def waiting(self):
        return self.unanswered is not None

    def talk(self, server):
        with server.connect() as stream:
            while not self.is_done():
                if self.unanswered is None:
                    self.unanswered = self.payloads(self.dice.randint(1, BATCH_MAX))
                key, payloads = self.unanswered
                body = "".join(f"{line}\n" for line in payloads).encode()
                fields = {"Content-Type": program.NDJSON, "Idempotency-Key": key}
                stream.send(http1.request("POST", "/v1/events?channel=batches", fields, body))
                response = http1.read_response(stream)
                if response.status == 503:
                    raise Ended(f"{response}")
                assert response.status == 200, response
                self.note(key, payloads, response.json())
                self.unanswered = None


class LinePublisher(Publisher):
    """Envelopes on an ingest socket, many in flight."""

    def __init__(self, *about):
        super().__init__(*about)
        self.unanswered = []

    def waiting(self):
        return self.unanswered

    def talk(self, server):
        with ByteStream.unix(server.ingest_socket) as stream:
            stream.send(b'{"$ack":true}\n' + b"".join(map(self.line, self.unanswered)))
            while not self.is_done():
                if not self.finishing.is_set() and len(self.unanswered) < IN_FLIGHT_MAX:
                    new = [self.payloads(1) for _ in range(self.dice.randint(1, 10))]
                    self.unanswered += new
                    stream.send(b"".join(map(self.line, new)))
                for _ in range(self.dice.randint(1, len(self.unanswered))):
                    answer = json.loads(stream.until(b"\n"))
                    key, payloads = self.unanswered[0]
                    if "error" in answer:
                        assert answer["error"]["code"] in ("shutting_down", "overload"), answer
                        raise Ended(f"{answer}")
                    self.note(key, payloads, answer)
                    self.unanswered.pop(0)

    def line(self, one):
        key, [payload] = one
        return b'{"$publish":{"event":%s,"channel":"lines","id":"%s"}}\n' % (payload.encode(), key.encode())


class Follower(Worker):
    """A reader from the start on: `seen` is each record in the order in which it came, with its numbering's epoch."""

    def __init__(self, ring, name, seed, transport):
        super().__init__(ring, name, seed)
        self.transport = transport
        self.seen = []
        self.place = "start"
        self.last_seq = 0
        self.has_ended = False

    def is_done(self):
        return self.has_ended

    def talk(self, server):
        with self.opened(server) as reader:
            hello = greeting(reader)
            while not self.is_done():
                record = reader.next()
                said = record.json()
                kind = str(said.get("type", ""))
                if kind == "$bye":
                    return
                if kind == "$gap":
                    self.seen.append((said["epoch"], said))
                    # What a reader that forms its own cursors goes on from: the place in front of what was lost.
                    self.place = record.id or f"{hello['epoch']}-{said['from'] - 1}"
                    continue
                self.last_seq = said["seq"]
                self.place = record.id or f"{hello['epoch']}-{self.last_seq}"
                self.seen.append((hello["epoch"], record.text))
                self.has_ended = "end" in said

    def opened(self, server):
        if self.transport == "sse" and self.place != "start":
            return open_reader(server, "sse", headers={"Last-Event-ID": self.place})
        return open_reader(server, self.transport, from_=self.place)


class Run:
    """Everything of one run; `figures` afterwards says what it met."""

    def __init__(self, io, kills, seed, folder, visible="accepted"):
        self.io, self.kills, self.dice, self.visible = io, kills, random.Random(seed), visible
        self.folder = Path(folder)
        self.data = self.folder / "data"
        self.ring = Ring()
        self.publishers = [
            *[BatchPublisher(self.ring, f"h{n}", seed) for n in range(2)],
            *[LinePublisher(self.ring, f"l{n}", seed) for n in range(2)],
        ]
        self.readers = [Follower(self.ring, each, seed, each) for each in ("tcp", "sse", "websocket")]
        self.epochs = []
        self.starts_s = []
        self.killed_starting = 0
        self.sound = 0

    def start(self):
        began = time.monotonic()
        # Nobody is to be cut for falling behind on a busy machine: this is not about laggards.
        rules = {"limits": {"events": 1_000_000, "bytes": 1 << 29, "age_ms": 60_000}, "visible": self.visible}
        configured = program.configured(self.folder, {"channels": {"**": rules}})
        server = program.Server("--data", self.data, "--history", "1M", *configured, io=self.io)
        self.starts_s.append(time.monotonic() - began)
        self.epochs.append(server.get("/v1/channels").json()["channels"][0]["head"].partition("-")[0])
        return server

    def kill_a_start(self):
        """Kills a server that may not have come so far as to be one."""
        place = self.folder / "starting"
        process = program.Process(
            *["serve", "--data", self.data, "--runtime-dir", place, "--listen", "127.0.0.1:0", "--io", self.io]
        )
        time.sleep(self.dice.random() * 0.03)
        process.kill()
        shutil.rmtree(place, ignore_errors=True)
        self.killed_starting += 1

    def run(self, say=lambda text: None):
        """Kills the server so often; then all finish, and a last server ends in order. The log that there is then."""
        workers = [*self.publishers, *self.readers]
        server = self.start()
        self.ring.put(server)
        try:
            for worker in workers:
                worker.start()
            for kill in range(self.kills):
                time.sleep(self.dice.uniform(0.005, 0.5))
                self.check_workers()
                self.ring.put(None)
                server.process.send_signal(signal.SIGKILL)
                server.process.wait()
                server.remove()
                if kill % 20 == 5:
                    shutil.rmtree(check_sound(self.data, self.folder / "look"))
                    self.sound += 1
                if self.dice.random() < 0.2:
                    self.kill_a_start()
                server = self.start()
                self.ring.put(server)
                if (kill + 1) % 20 == 0:
                    say(f"{kill + 1} kills, {sum(len(each.acked) for each in self.publishers)} acks")
            self.finish(server)
            server.stop()
        finally:
            self.ring.is_over = True
            server.remove()
        stored = rows(self.data / FILE, "SELECT seq, line FROM event ORDER BY seq")
        return [(seq, bytes(line).rstrip(b"\n")) for seq, line in stored]

    def finish(self, server):
        for publisher in self.publishers:
            publisher.finishing.set()
        for publisher in self.publishers:
            publisher.join(30)
        self.check_workers()
        assert not any(each.is_alive() for each in self.publishers), "a publisher never got its answer"
        last = server.publish('{"end":true}')["seq"]
        for reader in self.readers:
            reader.join(60)
        self.check_workers()
        late = [(each.name, each.last_seq, last) for each in self.readers if each.is_alive()]
        assert not late, f"readers that never came to the head: {late}"

    def check_workers(self):
        for worker in [*self.publishers, *self.readers]:
            if worker.fault is not None:
                raise AssertionError(f"{worker.name}: {worker.fault!r}") from worker.fault


class Verdict:
    """What must be true of a run: `check` looks at all of it, `figures` counts."""

    def __init__(self, run, log):
        self.run, self.log = run, log
        self.by_seq = dict(log)
        self.unmade = Counter()

    def check(self):
        assert len(self.by_seq) == len(self.log) and self.log == sorted(self.log)
        self.check_epochs()
        self.check_acks()
        self.check_keys()
        self.check_numbers()
        for reader in self.run.readers:
            self.check_reader(reader)
        if self.run.visible == "synced":
            assert self.unmade.total() == 0, "what is seen when it is synced is never unmade"

    def check_epochs(self):
        """Every end but the last was none: no two servers may count under one name."""
        epochs = self.run.epochs
        assert len(set(epochs)) == len(epochs), Counter(epochs).most_common(3)

    def stored(self, seq, channel, payload):
        return self.by_seq.get(seq) == f'{{"seq":{seq},"channel":"{channel}",{payload[1:]}'.encode()

    def check_acks(self):
        """Nothing acked is lost, or is another event than its publisher was told."""
        lost = []
        for publisher in self.run.publishers:
            channel = "batches" if isinstance(publisher, BatchPublisher) else "lines"
            for key, payloads, ack in publisher.acked:
                first = ack["seq"] - len(payloads) + 1
                assert ack.get("count", 1) == len(payloads), ack
                assert int(ack["cursor"].partition("-")[2]) == ack["seq"]
                if not all(self.stored(first + at, channel, each) for at, each in enumerate(payloads)):
                    lost.append((key, ack))
        assert lost == [], f"{len(lost)} of the acks are not in the log, such as {lost[:3]}"

    def check_keys(self):
        """No key is there twice, and no batch in part."""
        found = Counter()
        for _, line in self.log:
            event = json.loads(line)
            if "p" in event:
                found[event["p"], event["k"], event["i"]] += 1
        assert not [each for each, count in found.items() if count > 1], "a key was stored twice"
        wanted = {
            (publisher.name, int(key.partition("-")[2]), at)
            for publisher in self.run.publishers
            for key, payloads, _ in publisher.acked
            for at in range(len(payloads))
        }
        assert set(found) == wanted, "every publisher finished: all that is stored was acked in the end"

    def check_numbers(self):
        """A number means one event, in one epoch and in all of them, whoever saw it, kept or not."""
        meant = {}
        for seq, text in self.log:
            meant[seq] = text
        for reader in self.run.readers:
            for _, what in reader.seen:
                if isinstance(what, bytes):
                    seq = json.loads(what)["seq"]
                    assert meant.setdefault(seq, what) == what, f"{seq} is two events"

    def check_reader(self, reader):
        """What it saw, without what a `$gap` took back, is the log: each event once, in its order."""
        kept, told = [], set()
        for _, what in reader.seen:
            if isinstance(what, bytes):
                seq = json.loads(what)["seq"]
                assert not kept or seq > kept[-1][0], f"{reader.name}: {seq} after {kept[-1][0]}"
                assert seq not in told, f"{reader.name}: {seq} after it was said to be lost"
                kept.append((seq, what))
                continue
            assert what["why"] == "rewound", f"{reader.name}: {what}"
            back = [seq for seq, _ in kept if seq >= what["from"]]
            # More may have been lost than this one saw.
            gone = range(what["from"], what["to"] + 1)
            assert set(back) <= set(gone), f"{reader.name}: {what} takes back {back[:1]} to {back[-1:]}"
            assert not [seq for seq in gone if seq in self.by_seq], f"{reader.name}: {what} takes back what was kept"
            kept = kept[: len(kept) - len(back)]
            told.update(gone)
            self.unmade[reader.name] += len(back)
        assert kept == self.log, f"{reader.name}: {difference(kept, self.log)}"
        if os.path.ismount("/dev/shm"):
            holes = sorted(set(range(1, kept[-1][0])) - told - {seq for seq, _ in kept})
            assert holes == [], f"{reader.name}: nobody told it of {len(holes)} numbers, such as {holes[:3]}"

    def figures(self):
        run = self.run
        return {
            "kills": run.kills,
            "of starts": run.killed_starting,
            "acks": sum(len(each.acked) for each in run.publishers),
            "repetitions that were known": sum(each.repeated for each in run.publishers),
            "events stored": len(self.log),
            "seen and unmade": sum(self.unmade.values()),
            "gaps": sum(not isinstance(what, bytes) for each in run.readers for _, what in each.seen),
            "comebacks": sum(each.cuts for each in run.readers),
            "epochs": len(set(run.epochs)),
            "copies found sound": run.sound,
            "longest start, s": round(max(run.starts_s), 3),
        }


def difference(got, wanted):
    got, wanted = dict(got), dict(wanted)
    missing, surplus = sorted(wanted.keys() - got.keys()), sorted(got.keys() - wanted.keys())
    return f"{len(missing)} missing {missing[:5]}, {len(surplus)} too many {surplus[:5]}"


def kill_again_and_again(io, kills, seed, folder, visible="accepted", say=lambda text: None):
    """A run and its verdict; the figures."""
    run = Run(io, kills, seed, folder, visible)
    verdict = Verdict(run, run.run(say))
    verdict.check()
    return verdict.figures()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--io", choices=["io_uring", "epoll"])
    arguments = parser.parse_args()
    backends = [arguments.io] if arguments.io else ["io_uring", "epoll"]
    if "io_uring" in backends and (refusal := program.io_uring_refusal()):
        print(f"io_uring is refused here: {refusal}")
        backends.remove("io_uring")
    runs = [(io, visible) for io in backends for visible in ("accepted", "synced")]
    for io, visible in runs:
        kills, began = max(1, arguments.kills // len(runs)), time.monotonic()
        with tempfile.TemporaryDirectory(prefix="fanout-") as folder:
            figures = kill_again_and_again(
                io, kills, arguments.seed, folder, visible, say=lambda text: print(text, flush=True)
            )
        took = time.monotonic() - began
        print(f"{io}, visible when {visible}, seed {arguments.seed}, {took:.0f} s: nothing acked was lost")
        for name, value in figures.items():
            print(f"  {name:30} {value}")


if __name__ == "__main__":
    sys.exit(main())

"""Many readers come back in one moment: what they cost, that nobody misses anything, that nobody waits for ever."""

import json
import re
import resource
import signal
import time
from pathlib import Path

import http1
import program
from backlog import Publisher, epoch_of
from crowd import Connection, Crowd, allow_many_files
from endings import PATIENT
from readers import events_target, subscribe_message

MEBIBYTE = 1 << 20
COUNT = 1_000
BEHIND = 1_000
LAST = b'"type":"last"}'


class Compared:
    """In the place of a connection's bytes: after its `$hello`s they are compared as they come, and not kept."""

    def __init__(self, expected, end, hellos):
        self.expected, self.end, self.hellos = expected, end, hellos
        self.front, self.at, self.tail, self.wrong = b"", None, b"", None

    def __iadd__(self, received):
        if self.at is None:
            self.front += received
            end = 0
            for _ in range(self.hellos):
                hello = self.front.find(b'"$hello"', end)
                end = self.front.find(self.end, hello) + len(self.end)
                if hello < 0 or end < len(self.end):
                    return self
            self.at, received = 0, self.front[end:]
        wanted = self.expected[self.at : self.at + len(received)]
        if received[: len(wanted)] != wanted and self.wrong is None:
            self.wrong = (self.at, received[:200])
        self.at += len(wanted)
        self.tail += received[len(wanted) :]
        return self

    def is_at_head(self):
        """Whether all that was to be compared has come."""
        return self.at == len(self.expected)

    def ends_with(self, text):
        return self.tail.endswith(text + self.end)


def resident_bytes(server):
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_a_thousand_who_come_back_at_once_are_served_from_the_same_memory(io, start_server, tmp_path):
    """Two readers who were there all the time miss nothing meanwhile, and everybody has the same bytes."""
    allow_many_files()
    server = start_server(*program.configured(tmp_path, PATIENT))
    epoch, http = epoch_of(server), ("127.0.0.1", server.http_port)
    server.publish("{}")
    sse = {"Accept": "text/event-stream"}
    asked = events_target(from_=f"{epoch}-1")
    forms = [
        (http, http1.request("GET", asked), b"\n", 1),
        (http, http1.request("GET", asked, sse), b"\n\n", 1),
        (server.http_socket, http1.request("GET", asked, sse), b"\n\n", 1),
        (server.events_socket, subscribe_message(from_=f"{epoch}-1") + b"\n", b"\n", 2),
    ]
    with Crowd() as crowd:
        live = {}
        for end, fields in ((b"\n", {}), (b"\n\n", sse)):
            live[end] = crowd.add(Connection(http))
            live[end].data = Compared(b"", end, 1)
            live[end].send(http1.request("GET", "/v1/events", fields))
        crowd.read_until(lambda: all(each.data.is_at_head() for each in live.values()), "the live readers")
        backlog = [f'{{"type":"past","n":{number},"text":"{"z" * 80}"}}' for number in range(BEHIND - 1)]
        server.publish_batch([*backlog, '{"type":"last"}'])
        crowd.read_until(lambda: all(each.data.ends_with(LAST) for each in live.values()), "the backlog")
        past = {end: each.data.tail for end, each in live.items()}
        before = peak = resident_bytes(server)
        back = []

        def all_are_at_head():
            nonlocal peak
            peak = max(peak, resident_bytes(server))
            return all(each.data.is_at_head() for each in back)

        with Publisher(server, count=1, pause=0.01) as publisher:
            began = time.monotonic()
            for number in range(COUNT):
                address, words, end, hellos = forms[number % len(forms)]
                back.append(crowd.add(Connection(address, end=end)))
                back[-1].data = Compared(past[end], end, hellos)
                assert back[-1].send(words)
                peak = max(peak, resident_bytes(server))
            crowd.read_until(all_are_at_head, "everybody to be at the head", 60)
            seconds = time.monotonic() - began
        last = server.publish('{"type":"last"}')["seq"]
        everyone = [each.data for each in (*back, *live.values())]
        finished = b'{"seq":%d,"channel":"events",' % last + LAST
        crowd.read_until(lambda: all(each.ends_with(finished) for each in everyone), "the last event", 60)
        grown = peak - before
        print(f"{io}: {COUNT} readers at the head after {seconds:.2f} s, {grown / MEBIBYTE:.1f} MiB more resident")
        assert [each.data.wrong for each in back if each.data.wrong] == []
        for end, reader in live.items():
            later = {each.data.tail for each in back if each.end == end}
            assert later == {reader.data.tail[len(past[end]) :]}, "all have the same after the past"
            texts = [line.removeprefix(b"data: ") for line in reader.data.tail.splitlines() if b"{" in line]
            assert [json.loads(text)["seq"] for text in texts] == list(range(2, last + 1))
        assert last > BEHIND + len(publisher.published) > BEHIND
        assert grown < 8 * MEBIBYTE, f"{grown} bytes more were resident"


def test_readers_who_share_nothing_all_arrive(io, start_server):
    """Each with a subscription of its own, all in one moment: what is made for one does not undo what another needs."""
    server = start_server()
    epoch = epoch_of(server)
    for count in (1_000, 1_000, 300):
        server.publish_batch(["{}"] * count)
    wanted = list(range(1_851, 2_301))
    with Crowd() as crowd:
        # None is served before all are there.
        server.signal(signal.SIGSTOP)
        readers = []
        for number in range(200):
            target = events_target(channel=["events", f"own/{number}"], from_=f"{epoch}-1850")
            readers.append(crowd.add(Connection(("127.0.0.1", server.http_port))))
            readers[-1].send(http1.request("GET", target, {"Accept": "text/event-stream"}))
        server.signal(signal.SIGCONT)
        last = b'data: {"seq":%d,' % wanted[-1]
        crowd.read_until(lambda: all(last in each.data[-200:] for each in readers), "everybody to be at the head")
        for each in readers:
            assert [int(seq) for seq in re.findall(rb'data: \{"seq":(\d+),', each.data)] == wanted

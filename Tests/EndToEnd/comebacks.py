"""Many readers that come back in one moment, every byte of theirs compared, and what they cost the server."""

import resource
import time
from pathlib import Path

import http1
from backlog import Publisher
from crowd import Connection
from readers import events_target, subscribe_message

SSE = {"Accept": "text/event-stream"}
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


def forms_of(server, cursor):
    """Where and how four kinds of readers come back; what ends a record, and how many `$hello`s there are."""
    http, asked = ("127.0.0.1", server.http_port), events_target(from_=cursor)
    return [
        (http, http1.request("GET", asked), b"\n", 1),
        (http, http1.request("GET", asked, SSE), b"\n\n", 1),
        (server.http_socket, http1.request("GET", asked, SSE), b"\n\n", 1),
        (server.events_socket, subscribe_message(from_=cursor) + b"\n", b"\n", 2),
    ]


def watched_backlog(crowd, server):
    """Live readers of lines and of SSE, by what ends a record; and what they were sent while a backlog was published."""
    live = {}
    for end, fields in ((b"\n", {}), (b"\n\n", SSE)):
        live[end] = crowd.add(Connection(("127.0.0.1", server.http_port)))
        live[end].data = Compared(b"", end, 1)
        live[end].send(http1.request("GET", "/v1/events", fields))
    crowd.read_until(lambda: all(each.data.is_at_head() for each in live.values()), "the live readers")
    backlog = [f'{{"type":"past","n":{number},"text":"{"z" * 80}"}}' for number in range(BEHIND - 1)]
    server.publish_batch([*backlog, '{"type":"last"}'])
    crowd.read_until(lambda: all(each.data.ends_with(LAST) for each in live.values()), "the backlog")
    return live, {end: each.data.tail for end, each in live.items()}


class Comeback:
    """COUNT readers that came back beside a publisher, all at the head, and behind the `last` event published then."""

    def __init__(self, crowd, server, forms, past):
        self.readers = []
        before = self.peak = resident_bytes(server)

        def are_at_head():
            self.peak = max(self.peak, resident_bytes(server))
            return all(each.data.is_at_head() for each in self.readers)

        with Publisher(server, count=1, pause=0.01) as publisher:
            began = time.monotonic()
            for number in range(COUNT):
                address, words, end, hellos = forms[number % len(forms)]
                self.readers.append(crowd.add(Connection(address, end=end)))
                self.readers[-1].data = Compared(past[end], end, hellos)
                assert self.readers[-1].send(words)
                self.peak = max(self.peak, resident_bytes(server))
            crowd.read_until(are_at_head, "everybody to be at the head", 60)
            self.seconds = time.monotonic() - began
        self.published = publisher.published
        self.last = server.publish('{"type":"last"}')["seq"]
        crowd.read_until(lambda: all(map(self.has_last, self.readers)), "the last event", 60)
        self.grown = self.peak - before
        assert [each.data.wrong for each in self.readers if each.data.wrong] == []
        assert self.grown < 8 * MEBIBYTE, f"{self.grown} bytes more were resident"

    def has_last(self, reader):
        return reader.data.ends_with(b'{"seq":%d,"channel":"events",' % self.last + LAST)

    def tails(self, end):
        """What the readers of one form were sent behind the past."""
        return {each.data.tail for each in self.readers if each.end == end}

    def __str__(self):
        return f"{COUNT} at the head after {self.seconds:.2f} s, {self.grown / MEBIBYTE:.1f} MiB more resident"

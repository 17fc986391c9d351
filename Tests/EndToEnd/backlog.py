"""Something to come back to: publishing that fills what a server holds, at once or all the time."""

import threading

import http1
import program
from readers import open_reader
from streams import wait_until


def filler(count, size=960):
    """The lines of so many events: numbered, compact, of about this many bytes each."""
    return [f'{{"n":{number},"text":"{"x" * size}"}}' for number in range(count)]


def fill(server, mebibytes, **query):
    """Publishes about so much in events of a kilobyte; the last one's number."""
    for _ in range(mebibytes):
        ack = server.publish_batch(filler(1_000), **query)
    return ack["seq"]


def epoch_of(server):
    return server.get("/v1/channels").json()["channels"][0]["head"].partition("-")[0]


def greeted(server, transport, **query):
    """A subscriber that has read its `$hello`."""
    reader = open_reader(server, transport, **query)
    reader.greeting = reader.next_control("$hello").json()
    return reader


def skip_to_hello(reader):
    """Reads up to a `$hello`: a raw reader's first subscription gets what is published before its second stands."""
    while reader.next().json().get("type") != "$hello":
        pass


def seqs(reader, count):
    """The numbers of the next so many records, all of which must be events."""
    return [reader.next_event().json()["seq"] for _ in range(count)]


class Publisher(threading.Thread):
    """Publishes small batches to several channels until told to stop; notes (seq, channel, kind) of each event."""

    CHANNELS = ["a/1", "b", "a/2", "a/2/3"]

    def __init__(self, server, count=20, pause=0.002):
        super().__init__(daemon=True)
        self.server, self.count, self.pause = server, count, pause
        self.published = []
        self.stopped = threading.Event()

    def run(self):
        with self.server.connect() as stream:
            while not self.stopped.wait(self.pause):
                channel = self.CHANNELS[len(self.published) // self.count % len(self.CHANNELS)]
                body = b"".join(b'{"type":"%c","n":%d}\n' % (b"xyz"[n % 3], n) for n in range(self.count))
                fields = {"Content-Type": program.NDJSON}
                stream.send(http1.request("POST", f"/v1/events?channel={channel}", fields, body))
                first = http1.read_response(stream).json()["seq"] - self.count + 1
                self.published += [(first + n, channel, "xyz"[n % 3]) for n in range(self.count)]

    def __enter__(self):
        self.start()
        wait_until(lambda: self.published, "the first events")
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.join(30)
        assert not self.is_alive()

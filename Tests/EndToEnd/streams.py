"""Bytes with deadlines: sockets and pipes read exactly, and conditions waited for. Nothing here knows fanout."""

import contextlib
import json
import socket
import threading
import time
import weakref

# What any single wait may take. Generous: it only ends a test that has already failed.
DEADLINE_S = 30.0


class Ended(Exception):
    """The other side ended the stream before what was asked for had come."""


class ByteStream:
    """A connected socket, read by delimiter or by count."""

    _in_use = weakref.WeakSet()

    def __init__(self, connected):
        self._in_use.add(self)
        self.socket = connected
        self.socket.settimeout(DEADLINE_S)
        self.pending = b""

    @classmethod
    def tcp(cls, port, source=None):
        address = ("127.0.0.1", port)
        connected = socket.create_connection(address, timeout=DEADLINE_S, source_address=source and (source, 0))
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(connected)

    @classmethod
    def unix(cls, path):
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connected.settimeout(DEADLINE_S)
        connected.connect(str(path))
        return cls(connected)

    def send(self, data):
        self.socket.sendall(data)

    def send_until_refused(self, data):
        """Sends as much as the other side takes before it closes, which it may do at any byte."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def send_in_pieces(self, data, until_refused=False):
        """One byte at a time: the server sees every split there is."""
        send = self.send_until_refused if until_refused else self.send
        for index in range(len(data)):
            send(data[index : index + 1])

    def until(self, delimiter):
        """Everything up to and including the delimiter."""
        while delimiter not in self.pending:
            self._more()
        end = self.pending.index(delimiter) + len(delimiter)
        taken, self.pending = self.pending[:end], self.pending[end:]
        return taken

    def exactly(self, count):
        while len(self.pending) < count:
            self._more()
        taken, self.pending = self.pending[:count], self.pending[count:]
        return taken

    def rest(self):
        """Everything until the other side ends the stream; a reset counts as an end."""
        while True:
            try:
                self._more()
            except (Ended, ConnectionResetError):
                taken, self.pending = self.pending, b""
                return taken

    def finish(self):
        """Says that nothing more will be written; reading goes on."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self):
        self.socket.close()

    @classmethod
    def close_all(cls):
        """Closes what a test has left open."""
        for stream in list(cls._in_use):
            stream.close()

    def _more(self):
        received = self.socket.recv(1 << 16)
        if not received:
            raise Ended(f"the stream ended; unread: {self.pending[:200]!r}")
        self.pending += received

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Lines:
    """The lines of a process's pipe, collected by a thread so that the process never blocks on it."""

    def __init__(self, pipe):
        self.lines = []
        self.ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._collect, args=(pipe,), daemon=True)
        self._thread.start()

    def _collect(self, pipe):
        for line in iter(pipe.readline, b""):
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self.ended = True
            self._changed.notify_all()
        pipe.close()

    def wait_for(self, wanted, after=0):
        """The first line from index `after` on that `wanted` is true of."""
        deadline = time.monotonic() + DEADLINE_S
        with self._changed:
            index = after
            while True:
                while index < len(self.lines):
                    if wanted(self.lines[index]):
                        return self.lines[index]
                    index += 1
                left = deadline - time.monotonic()
                if self.ended or left <= 0:
                    raise Ended(f"{'ended' if self.ended else 'timed out'} without the line: {self.text()[-2000:]}")
                self._changed.wait(left)

    def wait_for_event(self, **members):
        """The first line that is a JSON object with these members, as an object."""
        return json.loads(self.wait_for(lambda line: has_members(line, members)))

    def wait_for_end(self):
        self._thread.join(DEADLINE_S)
        assert self.ended, "the pipe is still open"

    def text(self):
        return b"".join(self.lines).decode(errors="replace")


def has_members(line, members):
    try:
        event = json.loads(line)
    except ValueError:
        return False
    return isinstance(event, dict) and all(event.get(name) == value for name, value in members.items())


def wait_until(condition, what):
    """Asks again and again until `condition()` is true, and returns what it said."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"waited {DEADLINE_S:.0f} s for {what}"
        time.sleep(0.01)

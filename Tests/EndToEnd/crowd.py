"""Many plain connections at once, driven by one thread: bytes go in, whatever comes back is kept."""

import contextlib
import resource
import selectors
import socket
import struct
import time

from streams import DEADLINE_S


def allow_many_files():
    """As many descriptors as the system lets this process have; how many that is."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


class Connection:
    """One of a crowd: what has come, and whether and when the other side ended it."""

    def __init__(self, address, **about):
        self.__dict__.update(about)
        self.socket = socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX)
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect(address if isinstance(address, tuple) else str(address))
        self.socket.setblocking(False)
        self.data = bytearray()
        self.was_reset = False
        self.ended_at = None

    @property
    def ended(self):
        return self.ended_at is not None

    def send(self, data):
        """False where the other side does not take it any more."""
        try:
            return self.socket.send(data) == len(data)
        except (BrokenPipeError, ConnectionResetError, BlockingIOError):
            return False

    def finish(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        """Ends the connection by RST; on a unix socket, where there is none, at once."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Crowd:
    """Connections that are read whenever something has come. `with` closes those that are left."""

    def __init__(self):
        self.selector = selectors.EpollSelector()
        self.open = set()

    def add(self, connection):
        self.selector.register(connection.socket, selectors.EVENT_READ, connection)
        self.open.add(connection)
        return connection

    def remove(self, connection):
        """Before the test itself closes it."""
        if connection in self.open:
            self.open.discard(connection)
            with contextlib.suppress(KeyError):
                self.selector.unregister(connection.socket)
        return connection

    def read(self, timeout=0.0):
        """Takes what has come. True if anything had."""
        ready = self.selector.select(timeout)
        for key, _ in ready:
            connection = key.data
            try:
                received = connection.socket.recv(1 << 18)
            except BlockingIOError:
                continue
            except ConnectionResetError:
                connection.was_reset, received = True, b""
            connection.data += received
            if not received:
                connection.ended_at = time.monotonic()
                self.selector.unregister(connection.socket)
        return bool(ready)

    def read_until(self, condition, what, deadline=DEADLINE_S):
        end = time.monotonic() + deadline
        while not condition():
            assert time.monotonic() < end, f"waited {deadline:.0f} s for {what}"
            self.read(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for connection in list(self.open):
            self.remove(connection).socket.close()
        self.selector.close()

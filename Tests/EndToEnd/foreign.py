"""Servers that are not fanout, with what one of them may do wrong: `fanout bench` has to notice."""

import socket
import threading
import time

SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


class _Listening:
    """Serves each connection in a thread of its own."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def close(self):
        self.listener.close()


class ForeignServer(_Listening):
    """Takes events by POST at /pub, one to a request, and sends each to every reader at /sub as SSE.

    `alter(number, frame)` says what a reader gets instead of the frame of event `number`, counted from 0: any bytes, or
    None for an end of the stream. With `beats` every reader gets a comment ten times a second.
    """

    def __init__(self, chunked=False, alter=lambda number, frame: frame, pause=lambda number: 0, beats=False):
        self.chunked = chunked
        self.alter = alter
        self.pause = pause
        self.readers = []
        self.published = 0
        self.lock = threading.Lock()
        super().__init__()
        self.url = f"http://{self.address}"
        if beats:
            threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self):
        while True:
            time.sleep(0.1)
            with self.lock:
                for reader in self.readers:
                    try:
                        reader.sendall(b": beat\n\n")
                    except OSError:
                        pass

    def _serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        inbox = connection.makefile("rb")
        try:
            while line := inbox.readline():
                fields = {}
                while (field := inbox.readline().strip()) != b"":
                    name, _, value = field.partition(b":")
                    fields[name.lower()] = value.strip()
                if line.startswith(b"GET /sub"):
                    self._subscribe(connection)
                    inbox.read()
                    return
                self._publish(inbox.read(int(fields[b"content-length"])))
                connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok")
        except OSError:
            pass
        finally:
            connection.close()

    def _subscribe(self, connection):
        chunks = b"Transfer-Encoding: chunked\r\n" if self.chunked else b""
        with self.lock:
            connection.sendall(SSE_HEAD + chunks + b"\r\n")
            self.readers.append(connection)

    def _publish(self, event):
        with self.lock:
            number = self.published
            self.published += 1
            time.sleep(self.pause(number))
            frame = self.alter(number, b"id: %d\ndata: %s\n\n" % (number, event))
            for reader in self.readers:
                try:
                    if frame is None:
                        reader.shutdown(socket.SHUT_RDWR)
                    elif frame:
                        reader.sendall(b"%x\r\n%s\r\n" % (len(frame), frame) if self.chunked else frame)
                except OSError:
                    pass


class NoiseServer(_Listening):
    """Says the same bytes to whoever connects, piece by piece, and then closes or stays."""

    def __init__(self, pieces, stays):
        self.pieces = pieces
        self.stays = stays
        self.open = []
        super().__init__()

    def _serve(self, connection):
        try:
            for piece in self.pieces:
                connection.sendall(piece)
                time.sleep(0.002)
        except OSError:
            pass
        if self.stays:
            self.open.append(connection)
        else:
            connection.close()

    def close(self):
        super().close()
        for connection in self.open:
            connection.close()

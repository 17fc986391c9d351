"""A WebSocket client after RFC 6455 that can also break its rules, for tests of how the server takes that."""

import base64
import hashlib
import os
import struct

from http1 import read_head, request

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
HANDSHAKE_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def upgrade_headers(key="dGhlIHNhbXBsZSBub25jZQ==", version="13"):
    return {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Version": version,
    }


def accept_value(key):
    return base64.b64encode(hashlib.sha1(key.encode() + HANDSHAKE_GUID).digest()).decode()


def frame(opcode, payload=b"", fin=True, masked=True, reserved=0, length_form=None):
    """A frame's bytes; `length_form` 16 or 64 writes the length longer than it needs to be."""
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    mask_bit = 0x80 if masked else 0
    size = len(payload)
    if length_form == 64 or (length_form is None and size > 65_535):
        head = struct.pack("!BBQ", first, mask_bit | 127, size)
    elif length_form == 16 or size > 125:
        head = struct.pack("!BBH", first, mask_bit | 126, size)
    else:
        head = struct.pack("!BB", first, mask_bit | size)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    pattern = (mask * (size // 4 + 1))[:size]
    hidden = (int.from_bytes(payload, "big") ^ int.from_bytes(pattern, "big")).to_bytes(size, "big")
    return head + mask + hidden


def close_payload(code, reason=b""):
    return struct.pack("!H", code) + reason


class WebSocket:
    """A connection after its handshake. Answers pings while it reads, unless told not to."""

    def __init__(self, stream, target="/v1/events", headers=(), answers_pings=True):
        self.stream = stream
        self.answers_pings = answers_pings
        stream.send(request("GET", target, {**upgrade_headers(), **dict(headers)}))
        self.response = read_head(stream)
        assert self.response.status == 101, self.response
        assert self.response.header("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert self.response.header("upgrade").lower() == "websocket"
        assert self.response.header("connection").lower() == "upgrade"

    def send(self, opcode, payload=b"", **how):
        self.stream.send(frame(opcode, payload, **how))

    def receive_frame(self):
        """The next frame as (opcode, payload), with everything checked that a server must keep to."""
        first, second = self.stream.exactly(2)
        assert first & 0x80, "the server fragmented a message"
        assert not first & 0x70, "a reserved bit is set"
        assert not second & 0x80, "the server masked a frame"
        size = second & 0x7F
        if size == 126:
            size = struct.unpack("!H", self.stream.exactly(2))[0]
            assert size > 125, "a length was not in its shortest form"
        elif size == 127:
            size = struct.unpack("!Q", self.stream.exactly(8))[0]
            assert size > 65_535, "a length was not in its shortest form"
        opcode = first & 0x0F
        assert opcode in (TEXT, BINARY, CLOSE, PING, PONG), opcode
        assert opcode < CLOSE or size <= 125, "a control frame is too long"
        return opcode, self.stream.exactly(size)

    def receive_text(self):
        """The next text message's bytes; pings are answered on the way."""
        while True:
            opcode, payload = self.receive_frame()
            if opcode == TEXT:
                payload.decode("utf-8")
                return payload
            assert opcode in (PING, PONG), (opcode, payload)
            if opcode == PING and self.answers_pings:
                self.send(PONG, payload)

    def receive_close(self):
        """Reads up to the close frame and to the end of the stream; the code, None for an empty close."""
        texts = []
        while True:
            opcode, payload = self.receive_frame()
            if opcode == TEXT:
                texts.append(payload)
            if opcode == CLOSE:
                break
        self.texts_before_close = texts
        code = None
        if payload:
            code = struct.unpack("!H", payload[:2])[0]
            payload[2:].decode("utf-8")
        return code

    def close(self):
        self.stream.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

"""RFC 6455 from the outside: the handshake, control frames, closing, and each rule of what a client may send."""

import pytest

import http1
from rfc6455 import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    WebSocket,
    accept_value,
    close_payload,
    frame,
    upgrade_headers,
)
from streams import DEADLINE_S

MESSAGE_BYTES_MAX = 65_536


@pytest.fixture
def socket(server):
    """A WebSocket that has read its `$hello`."""
    with server.connect() as stream:
        opened = WebSocket(stream)
        assert b"$hello" in opened.receive_text()
        yield opened


def assert_closed_without_bye(socket, code):
    """After a client's own fault only the close frame is sent, and the stream ends."""
    assert socket.receive_close() == code
    assert socket.texts_before_close == []
    assert socket.stream.rest() == b""


# The handshake


def test_the_accept_value_is_computed_from_the_key(server):
    for key in ("dGhlIHNhbXBsZSBub25jZQ==", "AAAAAAAAAAAAAAAAAAAAAA=="):
        with server.connect() as stream:
            stream.send(http1.request("GET", "/v1/events", upgrade_headers(key)))
            assert http1.read_head(stream).header("sec-websocket-accept") == accept_value(key)


@pytest.mark.parametrize("connection", ["Upgrade", "upgrade", "keep-alive, Upgrade", "keep-alive,upgrade"])
@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket"])
def test_tokens_are_compared_in_any_case_and_in_lists(server, connection, upgrade):
    headers = {**upgrade_headers(), "Connection": connection, "Upgrade": upgrade}
    with server.connect() as stream:
        stream.send(http1.request("GET", "/v1/events", headers))
        assert http1.read_head(stream).status == 101


@pytest.mark.parametrize("version", ["8", "12", "14", "", "x"])
def test_another_version_is_told_which_one_is_spoken(server, version):
    response = server.get("/v1/events", upgrade_headers(version=version))
    assert response.status == 426
    assert response.header("sec-websocket-version") == "13"


@pytest.mark.parametrize(
    "key", ["", "x", "AAAA", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ==AAAA", "?GhlIHNhbXBsZSBub25jZQ=="]
)
def test_a_key_that_is_not_sixteen_bytes_is_refused(server, key):
    assert server.get("/v1/events", upgrade_headers(key)).status == 400


def test_a_missing_key_is_refused(server):
    headers = upgrade_headers()
    del headers["Sec-WebSocket-Key"]
    assert server.get("/v1/events", headers).status == 400


def test_neither_extensions_nor_subprotocols_are_agreed_to(server):
    headers = {
        "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
        "Sec-WebSocket-Protocol": "chat",
    }
    with server.connect() as stream:
        response = WebSocket(stream, headers=headers).response
        assert response.header("sec-websocket-extensions") is None
        assert response.header("sec-websocket-protocol") is None


def test_frames_may_follow_the_handshake_in_the_same_packet(server):
    with server.connect() as stream:
        stream.send(http1.request("GET", "/v1/events", upgrade_headers()) + frame(PING, b"early"))
        assert http1.read_head(stream).status == 101
        stream.until(b"$hello")
        assert stream.until(b"early").endswith(b"\x8a\x05early")


# Control frames


@pytest.mark.parametrize("payload", [b"", b"x", b"\x00\xff" * 62 + b"\x01"])
def test_a_ping_is_answered_with_its_payload(socket, payload):
    socket.send(PING, payload)
    assert socket.receive_frame() == (PONG, payload)


def test_pings_are_answered_in_order(socket):
    socket.stream.send(b"".join(frame(PING, b"%d" % number) for number in range(20)))
    assert [socket.receive_frame() for _ in range(20)] == [(PONG, b"%d" % number) for number in range(20)]


def test_a_ping_may_come_in_pieces_and_inside_a_message(socket):
    socket.stream.send_in_pieces(
        frame(TEXT, b"hel", fin=False) + frame(PING, b"within") + frame(CONTINUATION, b"lo") + frame(PING, b"after")
    )
    assert [socket.receive_frame() for _ in range(2)] == [(PONG, b"within"), (PONG, b"after")]


def test_a_pong_that_nobody_asked_for_is_ignored(socket):
    socket.send(PONG, b"unasked")
    socket.send(PING, b"still here")
    assert socket.receive_frame() == (PONG, b"still here")


# Closing


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 3000, 4999])
def test_a_close_is_answered_with_its_code_and_the_connection_ends(socket, code):
    socket.send(CLOSE, close_payload(code, b"bye"))
    assert_closed_without_bye(socket, code)


def test_a_close_without_a_code_is_answered(socket):
    socket.send(CLOSE)
    assert socket.receive_close() in (None, 1000)
    assert socket.stream.rest() == b""


@pytest.mark.parametrize(
    "payload, code",
    [
        (b"\x03", 1002),
        (close_payload(0), 1002),
        (close_payload(999), 1002),
        (close_payload(1004), 1002),
        (close_payload(1005), 1002),
        (close_payload(1006), 1002),
        (close_payload(1015), 1002),
        (close_payload(2000), 1002),
        (close_payload(1000, b"\xff"), 1007),
    ],
)
def test_a_malformed_close_is_a_fault(socket, payload, code):
    socket.send(CLOSE, payload)
    assert_closed_without_bye(socket, code)


def test_what_follows_a_close_is_not_looked_at(socket):
    socket.stream.send(frame(CLOSE, close_payload(1000)) + frame(PING, b"late"))
    assert_closed_without_bye(socket, 1000)


# Rules


@pytest.mark.parametrize(
    "data, code",
    [
        pytest.param(frame(TEXT, b"x", masked=False), 1002, id="unmasked"),
        pytest.param(frame(TEXT, b"x", reserved=4), 1002, id="rsv1"),
        pytest.param(frame(TEXT, b"x", reserved=2), 1002, id="rsv2"),
        pytest.param(frame(PING, b"x", reserved=1), 1002, id="rsv3"),
        pytest.param(frame(3, b"x"), 1002, id="reserved data opcode"),
        pytest.param(frame(11, b"x"), 1002, id="reserved control opcode"),
        pytest.param(frame(PING, b"x", fin=False), 1002, id="fragmented ping"),
        pytest.param(frame(PING, b"x" * 126), 1002, id="long ping"),
        pytest.param(frame(CLOSE, close_payload(1000, b"x" * 124)), 1002, id="long close"),
        pytest.param(frame(TEXT, b"x", length_form=16), 1002, id="length in 16 bits"),
        pytest.param(frame(TEXT, b"x" * 200, length_form=64), 1002, id="length in 64 bits"),
        pytest.param(b"\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00mask", 1002, id="negative length"),
        pytest.param(frame(CONTINUATION, b"x"), 1002, id="continuation of nothing"),
        pytest.param(frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002, id="text inside a message"),
        pytest.param(frame(TEXT, b"\xff"), 1007, id="bad UTF-8"),
        pytest.param(frame(TEXT, b"\xed\xa0\x80"), 1007, id="a surrogate"),
        pytest.param(frame(TEXT, b"\xe2\x82"), 1007, id="UTF-8 cut short"),
        pytest.param(
            frame(TEXT, b"\xe2\x82", fin=False) + frame(CONTINUATION, b"("), 1007, id="bad UTF-8 across fragments"
        ),
        pytest.param(frame(TEXT, b"x" * (MESSAGE_BYTES_MAX + 1)), 1009, id="too long"),
        pytest.param(b"\x81\xff\x00\x00\x00\x00\x00\x01\x00\x01mask", 1009, id="too long, said in its head"),
        pytest.param(
            frame(TEXT, b"x" * MESSAGE_BYTES_MAX, fin=False) + frame(CONTINUATION, b"x"),
            1009,
            id="too long in fragments",
        ),
    ],
)
def test_a_fault_is_answered_with_its_code_and_nothing_else(socket, data, code):
    socket.stream.send_until_refused(data)
    assert_closed_without_bye(socket, code)


@pytest.mark.parametrize("payload", [b"", b"x", b"\xff" * 1000])
def test_a_binary_message_is_not_taken(socket, payload):
    socket.send(BINARY, payload)
    assert socket.receive_close() == 1003
    assert socket.stream.rest() == b""


@pytest.mark.parametrize(
    "data", [frame(TEXT, b"x", masked=False), frame(BINARY, b"x"), frame(TEXT, b"\xff")], ids=["1002", "1003", "1007"]
)
def test_faults_are_the_same_byte_by_byte(socket, data):
    socket.stream.send_in_pieces(data, until_refused=True)
    assert socket.receive_close() in (1002, 1003, 1007)


def test_utf8_may_be_cut_between_fragments(socket):
    character = "€".encode()
    socket.stream.send(
        frame(TEXT, character[:1], fin=False) + frame(CONTINUATION, character[1:]) + frame(PING, b"fine")
    )
    assert socket.receive_frame() == (PONG, b"fine")


def test_a_message_of_exactly_64_kib_is_accepted(socket):
    socket.send(TEXT, b"x" * MESSAGE_BYTES_MAX)
    socket.send(PING, b"fine")
    assert socket.receive_frame() == (PONG, b"fine")


def test_a_reader_that_talks_too_much_is_closed(socket):
    socket.send(TEXT, b"x" * 40_000)
    socket.send(TEXT, b"x" * 40_000)
    assert socket.receive_close() == 1008


def test_1024_fragments_are_accepted_and_one_more_is_not(socket):
    def message(fragments):
        return (
            frame(TEXT, b"", fin=False)
            + frame(CONTINUATION, b"", fin=False) * (fragments - 2)
            + frame(CONTINUATION, b"")
        )

    socket.stream.send(message(1024) + frame(PING, b"fine"))
    assert socket.receive_frame() == (PONG, b"fine")
    socket.stream.send(message(1025))
    assert socket.receive_close() == 1008


def test_a_flood_of_control_frames_is_closed(socket):
    socket.stream.send_until_refused(frame(PONG, b"x") * 5_000)
    assert socket.receive_close() == 1008


def test_a_fault_of_one_reader_does_not_touch_another(server, greeted):
    reader = greeted("websocket")
    with server.connect() as stream:
        faulty = WebSocket(stream)
        faulty.receive_text()
        faulty.send(BINARY, b"x")
        assert faulty.receive_close() == 1003
    ack = server.publish("{}")
    assert reader.next_event().json()["seq"] == ack["seq"]


def test_a_connection_that_breaks_in_the_middle_of_a_frame_is_forgotten(server, greeted):
    staying = greeted("websocket")
    with server.connect() as stream:
        WebSocket(stream).receive_text()
        stream.send(frame(TEXT, b"half")[:7])
    ack = server.publish("{}")
    assert staying.next_event().json()["seq"] == ack["seq"]


def test_a_reader_that_does_not_answer_pings_is_closed_with_4408(io, start_server):
    with start_server("--heartbeat", "1").connect() as stream:
        stream.socket.settimeout(2 * DEADLINE_S)
        assert WebSocket(stream, answers_pings=False).receive_close() == 4408


def test_a_reader_that_answers_pings_stays(io, start_server):
    server = start_server("--heartbeat", "1")
    with server.connect() as stream:
        socket = WebSocket(stream)
        socket.receive_text()
        for _ in range(3):
            opcode, payload = socket.receive_frame()
            assert opcode == PING
            socket.send(PONG, payload)
        ack = server.publish("{}")
        assert socket.receive_text().startswith(b'{"seq":%d,' % ack["seq"])

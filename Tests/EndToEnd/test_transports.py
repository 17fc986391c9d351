"""What a reader sees on each transport: `$hello` first, then every event byte for byte the same."""

import json
import re

import pytest

import http1
from readers import CURSOR, HTTP_TRANSPORTS, TRANSPORTS, open_reader
from streams import ByteStream

HELLO = re.compile(
    rb'\{"type":"\$hello","epoch":"[0-9a-f]{16}","seq":[0-9]+,"server":"[^"]*fanout[^"]*","heartbeat_s":[0-9]+\}'
)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_reader_gets_hello_first(read, transport):
    hello = read(transport).next()
    assert HELLO.fullmatch(hello.text), hello


def test_every_transport_names_the_same_epoch_and_head(server, read):
    head = server.publish('{"type":"x"}')
    hellos = [read(transport).next().json() for transport in TRANSPORTS]
    assert {hello["epoch"] for hello in hellos} == {head["cursor"].split("-")[0]}
    assert {hello["seq"] for hello in hellos} == {head["seq"]}


def test_a_fresh_server_has_published_nothing(io, start_server):
    server = start_server()
    with open_reader(server, "sse") as reader:
        hello = reader.next()
        assert hello.json()["seq"] == 0
        assert hello.id == hello.json()["epoch"] + "-0"
        assert server.publish('{"type":"x"}')["seq"] == 1
        assert reader.next().text == b'{"seq":1,"channel":"events","type":"x"}'


def test_an_event_is_the_same_bytes_on_every_transport(server, greeted):
    opened = {transport: greeted(transport) for transport in TRANSPORTS}
    ack = server.publish(
        '{ "type" : "session.created",\n\t"id": [1, 2.50, -0e0, "a b"], "é\\u00e9\\/" : "\\u2028\u2028" }'
    )
    expected = b'{"seq":%d,"channel":"events","type":"session.created","id":[1,2.50,-0e0,"a b"],"' % ack["seq"]
    expected += 'é\\u00e9\\/":"\\u2028\u2028"}'.encode()
    for transport, reader in opened.items():
        assert reader.next().text == expected, transport


@pytest.mark.parametrize("size", [1, 125, 126, 4_096, 65_535, 65_536, 70_000, 262_100])
def test_events_of_every_size_class_arrive_whole_on_every_transport(server, greeted, channel, size):
    opened = {transport: greeted(transport, channel=[channel]) for transport in TRANSPORTS}
    text = "x" * size
    ack = server.publish(json.dumps({"text": text}), channel=channel)
    for transport, reader in opened.items():
        record = reader.next()
        assert record.text == b'{"seq":%d,"channel":"%s","text":"%s"}' % (
            ack["seq"],
            channel.encode(),
            text.encode(),
        ), transport


def test_many_events_arrive_in_order_on_every_transport(server, greeted, channel):
    opened = {transport: greeted(transport, channel=[channel]) for transport in TRANSPORTS}
    ack = server.publish_batch(['{"n":%d}' % number for number in range(1000)], channel=channel)
    first = ack["seq"] - 999
    for reader in opened.values():
        for number in range(1000):
            assert reader.next().json() == {"seq": first + number, "channel": channel, "n": number}


def test_an_empty_object_is_an_event(server, greeted, channel):
    reader = greeted("unix", channel=[channel])
    ack = server.publish("{}", channel=channel)
    assert reader.next().text == b'{"seq":%d,"channel":"%s"}' % (ack["seq"], channel.encode())


# Server-sent events


def test_a_data_event_on_sse_is_an_id_line_and_a_data_line(server, greeted):
    reader = greeted("sse")
    ack = server.publish('{"type":"x"}')
    expected = 'id: %s\ndata: {"seq":%d,"channel":"events","type":"x"}\n\n' % (ack["cursor"], ack["seq"])
    assert reader.receive_block() == expected.encode()


def test_hello_on_sse_is_an_event_with_a_name_that_onmessage_does_not_see(server, read):
    ack = server.publish('{"type":"x"}')
    block = read("sse").receive_block()
    name, identifier, data, *rest = block.split(b"\n")
    assert name == b"event: $hello"
    assert identifier == b"id: " + ack["cursor"].encode()
    assert data.startswith(b"data: ") and HELLO.fullmatch(data[6:])
    assert rest == [b"", b""]


def test_every_id_on_sse_is_the_cursor_of_its_event(server, greeted, channel):
    reader = greeted("sse", channel=[channel])
    for _ in range(3):
        ack = server.publish('{"type":"x"}', channel=channel)
        assert reader.next().id == ack["cursor"]
        assert CURSOR.match(ack["cursor"])


# Heads of HTTP streams


@pytest.mark.parametrize(
    "accept, media",
    [
        (None, "application/x-ndjson"),
        ("*/*", "application/x-ndjson"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("text/event-stream", "text/event-stream"),
        ("text/event-stream, */*;q=0.1", "text/event-stream"),
        ("Text/Event-Stream", "text/event-stream"),
    ],
)
@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_accept_chooses_between_lines_and_server_sent_events(server, accept, media, unix):
    with server.connect(unix) as stream:
        stream.send(http1.request("GET", "/v1/events", {"Accept": accept} if accept else {}))
        response = http1.read_head(stream)
        assert response.status == 200
        assert response.header("content-type").split(";")[0] == media
        assert stream.until(b"\n").startswith(b"event: $hello" if "stream" in media else b'{"type":"$hello"')


@pytest.mark.parametrize("transport", [name for name in HTTP_TRANSPORTS if "websocket" not in name])
def test_a_stream_over_http_is_not_to_be_stored_sniffed_or_buffered(read, transport):
    response = read(transport).response
    assert "no-store" in response.header("cache-control")
    assert response.header("x-content-type-options") == "nosniff"
    assert response.header("x-accel-buffering") == "no"
    assert response.header("content-length") is None
    assert response.header("transfer-encoding") is None
    assert response.header("access-control-allow-origin") is None


def test_an_http_1_0_client_can_read_the_stream(server):
    with server.connect() as stream:
        stream.send(b"GET /v1/events HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        assert http1.read_head(stream).status == 200
        assert HELLO.fullmatch(stream.until(b"\n")[:-1])


# One reader does not disturb another


def test_a_reader_that_stops_reading_holds_nobody_up(server, greeted, channel):
    stopped = [greeted(transport, channel=[channel]) for transport in ("unix", "tcp", "sse", "websocket")]
    reading = greeted("unix", channel=[channel])
    filler = json.dumps({"filler": "x" * 1000})
    for _ in range(20):
        ack = server.publish_batch([filler] * 500, channel=channel)
        for _ in range(500):
            last = reading.next_event()
        assert last.json()["seq"] == ack["seq"]
    assert len(stopped) == 4


def test_a_reader_that_vanishes_disturbs_nobody(server, greeted, channel):
    staying = greeted("sse", channel=[channel])
    for transport in TRANSPORTS:
        greeted(transport, channel=[channel]).close()
        ack = server.publish('{"type":"x"}', channel=channel)
        assert staying.next().json()["seq"] == ack["seq"]


def test_a_reader_that_half_closes_its_side_still_gets_events(server, channel):
    with ByteStream.unix(server.events_socket) as stream:
        stream.finish()
        stream.until(b"\n")
        server.publish('{"type":"x"}', channel=channel)
        assert json.loads(stream.until(b"\n"))["channel"] == channel

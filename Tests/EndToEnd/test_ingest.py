"""The ingest sockets: a line and away, a stream of lines, acks when asked for, and what a bad line costs."""

import json
import re

import pytest

from streams import ByteStream

ACK = re.compile(
    rb'\{"cursor":"[0-9a-f]{16}-([0-9]+)","seq":([0-9]+),"level":"accepted","dup":false,"subscribers":[0-9]+,"behind":[0-9]+\}\n'
)


def ack_lines(answer):
    """The acks in an answer, each checked for its form."""
    lines = answer.splitlines(keepends=True)
    for line in lines:
        match = ACK.fullmatch(line)
        assert match and match[1] == match[2], line
    return [json.loads(line) for line in lines]


def error_code(line):
    error = json.loads(line)["error"]
    assert set(error) >= {"code", "message"}
    return error["code"]


def test_one_line_then_close_is_the_normal_case(server, greeted):
    reader = greeted("unix")
    assert server.ingest(b'{"type":"x"}\n') == b""
    assert reader.next_event().json()["type"] == "x"


def test_a_last_line_without_a_newline_counts(server, greeted):
    reader = greeted("unix")
    assert server.ingest(b'{"n":1}\n{"n":2}') == b""
    assert [reader.next_event().json()["n"] for _ in range(2)] == [1, 2]


def test_a_writer_that_closes_without_waiting_is_heard(server, greeted):
    reader = greeted("unix")
    with ByteStream.unix(server.ingest_socket) as stream:
        stream.send(b'{"n":1}\n{"n":2}')
    assert [reader.next_event().json()["n"] for _ in range(2)] == [1, 2]


def test_a_connection_may_stream_lines_for_as_long_as_it_likes(server, greeted):
    reader = greeted("unix")
    with ByteStream.unix(server.ingest_socket) as stream:
        for number in range(300):
            stream.send(b'{"n":%d}\n' % number)
            assert reader.next_event().json()["n"] == number


def test_lines_may_be_cut_anywhere(server, greeted):
    reader = greeted("unix")
    with ByteStream.unix(server.ingest_socket) as stream:
        stream.send_in_pieces('{"text":"héllo \U0001f600"}\n\n{"n":2}\n'.encode())
        assert reader.next_event().json()["text"] == "héllo \U0001f600"
        assert reader.next_event().json()["n"] == 2


def test_blank_lines_are_skipped(server, greeted):
    reader = greeted("unix")
    answer = server.ingest(b'{"$ack":true}\n\n\n{"n":1}\n   \n\r\n\t\n{"n":2}\r\n\n')
    assert len(ack_lines(answer)) == 2
    assert [reader.next_event().json()["n"] for _ in range(2)] == [1, 2]


def test_acks_come_one_per_line_and_in_order(server):
    with ByteStream.unix(server.ingest_socket) as stream:
        stream.send(b'{"$ack":true}\n')
        stream.send(b'{"n":1}\n{"n":2}\n{"n":3}\n')
        acks = ack_lines(b"".join(stream.until(b"\n") for _ in range(3)))
        stream.send(b'{"n":4}')
        stream.finish()
        acks += ack_lines(stream.rest())
    assert [ack["seq"] - acks[0]["seq"] for ack in acks] == [0, 1, 2, 3]


def test_a_thousand_lines_at_once_get_a_thousand_acks(server):
    answer = server.ingest(b'{"$ack":true}\n' + b'{"n":1}\n' * 1000)
    acks = ack_lines(answer)
    assert [ack["seq"] for ack in acks] == list(range(acks[0]["seq"], acks[0]["seq"] + 1000))


@pytest.mark.parametrize(
    "line, code",
    [
        (b"{", "invalid_json"),
        (b"hello", "invalid_json"),
        (b"[]", "not_an_object"),
        (b'{"a":"\xff"}', "invalid_utf8"),
        (b'{"seq":1}', "reserved_member"),
        (b'{"type":"$x"}', "reserved_kind"),
        (b'{"type":1}', "bad_discriminator"),
        (b'{"a":' + b"[" * 128 + b"]" * 128 + b"}", "too_deep"),
    ],
)
def test_a_bad_line_costs_nothing_but_itself(server, greeted, line, code):
    reader = greeted("unix")
    before, bad, after = server.ingest(b'{"$ack":true}\n{"n":1}\n' + line + b'\n{"n":2}\n').splitlines(keepends=True)
    assert error_code(bad) == code
    first, second = ack_lines(before + after)
    assert second["seq"] == first["seq"] + 1
    assert [reader.next_event().json()["n"] for _ in range(2)] == [1, 2]


def test_a_bad_line_is_not_answered_unless_acks_are_on(server, greeted):
    reader = greeted("unix")
    assert server.ingest(b'{"n":1}\nnonsense\n{"n":2}\n') == b""
    assert [reader.next_event().json()["n"] for _ in range(2)] == [1, 2]


def test_a_line_of_the_largest_size_is_accepted(server):
    event = b'{"p":"' + b"x" * (262_144 - 8) + b'"}'
    assert len(ack_lines(server.ingest(b'{"$ack":true}\n' + event + b"\n" + event))) == 2


@pytest.mark.parametrize("end", [b"\n", b""], ids=["with newline", "without"])
def test_an_oversized_line_closes_the_connection(server, end):
    event = b'{"p":"' + b"x" * (262_145 - 8) + b'"}'
    with ByteStream.unix(server.ingest_socket) as stream:
        stream.send(b'{"$ack":true}\n{"n":1}\n')
        ack_lines(stream.until(b"\n"))
        stream.send_until_refused(event + end)
        if not end:
            stream.finish()
        answer = stream.rest()
    assert error_code(answer) == "event_too_large"
    assert answer.count(b"\n") == 1
    assert server.publish("{}")


def test_a_line_that_never_ends_closes_the_connection(server):
    with ByteStream.unix(server.ingest_socket) as stream:
        stream.send_until_refused(b"x" * (4 << 20))
        assert stream.rest() == b""


# Channels


@pytest.mark.parametrize("name", ["declared", "deep/er"])
def test_a_channel_has_an_ingest_socket_of_its_own(server, greeted, name):
    reader = greeted("unix", channel=[name])
    server.ingest(b'{"type":"x"}\n', channel=name)
    record = reader.next_event().json()
    assert (record["channel"], record["type"]) == (name, "x")


def test_the_common_socket_publishes_to_events(server, greeted):
    reader = greeted("unix", channel=["events"])
    server.ingest(b'{"type":"x"}\n')
    assert reader.next_event().json()["channel"] == "events"


# Envelopes


@pytest.mark.parametrize("start", [b"", b'{"$ack":true}\n'], ids=["without acks", "with acks"])
def test_an_envelope_names_a_channel(server, greeted, channel, start):
    reader = greeted("unix")
    answer = server.ingest(start + b'{"$publish":{"event":{"n": 1},"channel":"%s"}}\n' % channel.encode())
    assert len(ack_lines(answer)) == (1 if start else 0)
    record = reader.next_event()
    assert record.text.endswith(b',"channel":"%s","n":1}' % channel.encode()), record


def test_an_envelope_without_a_channel_goes_where_a_plain_line_goes(server, greeted):
    reader = greeted("unix")
    server.ingest(b'{ "$publish" : { "event" : {"n":1} } }\n')
    server.ingest(b'{"$publish":{"event":{"n":2}}}\n', channel="declared")
    assert [reader.next_event().json()["channel"] for _ in range(2)] == ["events", "declared"]


def test_a_channel_of_its_own_may_not_be_left(server):
    lines = b'{"$ack":true}\n' + b"".join(
        b'{"$publish":{"event":{},"channel":"%s"}}\n' % name for name in (b"events", b"declared", b"declared/x")
    )
    elsewhere, here, below = server.ingest(lines, channel="declared").splitlines(keepends=True)
    assert error_code(elsewhere) == "channel_fixed"
    assert error_code(below) == "channel_fixed"
    ack_lines(here)


def test_publish_beside_other_members_is_an_ordinary_event(server, greeted):
    reader = greeted("unix")
    server.ingest(b'{"$publish":{"event":{"n":1}},"n":2}\n')
    assert reader.next_event().json()["n"] == 2


@pytest.mark.parametrize(
    "envelope",
    [
        b'{"$publish":{}}',
        b'{"$publish":{"event":1}}',
        b'{"$publish":[]}',
        b'{"$publish":{"event":{},"channel":"a//b"}}',
        b'{"$publish":{"event":{},"channel":1}}',
        b'{"$publish":{"event":{"seq":1}}}',
        b'{"$publish":{"event":{},"ack":"bogus"}}',
    ],
)
def test_a_bad_envelope_is_answered_with_an_error(server, envelope):
    bad, good = server.ingest(b'{"$ack":true}\n' + envelope + b'\n{"n":1}\n').splitlines(keepends=True)
    assert error_code(bad)
    ack_lines(good)


@pytest.mark.parametrize("level", ["committed", "synced", "replicated"])
def test_a_level_that_memory_cannot_give_is_unavailable(server, level):
    answer = server.ingest(b'{"$ack":true}\n{"$publish":{"event":{},"ack":"%s"}}\n' % level.encode())
    assert error_code(answer) == "level_unavailable"


def test_the_ack_line_counts_only_when_it_is_the_first(server):
    assert server.ingest(b'{"n":1}\n{"$ack":true}\n{"n":2}\n') == b""


def test_sockets_belong_to_their_owner_alone(server):
    assert server.socket_files() == [
        "events.socket",
        "http.socket",
        "ingest.socket",
        "ingest/declared.socket",
        "ingest/deep/er.socket",
    ]
    for name in server.socket_files():
        assert (server.runtime / name).stat().st_mode & 0o777 == 0o600, name

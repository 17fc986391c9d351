"""What an event may be: strict JSON, compacted and otherwise untouched; what is refused, and with which code."""

import json

import pytest

from program import NDJSON

EVENT_BYTES_MAX = 262_144
BODY_BYTES_MAX = 1_048_576
BATCH_EVENTS_MAX = 1_000


def padded(size):
    """An event of exactly this many bytes."""
    return '{"p":"' + "x" * (size - 8) + '"}'


# Compacting removes insignificant white space and nothing else

KEPT = [
    '{"n":-0}',
    '{"n":-0.0E+00}',
    '{"n":1E400}',
    '{"n":123456789012345678901234567890.10}',
    '{"n":1e-7,"m":10}',
    '{"s":"\\u0041\\u00e9\\ud83d\\ude00\\/\\b\\f\\n\\r\\t\\"\\\\"}',
    '{"s":"\\ud800 alone"}',
    '{"s":"\\u0000"}',
    '{"s":"\u2028\u2029\u007f\ufeff\U0010ffff"}',
    '{"s":"a  b\\t , : [ ] { }"}',
    '{"b":2,"a":1,"c":{"z":0,"y":[]}}',
    '{"same":1,"same":2}',
    '{"":{"":[[],{},null,true,false,""]}}',
    '{"nested":{"seq":1,"channel":"x","type":"$y"}}',
    '{"Seq":1,"sEq":2," seq":3,"seq ":4}',
    '{"type":""}',
    '{"type":"a$"}',
]


@pytest.mark.parametrize("event", KEPT)
def test_an_event_arrives_as_it_was_written(server, greeted, channel, event):
    reader = greeted("unix", channel=[channel])
    ack = server.publish(event, channel=channel)
    stamped = '{"seq":%d,"channel":"%s",%s' % (ack["seq"], channel, event[1:])
    assert reader.next().text == stamped.encode()


@pytest.mark.parametrize("space", [" ", "\t", "\n", "\r", " \r\n\t "], ids=repr)
def test_white_space_between_tokens_is_removed_and_nothing_else(server, greeted, channel, space):
    reader = greeted("unix", channel=[channel])
    tokens = [
        "{",
        '"a b"',
        ":",
        "[",
        "1",
        ",",
        "-2.50",
        ",",
        "true",
        ",",
        "{",
        "}",
        ",",
        "null",
        "]",
        ",",
        '"c"',
        ":",
        '"\\t d"',
        "}",
    ]
    ack = server.publish(space.join(tokens), channel=channel)
    assert reader.next().text == b'{"seq":%d,"channel":"%s","a b":[1,-2.50,true,{},null],"c":"\\t d"}' % (
        ack["seq"],
        channel.encode(),
    )


# What is not JSON

NOT_JSON = [
    "{",
    "}",
    '{"a"}',
    '{"a":}',
    '{"a":1',
    '{"a":1,}',
    "{,}",
    '{"a" 1}',
    "{a:1}",
    "{'a':1}",
    '{"a":1}}',
    '{"a":1}{"b":2}',
    '{"a":1} x',
    '{"a":01}',
    '{"a":+1}',
    '{"a":.5}',
    '{"a":1.}',
    '{"a":1e}',
    '{"a":-}',
    '{"a":0x1}',
    '{"a":NaN}',
    '{"a":Infinity}',
    '{"a":tru}',
    '{"a":True}',
    '{"a":nulll}',
    '{"a":[1,]}',
    '{"a":[1 2]}',
    '{"a":[}',
    '{"a":{]}',
    '{"a":"\\x"}',
    '{"a":"\\u12g4"}',
    '{"a":"\\u12"}',
    '{"a":"x',
    '{"a":"\t"}',
    '{"a":"\n"}',
    '{"a":"\u0000"}',
    '{"a":1}\u0000',
    '\ufeff{"a":1}',
    '{"a":1}\u00a0',
    '/**/{"a":1}',
    "hello",
]


@pytest.mark.parametrize("text", NOT_JSON, ids=repr)
def test_what_is_not_json_is_refused(server, text):
    response = server.post(text)
    assert (response.status, response.error_code()) == (400, "invalid_json"), response


@pytest.mark.parametrize("text", ["[]", '[{"a":1}]', "1", '"x"', "null", "true"])
def test_json_that_is_not_an_object_is_refused(server, text):
    response = server.post(text)
    assert (response.status, response.error_code()) == (400, "not_an_object"), response


BAD_UTF8 = [
    b"\x80",
    b"\xff",
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xe0\x80\x80",
    b"\xe0\x9f\xbf",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xc3",
    b"\xe2\x82",
    b"\xf0\x9f\x98",
    b"\xc3(",
]


@pytest.mark.parametrize("bad", BAD_UTF8, ids=lambda value: value.hex())
@pytest.mark.parametrize("place", [b'{"a":"%s"}', b'{"%s":1}'], ids=["value", "name"])
def test_what_is_not_utf8_is_refused(server, bad, place):
    response = server.post(place % bad)
    assert (response.status, response.error_code()) == (400, "invalid_utf8"), response


# Depth


@pytest.mark.parametrize(
    "opening, closing", [('{"a":', "}"), ("[", "]"), ('[{"a":', "}]")], ids=["objects", "arrays", "both"]
)
def test_128_levels_are_accepted_and_129_refused(server, opening, closing):
    step = 2 if opening.startswith("[{") else 1
    deepest = '{"a":' + opening * (126 // step) + "[]" + closing * (126 // step) + "}"
    assert server.post(deepest).status == 200
    response = server.post(deepest.replace("[]", "[[]]"))
    assert (response.status, response.error_code()) == (400, "too_deep"), response


def test_a_body_of_brackets_harms_nothing(server):
    response = server.post('{"a":' + "[" * 200_000)
    assert (response.status, response.error_code()) == (400, "too_deep"), response
    assert server.publish("{}")["seq"] > 0


# Reserved members and kinds


@pytest.mark.parametrize(
    "name", ["seq", "channel", "s\\u0065q", "\\u0073\\u0065\\u0071", "chann\\u0065l", "ch\\u0061nnel"]
)
@pytest.mark.parametrize("form", ['{"%s":1}', '{"type":"x","a":{},"%s":null}'], ids=["first", "last"])
def test_a_stamped_member_is_refused(server, name, form):
    response = server.post(form % name)
    assert (response.status, response.error_code()) == (422, "reserved_member"), response


@pytest.mark.parametrize(
    "event", ['{"type":"$hello"}', '{"a":1,"type":"$"}', '{"t\\u0079pe":"$x"}', '{"type":"\\u0024x"}']
)
def test_a_kind_that_begins_with_a_dollar_is_refused(server, event):
    response = server.post(event)
    assert (response.status, response.error_code()) == (422, "reserved_kind"), response


@pytest.mark.parametrize(
    "event",
    ['{"type":1}', '{"type":null}', '{"type":["a"]}', '{"type":"a","type":"a"}', '{"type":"a","t\\u0079pe":"b"}'],
)
def test_a_kind_is_one_string(server, event):
    response = server.post(event)
    assert (response.status, response.error_code()) == (422, "bad_discriminator"), response


def test_a_refused_event_costs_no_number(server):
    before = server.publish("{}")["seq"]
    for text in ["{", '{"seq":1}', '{"type":"$x"}', "[]"]:
        assert server.post(text).status >= 400
    assert server.publish("{}")["seq"] == before + 1


# Sizes: what says N accepts N and refuses N + 1


def test_an_event_of_exactly_the_largest_size_is_accepted(server, greeted, channel):
    reader = greeted("unix", channel=[channel])
    event = padded(EVENT_BYTES_MAX)
    assert len(event) == EVENT_BYTES_MAX
    server.publish(event, channel=channel)
    assert reader.next().json()["p"] == json.loads(event)["p"]


@pytest.mark.parametrize("media, end", [("application/json", ""), (NDJSON, "\n"), (NDJSON, "")])
def test_an_event_one_byte_larger_is_refused(server, media, end):
    response = server.post(padded(EVENT_BYTES_MAX + 1) + end, media=media)
    assert (response.status, response.error_code()) == (413, "event_too_large"), response
    assert server.post(padded(EVENT_BYTES_MAX) + end, media=media).status == 200


def test_size_counts_bytes_as_received_not_as_compacted(server):
    event = '{"a":' + " " * (EVENT_BYTES_MAX - 7) + "1}"
    assert len(event) == EVENT_BYTES_MAX
    assert server.post(event).status == 200
    response = server.post(event.replace(":", ": "))
    assert (response.status, response.error_code()) == (413, "event_too_large"), response


def test_a_batch_may_hold_a_thousand_events(server):
    ack = server.publish_batch(["{}"] * BATCH_EVENTS_MAX)
    assert ack["count"] == BATCH_EVENTS_MAX
    response = server.post("{}\n" * (BATCH_EVENTS_MAX + 1), media=NDJSON)
    assert response.status == 413
    assert response.error_code()
    assert server.publish("{}")["seq"] == ack["seq"] + 1


def test_a_body_may_be_one_mebibyte(server):
    line = padded(BODY_BYTES_MAX // 8 - 1) + "\n"
    assert server.post(line * 8, media=NDJSON).json()["count"] == 8
    response = server.post(line * 8 + "\n", media=NDJSON)
    assert response.status == 413
    assert response.error_code()

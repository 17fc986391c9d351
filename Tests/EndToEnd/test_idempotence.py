"""Publishing on conditions: once under a key, behind what was seen, in a producer's own order."""

import itertools
import json
import threading

import pytest

import http1
from program import NDJSON
from readers import open_reader
from streams import ByteStream

_names = itertools.count(1)


@pytest.fixture
def name():
    """A key, a producer or a channel that no other test has used."""
    return f"name-{next(_names)}"


def post(server, body, key=None, media="application/json", **query):
    return server.post(body, media=media, headers={} if key is None else {"Idempotency-Key": key}, **query)


def envelopes(server, *lines, channel=None):
    """The answers to these `$publish` contents, sent over one ingest connection."""
    data = b'{"$ack":true}\n' + b"".join(json.dumps({"$publish": line}).encode() + b"\n" for line in lines)
    return [json.loads(line) for line in server.ingest(data, channel=channel).splitlines()]


def error(response):
    body = response.json() if hasattr(response, "status") else response
    return body["error"]


# Keys


def test_an_event_that_is_sent_again_with_its_key_is_published_once(server, greeted, name):
    reader = greeted("unix")
    first = post(server, '{"n":1}', key=name)
    again = post(server, ' {"n" : 1}\n', key=name)
    assert (first.status, again.status) == (200, 200)
    assert first.json()["dup"] is False
    expected = {**first.json(), "dup": True, "subscribers": 0, "behind": 0}
    assert again.json() == expected
    server.publish('{"n":2}')
    assert [reader.next_event().json()["n"] for _ in range(2)] == [1, 2]


def test_another_event_under_the_same_key_is_a_conflict(server, name):
    first = post(server, '{"n":1}', key=name).json()
    for body in ('{"n":1.0}', '{"n":2}', "{}"):
        response = post(server, body, key=name)
        assert (response.status, response.error_code()) == (409, "id_conflict")
    assert server.publish("{}")["seq"] == first["seq"] + 1


def test_a_key_is_its_channels(server, name):
    seqs = [post(server, "{}", key=name, channel=f"{name}/{part}").json()["seq"] for part in "abab"]
    assert seqs == [seqs[0], seqs[0] + 1] * 2


def test_header_and_envelope_have_the_same_keys(server, name):
    first = post(server, '{"n":1}', key=name, channel="declared").json()
    told = envelopes(
        server,
        {"event": {"n": 1}, "id": name},
        {"event": {"n": 2}, "id": name},
        {"event": {"n": 2}, "id": name + "x"},
        {"event": {"n": 2}, "id": name + "x"},
        channel="declared",
    )
    assert (told[0]["seq"], told[0]["dup"]) == (first["seq"], True)
    assert error(told[1])["code"] == "id_conflict"
    assert [(ack["seq"], ack["dup"]) for ack in told[2:]] == [(first["seq"] + 1, False), (first["seq"] + 1, True)]


def test_a_batch_is_repeated_whole(server, name):
    first = post(server, '{"n":1}\n{"n":2}\n', key=name, media=NDJSON).json()
    again = post(server, '{"n":1}\r\n\n{"n":2}', key=name, media=NDJSON).json()
    assert again == {**first, "dup": True, "subscribers": 0, "behind": 0}
    assert again["count"] == 2
    for body in ('{"n":2}\n{"n":1}\n', '{"n":1}\n', '{"n":1}\n{"n":2}\n{"n":3}\n'):
        assert post(server, body, key=name, media=NDJSON).status == 409


@pytest.mark.parametrize("key", ["x" * 256, "a b", "caf\xe9", ""], ids=["long", "space", "latin", "empty"])
def test_what_is_no_key_is_refused(server, key):
    before = server.publish("{}")["seq"]
    response = server.exchange(
        http1.request(
            "POST", "/v1/events", {"Content-Type": "application/json", "Idempotency-Key": key}, b"{}"
        )
    )
    assert (response.status, response.error_code()) == (400, "bad_key"), response
    assert server.publish("{}")["seq"] == before + 1


def test_the_longest_key_is_one(server, name):
    key = name.ljust(255, "k")
    assert [post(server, "{}", key=key).json()["dup"] for _ in range(2)] == [False, True]


def test_a_refused_publication_leaves_no_key(server, name):
    channel = f"{name}/new"
    assert post(server, '{"seq":1}', key=name, channel=channel).status == 422
    response = post(server, '{"n":1}', key=name, channel=channel, expect_last="0123456789abcdef-1")
    assert response.status == 412
    channels = {entry["channel"] for entry in server.get("/v1/channels").json()["channels"]}
    assert channel not in channels
    assert post(server, '{"n":2}', key=name, channel=channel).json()["dup"] is False


def test_of_many_who_send_the_same_at_once_one_publishes(server, greeted, name):
    reader = greeted("unix")
    told = []

    def send():
        told.append(post(server, '{"n":1}', key=name).json())

    threads = [threading.Thread(target=send) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({ack["cursor"] for ack in told}) == 1
    assert sorted(ack["dup"] for ack in told) == [False] + [True] * 15
    server.publish('{"n":2}')
    assert [reader.next_event().json()["n"] for _ in range(2)] == [1, 2]


def test_a_publisher_that_was_cut_off_sends_again_and_nothing_is_twice(server, name):
    """Half of the connections break before the answer: what came of the first try is unknown, of all tries one event."""
    channel = f"{name}/log"
    with open_reader(server, "unix") as reader:
        reader.next()
        for number in range(40):
            body = b'{"n":%d}' % number
            request = http1.request(
                "POST",
                f"/v1/events?channel={channel}",
                {"Content-Type": "application/json", "Idempotency-Key": f"{name}-{number}"},
                body,
            )
            for cut in (len(request), len(request) - 1, number % len(request)):
                with server.connect(unix=number % 2 == 0) as stream:
                    stream.send(request[:cut])
            assert server.exchange(request).status == 200
        seen = []
        while len(seen) < 40:
            event = reader.next_event().json()
            if event["channel"] == channel:
                seen.append(event["n"])
    assert seen == list(range(40))
    history = server.get(f"/v1/history?channel={channel}&limit=1000").json()["events"]
    assert [event["n"] for event in history] == list(range(40))


# A channel that has ended


def test_a_repetition_is_one_on_a_channel_that_has_ended(server, name):
    channel = f"{name}/over"
    first = post(server, '{"n":1}', key=name, channel=channel).json()
    assert server.exchange(http1.request("DELETE", f"/v1/channels?channel={channel}")).status == 200
    again = post(server, '{"n":1}', key=name, channel=channel)
    assert (again.status, again.json()["dup"], again.json()["cursor"]) == (200, True, first["cursor"])
    assert post(server, '{"n":2}', key=name, channel=channel).error_code() == "id_conflict"
    for refused in (post(server, '{"n":2}', key=name + "x", channel=channel), post(server, "{}", channel=channel)):
        assert (refused.status, refused.error_code()) == (409, "channel_ended")
    told = envelopes(server, {"event": {"n": 1}, "channel": channel, "id": name}, {"event": {}, "channel": channel})
    assert told[0]["dup"] is True
    assert error(told[1])["code"] == "channel_ended"


# What was seen last


def test_expect_last_is_the_channels_newest_event(server, name):
    first = post(server, "{}", channel=name, expect_last="0").json()
    server.publish("{}")
    second = post(server, "{}", channel=name, expect_last=first["cursor"]).json()
    assert second["seq"] == first["seq"] + 2
    for stale in ("0", first["cursor"], "0123456789abcdef-" + str(second["seq"])):
        response = post(server, "{}", channel=name, expect_last=stale)
        assert (response.status, response.error_code()) == (412, "expect_last")
        assert error(response)["last"] == second["cursor"]
    response = post(server, "{}", channel=name + "x", expect_last=second["cursor"])
    assert (response.status, error(response)["last"]) == (412, "0")
    told = envelopes(
        server,
        {"event": {}, "channel": name, "expect_last": second["cursor"]},
        {"event": {}, "channel": name, "expect_last": second["cursor"]},
    )
    assert told[0]["dup"] is False
    assert error(told[1])["last"] == told[0]["cursor"]


@pytest.mark.parametrize("text", ["", "1", "now", "0123456789ABCDEF-1", "0123456789abcdef-01"])
def test_expect_last_that_is_no_cursor_is_refused(server, text):
    response = post(server, "{}", expect_last=text)
    assert (response.status, response.error_code()) == (400, "bad_cursor")


def test_writers_that_expect_what_they_saw_never_lose_an_update(server, name):
    """Four writers count up from the channel's newest event: each number is written once."""

    def count_up():
        for _ in range(25):
            while True:
                events = server.get(f"/v1/history?channel={name}&limit=1").json()
                newest = events["events"]
                place = events["first"] if newest else "0"
                value = newest[0]["n"] + 1 if newest else 1
                if post(server, json.dumps({"n": value}), channel=name, expect_last=place).status == 200:
                    break

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = server.get(f"/v1/history?channel={name}&limit=1000").json()["events"]
    assert [event["n"] for event in events] == list(range(1, 101))


# A producer's own numbers


def test_a_producers_numbers_have_no_hole_and_come_once(server, name):
    def send(body, pepoch, pseq, media="application/json"):
        return post(server, body, media=media, channel=name, producer="p", pepoch=pepoch, pseq=pseq)

    gap = send('{"n":2}', 1, 2)
    assert (gap.status, gap.error_code(), error(gap)["expected"]) == (409, "producer_gap", 1)
    first = send('{"n":1}', 1, 1).json()
    batch = send('{"n":2}\n{"n":3}\n', 1, 2, NDJSON).json()
    assert (first["dup"], batch["dup"], batch["seq"]) == (False, False, first["seq"] + 2)
    assert send('{"n":2}\n{"n":3}\n', 1, 2, NDJSON).json() == {**batch, "dup": True, "subscribers": 0, "behind": 0}
    assert send('{"n":2}\n{"n":4}\n', 1, 2, NDJSON).error_code() == "id_conflict"
    old = send('{"n":1}', 1, 1)
    assert (old.status, old.json()["dup"], old.json()["cursor"], old.json()["seq"]) == (200, True, None, None)
    assert error(send('{"n":3}\n{"n":4}\n', 1, 3, NDJSON))["expected"] == 4
    assert send('{"n":1}', 2, 1).json()["seq"] == batch["seq"] + 1
    fenced = send('{"n":4}', 1, 4)
    assert (fenced.status, fenced.error_code(), error(fenced)["pepoch"]) == (409, "fenced", 2)
    told = envelopes(
        server,
        {"event": {}, "channel": name, "producer": "p", "pepoch": 2, "pseq": 2},
        {"event": {}, "channel": name, "producer": "p", "pepoch": 2, "pseq": 4},
    )
    assert told[0]["dup"] is False
    assert error(told[1])["expected"] == 3


@pytest.mark.parametrize(
    "query",
    [
        {"producer": "p"},
        {"pepoch": 1, "pseq": 1},
        {"producer": "p", "pepoch": 1, "pseq": 0},
        {"producer": "p", "pepoch": -1, "pseq": 1},
        {"producer": "", "pepoch": 1, "pseq": 1},
        {"producer": "p", "pepoch": 1, "pseq": 2**53},
        {"producer": "p" * 256, "pepoch": 1, "pseq": 1},
    ],
)
def test_a_producer_is_named_whole_or_not_at_all(server, query):
    response = post(server, "{}", **query)
    assert (response.status, response.error_code()) == (400, "bad_producer")


# What is counted


def test_repetitions_and_conflicts_are_counted(io, start_server):
    server = start_server(io=io)
    for body in ("{}", "{}", "{}", '{"n":1}'):
        post(server, body, key="k")
    post(server, "{}", expect_last="0")
    post(server, "{}", producer="p", pepoch=1, pseq=2)
    assert server.metric("fanout_publish_duplicates_total") == 2
    assert server.metric("fanout_publish_conflicts_total") == 3
    assert server.metric("fanout_events_in_total") == 1
    assert server.metric("fanout_idempotency_keys") == 1
    assert server.metric("fanout_producers") == 0
    assert server.metric("fanout_memory_bytes", of="repetition") > 0


def test_a_hundred_thousand_keys_are_remembered_and_no_more(io, start_server):
    server = start_server(io=io)
    line = '{"$publish":{"event":{"n":%d},"id":"key-%d"}}\n'
    with ByteStream.unix(server.ingest_socket) as stream:
        for start in range(0, 100_100, 1_001):
            stream.send("".join(line % (n, n) for n in range(start, start + 1_001)).encode())
        stream.finish()
        assert stream.rest() == b""
    assert server.metric("fanout_events_in_total") == 100_100
    assert server.metric("fanout_idempotency_keys") == 100_000
    newest = post(server, '{"n":100099}', key="key-100099").json()
    assert (newest["seq"], newest["dup"]) == (100_100, True)
    assert post(server, '{"n":100}', key="key-100").json()["dup"] is True
    assert post(server, '{"n":99}', key="key-99").json()["dup"] is False

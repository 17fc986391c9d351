"""Publishers that say things twice: keys, producers and `expect_last`, over restarts, kills and lost answers."""

import json
import threading

import pytest

import http1
from program import NDJSON
from readers import place
from stored import ENDS, head_of
from streams import ByteStream

KEY = "Idempotency-Key"


def publish(server, body, key=None, media="application/json", **query):
    return server.post(body, media=media, headers={KEY: key} if key else {}, **query)


def line(server, event, **members):
    """The answer to one envelope on an ingest socket."""
    text = json.dumps({"$publish": {"event": event, **members}}).encode()
    return json.loads(server.ingest(b'{"$ack":true}\n' + text + b"\n"))


def check_dup(response, first, level="synced"):
    """The first answer again. Its readers may be others by now."""
    assert response.status == 200, response
    again = response.json()
    same = [name for name in first if name not in ("dup", "subscribers", "behind", "level", "cursor", "first")]
    assert {name: again[name] for name in same} == {name: first[name] for name in same}
    assert (again["dup"], again["level"]) == (True, level)
    assert again["cursor"].endswith(f"-{first['seq']}")
    assert ("first" in again) == ("first" in first)


def stored(server, **query):
    pairs = "&".join(f"{name}={value}" for name, value in {"limit": 1000, **query}.items())
    return [event["n"] for event in server.get(f"/v1/history?{pairs}").json()["events"]]


@pytest.mark.parametrize("how", ENDS)
def test_a_key_is_remembered_by_the_next_server(life, how):
    server = life.begin()
    one = publish(server, '{"n":1}', "a").json()
    batch = publish(server, '{"n":2}\n{"n":3}\n', "b", media=NDJSON).json()
    sent = line(server, {"n": 4}, id="c")
    assert not one["dup"] and not batch["dup"] and not sent["dup"]
    for _ in range(2):
        server = life.again(how)
        check_dup(publish(server, '{"n":1}', "a"), one)
        check_dup(publish(server, ' { "n" : 1 } ', "a"), one)
        check_dup(publish(server, '{"n":2}\n{"n":3}\n', "b", media=NDJSON), batch)
        check_dup(publish(server, '{"n":4}', "c"), sent)
        answer = line(server, {"n": 1}, id="a")
        assert (answer["dup"], answer["seq"]) == (True, one["seq"])
        for body, key in (('{"n":2}', "a"), ('{"n":1}', "b"), ('{"n":4.0}', "c")):
            response = publish(server, body, key)
            assert (response.status, response.error_code()) == (409, "id_conflict"), response
        assert line(server, {"n": 9}, id="a")["error"]["code"] == "id_conflict"
        assert stored(server) == [1, 2, 3, 4]


def test_a_key_is_its_channels_alone(life):
    server = life.begin()
    first = publish(server, '{"n":1}', "k", channel="a").json()
    other = publish(server, '{"n":2}', "k", channel="b").json()
    assert other["seq"] == first["seq"] + 1 and not other["dup"]
    server = life.again("killed")
    check_dup(publish(server, '{"n":1}', "k", channel="a"), first)
    check_dup(publish(server, '{"n":2}', "k", channel="b"), other)
    assert publish(server, '{"n":1}', "k", channel="b").error_code() == "id_conflict"


@pytest.mark.parametrize("level", ["accepted", "committed", "synced"])
def test_a_repetition_has_the_level_that_it_asks_for(life, level):
    server = life.begin()
    first = publish(server, '{"n":1}', "k", ack="accepted").json()
    check_dup(publish(server, '{"n":1}', "k", ack=level), first, level)
    if level != "accepted":
        server = life.again("killed")
        check_dup(publish(server, '{"n":1}', "k", ack=level), first, level)


def test_what_was_refused_may_be_said_again_under_its_key(life):
    server = life.begin()
    assert publish(server, '{"n":1,"seq":1}', "k").status == 422
    assert publish(server, "oops", "k").status == 400
    assert not publish(server, '{"n":1}', "k").json()["dup"]
    server = life.again()
    assert publish(server, '{"n":1}', "k").json()["dup"]


def test_a_key_in_flight_joins_its_first_answer(life):
    """Many at once: one is new, the others are repetitions, and all name the same event."""
    server = life.begin()
    with_keys = {KEY: "once", "Content-Type": "application/json"}
    streams = [server.connect() for _ in range(20)]
    for stream in streams:
        stream.send(http1.request("POST", "/v1/events", with_keys, b'{"n":1}'))
    answers = [http1.read_response(stream).json() for stream in streams]
    assert sorted(answer["dup"] for answer in answers) == [False] + [True] * 19
    assert len({answer["seq"] for answer in answers}) == 1
    assert {answer["level"] for answer in answers} == {"synced"}
    assert stored(server) == [1]


@pytest.mark.parametrize("how", ENDS)
def test_a_producer_goes_on_where_the_last_server_heard_it(life, how):
    server = life.begin()

    def say(server, count, pseq, pepoch=1, n=None):
        body = "".join('{"n":%d}\n' % ((n or pseq) + at) for at in range(count))
        return server.post(body, media=NDJSON, producer="p", pepoch=pepoch, pseq=pseq)

    first = say(server, 3, 1).json()
    second = say(server, 2, 4).json()
    server = life.again(how)
    again = say(server, 2, 4).json()
    assert (again["dup"], again["seq"]) == (True, second["seq"])
    old = say(server, 3, 1)
    assert old.status == 200 and old.json()["dup"], old
    assert say(server, 1, 7).error_code() == "producer_gap"
    assert say(server, 1, 6).json()["dup"] is False
    assert say(server, 1, 1, pepoch=2, n=100).json()["dup"] is False
    server = life.again(how)
    assert say(server, 1, 7).error_code() == "fenced"
    assert say(server, 1, 3, pepoch=2).error_code() == "producer_gap"
    assert say(server, 1, 2, pepoch=2, n=101).json()["dup"] is False
    assert stored(server) == [1, 2, 3, 4, 5, 6, 100, 101]
    assert first["seq"] < second["seq"]


def test_a_producer_on_an_ingest_socket_is_the_same_producer(life):
    server = life.begin()
    assert line(server, {"n": 1}, producer="p", pepoch=1, pseq=1)["dup"] is False
    server = life.again("killed")
    assert line(server, {"n": 1}, producer="p", pepoch=1, pseq=1)["dup"] is True
    assert server.post('{"n":2}', producer="p", pepoch=1, pseq=2).json()["dup"] is False
    assert line(server, {"n": 2}, producer="p", pepoch=1, pseq=2)["dup"] is True
    assert line(server, {"n": 4}, producer="p", pepoch=1, pseq=4)["error"]["code"] == "producer_gap"
    assert line(server, {"n": 1}, producer="p", pepoch=0, pseq=1)["error"]["code"] == "fenced"
    assert stored(server) == [1, 2]


@pytest.mark.parametrize("how", ENDS)
def test_expect_last_is_about_the_channels_own_last_event(life, how):
    server = life.begin()
    last = server.post('{"n":1}', channel="c", expect_last="0").json()["cursor"]
    server.publish('{"n":0}')
    server = life.again(how)
    refused = server.post('{"n":9}', channel="c", expect_last="0")
    assert refused.status == 412 and refused.error_code(), refused
    now = f"{head_of(server).partition('-')[0]}-{last.partition('-')[2]}"
    assert now.encode() in refused.body, "the present cursor is in the answer"
    assert server.post('{"n":9}', channel="c", expect_last=place(now, 1)).status == 412
    last = server.post('{"n":2}', channel="c", expect_last=now).json()["cursor"]
    assert server.post('{"n":9}', channel="c", expect_last=now).status == 412
    assert line(server, {"n": 3}, channel="c", expect_last=last)["dup"] is False
    assert stored(server, channel="c") == [1, 2, 3]


def test_an_answer_that_was_lost_in_a_kill_is_had_by_asking_again(life):
    """Kills in the middle of requests with keys: each is stored once, whichever way the race went."""
    server = life.begin()
    for attempt in range(4):
        keys = [f"{attempt}-{number}" for number in range(12)]
        killer = threading.Timer(0.002 * attempt, server.kill)
        streams = []
        killer.start()
        for number, key in enumerate(keys):
            try:
                stream = server.connect()
                body = b'{"n":%d}' % (attempt * 100 + number)
                fields = {KEY: key, "Content-Type": "application/json"}
                stream.send(http1.request("POST", "/v1/events", fields, body))
                streams.append(stream)
            except OSError:
                break
        killer.join()
        ByteStream.close_all()
        server.wait()
        server = life.begin()
        for number, key in enumerate(keys):
            assert publish(server, '{"n":%d}' % (attempt * 100 + number), key).status == 200
    assert sorted(stored(server)) == [attempt * 100 + number for attempt in range(4) for number in range(12)]


def test_ten_thousand_keys_are_there_after_a_restart(life):
    server = life.begin()
    lines = [b'{"$publish":{"event":{"n":%d},"id":"key-%d"}}\n' % (number, number) for number in range(10_000)]
    with ByteStream.unix(server.ingest_socket) as stream:
        stream.send(b'{"$ack":true}\n')
        sender = threading.Thread(target=lambda: (stream.send(b"".join(lines)), stream.finish()), daemon=True)
        sender.start()
        acks = [json.loads(answer) for answer in stream.rest().splitlines()]
        sender.join()
    assert len(acks) == 10_000 and not any(ack["dup"] for ack in acks)
    server = life.again("killed")
    with ByteStream.unix(server.ingest_socket) as stream:
        stream.send(b'{"$ack":true}\n')
        sender = threading.Thread(target=lambda: (stream.send(b"".join(lines)), stream.finish()), daemon=True)
        sender.start()
        again = [json.loads(answer) for answer in stream.rest().splitlines()]
        sender.join()
    assert [ack["seq"] for ack in again] == [ack["seq"] for ack in acks]
    assert all(ack["dup"] for ack in again)
    assert server.get("/v1/history?limit=1").json()["events"][0]["seq"] == acks[-1]["seq"]

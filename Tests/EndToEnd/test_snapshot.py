"""The present state over every transport, made by rules or by a producer, and read again from the middle."""

import json

import pytest

import http1
import program
from readers import TRANSPORTS, open_reader

RULES = {"channels": {"kept": {"state": {"upsert": {"put": "/key"}, "remove": {"gone": "/key"}}}}}


@pytest.fixture
def keeper(start_server, tmp_path, io):
    return start_server(*program.configured(tmp_path, RULES))


def put(server, key, n):
    return server.publish(json.dumps({"type": "put", "key": key, "n": n}), channel="kept")


def send(server, method, target, body, media="application/x-ndjson"):
    body = body.encode()
    headers = {"Content-Type": media, "Content-Length": str(len(body))}
    return server.exchange(http1.request(method, target, headers) + body)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_snapshot_then_every_event_after_it(keeper, transport):
    for n in range(5):
        put(keeper, f"k{n % 3}", n)
    keeper.publish('{"type":"gone","key":"k2"}', channel="kept")
    with open_reader(keeper, transport, channel="kept", from_="snapshot") as reader:
        assert reader.next_control("$hello").json()["seq"] == 6
        assert reader.next_control("$snapshot").json() == {"type": "$snapshot", "seq": 6, "count": 2}
        rows = [reader.next_event() for _ in range(2)]
        assert [(row.json()["key"], row.json()["n"]) for row in rows] == [("k0", 3), ("k1", 4)]
        live = reader.next_control("$live")
        assert live.json() == {"type": "$live", "seq": 6, "count": 2}
        if transport == "sse":
            assert rows[1].id.endswith("-5") and live.id.endswith("-6")
        put(keeper, "k9", 9)
        assert reader.next_event().json()["seq"] == 7


def test_who_is_cut_between_two_rows_goes_on_from_the_last_one(keeper):
    for n in range(6):
        put(keeper, f"k{n}", n)
    with open_reader(keeper, "sse", channel="kept", from_="snapshot") as reader:
        for kind in ("$hello", "$snapshot"):
            reader.next_control(kind)
        last = [reader.next_event() for _ in range(3)][-1].id
    put(keeper, "k1", 7)
    with open_reader(keeper, "sse", headers={"Last-Event-ID": last}, channel="kept", from_="snapshot") as reader:
        reader.next_control("$hello")
        assert [reader.next_event().json()["seq"] for _ in range(4)] == [4, 5, 6, 7]


def test_what_a_producer_puts_is_what_is_read(keeper):
    keeper.publish('{"type":"d","n":1}', channel="made")
    answer = send(keeper, "PUT", "/v1/snapshot?channel=made", '{"type":"row","a":1}\n{"type":"row","a":2}\n')
    assert answer.status == 200
    assert {name: answer.json()[name] for name in ("seq", "count")} == {"seq": 1, "count": 2}
    keeper.publish('{"type":"d","n":2}', channel="made")
    state = keeper.get("/v1/snapshot?channel=made")
    assert state.status == 200 and state.json()["seq"] == 1
    assert [row["a"] for row in state.json()["events"]] == [1, 2]
    lines = keeper.get("/v1/snapshot?channel=made", headers={"Accept": "application/x-ndjson"})
    assert len(lines.body.splitlines()) == 2
    with open_reader(keeper, "websocket", channel="made", from_="snapshot") as reader:
        reader.next_control("$hello")
        reader.next_control("$snapshot")
        assert [reader.next_event().json()["a"] for _ in range(2)] == [1, 2]
        reader.next_control("$live")
        assert reader.next_event().json()["n"] == 2
    assert send(keeper, "PUT", "/v1/snapshot?channel=kept", "{}").status == 409
    assert keeper.get("/v1/snapshot?channel=events").status == 404

"""The state of channels with a database: over clean stops and kills, beyond retention, and under other rules."""

import json
import sqlite3
from contextlib import closing

import pytest

import http1
from readers import open_reader
from stored import ENDS, FILE, greeting, head_of
from streams import wait_until

KEYED = {"upsert": {"set": "/id"}, "remove": {"end": "/id"}}


def configuration(state=None, **rules):
    return {"channels": {"dash": {**({"state": state} if state else {}), **rules}}}


def event(kind, key, **more):
    return json.dumps({"type": kind, "id": key, **more}, separators=(",", ":"))


def stored(life):
    """The rows of the state in a database that nobody uses, by their numbers: what the events were."""
    with closing(sqlite3.connect(life.data / FILE)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = database.execute("SELECT seq, line FROM state ORDER BY seq, id").fetchall()
    return {seq: json.loads(line) for seq, line in rows}


def values(life):
    return [(row["type"], row["id"], row.get("n")) for row in stored(life).values()]


def fill(server):
    """Publishes, and says what the state is then."""
    for number in range(5):
        for key in ["a", "b", 7]:
            server.publish(event("set", key, n=number), channel="dash")
    server.publish(event("end", "b"), channel="dash")
    server.publish(event("other", "c"), channel="dash")
    return [("set", "a", 4), ("set", 7, 4)]


@pytest.mark.parametrize("how", ENDS)
def test_the_state_is_there_after_any_end(life, how):
    rows = fill(life.begin(configuration=configuration(KEYED)))
    for _ in range(3):
        server = life.again(how)
        assert server.metric("fanout_state_rows") == 2
    server.publish(event("end", 7), channel="dash")
    server = life.again(how)
    assert server.metric("fanout_state_rows") == 1
    life.end()
    assert values(life) == rows[:1]


@pytest.mark.parametrize("how", ENDS)
def test_the_state_outlives_its_events(life, how):
    server = life.begin(configuration=configuration(KEYED, retention={"count": 1}))
    rows = fill(server)
    wait_until(lambda: server.metric("fanout_storage_pruned_total") >= 16, "retention")
    server = life.again(how)
    assert server.metric("fanout_state_rows") == 2
    life.end()
    assert values(life) == rows
    with closing(sqlite3.connect(life.data / FILE)) as database:
        assert database.execute("SELECT count(*) FROM event").fetchone() == (1,)


def test_the_state_goes_with_its_channel(life):
    server = life.begin(configuration=configuration(KEYED, retention={"age_s": 1}))
    fill(server)
    assert server.exchange(http1.request("DELETE", "/v1/channels?channel=dash")).status < 300
    wait_until(lambda: server.metric("fanout_state_rows") == 0, "the end of the state")
    life.end()
    assert stored(life) == {}


@pytest.mark.parametrize("how", ENDS)
def test_rows_go_through_the_rules_of_the_next_start(life, how):
    server = life.begin(configuration=configuration(KEYED))
    for key, other in [("a", "x"), ("b", "y"), ("c", "x")]:
        server.publish(event("set", key, other=other), channel="dash")
    life.end(how)
    # By the other member two are one, and the newer one stays.
    server = life.begin(configuration=configuration({"upsert": {"set": "/other"}}))
    assert server.metric("fanout_state_rows") == 2
    server.publish(event("set", "d", other="y"), channel="dash")
    assert server.metric("fanout_state_rows") == 2
    life.end(how)
    server = life.begin(configuration=configuration())
    assert server.metric("fanout_state_rows") == 0
    # So they are gone, and do not come back.
    life.end()
    assert stored(life) == {}


@pytest.mark.parametrize("how", ENDS)
def test_a_state_that_a_producer_gave_is_there_after_any_end(life, how):
    server = life.begin()
    for number in range(3):
        server.publish(event("step", number), channel="job")
    place = server.get("/v1/history?channel=job&limit=2").json()["events"][0]["seq"]
    head = head_of(server)
    as_of = f"{head.partition('-')[0]}-{place}"
    lines = "\n".join(event("row", key) for key in ["b", "c", "a"])
    put = http1.request(
        "PUT", f"/v1/snapshot?channel=job&as_of={as_of}", {"Content-Type": "application/x-ndjson"}, lines.encode()
    )
    answer = server.exchange(put)
    assert (answer.status, answer.json()["level"], answer.json()["count"]) == (200, "synced", 3), answer
    # Killed right behind the answer.
    server = life.again(how)
    reader = open_reader(server, "http-jsonl", channel="job", from_="snapshot")
    greeting(reader)
    records = [reader.next().json() for _ in range(6)]
    assert [(record["type"], record.get("id"), record["seq"]) for record in records] == [
        ("$snapshot", None, place),
        *[("row", key, place) for key in ["b", "c", "a"]],
        ("$live", None, place),
        ("step", 2, place + 1),
    ]
    assert server.metric("fanout_state_rows") == 3
    # Rules that come make the state, and what was given is gone.
    life.end(how)
    server = life.begin(configuration={"channels": {"job": {"state": KEYED}}})
    assert server.metric("fanout_state_rows") == 0
    answer = server.exchange(put)
    assert (answer.status, answer.error_code()) == (409, "state_is_derived"), answer
    life.end()
    assert stored(life) == {}


def test_more_state_than_there_is_memory_for_is_refused_with_what_to_do(life):
    server = life.begin("--max-memory", "1G", configuration=configuration(KEYED, limits={}))
    for number in range(400):
        server.publish(event("set", number, text="x" * 50_000), channel="dash")
    life.end()
    code, line = life.refused("--max-memory", "64M", "--config", life.folder / "fanout.json")
    assert code == 78 and "--max-memory" in line, (code, line)
    assert life.begin("--max-memory", "1G").metric("fanout_state_rows") == 400

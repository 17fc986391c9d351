"""`GET /v1/lag`: who is behind, by how much, and who they are, held against what was published and what was read."""

import os
import time

import pytest

import program
from endings import TRANSPORTS, Collector, lines, open_with_small_buffer, pause, read_to_end
from http1 import read_response, request
from readers import CURSOR, open_reader
from streams import wait_until

UNBOUNDED = {"events": 10_000_000, "bytes": 1 << 30, "age_ms": 600_000}
TIGHT = {"events": 200, "bytes": 262_144, "age_ms": 60_000}
MEMBERS = ["id", "transport", "peer", "channel", "events", "bytes", "ms", "cursor", "state"]
LABELS = {
    "unix": "jsonl_unix",
    "tcp": "jsonl_tcp",
    "http-jsonl": "jsonl_http",
    "sse": "sse",
    "websocket": "websocket",
}


def report(server, target="/v1/lag", unix=False):
    """The report's head and its subscribers, whose form is checked."""
    response = server.get(target, unix=unix)
    assert response.status == 200, response
    assert response.header("content-type") == "application/json"
    assert response.header("cache-control") == "no-store"
    answer = response.json()
    assert list(answer) == ["head", "subscribers"] and CURSOR.match(answer["head"]), answer
    for entry in answer["subscribers"]:
        assert list(entry) == MEMBERS, entry
        assert all(type(entry[name]) is int and entry[name] >= 0 for name in ("id", "events", "bytes", "ms")), entry
        assert entry["id"] < 1 << 53 and CURSOR.match(entry["cursor"]), entry
        assert entry["state"] in ("live", "behind", "replaying", "skipping", "ending"), entry
    ranks = [(entry["events"], entry["bytes"], entry["ms"]) for entry in answer["subscribers"]]
    assert ranks == sorted(ranks, reverse=True), ranks
    return answer["head"], answer["subscribers"]


def seq(cursor):
    return int(cursor.partition("-")[2])


def peer_of(reader, transport):
    """How the server must name the process or the address at this end."""
    if transport == "unix":
        return f"unix (process {os.getpid()}, user {os.getuid()})"
    return "{}:{}".format(*reader.stream.socket.getsockname())


def wait_for_states(server, states):
    """The report by peer, once every peer is in the state that it is to come to."""

    def entries():
        _, subscribers = report(server, "/v1/lag?top=1000")
        found = {entry["peer"]: entry for entry in subscribers}
        return {peer: found.get(peer, {}).get("state") for peer in states} == states and found

    return wait_until(entries, f"the states {states}")


def test_stopped_readers_are_named_and_the_figures_add_up(io, start_server, tmp_path):
    server = start_server(*program.configured(tmp_path, {"limits": UNBOUNDED}))
    stopped = {transport: open_with_small_buffer(server, transport) for transport in TRANSPORTS}
    live = open_reader(server, "sse", channel=["elsewhere"])
    live.next_control("$hello")
    began = time.monotonic()
    batch = lines(100, 3_000)
    head = None
    for _ in range(40):
        head = server.publish_batch(batch)
    wait_for_states(server, {peer_of(reader, transport): "behind" for transport, reader in stopped.items()})
    pause(0.3)
    reported, subscribers = report(server)
    elapsed = time.monotonic() - began
    assert reported == head["cursor"]
    assert len(subscribers) == len(stopped) + 1
    entries = {entry["peer"]: entry for entry in subscribers}
    assert len({entry["id"] for entry in subscribers}) == len(subscribers)
    idle = entries[peer_of(live, "sse")]
    assert idle == subscribers[-1] and idle["channel"] == "elsewhere" and idle["state"] == "live"
    assert (idle["events"], idle["bytes"], idle["ms"]) == (0, 0, 0)
    for transport, reader in stopped.items():
        entry = entries[peer_of(reader, transport)]
        assert entry["transport"] == LABELS[transport] and entry["channel"] == "**"
        # What its socket has taken and what waits are all that was published.
        assert entry["events"] + seq(entry["cursor"]) == head["seq"], entry
        assert 300 <= entry["ms"] <= 1000 * elapsed, (entry, elapsed)
    names = {transport: peer_of(reader, transport) for transport, reader in stopped.items()}
    going_on = Collector(stopped)
    going_on.wait_for(b'"seq":%d,' % head["seq"])
    server.stop()
    for transport, ending in going_on.endings().items():
        entry = entries[names[transport]]
        assert ending.seqs() == list(range(1, head["seq"] + 1)), transport
        # The bytes are those of the events that wait, the first of them perhaps begun.
        sizes = [wire_bytes(transport, record) for record in ending.records[1:]]
        waiting = sum(sizes[-entry["events"] :])
        assert waiting - max(sizes) < entry["bytes"] <= waiting, (transport, entry, waiting)


def wire_bytes(transport, record):
    """How long a record is on the wire of its transport (EVENTS.md section 3)."""
    if transport == "sse":
        return len(f"id: {record.id}\ndata: \n\n") + len(record.text)
    if transport == "websocket":
        return len(record.text) + (2 if len(record.text) < 126 else 4)
    return len(record.text) + 1


def test_a_reader_goes_through_the_states(io, start_server, tmp_path):
    """Live, skipping, live again; and another one live, ending, gone."""
    server = start_server(*program.configured(tmp_path, {"limits": TIGHT}))
    skips = open_with_small_buffer(server, "tcp", on_lag="gap")
    ends = open_with_small_buffer(server, "tcp")
    _, subscribers = report(server)
    assert [(entry["state"], entry["events"]) for entry in subscribers] == [("live", 0)] * 2
    names = {peer_of(skips, "tcp"): "skipping", peer_of(ends, "tcp"): "ending"}
    batch = lines(100, 3_000)

    def both_are_cut():
        server.publish_batch(batch)
        return server.metric("fanout_laggards_total") >= 2

    wait_until(both_are_cut, "both to be cut")
    entries = wait_for_states(server, names)
    head = int(server.metric("fanout_head_seq"))
    entry = entries[peer_of(skips, "tcp")]
    assert entry["events"] + seq(entry["cursor"]) == head, "what waits and what is skipped"
    assert entry["channel"] == "**"
    assert entries[peer_of(ends, "tcp")]["channel"] is None
    collector = Collector({"skips": skips})
    collector.wait_for(b"$gap")
    entries = wait_for_states(server, {peer_of(skips, "tcp"): "live"})
    assert seq(entries[peer_of(skips, "tcp")]["cursor"]) == head
    gone = peer_of(ends, "tcp")
    assert read_to_end(ends).bye.json()["code"] == 4008
    wait_until(lambda: gone not in {entry["peer"] for entry in report(server)[1]}, "the ended reader to be gone")
    server.stop()
    (gap,) = collector.endings()["skips"].controls("$gap")
    assert gap["to"] == head


def test_a_reader_that_comes_back_is_replaying_until_it_is_at_the_head(io, start_server, tmp_path):
    """What it has yet to be sent is counted, whether or not it waits in the server; its cursor says how far it is."""
    server = start_server(*program.configured(tmp_path, {"limits": UNBOUNDED}))
    batch = lines(900, 1_000)
    for _ in range(4):
        head = server.publish_batch(batch)
    readers = {transport: open_with_small_buffer(server, transport, from_="start") for transport in TRANSPORTS}
    names = {peer_of(reader, transport): transport for transport, reader in readers.items()}
    # Until the kernel takes nothing more.
    pause(0.3)
    entries = wait_for_states(server, dict.fromkeys(names, "replaying"))
    for peer, entry in entries.items():
        assert seq(entry["cursor"]) + entry["events"] == head["seq"], (names[peer], entry)
        assert entry["events"] > 0 and 0 < entry["bytes"] <= 512 * 1024, (names[peer], entry)
    collector = Collector(readers)
    collector.wait_for(b'"seq":%d,' % head["seq"])
    entries = wait_for_states(server, dict.fromkeys(names, "live"))
    figures = {(entry["events"], entry["bytes"], entry["cursor"]) for entry in entries.values()}
    assert figures == {(0, 0, head["cursor"])}
    server.stop()
    for transport, ending in collector.endings().items():
        assert ending.seqs() == list(range(1, head["seq"] + 1)), transport


def test_top_says_how_many(io, start_server):
    server = start_server()
    readers = [open_reader(server, "sse", channel=[f"c/{number}"]) for number in range(30)]
    for reader in readers:
        reader.next_control("$hello")
    assert len(report(server)[1]) == 20
    assert len(report(server, "/v1/lag?top=1000")[1]) == 30
    assert len(report(server, "/v1/lag?top=3")[1]) == 3
    channels = {entry["channel"] for entry in report(server, "/v1/lag?top=30")[1]}
    assert channels == {f"c/{number}" for number in range(30)}
    for reader in readers:
        reader.close()


@pytest.mark.parametrize("top", ["0", "1001", "-1", "x", "", "01", "1.5", "3&top=3"])
def test_a_bad_top_is_refused(server, top):
    response = server.get(f"/v1/lag?top={top}")
    assert (response.status, response.error_code()) == (400, "bad_top")


def test_it_is_there_on_the_unix_socket_and_for_head_and_for_no_other_method(server):
    assert report(server, unix=True)
    for method, status in {"HEAD": 200, "POST": 405, "PUT": 405, "DELETE": 405}.items():
        with server.connect() as stream:
            stream.send(request(method, "/v1/lag", body=None if method == "HEAD" else b""))
            response = read_response(stream, of=method)
        assert response.status == status
        assert status == 200 or response.header("allow") == "GET, HEAD, OPTIONS"

"""`--data`: what an ack may be relied on for, who has the folder, and what a server is without its database."""

import json
import os
import random
import re
import stat

import pytest

import http1
import program
from backlog import greeted
from readers import open_reader
from stored import FILE, LOG, epoch_of, head_of, places, rows
from streams import ByteStream

# An answer that waits pauses its connection, and the database wakes the loop: on each backend.
pytestmark = pytest.mark.usefixtures("io")
LEVELS = ["accepted", "committed", "synced"]
ACK = re.compile(
    rb'\{"cursor":"[0-9a-f]{16}-([0-9]+)","seq":([0-9]+),"level":"([a-z]+)","dup":false,'
    rb'"subscribers":[0-9]+,"behind":[0-9]+(?:,"first":"[0-9a-f]{16}-[0-9]+","count":[0-9]+)?\}\n?'
)


def level_of(ack):
    """The level that an ack names; its form is checked."""
    match = ACK.fullmatch(ack)
    assert match and match[1] == match[2], ack
    return match[3].decode()


def envelope(event, **members):
    return json.dumps({"$publish": {"event": event, **members}}).encode() + b"\n"


@pytest.fixture
def server(life):
    return life.begin("--channel", "declared")


# Levels


def test_the_level_is_synced_where_nothing_is_said(server):
    assert level_of(server.post("{}").body) == "synced"
    assert level_of(server.post("{}\n{}\n", media=program.NDJSON).body) == "synced"
    assert level_of(server.post("{}", unix=True).body) == "synced"
    for channel in (None, "declared"):
        answer = server.ingest(b'{"$ack":true}\n{}\n' + envelope({}), channel=channel)
        assert [level_of(line) for line in answer.splitlines()] == ["synced", "synced"]


@pytest.mark.parametrize("level", LEVELS)
def test_an_ack_names_the_level_that_was_asked_for(server, level):
    assert level_of(server.post("{}", ack=level).body) == level
    batch = server.post("{}\n{}\n{}\n", media=program.NDJSON, ack=level)
    assert level_of(batch.body) == level and batch.json()["count"] == 3
    [line] = server.ingest(b'{"$ack":true}\n' + envelope({}, ack=level)).splitlines()
    assert level_of(line) == level


def test_no_ack_is_still_stored(life, server):
    response = server.post('{"n":1}', ack="none")
    assert (response.status, response.json()) == (202, {"level": "none"})
    assert server.ingest(b'{"n":2}\n{"n":3}') == b""
    assert server.ingest(b'{"$ack":true}\n' + envelope({"n": 4}, ack="none")) == b'{"level":"none"}\n'
    assert server.publish('{"n":5}')["level"] == "synced"
    again = life.again("killed")
    assert [event["n"] for event in again.get("/v1/history").json()["events"]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("level", ["replicated", "Synced", "", "1"])
def test_a_level_that_is_none_is_refused(server, level):
    response = server.post("{}", ack=level)
    assert response.status in (400, 409) and response.error_code() in ("bad_ack", "level_unavailable"), response
    assert server.get("/v1/history").json()["events"] == []


def test_without_a_database_no_more_can_be_had_than_accepted(io, start_server):
    server = start_server()
    assert level_of(server.post("{}").body) == "accepted"
    for level in ("committed", "synced"):
        response = server.post("{}", ack=level)
        assert (response.status, response.error_code()) == (409, "level_unavailable")
        answer = json.loads(server.ingest(b'{"$ack":true}\n' + envelope({}, ack=level)))
        assert answer["error"]["code"] == "level_unavailable"
    assert server.publish("{}")["seq"] == 2, "what was refused has no number"


# The order of answers


def test_lines_are_answered_in_their_order_whatever_each_waits_for(server):
    dice, lines, wanted = random.Random(3), [], []
    for number in range(400):
        kind = dice.choice([*LEVELS, "none", "bad", "plain"])
        lines.append(
            b"oops\n" if kind == "bad" else b'{"n":%d}\n' % number if kind == "plain" else envelope({}, ack=kind)
        )
        wanted.append("synced" if kind == "plain" else kind)
    with ByteStream.unix(server.ingest_socket) as stream:
        stream.send(b'{"$ack":true}\n')
        for start in range(0, len(lines), 25):
            stream.send(b"".join(lines[start : start + 25]))
        stream.finish()
        answers = [json.loads(line) for line in stream.rest().splitlines()]
    assert [answer.get("level", "bad") for answer in answers] == wanted
    numbers = [answer["seq"] for answer in answers if "seq" in answer]
    assert numbers == sorted(set(numbers))


def test_pipelined_requests_are_answered_in_their_order(server):
    dice, wanted = random.Random(4), []
    with server.connect() as stream:
        for number in range(120):
            kind = dice.choice([*LEVELS, "none", "bad", "health"])
            wanted.append(kind)
            if kind == "health":
                stream.send(http1.request("GET", "/healthz"))
            else:
                target = "/v1/events" if kind == "bad" else f"/v1/events?ack={kind}"
                body = b"oops" if kind == "bad" else b'{"n":%d}' % number
                stream.send(http1.request("POST", target, {"Content-Type": "application/json"}, body))
        for kind in wanted:
            response = http1.read_response(stream)
            if kind in ("bad", "health"):
                assert response.status == (400 if kind == "bad" else 200), (kind, response)
            else:
                assert response.json()["level"] == kind


def test_a_publisher_that_does_not_wait_for_its_answer_is_stored(life, server):
    """The connection ends before the ack could be written: nobody may stumble over that."""
    for number in range(50):
        with server.connect() as stream:
            body = b'{"n":%d}' % number
            stream.send(http1.request("POST", "/v1/events", {"Content-Type": "application/json"}, body))
        with ByteStream.unix(server.ingest_socket) as stream:
            stream.send(b'{"$ack":true}\n{"m":%d}\n' % number)
    server.publish('{"last":true}')
    events = life.again().get("/v1/history?limit=200").json()["events"]
    assert sorted(event["m"] for event in events if "m" in event) == list(range(50))


@pytest.mark.parametrize("level", ["committed", "synced"])
def test_what_was_acked_is_there_after_a_kill(life, server, level):
    acked = []
    for number in range(20):
        acked.append(server.publish('{"n":%d}' % number, ack=level)["seq"])
        batch = server.publish_batch(['{"n":-1}'] * 7, ack=level)
        acked += range(batch["seq"] - 6, batch["seq"] + 1)
    again = life.again("killed")
    assert [event["seq"] for event in again.get("/v1/history?limit=200").json()["events"]] == acked


def test_readers_have_an_event_before_or_with_its_ack(server):
    """`visible: accepted`, as channels are unless told otherwise."""
    with greeted(server, "unix") as reader:
        for _ in range(30):
            seq = server.publish("{}")["seq"]
            assert reader.next_event().json()["seq"] == seq


def test_channels_that_are_seen_when_synced_are_seen_whole_and_in_order(life):
    server = life.begin(configuration={"channels": {"safe/*": {"visible": "synced"}}})
    with greeted(server, "unix") as everything, greeted(server, "sse", channel=["safe/*"]) as safe:
        wanted, held = [], []
        for number in range(200):
            channel = ["safe/a", "plain", "safe/b", "plain"][number % 4]
            ack = server.publish('{"n":%d}' % number, channel=channel, ack=["accepted", "synced"][number % 3 == 0])
            # What one publisher is told is in order, whatever its readers wait for.
            assert ack["seq"] == number + 1
            wanted.append(ack["seq"])
            held += [ack["seq"]] * channel.startswith("safe")
        assert [everything.next_event().json()["seq"] for _ in wanted] == wanted
        records = [safe.next_event() for _ in held]
        assert [record.json()["seq"] for record in records] == held
        assert [record.id for record in records] == [f"{everything.greeting['epoch']}-{seq}" for seq in held]
    server.publish('{"n":200}')
    again = life.again("killed")
    with open_reader(again, "unix", from_="start") as reader:
        reader.next_control("$hello")
        assert [reader.next_event().json()["n"] for _ in range(201)] == list(range(201))


# The folder


def test_the_folder_and_its_files_are_their_owners_alone(life):
    before = os.umask(0)
    try:
        server = life.begin()
    finally:
        os.umask(before)
    server.publish("{}")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in life.data.iterdir()}
    assert {FILE, LOG} <= set(modes)
    assert stat.S_IMODE(life.data.stat().st_mode) == 0o700
    assert set(modes.values()) == {0o600}, modes


def test_after_a_stop_the_log_is_in_the_database_file(life, server):
    server.publish('{"n":1}')
    life.end()
    assert not (life.data / LOG).exists() or (life.data / LOG).stat().st_size == 0
    [[line]] = rows(life.data / FILE, "SELECT line FROM event")
    assert bytes(line).rstrip(b"\n") == b'{"seq":1,"channel":"events","n":1}'
    assert rows(life.data / FILE, "PRAGMA user_version") == [(2,)]


def test_a_second_server_on_the_folder_is_refused_and_the_first_goes_on(life, server):
    server.publish('{"n":1}')
    for flag in ([], ["--new-log"]):
        code, line = life.refused(*flag)
        assert code == 73 and str(life.data) in line, (code, line)
    assert server.publish('{"n":2}')["seq"] == 2
    again = life.again()
    assert [event["n"] for event in again.get("/v1/history").json()["events"]] == [1, 2]
    assert epoch_of(again) == epoch_of(life.again("stopped"))


def test_a_folder_that_cannot_be_is_refused_and_named(life):
    life.data.write_text("not a folder")
    code, line = life.refused()
    assert code == 74 and str(life.data) in line, (code, line)
    assert life.data.read_text() == "not a folder"


@pytest.mark.parametrize("what", ["no folder", "another server's", "damaged"])
def test_with_data_optional_a_server_without_its_database_warns_and_serves_from_memory(life, start_server, what):
    if what == "no folder":
        life.data.write_text("not a folder")
    elif what == "another server's":
        life.begin().publish("{}")
    else:
        life.begin().publish("{}")
        life.end()
        (life.data / FILE).write_bytes(b"damage" * 5_000)
    server = start_server("--data", life.data, "--data-optional")
    warning = server.stderr.wait_for(lambda line: b"warning" in line).decode()
    assert str(life.data) in warning, warning
    assert server.publish('{"n":1}')["level"] == "accepted"
    response = server.post("{}", ack="synced")
    assert (response.status, response.error_code()) == (409, "level_unavailable")
    with open_reader(server, "sse", from_="start") as reader:
        reader.next_control("$hello")
        assert reader.next_event().json()["n"] == 1
    if what == "another server's":
        assert life.server.publish("{}")["level"] == "synced"


def test_data_optional_changes_nothing_where_the_database_can_be_opened(life):
    server = life.begin("--data-optional")
    assert server.publish("{}")["level"] == "synced"
    head = head_of(server)
    assert head_of(life.again("stopped", "--data-optional")) == head
    assert "warning" not in life.server.stderr.text()


@pytest.mark.parametrize("way", ["flag", "variable", "file"])
def test_the_folder_is_named_by_flag_variable_or_file(io, start_server, tmp_path, way):
    data = tmp_path / "d"
    if way == "flag":
        server = start_server("--data", data)
    elif way == "variable":
        server = start_server(environment=program.clean_environment(FANOUT_DATA=str(data)))
    else:
        server = start_server(*program.configured(tmp_path, {"data": str(data)}))
    assert server.publish("{}")["level"] == "synced"
    assert (data / FILE).exists()


def test_a_server_that_never_got_an_event_leaves_nothing_wrong(life):
    epochs = [epoch_of(life.begin()), epoch_of(life.again()), epoch_of(life.again())]
    assert len(set(epochs)) == 1
    assert epoch_of(life.again("killed")) != epochs[0]
    assert life.server.publish("{}")["level"] == "synced"


def test_check_takes_what_serve_takes(tmp_path):
    _, file = program.configured(tmp_path, {"data": str(tmp_path / "d"), "channels": {"a": {"visible": "synced"}}})
    assert program.run("check", "--config", file).returncode == 0
    assert not (tmp_path / "d").exists(), "a check makes nothing"
    _, file = program.configured(tmp_path, {"channels": {"a": {"visible": "never"}}})
    ended = program.run("serve", *places(tmp_path), "--config", file)
    assert ended.returncode == 78 and b"visible" in ended.stderr

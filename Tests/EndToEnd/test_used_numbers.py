"""Numbers after a kill: they go on right behind those that were used, and what was lost of them is said, exactly."""

import os
from pathlib import Path

import pytest

from disks import FaultyDisk, compiled
from readers import open_reader
from stored import FILE, come_back, epoch_of, head_of, rows
from streams import wait_until

MEMORY = Path("/dev/shm")
SOME = ["unix", "tcp", "http-jsonl", "sse", "websocket"]
RESERVED = 131_072

pytestmark = pytest.mark.skipif(
    not os.access(MEMORY, os.W_OK) or not os.path.ismount(MEMORY), reason="no memory that outlives a process"
)


def said(life):
    """The file of a database that says how far its numbers were used."""
    status = (life.data / FILE).stat()
    return MEMORY / f"fanout-{os.geteuid()}-{status.st_dev}-{status.st_ino}"


@pytest.fixture(autouse=True)
def nothing_left(life):
    yield
    if life.server is not None:
        life.server.kill()
    if (life.data / FILE).exists():
        said(life).unlink(missing_ok=True)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def disk(life, library):
    faulty = FaultyDisk(library, life.data, life.folder / "control")
    yield faulty
    faulty.heal()


def publish(server, numbers):
    return [server.publish('{"n":%d}' % number)["seq"] for number in numbers]


def told(reader, until):
    """What a reader is told up to that event: events as their numbers, gaps without the name of the numbering."""
    found = []
    while not found or found[-1] != until:
        record = reader.next().json()
        if record.get("type") == "$gap":
            found.append({name: value for name, value in record.items() if name not in ("type", "epoch")})
        elif "seq" in record and "n" in record:
            found.append(record["seq"])
    return found


def lose(life, disk, count):
    """Publishes events that readers see and the database never has; then the server is gone."""
    server = life.server
    head = int(server.metric("fanout_head_seq"))
    with open_reader(server, "unix") as reader:
        reader.next_control("$hello")
        disk.set(sync_holds=1, write_holds=1)
        server.ingest(b'{"n":0}\n' * count)
        assert [reader.next_event().json()["seq"] for _ in range(count)] == list(range(head + 1, head + count + 1))
    life.end("killed")
    disk.heal()
    stored = rows(life.data / FILE, "SELECT coalesce(max(seq), 0) FROM event")[0][0]
    assert stored == head, "what was to be lost was stored"


def test_after_kills_numbers_go_on_without_a_hole_and_nobody_is_told_of_one(io, life):
    server, epochs, used = life.begin(), [], []
    for number in range(1, 40):
        used += publish(server, [number])
        epochs.append(epoch_of(server))
        if number % 8 == 0:
            server = life.again("killed")
    assert used == list(range(1, 40)) and len(set(epochs)) == 5
    for transport in SOME:
        for place in ("start", f"{epochs[0]}-3", f"{epochs[0]}-8", f"{epochs[-1]}-16", f"{epochs[-1]}-20"):
            first = 1 if place == "start" else int(place.partition("-")[2]) + 1
            with open_reader(server, transport, from_=place) as reader:
                assert told(reader, 39) == list(range(first, 40)), (transport, place)


def test_what_was_lost_is_one_gap_in_its_place(io, life, disk):
    server = life.begin(environment=disk.environment)
    before = epoch_of(server)
    assert publish(server, range(5)) == [1, 2, 3, 4, 5]
    lose(life, disk, 7)
    server = life.begin()
    now = epoch_of(server)
    assert publish(server, range(2)) == [13, 14] and now != before
    gap = {"from": 6, "to": 12, "why": "rewound"}
    for transport in SOME:
        with open_reader(server, transport, from_="start") as reader:
            assert told(reader, 14) == [1, 2, 3, 4, 5, {**gap, "dropped": 7}, 13, 14], transport
        with come_back(server, transport, f"{before}-3") as reader:
            assert told(reader, 14) == [4, 5, {**gap, "dropped": 7}, 13, 14], transport
        for place in (f"{before}-5", f"{now}-5"):
            with come_back(server, transport, place) as reader:
                assert told(reader, 14) == [{**gap, "dropped": 7}, 13, 14], transport
        for place in (6, 9, 12):
            with come_back(server, transport, f"{before}-{place}") as reader:
                assert told(reader, 14) == [gap, 13, 14], transport
        with come_back(server, transport, f"{now}-13") as reader:
            assert told(reader, 14) == [14], transport
    with come_back(server, "sse", f"{before}-9") as reader:
        record = reader.next_control("$gap")
        assert record.json()["epoch"] == before and record.id == f"{now}-12"
    answer = server.get(f"/v1/history?after={before}-5").json()
    assert {name: answer["gap"][name] for name in gap} == gap
    assert [event["seq"] for event in answer["events"]] == [13, 14]
    answer = server.get(f"/v1/history?after={before}-4").json()
    assert "gap" not in answer and [event["seq"] for event in answer["events"]] == [5, 13, 14]
    # The database keeps what it learned.
    server = life.again()
    with open_reader(server, "unix", from_="start") as reader:
        assert told(reader, 14) == [1, 2, 3, 4, 5, {**gap, "dropped": 7}, 13, 14]


def test_a_server_that_lost_everything_is_told_of_from_the_beginning(io, life, disk):
    server = life.begin(environment=disk.environment)
    before = epoch_of(server)
    lose(life, disk, 3)
    server = life.begin()
    assert publish(server, [1]) == [4]
    for place in ("start", f"{before}-0", f"{before}-2"):
        with open_reader(server, "sse", from_=place) as reader:
            gap = told(reader, 4)[0]
            assert (gap["from"], gap["to"], gap["why"]) == (1, 3, "rewound")


def test_the_file_is_there_while_the_server_runs_and_goes_with_a_clean_stop(io, life):
    server = life.begin()
    publish(server, range(3))
    file = said(life)
    status = file.stat()
    assert (status.st_mode & 0o777, status.st_uid, status.st_size) == (0o600, os.geteuid(), 24)
    assert int.from_bytes(file.read_bytes()[16:], "little") == 3
    server.stop()
    assert not file.exists()
    server = life.begin()
    assert publish(server, [3]) == [4] and file.exists()
    life.end("killed")
    assert file.exists()
    server = life.begin()
    assert publish(server, [4]) == [5]
    server.stop()
    assert not file.exists()


def damage(file, how):
    if how == "gone":
        file.unlink()
    elif how == "short":
        os.truncate(file, 16)
    elif how == "another file":
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)
        file.chmod(0o644)
    else:
        content = bytearray(file.read_bytes())
        places = {"no file of ours": (0, 0), "another numbering": (8, 1), "too few": (16, 2), "too many": (16, -1)}
        at, value = places[how]
        content[at : at + 8] = value.to_bytes(8, "little", signed=True)
        file.write_bytes(content)


@pytest.mark.parametrize(
    "how", ["gone", "short", "another file", "no file of ours", "another numbering", "too few", "too many"]
)
def test_where_nobody_knows_numbers_go_on_behind_all_that_were_reserved(io, life, how):
    server = life.begin()
    publish(server, range(3))
    before = epoch_of(server)
    life.end("killed")
    damage(said(life), how)
    server = life.begin()
    assert publish(server, [3]) == [RESERVED + 1]
    with open_reader(server, "unix", from_=f"{before}-1") as reader:
        assert told(reader, RESERVED + 1) == [2, 3, RESERVED + 1]
    # From here on it is known again.
    server = life.again("killed")
    assert publish(server, [4]) == [RESERVED + 2]
    assert head_of(server).endswith(f"-{RESERVED + 2}")


def test_a_second_server_on_the_folder_changes_nothing_of_it(io, life):
    server = life.begin()
    publish(server, range(3))
    content = said(life).read_bytes()
    assert life.refused()[0] == 73
    assert said(life).read_bytes() == content
    server = life.again("killed")
    assert publish(server, [3]) == [4]


def test_a_slow_disk_does_not_matter_to_what_is_said(io, life, disk):
    """What the database has not taken yet is used all the same."""
    server = life.begin(environment=disk.environment)
    publish(server, [1])
    disk.set(sync_holds=1, write_holds=1)
    server.ingest(b'{"n":2}\n' * 50)
    wait_until(lambda: server.metric("fanout_head_seq") == 51, "events to be numbered")
    assert int.from_bytes(said(life).read_bytes()[16:], "little") == 51
    disk.heal()

"""Files that are not what they should be: set aside or left alone, never overwritten."""

import random
import sqlite3
from contextlib import closing

import pytest

from backlog import filler
from endings import PATIENT, Collector, check_bye
from readers import open_reader, place
from stored import FILE, HIGH_WATER, come_back, epoch_of, head_of, rows

PAGE = 4096


def random_bytes(data, dice):
    return dice.randbytes(len(data))


def short_random_bytes(data, dice):
    return dice.randbytes(100)


def text(data, dice):
    return b"this was never a database\n" * 300


def half_of_it(data, dice):
    return data[: len(data) // 2 // PAGE * PAGE]


def cut_within_a_page(data, dice):
    return data[: len(data) // 3 // PAGE * PAGE + 1_234]


def flipped(*places):
    """Damage that flips a bit in each of these bytes."""

    def damage(data, dice):
        data = bytearray(data)
        for at in places:
            data[at] ^= 0x10
        return bytes(data)

    return damage


def first_page_zeroed(data, dice):
    return bytes(PAGE) + data[PAGE:]


def schema_rewritten(data, dice):
    assert data.count(b"CREATE TABLE event(") == 1
    return data.replace(b"CREATE TABLE event(", b"CREATE TABLE evint(")


# Each is found when the file is opened.
DAMAGE = {
    "random bytes": random_bytes,
    "a few random bytes": short_random_bytes,
    "text": text,
    "half of it": half_of_it,
    "cut within a page": cut_within_a_page,
    "the magic flipped": flipped(3),
    "the page size flipped": flipped(16),
    "the first page zeroed": first_page_zeroed,
    "the schema rewritten": schema_rewritten,
}


@pytest.fixture
def stopped(life):
    """A database of some hundred pages, stopped in order."""
    server = life.begin()
    life.head = server.publish_batch(filler(300, 960))["cursor"]
    life.end()
    return life


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_set_aside_and_starts_are_refused_until_a_new_log_is_asked_for(stopped, damage):
    life, file = stopped, stopped.data / FILE
    bad = DAMAGE[damage](file.read_bytes(), random.Random(7))
    file.write_bytes(bad)
    code, line = life.refused()
    [aside] = life.set_aside()
    assert code == 74 and aside.name in line, (code, line)
    assert not file.exists(), "nothing stands in its place"
    code, line = life.refused()
    assert code == 74 and aside.name in line and "--new-log" in line, (code, line)
    assert life.set_aside() == [aside] and not file.exists()
    server = life.begin("--new-log")
    assert epoch_of(server) != life.head.partition("-")[0]
    cursor = server.publish('{"n":1}')["cursor"]
    with come_back(server, "sse", life.head) as reader:
        assert reader.next_control("$gap").json()["why"] in ("unknown_epoch", "rewound")
        assert reader.next_event().json()["n"] == 1
    assert aside.read_bytes() == bad, "as it was"
    again = life.again()
    assert head_of(again) == cursor, "the damage of then is none of now"
    assert life.again("stopped", "--new-log").get("/v1/history").json()["head"] == cursor


def test_a_new_log_is_not_begun_where_the_old_one_is_sound(stopped):
    life = stopped
    server = life.begin("--new-log")
    assert head_of(server) == life.head and life.set_aside() == []
    assert len(server.get("/v1/history?limit=1000").json()["events"]) == 300
    life.end("killed")
    server = life.begin("--new-log")
    assert len(server.get("/v1/history?limit=1000").json()["events"]) == 300 and life.set_aside() == []


def test_a_new_log_with_damage_sets_it_aside_and_begins_at_once(stopped):
    life = stopped
    (life.data / FILE).write_bytes(b"x" * 100_000)
    server = life.begin("--new-log")
    [aside] = life.set_aside()
    assert aside.read_bytes() == b"x" * 100_000
    assert aside.name in server.stderr.text()
    assert epoch_of(server) != life.head.partition("-")[0]
    assert server.publish("{}")["level"] == "synced"


def test_numbers_go_on_behind_those_of_a_log_that_was_set_aside(stopped):
    """The high-water file is sound: what it says was used is not used again."""
    life = stopped
    (life.data / FILE).write_bytes(b"x" * 100_000)
    ack = life.begin("--new-log").publish("{}")
    assert ack["seq"] > 300


def test_a_database_that_is_gone_begins_a_new_log(stopped):
    """There is nothing to set aside, and nothing to lose."""
    life = stopped
    (life.data / FILE).unlink()
    server = life.begin()
    assert epoch_of(server) != life.head.partition("-")[0]
    assert server.publish("{}")["seq"] > 300


@pytest.mark.parametrize("content", [b"", b"nonsense", b"f" * 34, b"0" * 33 + b"\n", b"\xff" * 34, b"0" * 10_000])
def test_a_high_water_file_that_says_nothing_costs_the_epoch_and_no_event(stopped, content):
    life = stopped
    (life.data / HIGH_WATER).write_bytes(content)
    server = life.begin()
    assert epoch_of(server) != life.head.partition("-")[0]
    assert server.publish('{"n":1}')["seq"] > 300
    with come_back(server, "sse", place(life.head, -1)) as reader:
        assert [reader.next_event().json()["n"] for _ in range(2)] == [299, 1]


@pytest.mark.parametrize("damage", ["garbage", "the last frame cut", "bits flipped"])
def test_a_damaged_log_beside_a_sound_file_is_no_reason_to_lose_the_file(stopped, damage):
    """SQLite reads its log up to the first frame that is not whole: what was acked before is there, no nonsense is."""
    life = stopped
    server = life.begin()
    for n in range(20):
        server.publish('{"n":%d}' % (1000 + n))
    life.end("killed")
    log = life.data / f"{FILE}-wal"
    data = log.read_bytes()
    assert len(data) > 10 * PAGE
    if damage == "garbage":
        log.write_bytes(random.Random(1).randbytes(50_000))
    elif damage == "the last frame cut":
        log.write_bytes(data[:-1_000])
    else:
        middle = len(data) // 2
        log.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    server = life.begin()
    events = server.get("/v1/history?limit=1000").json()["events"]
    assert [event["n"] for event in events] == [*range(300), *range(1000, 1000 + len(events) - 300)]
    assert epoch_of(server) != life.head.partition("-")[0]
    with come_back(server, "sse", life.head) as reader:
        assert [reader.next_event().json()["n"] for _ in events[300:]] == [event["n"] for event in events[300:]]


# Another's


def changed(path, sql):
    with closing(sqlite3.connect(path)) as database:
        database.execute(sql)
        database.commit()


@pytest.mark.parametrize("flags", [[], ["--new-log"]], ids=["plain", "--new-log"])
@pytest.mark.parametrize("whose", ["newer", "other application", "no application", "other tables"])
def test_a_newer_versions_or_another_programs_file_is_refused_and_stays_as_it_is(life, whose, flags):
    if whose == "newer":
        life.begin().publish("{}")
        life.end()
        changed(life.data / FILE, "PRAGMA user_version = 3")
    else:
        life.data.mkdir()
        changed(life.data / FILE, "CREATE TABLE customers(name)")
        if whose == "other application":
            changed(life.data / FILE, "PRAGMA application_id = 1")
        elif whose == "other tables":
            changed(life.data / FILE, "PRAGMA user_version = 1")
    before = life.files()
    code, line = life.refused(*flags)
    assert code == 78 and str(life.data) in line, (code, line)
    after = life.files()
    assert {name: after[name] for name in before} == before, "not a byte is another"
    assert all(after[name] == b"" for name in set(after) - set(before)) and life.set_aside() == []


def test_a_folder_with_other_things_in_it_is_taken_and_they_are_left_alone(life):
    life.data.mkdir()
    (life.data / "notes.txt").write_text("mine")
    (life.data / "events.db.bak").write_bytes(b"older")
    life.begin().publish("{}")
    life.again()
    assert (life.data / "notes.txt").read_text() == "mine"
    assert (life.data / "events.db.bak").read_bytes() == b"older"


# While it runs


def test_damage_that_a_reader_meets_ends_the_server_and_is_set_aside(life):
    """The pages of old events are overwritten behind the server's back; its cache is much smaller than the file."""
    server = life.begin("--history", "1M", configuration=PATIENT)
    for _ in range(14):
        server.publish_batch(filler(1_000))
    server = life.again("stopped", "--history", "1M")
    file = life.data / FILE
    pages = file.stat().st_size // PAGE
    assert pages > 3_000
    dice = random.Random(3)
    with open(file, "r+b") as damaged:
        for page in range(pages // 4, pages * 3 // 4):
            damaged.seek(page * PAGE)
            damaged.write(dice.randbytes(PAGE))
    bystander = open_reader(server, "sse")
    bystander.next_control("$hello")
    collector = Collector({"sse": bystander, "unix": come_back(server, "unix", f"{epoch_of(server)}-0")})
    assert server.wait() == 74, server.stderr.text()
    endings = collector.endings()
    check_bye("sse", endings["sse"], 1012, "restarting", comes_back=True)
    ending = endings["unix"]
    assert ending.bye is not None and ending.bye.json()["code"] in (1011, 1012)
    came = ending.seqs()
    assert came == list(range(1, len(came) + 1)), "not one event that is none"
    [aside] = life.set_aside()
    assert aside.name in server.stderr.text()
    assert server.socket_files() == []
    code, line = life.refused()
    assert code == 74 and aside.name in line
    server = life.begin("--new-log")
    assert server.publish("{}")["level"] == "synced"


def test_the_tables_are_as_they_are_documented(stopped):
    """Whoever keeps a backup reads it with any SQLite."""
    life = stopped
    names = {name for [name] in rows(life.data / FILE, "SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert {"log", "incarnation", "channel", "event", "key", "producer"} <= names
    assert rows(life.data / FILE, "PRAGMA application_id") == [(0x66616E6F,)]
    assert rows(life.data / FILE, "SELECT count(*), min(seq), max(seq) FROM event") == [(300, 1, 300)]
    assert rows(life.data / FILE, "PRAGMA integrity_check") == [("ok",)]

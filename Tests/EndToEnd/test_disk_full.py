"""Small disks that fill up while events come, and folders that go away: nothing acked is lost, nothing restarts."""

import json
import shutil
import threading
import time

import pytest

from disks import Question, fill_up, small_disk, take
from endings import PATIENT, Collector, check_bye, pause
from readers import open_reader
from stored import FILE, LOG, come_back, epoch_of
from streams import wait_until
from test_disk_faults import in_history, is_refused, publish_numbered

SIZES = [4, 8, 16]


def page_of(server, **query):
    pairs = "&".join(f"{name}={value}" for name, value in query.items())
    return server.get(f"/v1/history?{pairs}").json()


def numbers_stored(server):
    """The `n` of every event, from the first on."""
    found, after = [], f"{epoch_of(server)}-0"
    while after:
        page = page_of(server, after=after, limit=10_000)
        found += [event["n"] for event in page["events"] if "n" in event]
        after = page["next"]
    return found


def numbers_of(batches):
    """The `n` of each event of these batches."""
    return [n for at in sorted(batches) for n in range(at * 20, at * 20 + 20)]


class Filling:
    """A server whose disk half is somebody else's, and a publisher who goes on until it is full."""

    def __init__(self, start_server, folder, mebibytes, arguments):
        self.folder = folder
        self.ballast = folder / "ballast"
        take(self.ballast, mebibytes // 2)
        self.start = lambda: start_server("--data", folder / "data", *arguments)
        self.server = self.start()
        # By key: what was sent; whether it was acked; who still waits for an answer.
        self.sent, self.acked, self.waiting = 0, [], []
        self.collector = Collector({each: open_reader(self.server, each, from_="start") for each in ("sse", "unix")})

    def publish(self, within):
        """One batch of twenty kilobytes: acked, refused (False), or left waiting."""
        at = self.sent
        lines = "".join('{"n":%d,"f":"%s"}\n' % (at * 20 + n, "x" * 1_000) for n in range(20))
        question = Question(self.server, lines, media="application/x-ndjson")
        self.sent += 1
        response = question.answer(within)
        if response is None:
            self.waiting.append((at, question))
            return None
        return self.judge(at, response)

    def judge(self, at, response):
        if response.status == 503:
            assert response.error_code() == "storage_full" and response.header("retry-after"), response
            return False
        assert response.status == 200 and response.json()["level"] == "synced", response
        self.acked.append(at)
        return True

    def fill(self):
        """Until nothing goes any more, also when the server has tried to help itself."""
        refusals = 0
        while refusals < 2:
            if self.publish(within=1) is False:
                refusals += 1
                pause(0.6)
            else:
                refusals = 0

    def check_while_full(self):
        server = self.server
        assert is_refused(server, "storage_full", ack="none")
        answer = json.loads(server.ingest(b'{"$ack":true}\n{"n":-1}\n'))
        assert answer["error"]["code"] == "storage_full"
        answers = [each.answer(0.02) for _, each in self.waiting]
        assert answers == [None] * len(answers), "no ack for what is not stored"
        acked, shown = numbers_of(self.acked), set(numbers_stored(server))
        assert shown >= set(acked) and shown <= {*acked, *self.unanswered()}
        with open_reader(server, "websocket", from_="start") as reader:
            reader.next_control("$hello")
            assert [reader.next_event().json()["seq"] for _ in range(len(self.acked) * 20)]
        assert server.get("/readyz").status == 200

    def unanswered(self):
        return numbers_of(at for at, _ in self.waiting)

    def free(self):
        self.ballast.unlink()
        freed = time.monotonic()
        while True:
            if self.publish(within=5):
                break
            pause(0.02)
        took = time.monotonic() - freed
        for at, question in self.waiting:
            assert self.judge(at, question.answer()), "what waited is stored and acked"
        self.waiting = []
        for _ in range(5):
            assert self.publish(within=10)
        return took

    def check_end(self):
        stored = numbers_stored(self.server)
        assert stored == numbers_of(self.acked)
        epoch = epoch_of(self.server)
        self.server.stop()
        for transport, ending in self.collector.endings().items():
            assert ending.seqs() == list(range(1, len(stored) + 1)), transport
            assert [event["n"] for event in ending.events()] == stored
            assert ending.controls("$gap") == []
            check_bye(transport, ending, 1001, "shutdown", comes_back=True)
        self.server = self.start()
        assert numbers_stored(self.server) == stored and epoch_of(self.server) == epoch
        self.server.stop()


@pytest.fixture
def disks(tmp_path):
    """Mounts small disks, which are gone after the test."""
    mounts = []

    def mount(mebibytes):
        mounts.append(small_disk(tmp_path / f"disk{len(mounts)}", mebibytes))
        return mounts[-1].__enter__()

    yield mount
    for mounted in reversed(mounts):
        mounted.__exit__(None, None, None)


@pytest.fixture
def patient(tmp_path):
    path = tmp_path / "fanout.json"
    path.write_text(json.dumps(PATIENT))
    return ["--config", path]


def test_disks_that_fill_up_refuse_and_go_on_within_a_second_of_space(io, disks, start_server, patient):
    """Disks of 4, 8 and 16 MiB, at once."""
    fillings = [Filling(start_server, disks(size), size, patient) for size in SIZES]
    faults = []

    def trial(filling):
        try:
            filling.fill()
            assert filling.acked, "something fitted"
            filling.check_while_full()
            took = filling.free()
            assert took < 3, f"it took {took:.1f} s"
            filling.check_end()
        except BaseException as error:
            faults.append(error)

    trials = [threading.Thread(target=trial, args=[filling], daemon=True) for filling in fillings]
    for each in trials:
        each.start()
    for each in trials:
        each.join()
    if faults:
        raise faults[0]


def test_emptying_the_log_is_enough_where_nothing_else_can_be_had(disks, start_server, tmp_path):
    """A database that keeps its size, beside a file that leaves hardly any room: much more passes through it."""
    folder = disks(16)
    file = tmp_path / "fanout.json"
    limits = PATIENT["channels"]["**"]["limits"]
    file.write_text(json.dumps({"channels": {"**": {"limits": limits, "retention": {"bytes": 400_000}}}}))
    server = start_server("--data", folder / "data", "--config", file)
    lines = "".join('{"f":"%s"}\n' % ("x" * 1_000) for _ in range(20))
    for _ in range(100):
        server.publish_batch(lines.splitlines())
    server.stop()
    server = start_server("--data", folder / "data", "--config", file)
    wait_until(lambda: len(page_of(server, limit=1_000)["events"]) < 400, "retention to have its way")
    # A stop empties the log, which what it has left to do fills again.
    while (folder / "data" / LOG).stat().st_size > 100_000:
        server.stop()
        server = start_server("--data", folder / "data", "--config", file)
        pause(0.1)
    fill_up(folder / "other", leaving=600_000)
    acked, refused, deadline = [], 0, time.monotonic() + 20
    while len(acked) < 45:
        assert time.monotonic() < deadline, f"{len(acked)} of 45 batches, {refused} refused"
        question = Question(server, lines, media="application/x-ndjson")
        response = question.answer()
        if response.status == 503:
            assert response.error_code() == "storage_full", response
            refused += 1
            pause(0.05)
            continue
        acked.append(response.json()["seq"])
        # Retention looks once a second: what comes in the meantime must have room, in pages that were freed before.
        pause(0.04)
    assert "publications are refused" in server.stderr.text(), f"it was full at least once: {server.stderr.text()}"
    assert acked == list(range(2_020, 2_901, 20))
    server.stop()
    server = start_server("--data", folder / "data", "--config", file)
    events = page_of(server, limit=1_000)["events"]
    assert [event["seq"] for event in events] == list(range(2_901 - len(events), 2_901)) and len(events) > 300


def test_a_kill_and_a_start_on_a_full_disk_lose_nothing_that_was_acked(disks, start_server, patient):
    folder = disks(4)
    filling = Filling(start_server, folder, 4, patient)
    filling.fill()
    filling.server.kill()
    acked = numbers_of(filling.acked)
    try:
        # Whether it can start there is the disk's affair; nothing may be damaged by trying.
        filling.start().kill()
    except Exception:
        pass
    filling.ballast.unlink()
    filling.server = filling.start()
    stored = numbers_stored(filling.server)
    assert stored[: len(acked)] == acked and set(stored) <= {*acked, *filling.unanswered()}
    assert not list((folder / "data").glob("*corrupt*"))
    assert filling.publish(within=10)


def test_somebody_elses_file_that_takes_all_the_space_is_the_same(io, disks, start_server, patient):
    """To the last byte, at once, between two transactions."""
    folder = disks(8)
    server = start_server("--data", folder / "data", *patient)
    publish_numbered(server, range(10))
    fill_up(folder / "other")
    waiting = []
    while not is_refused(server, "storage_full", ack="accepted"):
        question = Question(server, '{"f":"%s"}' % ("x" * 100_000))
        if question.answer(0.2) is None:
            waiting.append(question)
    assert in_history(server)[:10] == list(range(10))
    (folder / "other").unlink()
    freed = time.monotonic()
    wait_until(lambda: not is_refused(server, "storage_full"), "the server to go on")
    assert time.monotonic() - freed < 3
    assert {question.answer().status for question in waiting} <= {200}
    publish_numbered(server, [10])
    assert in_history(server) == list(range(11))


# A folder that goes away


def test_a_folder_that_is_moved_away_is_missed_and_found_again(life):
    server = life.begin()
    publish_numbered(server, range(5))
    reader = come_back(server, "sse", f"{epoch_of(server)}-3")
    away = life.folder / "away"
    life.data.rename(away)
    caught = Question(server, '{"n":100}')
    wait_until(lambda: is_refused(server, "storage_readonly", ack="accepted"), "the server to notice")
    assert not life.data.exists(), "it is not made anew behind the operator's back"
    assert in_history(server)[:5] == list(range(5)) and server.get("/readyz").status == 200
    waits = caught.answer(0.1)
    away.rename(life.data)
    back = time.monotonic()
    wait_until(lambda: not is_refused(server, "storage_readonly"), "the server to go on")
    assert time.monotonic() - back < 3
    assert (waits or caught.answer()).status in (200, 503)
    publish_numbered(server, [5])
    stored = in_history(server)
    assert [reader.next_event().json()["seq"] for _ in range(2)] == [4, 5]
    reader.close()
    server = life.again("stopped")
    assert in_history(server) == stored and stored[:5] == list(range(5)) and stored[-1] == 5


def test_a_database_that_was_deleted_takes_no_more_events_and_is_never_made_anew_unasked(start_server, tmp_path):
    servers = {}
    for what in ("the folder", "the file", "another file in its place"):
        data = tmp_path / what.replace(" ", "-")
        server = servers[what] = start_server("--data", data)
        server.data = data
        publish_numbered(server, range(5))
        if what == "the folder":
            shutil.rmtree(data)
        else:
            (data / FILE).unlink()
            if what != "the file":
                (data / FILE).write_bytes(b"mine")
        server.caught = Question(server, '{"n":100}')
    for server in servers.values():
        wait_until(lambda at=server: is_refused(at, "storage_readonly", ack="accepted"), "the server to notice")
    pause(1.2)
    for server in servers.values():
        assert is_refused(server, "storage_readonly")
        server.waits = server.caught.answer(0.05)
        assert server.waits is None or server.waits.status == 503
        with open_reader(server, "sse", from_="start") as reader:
            reader.next_control("$hello")
            assert [reader.next_event().json()["n"] for _ in range(5)] == list(range(5)), (
                "what was stored is still read"
            )
        assert server.get("/readyz").status == 200
        server.caught.stream.close()
        server.signal(15)
    for what, server in servers.items():
        assert server.wait() == 74
        assert (server.data / FILE).exists() == (what == "another file in its place")
    assert (servers["another file in its place"].data / FILE).read_bytes() == b"mine"

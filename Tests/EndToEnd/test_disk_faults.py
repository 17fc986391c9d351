"""A disk that waits, refuses or breaks under a running server: what is acked then, and what goes on."""

import contextlib
import errno
import json
import os
import threading
import time

import pytest

import http1
from backlog import filler, greeted
from disks import FaultyDisk, Question, compiled
from endings import PATIENT, TRANSPORTS, Collector, check_bye, pause
from readers import open_reader
from stored import come_back, epoch_of, head_of
from streams import ByteStream, wait_until

# How long nothing must happen before it counts as not happening.
A_WHILE = 0.4
# Where there is memory that outlives a process, a server remembers which numbers it had given when it was killed.
REMEMBERS = os.path.ismount("/dev/shm")


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def disk(life, library):
    faulty = FaultyDisk(library, life.data, life.folder / "control")
    yield faulty
    faulty.heal()


def begin(life, disk, *arguments, **options):
    return life.begin(*arguments, environment=disk.environment, **options)


def publish_numbered(server, numbers, **query):
    return [server.publish('{"n":%d}' % n, **query)["cursor"] for n in numbers]


def in_history(server):
    events = server.get("/v1/history?limit=10000").json()["events"]
    return [event["n"] for event in events if "n" in event]


def is_refused(server, code, **query):
    """Whether publishing is refused now, which must be said with this code."""
    response = server.post("{}", **query)
    if response.status in (200, 202):
        return False
    assert (response.status, response.error_code()) == (503, code), response
    assert int(response.header("retry-after")) >= 1
    return True


def check_rewound(reader, epoch, first, last):
    """A `$gap` of the numbers that an end by force took back."""
    gap = reader.next_control("$gap").json()
    assert gap.get("dropped", last - first + 1) == last - first + 1, gap
    gap.pop("dropped", None)
    assert gap == {"type": "$gap", "epoch": epoch, "from": first, "to": last, "why": "rewound"}


# A slow disk


def test_nobody_waits_for_the_disk_but_who_asked_to(life, disk):
    server = begin(life, disk)
    reader = greeted(server, "sse")
    publish_numbered(server, [0])
    reader.next_event()
    disk.set(sync_holds=1)
    waiting = [Question(server, '{"n":1}'), Question(server, '{"n":2}', ack="synced")]
    line = ByteStream.unix(server.ingest_socket)
    line.send(b'{"$ack":true}\n{"n":3}\n')
    assert sorted(reader.next_event().json()["n"] for _ in range(3)) == [1, 2, 3], "readers have it at once"
    assert server.publish('{"n":4}', ack="accepted")["level"] == "accepted"
    assert server.post('{"n":5}', ack="none").status == 202
    assert [reader.next_event().json()["n"] for _ in range(2)] == [4, 5]
    assert server.get("/healthz").status == server.get("/readyz").status == 200
    assert sorted(in_history(server)) == list(range(6))
    assert [each.answer(A_WHILE / 4) for each in waiting] == [None, None]
    disk.heal()
    assert [each.answer().json()["level"] for each in waiting] == ["synced", "synced"]
    assert json.loads(line.until(b"\n"))["level"] == "synced"


def test_committed_does_not_wait_for_the_disk_to_sync(life, disk):
    server = begin(life, disk)
    publish_numbered(server, [0])
    disk.set(sync_holds=1)
    assert server.publish('{"n":1}', ack="committed")["level"] == "committed"
    disk.heal()
    server = life.again("killed")
    assert in_history(server) == [0, 1]


def test_committed_waits_until_the_kernel_has_it(life, disk):
    server = begin(life, disk)
    publish_numbered(server, [0])
    disk.set(write_holds=1)
    question = Question(server, '{"n":1}', ack="committed")
    assert server.publish('{"n":2}', ack="accepted")["level"] == "accepted"
    assert question.answer(A_WHILE) is None
    disk.heal()
    assert question.answer().json()["level"] == "committed"


def test_channels_that_are_seen_when_synced_hold_back_what_is_behind_them(life, disk):
    server = begin(life, disk, configuration={"channels": {"safe": {"visible": "synced"}}})
    first = publish_numbered(server, [0])[0]
    everything = {transport: come_back(server, transport, first) for transport in TRANSPORTS}
    plain = greeted(server, "unix", channel=["plain"])
    disk.set(sync_holds=1)
    publish_numbered(server, [1], channel="plain", ack="accepted")
    assert plain.next_event().json()["n"] == 1
    question = Question(server, '{"n":2}', channel="safe")
    wait_until(lambda: disk.count("syncs") > 0 and server.get("/v1/channels").status == 200, "the event to come")
    pause(A_WHILE / 4)
    publish_numbered(server, [3], channel="plain", ack="accepted")
    for reader in everything.values():
        assert reader.next_event().json()["n"] == 1
    assert in_history(server) == [0, 1] and head_of(server).endswith("-2"), "history is what readers see"
    late = greeted(server, "sse")
    assert late.greeting["seq"] == 2
    assert question.answer(A_WHILE) is None
    for reader in [*everything.values(), plain, late]:
        reader.stream.socket.settimeout(0.01)
        with pytest.raises(TimeoutError):
            reader.next()
        reader.stream.socket.settimeout(30)
    disk.heal()
    assert question.answer().json()["seq"] == 3
    for transport, reader in everything.items():
        assert [reader.next_event().json()["n"] for _ in range(2)] == [2, 3], transport
    assert [late.next_event().json()["n"] for _ in range(2)] == [2, 3]
    assert plain.next_event().json()["n"] == 3


def test_what_was_held_back_in_a_kill_was_seen_by_nobody(life, disk):
    server = begin(life, disk, configuration={"channels": {"**": {"visible": "synced"}}})
    last = publish_numbered(server, range(3))[-1]
    reader = greeted(server, "sse")
    disk.set(write_holds=1)
    questions = [Question(server, '{"n":%d}' % n) for n in range(3, 6)]
    assert questions[0].answer(A_WHILE) is None
    server.kill()
    assert reader.stream.rest() == b"" and all(each.stream.rest() == b"" for each in questions)
    disk.heal()
    server = life.begin()
    assert in_history(server) == [0, 1, 2]
    publish_numbered(server, [9])
    with come_back(server, "sse", last) as again:
        if REMEMBERS:
            check_rewound(again, last.partition("-")[0], 4, 6)
        assert again.next_event().json()["n"] == 9


def test_many_publishers_share_the_disks_syncs(life, disk):
    """Group commit: a sync serves everybody who came while the last one ran."""
    server = begin(life, disk)
    publish_numbered(server, [0])
    disk.set(sync_delay_ms=20)
    before, streams = disk.count("syncs"), [server.connect() for _ in range(32)]
    request = http1.request("POST", "/v1/events", {"Content-Type": "application/json"}, b"{}")
    for _ in range(10):
        for stream in streams:
            stream.send(request)
        for stream in streams:
            assert http1.read_response(stream).json()["level"] == "synced"
    assert 10 <= disk.count("syncs") - before <= 80, "of 320 acks"


def test_who_publishes_more_than_a_slow_disk_takes_is_slowed_and_loses_nothing(life, disk):
    server = begin(life, disk)
    publish_numbered(server, [0])
    disk.set(write_holds=1)
    count = 300_000
    block = b'{"m":1}\n' * 1_000

    def send():
        with ByteStream.unix(server.ingest_socket) as stream, contextlib.suppress(OSError):
            for _ in range(count // 1_000):
                stream.send(block)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    heads = [0, -1]
    while heads[-1] != heads[-2]:
        pause(A_WHILE)
        heads.append(int(head_of(server).partition("-")[2]))
    assert 1_000 < heads[-1] < count, "it rests; everything else goes on"
    assert server.get("/healthz").status == 200
    disk.heal()
    wait_until(lambda: head_of(server).endswith(f"-{count + 1}"), "the rest")
    sender.join()
    last = server.publish('{"n":1}')["cursor"]
    server = life.again("killed")
    with come_back(server, "unix", f"{epoch_of(server)}-{count}") as reader:
        assert reader.next_event().json()["m"] == 1
        assert reader.next_event().json()["seq"] == int(last.partition("-")[2]) == count + 2


def test_what_was_seen_and_not_stored_in_a_kill_is_one_exact_gap_for_each_reader(life, disk):
    server = begin(life, disk, configuration=PATIENT)
    last = publish_numbered(server, range(5))[-1]
    epoch = last.partition("-")[0]
    readers = {transport: come_back(server, transport, f"{epoch}-0") for transport in TRANSPORTS}
    disk.set(write_holds=1)
    publish_numbered(server, range(5, 9), ack="accepted")
    seen = {transport: [reader.next_event().json()["seq"] for _ in range(9)] for transport, reader in readers.items()}
    assert set(map(tuple, seen.values())) == {tuple(range(1, 10))}
    server.kill()
    disk.heal()
    server = life.begin()
    assert in_history(server) == list(range(5))
    new = [int(cursor.partition("-")[2]) for cursor in publish_numbered(server, [50, 51])]
    assert min(new) > 9, "no number means two events"
    for transport in TRANSPORTS:
        for place in (5, 6, 9):
            with come_back(server, transport, f"{epoch}-{place}") as reader:
                if REMEMBERS or place > 5:
                    check_rewound(reader, epoch, 6, 9 if REMEMBERS else place)
                assert [reader.next_event().json()["seq"] for _ in range(2)] == new, transport


# A disk that refuses


@pytest.mark.parametrize(
    "error, code", [("ENOSPC", "storage_full"), ("EDQUOT", "storage_full"), ("EROFS", "storage_readonly")]
)
def test_while_the_disk_refuses_nothing_is_acked_and_afterwards_everything_goes_on(life, disk, error, code):
    server = begin(life, disk)
    publish_numbered(server, range(5))
    readers = {transport: come_back(server, transport, f"{epoch_of(server)}-0") for transport in TRANSPORTS}
    collector = Collector(readers)
    disk.set(write_error=getattr(errno, error))
    caught = [Question(server, '{"n":%d}' % (100 + n)) for n in range(3)]
    wait_until(lambda: is_refused(server, code, ack="accepted"), "the server to notice")
    for ack in ("none", "accepted", "committed", "synced"):
        assert is_refused(server, code, ack=ack), ack
    lines = b'{"$ack":true}\n{"n":-1}\n{"$publish":{"event":{"n":-1},"ack":"none"}}\n'
    answers = [json.loads(line) for line in server.ingest(lines).splitlines()]
    assert [answer["error"]["code"] for answer in answers] == [code, code], "line for line"
    assert server.ingest(b'{"n":-1}\n') == b""
    # Readers, and those who come, are served.
    for transport in TRANSPORTS:
        with open_reader(server, transport, from_="start") as reader:
            reader.next_control("$hello")
            assert [reader.next_event().json()["n"] for _ in range(5)] == list(range(5))
    assert in_history(server)[:5] == list(range(5))
    assert server.get("/readyz").status == server.get("/healthz").status == 200
    # Each is answered: certainly not stored (503), or not yet.
    answered = [each.answer(0.05) for each in caught]
    assert all(each is None or each.status == 503 for each in answered), answered
    disk.heal()
    healed = time.monotonic()
    wait_until(lambda: not is_refused(server, code), "the server to go on")
    assert time.monotonic() - healed < 3, "about a second"
    kept = [100 + n for n, each in enumerate(answered) if each is None]
    late = [each.answer().json()["level"] for each, was in zip(caught, answered, strict=True) if was is None]
    assert late == ["synced"] * len(kept)
    publish_numbered(server, [9])
    stored = in_history(server)
    assert -1 not in stored, "what was refused was not stored"
    assert sorted(n for n in stored if n >= 100) == kept and stored[:5] == list(range(5)) and stored[-1] == 9
    epoch = epoch_of(server)
    server.stop()
    for transport, ending in collector.endings().items():
        assert ending.seqs() == list(range(1, len(ending.seqs()) + 1)), "no number without its event"
        assert [event["n"] for event in ending.events() if "n" in event] == stored, transport
        assert ending.controls("$gap") == []
        check_bye(transport, ending, 1001, "shutdown", comes_back=True)
    server = life.begin()
    assert in_history(server) == stored and epoch_of(server) == epoch, "the end was a clean one"


def test_a_refusing_disk_is_said_to_the_operator_once_and_not_a_thousand_times(life, disk):
    server = begin(life, disk)
    publish_numbered(server, [0])
    disk.set(write_error=errno.ENOSPC)
    wait_until(lambda: server.post("{}", ack="accepted").status == 503, "the server to notice")
    for _ in range(500):
        server.post("{}", ack="accepted")
    server.ingest(b"{}\n" * 5_000)
    text = server.stderr.text()
    assert str(life.data) in text and "full" in text, text
    assert len(text.splitlines()) < 12, text
    disk.heal()
    wait_until(lambda: server.post("{}").status == 200, "the server to go on")


def test_a_stop_while_the_disk_refuses_ends_and_the_next_server_has_all_that_was_acked(life, disk):
    server = begin(life, disk)
    publish_numbered(server, range(5))
    disk.set(write_error=errno.ENOSPC)
    question = Question(server, '{"n":100}')
    wait_until(lambda: server.post("{}", ack="accepted").status == 503, "the server to notice")
    server.signal(15)
    assert b" 200 " not in question.stream.rest().partition(b"\r\n")[0], "it was not stored"
    question.stream.close()
    assert server.wait() == 74
    assert server.socket_files() == []
    disk.heal()
    server = life.begin()
    assert in_history(server) in (list(range(5)), [0, 1, 2, 3, 4, 100])
    assert server.publish("{}")["level"] == "synced"


@pytest.mark.parametrize("error", ["ENOSPC", "EROFS", "EIO"])
def test_a_start_on_a_disk_that_takes_nothing_is_refused(life, disk, error, start, start_server):
    begin(life, disk)
    head = publish_numbered(life.server, range(3))[-1]
    life.end()
    disk.set(write_error=getattr(errno, error))
    places = ["--runtime-dir", life.folder / "run", "--listen", "127.0.0.1:0"]
    process = start("serve", "--data", life.data, *places, environment=disk.environment)
    assert process.wait() == 74
    assert str(life.data) in process.stderr.text() and error in process.stderr.text()
    optional = start_server("--data", life.data, "--data-optional", environment=disk.environment)
    assert optional.publish("{}")["level"] == "accepted"
    assert "warning" in optional.stderr.text()
    optional.stop()
    disk.heal()
    server = life.begin()
    assert in_history(server) == [0, 1, 2]
    with come_back(server, "sse", head) as reader:
        publish_numbered(server, [3])
        assert reader.next_event().json()["n"] == 3


# A disk that breaks


@pytest.mark.parametrize("field", ["sync_error", "write_error"])
def test_an_error_of_the_disk_ends_the_server_and_nothing_was_acked_that_is_not_there(life, disk, field):
    server = begin(life, disk)
    publish_numbered(server, range(20))
    readers = {transport: come_back(server, transport, f"{epoch_of(server)}-0") for transport in TRANSPORTS}
    collector = Collector(readers)
    collector.wait_for(b'"n":19}')
    disk.set(**{field: errno.EIO})
    question = Question(server, '{"n":20}')
    with ByteStream.unix(server.ingest_socket) as line:
        line.send(b'{"$ack":true}\n{"n":21}\n')
        assert server.wait() == 74
        assert b"cursor" not in line.rest()
    assert b"cursor" not in question.stream.rest()
    assert "EIO" in server.stderr.text() and str(life.data) in server.stderr.text()
    assert server.socket_files() == []
    if field == "sync_error":
        assert disk.count("syncs_failed") == 1, "the kernel is not asked again: it might say yes and not have it"
    lasts = {}
    for transport, ending in collector.endings().items():
        assert ending.seqs()[:20] == list(range(1, 21)), transport
        bye = check_bye(transport, ending, 1012, "restarting", comes_back=True)
        lasts[transport] = (bye["last"], ending.seqs()[-1])
    disk.heal()
    server = life.begin()
    kept = in_history(server)
    assert kept[:20] == list(range(20)) and set(kept[20:]) <= {20, 21}
    new = publish_numbered(server, [50])[0]
    for transport, (last, seen) in lasts.items():
        with come_back(server, transport, last) as reader:
            record = reader.next().json()
            if record.get("type") == "$gap":
                assert (record["why"], record["from"], record["to"]) == ("rewound", len(kept) + 1, seen), transport
                record = reader.next_event().json()
            while record["n"] != 50:
                record = reader.next_event().json()
            assert f"-{record['seq']}" in new


def test_an_error_of_the_disk_at_the_stop_is_said_and_costs_the_epoch_alone(life, disk):
    server = begin(life, disk)
    last = publish_numbered(server, range(5))[-1]
    disk.set(sync_error=errno.EIO)
    server.signal(15)
    assert server.wait() == 74 and "EIO" in server.stderr.text()
    assert disk.count("syncs_failed") == 1
    disk.heal()
    server = life.begin()
    assert in_history(server) == list(range(5)) and epoch_of(server) != last.partition("-")[0]


def test_pages_that_cannot_be_read_are_their_readers_trouble_alone(life, disk):
    server = begin(life, disk, "--history", "1M", configuration=PATIENT)
    for _ in range(8):
        server.publish_batch(filler(1_000))
    server = life.again("stopped", "--history", "1M", environment=disk.environment)
    start = f"{epoch_of(server)}-0"
    live = greeted(server, "sse")
    disk.set(reads_to_fail=1)
    with come_back(server, "websocket", start) as reader:
        record = reader.next().json()
        while record.get("type") != "$bye":
            record = reader.next().json()
        assert record["code"] == 1011
    disk.set(reads_to_fail=1)
    assert server.get(f"/v1/history?after={start}").status >= 500
    assert disk.count("reads_failed") == 2
    server.publish('{"live":1}')
    assert live.next_event().json()["live"] == 1
    with come_back(server, "websocket", start) as reader:
        assert [reader.next_event().json()["seq"] for _ in range(8_001)] == list(range(1, 8_002))

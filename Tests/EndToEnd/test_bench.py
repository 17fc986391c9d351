"""`fanout bench`: counts what it should, of this server and of others, and notices what is wrong."""

import json
import os
import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

import program
from foreign import ForeignServer, NoiseServer
from streams import wait_until


def bench(*arguments, timeout=60):
    """Runs it; exit code, result, and what it said on standard error."""
    done = program.run("bench", "--json", "-", "--quiet", *arguments, timeout=timeout)
    lines = done.stdout.splitlines()
    return done.returncode, json.loads(lines[0]) if lines else None, done.stderr.decode()


def places(server):
    return {
        "sse": server.url,
        "ws": server.url.replace("http", "ws"),
        "jsonl": f"tcp://127.0.0.1:{server.jsonl_port}",
        "unix": f"unix:{server.events_socket}",
    }


@pytest.fixture
def foreign(request):
    servers = []

    def launch(*arguments, kind=ForeignServer, **options):
        servers.append(kind(*arguments, **options))
        return servers[-1]

    yield launch
    for server in servers:
        server.close()


# Counting


@pytest.mark.parametrize("place", ["sse", "ws", "jsonl", "unix"])
@pytest.mark.parametrize("burst", [1, 16])
def test_every_delivery_of_every_transport_is_counted(server, place, burst):
    code, result, said = bench(
        *(places(server)[place], "--publish", f"unix:{server.ingest_socket}", "--server-pid", server.process.pid),
        *("--readers", 40, "--events", 64, "--burst", burst, "--warm", 5),
    )
    assert (code, said) == (0, "")
    assert (result["readers"], result["events"], result["deliveries"], result["faults"]) == (40, 64, 40 * 64, 0)
    assert result["transport"] == ("jsonl" if place == "unix" else place)
    assert result["server_cpu_us_per_delivery"] > 0
    assert result["rss_connected"] > 1 << 20
    latency = result["latency_us"]
    assert 0 < latency["p50"] <= latency["p99"] <= latency["p999"] <= latency["max"]
    assert sum(count for _, count in result["histogram"]) == 40 * 64


def test_without_a_server_it_starts_one_and_leaves_nothing(tmp_path):
    environment = program.clean_environment(TMPDIR=str(tmp_path))
    done = program.run("bench", "--readers", 60, "--events", 20, "--transport", "mixed", environment=environment)
    assert done.returncode == 0, done.stderr
    table = done.stdout.decode()
    assert "60 mixed" in table and "1,200" in table and table.endswith("faults                 0\n")
    assert list(tmp_path.iterdir()) == []
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and str(tmp_path) in _command_line(pid)]


def _command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_publishers_and_channels_are_each_checked_in_their_order(server):
    code, result, said = bench(
        *(server.url, "--publish", server.url, "--mix", "sse=20,ws=10,jsonl=10", "--burst", 12),
        *("--publishers", 3, "--channels", 4, "--channel", "sums", "--events", 240, "--warm", 6),
    )
    assert (code, said) == (0, "")
    # Each event goes to one channel of four, and so to ten readers of forty.
    assert (result["deliveries"], result["transport"]) == (240 * 10, "mixed")


def test_standard_input_of_a_server_that_is_started(tmp_path):
    code, result, said = bench("--publish", "stdin", "--readers", 10, "--events", 50, "--burst", 5)
    assert (code, said, result["deliveries"]) == (0, "", 500)


def test_ingest_is_over_when_the_server_has_taken_all(server):
    for place, burst in [(f"unix:{server.ingest_socket}", 1), (server.url, 100), (server.url, 1)]:
        code, result, said = bench("--readers", 0, "--publish", place, "--events", 20_000, "--burst", burst)
        assert (code, said, result["events"]) == (0, "", 20_000)
        assert result["events_per_second"] > 0
    assert server.publish("{}")["seq"] > 60_000


def test_slow_readers_are_told_and_the_others_miss_nothing(start_server):
    for policy, told in [("gap", "gaps"), ("close", "ends")]:
        server = start_server("--on-lag", policy)
        code, result, said = bench(
            *(server.url, "--publish", f"unix:{server.ingest_socket}", "--readers", 40, "--bytes", 65_536),
            *("--events", 300, "--stalled", "10%", "--crawling", "10%", "--warm", 2),
        )
        assert (code, said, result["faults"]) == (0, "", 0)
        assert (result["stalled"], result["crawling"]) == (4, 4)
        assert result[told] >= 8
        assert 32 * 300 <= result["deliveries"] < 40 * 300


def test_readers_that_come_and_go_are_no_fault(server):
    code, result, said = bench(
        *(server.url, "--readers", 60, "--churn", "30/s", "--rate", 100, "--duration", 2, "--warm", 2)
    )
    assert (code, said, result["faults"], result["churn"]) == (0, "", 0, 30)
    assert 30 * 190 <= result["deliveries"] <= 60 * 210
    # Half of a tenth of a second would mean that events go out when something else wakes the loop.
    assert result["latency_us"]["p50"] < 40_000


def test_http_over_a_unix_socket(server):
    place = f"http+unix:{server.runtime / 'http.socket'}"
    for transport in ["sse", "ws", "jsonl"]:
        code, result, said = bench(place, "--transport", transport, "--publish", place, "--readers", 9, "--events", 20)
        assert (code, said, result["deliveries"], result["transport"]) == (0, "", 180, transport)


def test_the_latencies_are_drawn(server, tmp_path):
    picture = tmp_path / "latency.svg"
    code, _, said = bench(server.url, "--readers", 20, "--events", 100, "--svg", picture)
    assert (code, said) == (0, "")
    root = ElementTree.parse(picture).getroot()
    assert root.tag.endswith("svg") and any("20 sse" in text for text in root.itertext())
    assert bench(server.url, "--readers", 1, "--svg", tmp_path / "no" / "such")[0] == 73


def test_a_storm_and_a_hold_measure_connecting_and_idling(server):
    code, result, _ = bench(server.url, "--storm", "--readers", 300, "--server-pid", server.process.pid)
    assert (code, result["deliveries"], result["seconds"]) == (0, 0, None)
    assert result["connects_per_second"] > 100 and result["connect_cpu_us"] > 0
    code, result, _ = bench(
        server.url, "--hold", 1, "--readers", 100, "--events", 5, "--server-pid", server.process.pid
    )
    assert code == 0 and 0 <= result["idle_cpu_percent"] < 50


@pytest.mark.parametrize("load", ["--transport mixed", "--channels 5 --publishers 3", "--publish http"], ids=str)
def test_readers_that_come_back_get_what_was_published_before_them(server, load):
    """All of it, then what is measured as ever; on a server that has had other events before."""
    server.publish_batch(["{}"] * 10)
    arguments = load.replace("http", server.url).split()
    if "--publish" not in load.split():
        arguments += ["--publish", server.url if "channels" in load else f"unix:{server.ingest_socket}"]
    urls = [each for name in ("sse", "ws", "jsonl", "unix") for each in ("--url", places(server)[name])]
    where = urls if "mixed" in load else [server.url]
    code, result, said = bench(
        *(*where, *arguments, "--behind", 900, "--readers", 60, "--server-pid", server.process.pid),
        *("--events", 30, "--warm", 6),
    )
    assert (code, said, result["faults"], result["behind"]) == (0, "", 0, 900)
    assert result["behind_seconds"] > 0 and result["behind_cpu_us_per_delivery"] > 0
    assert result["behind_rss_growth"] >= 0
    # What was before them is neither measured nor left out.
    assert result["latency_us"]["max"] > 0 and result["deliveries"] == 30 * 60 // (5 if "channels" in load else 1)


@pytest.mark.parametrize("transport", ["mixed", "jsonl"])
def test_readers_that_ask_for_the_state_get_every_row_of_it(transport):
    code, result, said = bench(
        *("--snapshot", "--behind", 5_000, "--readers", 60, "--transport", transport, "--events", 30, "--warm", 6)
    )
    assert (code, said, result["faults"], result["behind"], result["snapshot"]) == (0, "", 0, 5_000, 1)
    assert result["behind_seconds"] > 0 and result["deliveries"] == 30 * 60


def test_who_does_not_get_what_was_published_before_it_is_a_fault(start_server):
    server = start_server("--history", "0")
    code, result, said = bench(server.url, "--behind", 100, "--readers", 5, "--events", 5, "--patience", 1)
    assert (code, result["faults"] >= 5) == (1, True)
    assert "was told of a gap" in said


# Times


def test_a_stall_is_charged_to_every_event_that_was_due_in_it(foreign):
    slow = foreign(pause=lambda number: 0.6 if number == 60 else 0)
    code, result, _ = bench(
        *(slow.url + "/sub", "--publish", slow.url + "/pub", "--readers", 2),
        *("--rate", 100, "--events", 150, "--warm", 10),
    )
    assert code == 0
    late = sum(count for upper, count in result["histogram"] if upper > 100_000)
    # About 50 of the 60 events that were due in the stall came over 100 ms late, to two readers.
    assert late >= 70
    assert result["latency_us"]["max"] >= 550_000


def test_latency_counts_from_publishing(foreign):
    slow = foreign(pause=lambda number: 0.02)
    code, result, _ = bench(
        slow.url + "/sub", "--publish", slow.url + "/pub", "--readers", 3, "--events", 30, "--warm", 2
    )
    assert code == 0
    assert result["latency_us"]["p50"] >= 20_000
    assert result["events_per_second"] <= 50


# Other servers


@pytest.mark.parametrize("chunked", [False, True])
def test_another_server_is_measured_as_well(foreign, chunked):
    other = foreign(chunked=chunked)
    code, result, said = bench(
        other.url + "/sub", "--publish", other.url + "/pub", "--readers", 20, "--events", 40, "--burst", 4
    )
    assert (code, said, result["deliveries"]) == (0, "", 800)


def test_without_a_publisher_what_comes_is_counted(server, start):
    emitting = subprocess.Popen(
        [program.BINARY, "emit", "-", "--url", server.url, "--ack", "none"],
        stdin=subprocess.PIPE,
        env=program.clean_environment(),
    )
    measuring = start("bench", server.url, "--publish", "none", "--readers", 5, "--events", 20, "--json", "-")
    try:
        while measuring.is_running():
            emitting.stdin.write(b'{"any":"thing"}\n')
            emitting.stdin.flush()
            time.sleep(0.01)
        assert measuring.wait() == 0
        result = json.loads(measuring.stdout.lines[-1])
        assert result["deliveries"] >= 100 and result["publishers"] == 0 and result["latency_us"] is None
    finally:
        emitting.stdin.close()
        emitting.wait()


def _wrong(number, change):
    return lambda its, frame: change(frame) if its == number else frame


@pytest.mark.parametrize(
    "fault, change",
    [
        ("a hole", lambda frame: b""),
        ("again, or late", lambda frame: frame + frame),
        ("not an event that was published", lambda frame: frame.replace(b"xxxx", b"xxyx", 1)),
        ("not an event that was published", lambda frame: frame + b"data: {}\n\n"),
        ("the stream ended", lambda frame: None),
        ("was told of a gap", lambda frame: b'data: {"type":"$gap"}\n\n' + frame),
        ("was ended", lambda frame: frame + b'data: {"type":"$bye"}\n\n'),
    ],
)
def test_each_fault_of_a_server_is_found_out(foreign, fault, change):
    other = foreign(alter=_wrong(20, change))
    code, result, said = bench(
        *(other.url + "/sub", "--publish", other.url + "/pub"),
        *("--readers", 3, "--events", 30, "--burst", 10, "--warm", 5),
    )
    assert code == 1, said
    assert result["faults"] >= 3
    assert fault in said


def test_a_raw_server_that_greets_nobody_is_read_when_that_is_said(foreign):
    silent = foreign([], True, kind=NoiseServer)
    place = [f"tcp://{silent.address}", "--publish", "none", "--readers", 2, "--patience", 1]
    code, _, said = bench(*place)
    assert (code, "--no-hello" in said) == (69, True)
    talking = foreign([b'{"a":1}\n' * 5], True, kind=NoiseServer)
    place[0] = f"tcp://{talking.address}"
    code, result, said = bench(*place, "--duration", 1)
    assert (code, "--no-hello" in said, result["faults"]) == (1, True, 2)
    assert bench(*place, "--duration", 1, "--no-hello")[::2] == (0, "")


def test_a_lost_event_is_found_out_although_the_server_shows_that_it_lives(foreign):
    # 5 events of warming, then 10: the last one does not come, comments do.
    other = foreign(alter=_wrong(14, lambda frame: b""), beats=True)
    code, result, said = bench(
        *(other.url + "/sub", "--publish", other.url + "/pub", "--patience", 1),
        *("--readers", 3, "--events", 10, "--warm", 5),
    )
    assert (code, result["faults"]) == (1, 3)
    assert "1 events are missing" in said


# Hostile servers


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


@pytest.mark.parametrize("scheme", ["http", "ws", "tcp"])
@pytest.mark.parametrize(
    "pieces",
    [
        [b""],
        [b"\x00" * 4096],
        [b"\n" * 65_536],
        [b"HTTP/1.1 999 No\r\n\r\n"],
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"],
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\ndata:0\r\n\r\n"],
        [HEAD + b"\r\n", b"data: " + b"x" * (1 << 20), b"x" * (1 << 20)],
        [b"HTTP/1.1 101 Go\r\n\r\n\x81\x7f" + b"\xff" * 8],
        [b"HTTP/1.1 101 Go\r\n\r\n", b"\x89\x7d" + b"p" * 125] * 3,
        [b'{"type":"$hello"}\n', b'{"type":"bench","n":99999999999999999999,"p":99999999,"pad":"x"}\n' * 100],
    ],
    ids=range(10),
)
def test_a_hostile_server_gives_a_fault_and_no_crash(foreign, scheme, pieces):
    for stays in [False, True]:
        noise = foreign(pieces, stays, kind=NoiseServer)
        sink = foreign()
        code, _, said = bench(
            *(f"{scheme}://{noise.address}/x", "--publish", sink.url + "/pub", "--patience", 1),
            *("--readers", 4, "--events", 3, "--warm", 1),
        )
        assert code in (1, 69), said
        assert said


def test_random_noise_gives_faults_and_no_crash(foreign):
    chance = random.Random(5)
    heads = [b"", HEAD + b"\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 101 x\r\n\r\n"]
    for _ in range(20):
        pieces = [chance.choice(heads)] + [chance.randbytes(chance.randrange(1, 600)) for _ in range(5)]
        noise = foreign(pieces, False, kind=NoiseServer)
        scheme = chance.choice(["http", "ws", "tcp"])
        code, _, said = bench(f"{scheme}://{noise.address}/x", "--publish", "none", "--readers", 4, "--patience", 1)
        assert code in (1, 69), (pieces, said)


# The command


def test_an_interrupt_ends_the_run_and_the_server_that_was_started(start):
    folder = tempfile.mkdtemp()
    measuring = start(
        *("bench", "--readers", 20, "--duration", 600, "--rate", 10),
        *("--json", Path(folder) / "half.jsonl"),
        environment=program.clean_environment(TMPDIR=folder),
    )
    wait_until(lambda: any(Path(folder).glob("fanout-bench-*/run/http.socket")), "the server to be started")
    measuring.signal(signal.SIGINT)
    assert measuring.wait() == 130
    assert os.listdir(folder) == []
    os.rmdir(folder)


def _servers(folder):
    return [pid for pid in os.listdir("/proc") if pid.isdigit() and f"{folder}/fanout-bench-" in _command_line(pid)]


def test_ctrl_c_is_for_the_measurement_and_not_for_the_server(tmp_path):
    measuring = subprocess.Popen(
        [program.BINARY, "bench", "--readers", "20", "--duration", "600", "--rate", "10"],
        env=program.clean_environment(TMPDIR=str(tmp_path)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    wait_until(lambda: any(tmp_path.glob("fanout-bench-*/run/http.socket")), "the server to be started")
    time.sleep(0.3)
    # As a terminal does it: to every process of the group.
    os.killpg(measuring.pid, signal.SIGINT)
    assert (measuring.communicate()[1], measuring.returncode) == (b"", 130)
    assert _servers(tmp_path) == []


def test_the_server_that_was_started_ends_when_the_measurement_is_killed(start, tmp_path):
    measuring = start(
        *("bench", "--readers", 20, "--duration", 600, "--rate", 10),
        environment=program.clean_environment(TMPDIR=str(tmp_path)),
    )
    wait_until(lambda: any(tmp_path.glob("fanout-bench-*/run/http.socket")), "the server to be started")
    assert len(_servers(tmp_path)) == 1
    measuring.signal(signal.SIGKILL)
    wait_until(lambda: not _servers(tmp_path), "the server to end")


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["http://127.0.0.1:1"], 69, "cannot connect"),
        (["--goals", "bench/goals"], 64, "are for --report"),
        (["--", "false"], 69, "ended before it was ready"),
        (["--", "/does/not/exist"], 69, "cannot start"),
        (["ftp://127.0.0.1:1"], 64, "is not unix:PATH, http+unix:PATH or one of"),
        (["--url", "http://[::1"], 64, "has no usable address"),
        (["http://no-such-host.invalid"], 69, "cannot find no-such-host.invalid"),
        (["--readers", "-1"], 64, "needs a whole number"),
        (["--stalled", "ten"], 64, "needs a share such as 10%"),
        (["--mix", "sse"], 64, "needs TRANSPORT=COUNT"),
        (["--readers", "0", "--publish", "none"], 64, "nothing to measure"),
        (["--publish", "stdin", "http://127.0.0.1:1"], 64, "needs a server that is started"),
        (["--publish", "stdin", "--behind", "9"], 64, "an address to publish to"),
        (["--storm", "--behind", "9"], 64, "goes with neither"),
        (["--server-pid", "4194300", "http://127.0.0.1:1"], 64, "there is no process"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(arguments, code, words):
    done = program.run("bench", *arguments)
    assert done.returncode == code
    said = done.stderr.decode()
    assert said.startswith("fanout bench: ") and words in said and said.count("\n") == 1

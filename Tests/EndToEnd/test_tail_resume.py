"""`fanout tail --resume FILE`: over any number of runs and restarts of either side, nothing is lost or repeated."""

import contextlib
import fcntl
import itertools
import json
import os
import random
import signal
import subprocess
import time

import pytest

import program
from streams import DEADLINE_S, wait_until

# As many runs as a minute of a busy machine has room for.
RUNS = 25


def stored(path):
    """The place in a resume file, which is whole whenever it is looked at."""
    text = path.read_text()
    assert len(text) == 38, text
    return text.rstrip("\n")


def numbers(path):
    """The `n` of every line printed; each line must be whole."""
    return [json.loads(line)["n"] for line in path.read_text().splitlines()]


@pytest.fixture
def tail(io, directory, start_server):
    """A server, and runs of `tail --resume` one after the other that print into the same file."""

    class Tail:
        def __init__(self):
            self.server = start_server(directory=directory)
            self.place = directory / "place"
            self.printed = directory / "printed"
            self.complaints = directory / "complaints"
            self.process = None
            self.sent = itertools.count()

        def run(self, *arguments, through=()):
            command = [*through, program.BINARY, "tail", "--runtime-dir", self.server.runtime]
            command += ["--resume", self.place, *arguments]
            with self.printed.open("ab") as output, self.complaints.open("ab") as errors:
                self.process = subprocess.Popen(
                    list(map(str, command)), stdout=output, stderr=errors, env=program.clean_environment()
                )
            return self

        def stop(self, number=signal.SIGTERM):
            self.process.send_signal(number)
            return self.wait()

        def wait(self):
            return self.process.wait(DEADLINE_S)

        def publish(self, count=1):
            lines = [json.dumps({"n": next(self.sent)}) for _ in range(count)]
            return self.server.publish_batch(lines)["cursor"]

        def wait_for(self, cursor):
            """Until everything up to there is printed and noted."""
            wait_until(
                lambda: self.place.exists() and self.place.read_text().rstrip("\n") == cursor,
                f"the place to be {cursor}",
            )
            stored(self.place)

        def begun(self):
            """Until the file is there."""
            wait_until(self.place.exists, "the file")
            return self

        def said(self):
            return self.complaints.read_text()

        def printed_text(self):
            return self.printed.read_text()

    tail = Tail()
    yield tail
    if tail.process and tail.process.poll() is None:
        tail.process.kill()
        tail.process.wait()


def test_the_next_run_begins_behind_the_last_event_printed(tail):
    tail.run().begun()
    tail.wait_for(tail.publish(3))
    assert tail.stop() == 143
    tail.publish(4)
    tail.run().wait_for(tail.publish(2))
    assert tail.stop(signal.SIGINT) == 130
    assert numbers(tail.printed) == list(range(9))
    assert tail.said() == ""


def test_a_run_that_ends_before_its_first_event_has_its_place_already(tail):
    before = tail.publish(5)
    tail.run().begun()
    assert stored(tail.place) == before
    tail.stop(signal.SIGKILL)
    tail.run().wait_for(tail.publish(1))
    assert numbers(tail.printed) == [5]


def test_from_counts_only_where_there_is_no_file(tail):
    tail.publish(5)
    tail.run("--from", "start").begun()
    tail.wait_for(tail.publish(1))
    tail.stop()
    tail.run("--from", "start").wait_for(tail.publish(1))
    assert numbers(tail.printed) == list(range(7))


def test_each_run_takes_the_next_event(tail):
    """`--once` in a loop: one event a run, whatever else the same read has brought."""
    tail.run().begun()
    tail.stop()
    tail.publish(20)
    for _ in range(20):
        assert tail.run("--once").wait() == 0
    assert numbers(tail.printed) == list(range(20))


def test_a_file_written_by_hand_is_a_place(tail):
    cursor = tail.publish(5)
    tail.place.write_text(f"{cursor[:16]}-2\n")
    tail.run().wait_for(tail.publish(1))
    assert numbers(tail.printed) == [2, 3, 4, 5]


@pytest.mark.parametrize("url", [False, True])
def test_many_runs_and_many_signals_lose_and_repeat_nothing(tail, url):
    """Ended by SIGTERM and SIGINT at random moments of a stream that never stops, begun again at once."""
    chance = random.Random(7)
    place = ["--url", f"{tail.server.url}/v1/events?from=start"] if url else ["--runtime-dir", tail.server.runtime]

    def run():
        with tail.printed.open("ab") as output, tail.complaints.open("ab") as errors:
            tail.process = subprocess.Popen(
                [program.BINARY, "tail", *map(str, place), "--resume", tail.place],
                stdout=output,
                stderr=errors,
                env=program.clean_environment(),
            )

    cursor = tail.publish(3)
    for _ in range(RUNS):
        run()
        until = time.monotonic() + chance.random() * 0.15
        while time.monotonic() < until:
            cursor = tail.publish(chance.choice([1, 2, 30]))
        if tail.place.exists():
            # A signal may also come before the program has begun.
            assert tail.stop(chance.choice([signal.SIGTERM, signal.SIGINT])) in (130, 143, -2, -15)
        else:
            tail.begun().stop()
    run()
    tail.wait_for(cursor)
    printed = numbers(tail.printed)
    first = printed[0]
    assert printed == list(range(first, first + len(printed)))
    assert url is False or first == 0
    assert tail.said() == ""


def test_kill_9_loses_nothing_and_repeats_no_more_than_one_read(tail):
    chance = random.Random(8)
    tail.run().begun()
    cursor = None
    for _ in range(RUNS):
        until = time.monotonic() + chance.random() * 0.1
        while time.monotonic() < until:
            cursor = tail.publish(1)
        tail.stop(signal.SIGKILL)
        stored(tail.place)
        tail.run()
    tail.wait_for(cursor)
    # A line that the kill cut in two has its rest, and all of it, behind it.
    expected = 0
    repeated = 0
    for line in tail.printed_text().splitlines():
        with contextlib.suppress(ValueError):
            number = json.loads(line[line.rindex('{"seq"') :])["n"]
            assert number <= expected, f"{expected} to {number - 1} were lost"
            repeated += number < expected
            expected = max(expected, number + 1)
    assert expected == next(tail.sent)
    # The kill has to come between two system calls that follow each other; a read of these holds few events.
    assert repeated <= RUNS


def test_a_server_that_forgets_says_so_once_and_all_that_it_has_follows(tail, start_server, directory):
    tail.run().begun()
    old = tail.publish(3)
    tail.wait_for(old)
    tail.server.stop()
    tail.server = start_server(directory=directory)
    new = tail.publish(2)
    assert new[:16] != old[:16]
    tail.wait_for(new)
    tail.stop()
    assert numbers(tail.printed) == list(range(5))
    assert tail.said().count("gap (unknown_epoch)") == 1, tail.said()
    # The gap has been told of: whoever comes back behind it is not told again.
    tail.run()
    tail.wait_for(tail.publish(1))
    assert tail.said().count("gap (unknown_epoch)") == 1, tail.said()


def test_a_gap_is_behind_the_place_although_no_event_follows(tail, start_server, directory):
    tail.run().begun()
    old = tail.publish(3)
    tail.wait_for(old)
    tail.stop()
    tail.server.stop()
    tail.server = start_server(directory=directory)
    tail.run()
    wait_until(lambda: stored(tail.place)[:16] != old[:16], "the place to be one of the new numbering")
    assert stored(tail.place).endswith("-0")
    tail.stop()
    tail.run().wait_for(tail.publish(2))
    assert tail.said().count("gap") == 1, tail.said()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_restarts_of_the_server_under_a_stream(tail, start_server, directory, how):
    """Whatever the server still had when it ended is printed once, in order; what it took with it is told of."""
    tail.run().begun()
    for _ in range(6):
        # Some of these come before tail has noticed that there is a server again.
        for _ in range(20):
            cursor = tail.publish(1)
        wait_until(lambda: stored(tail.place)[:16] == cursor[:16], "tail to be there")  # noqa: B023
        for _ in range(20):
            cursor = tail.publish(1)
        # A server that stops sends what waits; one that is killed does not.
        if how == "stop":
            tail.server.stop()
        else:
            tail.wait_for(cursor)
            tail.server.kill()
        tail.server = start_server(directory=directory)
    tail.wait_for(tail.publish(1))
    assert numbers(tail.printed) == list(range(next(tail.sent)))
    assert tail.said().count("gap (unknown_epoch)") == 6, tail.said()


# What is wrong with a file


@pytest.mark.parametrize("text", ["", "now\n", "root:x:0:0::/root:/bin/sh\n", "0123456789abcdef-01\n"])
def test_what_holds_no_place_is_an_error_and_not_now(tail, text):
    tail.place.write_text(text)
    assert tail.run().wait() == 65
    assert tail.said().count("\n") == 1 and str(tail.place) in tail.said()
    assert tail.place.read_text() == text


def test_what_is_no_file_is_66_and_what_cannot_be_made_is_73(tail, directory):
    tail.place = directory
    assert tail.run().wait() == 66
    tail.place = directory / "no" / "place"
    assert tail.run().wait() == 73
    assert "No such file or directory" in tail.said()


def test_each_tail_needs_a_file_of_its_own(tail):
    tail.run().begun()
    first = tail.process
    assert tail.run().wait() == 73
    assert "is in use" in tail.said()
    tail.process = first
    tail.wait_for(tail.publish(1))
    assert tail.stop() == 143
    tail.run()
    tail.wait_for(tail.publish(1))


def test_an_event_that_could_not_be_printed_is_printed_by_the_next_run(tail):
    tail.run().begun()
    before = tail.publish(3)
    tail.wait_for(before)
    # Of standard error too, which is a file here.
    subprocess.run(["prlimit", f"--pid={tail.process.pid}", "--fsize=0"], check=True)
    tail.publish(1)
    assert tail.wait() == 74
    assert numbers(tail.printed) == [0, 1, 2]
    assert stored(tail.place) == before
    tail.run().wait_for(tail.publish(1))
    assert numbers(tail.printed) == list(range(5))


def test_a_place_that_cannot_be_written_is_told_although_printing_goes_well(directory, start_server, start):
    server = start_server(directory=directory)
    place = directory / "place"
    tailing = start("tail", "--runtime-dir", server.runtime, "--resume", place)
    wait_until(place.exists, "the file")
    before = stored(place)
    # The file has all its bytes, so that a full disk takes more of them: a limit is what a write there still meets.
    subprocess.run(["prlimit", f"--pid={tailing.process.pid}", "--fsize=0"], check=True)
    server.publish('{"n":1}')
    assert tailing.wait() == 74
    assert '"n":1' in tailing.stdout.text()
    said = tailing.stderr.text()
    for words in (str(place), "File too large", "ulimit -f", before, "will be printed again"):
        assert words in said, said
    assert stored(place) == before


def test_a_full_disk_is_an_error_before_anything_is_printed(directory, start_server, start):
    """Only making the file takes room: later places stand where the first one did."""
    server = start_server(directory=directory)
    server.publish("{}")
    place = directory / "place"
    arguments = ["tail", "--runtime-dir", server.runtime, "--from", "start", "--resume", place]
    tailing = start(*arguments, through=["prlimit", "--fsize=20"])
    assert tailing.wait() == 73
    assert "cannot make" in tailing.stderr.text() and "File too large" in tailing.stderr.text()
    assert tailing.stdout.text() == ""
    assert list(directory.glob("place*")) == []


def test_a_file_that_is_removed_meanwhile_ends_the_command(tail):
    tail.run().begun()
    tail.place.unlink()
    tail.publish(1)
    assert tail.wait() == 74
    assert "was removed while it was in use" in tail.said()


def test_events_without_a_number_are_told_of_and_printed_again(directory, start_server, tmp_path, start):
    configured = program.configured(tmp_path, {"channels": {"raw": {"stamp": []}}})
    server = start_server(*configured, directory=directory)
    place = directory / "place"
    for expected in ([1], [1, 2]):
        tailing = start("tail", "--runtime-dir", server.runtime, "--resume", place)
        if len(expected) == 1:
            wait_until(place.exists, "the file")
        server.publish(json.dumps({"m": expected[-1]}), channel="raw")
        tailing.stdout.wait_for_event(m=expected[-1])
        tailing.stderr.wait_for(lambda line: b"without a seq" in line)
        tailing.signal(signal.SIGTERM)
        tailing.wait()
        assert [json.loads(line)["m"] for line in tailing.stdout.lines] == expected
        assert tailing.stderr.text().count("\n") == 1


# Signals while the reader of the output does not read


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_tail_whose_reader_does_not_read(directory, start_server, number):
    """Everything that the pipe took whole is noted, and nothing else: together two runs print each event once."""
    server = start_server(directory=directory)
    place = directory / "place"
    server.publish_batch([json.dumps({"n": n, "pad": "x" * 500}) for n in range(400)])
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    command = [program.BINARY, "tail", "--runtime-dir", server.runtime, "--from", "start", "--resume", place]
    tailing = subprocess.Popen(
        list(map(str, command)), stdout=writing, stderr=subprocess.PIPE, env=program.clean_environment()
    )
    os.close(writing)
    wait_until(place.exists, "the file")
    wait_until(lambda: blocked_in_write(tailing.pid), "tail to wait for its reader")
    tailing.send_signal(number)
    assert tailing.wait(DEADLINE_S) == 128 + number
    with open(reading, "rb") as pipe:
        whole = pipe.read().rpartition(b"\n")[0].splitlines()
    printed = [json.loads(line)["n"] for line in whole]
    assert printed == list(range(len(printed))) and 0 < len(printed) < 400
    assert stored(place).endswith(f"-{len(printed)}")
    assert tailing.stderr.read() == b""
    rest = program.run("tail", "--runtime-dir", server.runtime, "--resume", place, "--count", 400 - len(printed))
    assert [json.loads(line)["n"] for line in rest.stdout.splitlines()] == list(range(len(printed), 400))


def blocked_in_write(process):
    """Whether a process waits in write(2)."""
    with open(f"/proc/{process}/syscall") as file:
        return file.read().split()[0] == "1"

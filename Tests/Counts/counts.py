"""Counts what a delivery, an event and a reader cost; holds the counts against their thresholds. See ../counts.sh."""

import argparse
import ctypes
import functools
import json
import math
import os
import re
import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import loads
from instruments import INSTRUMENTS, Server, Tools, Unavailable

PR_SET_THP_DISABLE = 41
# What holds whatever is measured: --write does not write above it.
PROMISES = {"allocations/delivery": 0, "allocations/event": 1}
TRANSPORTS = ["unix", "tcp", "sse", "ws"]
BACKENDS = ["io_uring", "epoll"]

# What is counted: decimals that are said, the threshold that is written for a count, and the count from which on down a
# threshold is said to be far above. How lines in bulk are cut into receives costs an allocation now and then. Some of a
# thousand turns are split in two, which adds calls. Instructions differ a little with the processor's kind (memcpy) and
# with what a timer finds, bytes with pages.
UNITS = {
    "allocations": (3, lambda count: count + 0.005, lambda most: most - 0.1),
    "system calls": (2, lambda count: count * 1.02 + 0.05, lambda most: most * 0.95 - 0.1),
    "instructions": (0, lambda count: count * 1.03 + 5, lambda most: most * 0.9 - 5),
    "bytes": (0, lambda count: count * 1.1, lambda most: most * 0.75),
}


class Row:
    """One count: its name and the loads whose counts it is worked out from."""

    def __init__(self, unit, per, io, rest, plays, formula):
        self.unit, self.io, self.plays, self.formula = unit, io, plays, formula
        self.name = f"{unit}/{per} {io} {rest}"
        self.instrument = INSTRUMENTS.get(unit, Server)


def fan_out_rows(unit, io, transport, burst, readers, events):
    """The cost is a + b·readers + c·events + d·readers·events: four runs give d, a delivery's, then c, an event's."""
    few, many = readers
    short, long = events
    cases = [(few, short), (few, long), (many, short), (many, long)]
    plays = {case: (("fan out", transport, *case, burst), loads.fan_out(transport, *case, burst)) for case in cases}

    def delivery(count):
        slope = lambda r: (count[r, long] - count[r, short]) / (long - short)
        return (slope(many) - slope(few)) / (many - few)

    def per_event(count):
        return (count[few, long] - count[few, short]) / (long - short) - few * delivery(count)

    rest = transport if burst == 1 else f"{transport}, bursts of {burst}"
    yield Row(unit, "delivery", io, rest, plays, delivery)
    yield Row(unit, "event", io, rest, plays, per_event)


def slope_row(unit, per, io, title, load, few, many):
    """What one more costs."""
    plays = {number: ((per, title, number), load(number)) for number in (few, many)}
    return Row(unit, per, io, title, plays, lambda count: (count[many] - count[few]) / (many - few))


def ingest_rows(unit, io):
    yield slope_row(unit, "event", io, "lines", loads.lines, 1000, 5000)
    yield slope_row(unit, "event", io, "one a request", lambda events: loads.posts(events, 1), 100, 300)
    yield slope_row(unit, "event", io, "100 a request", lambda events: loads.posts(events, 100), 500, 1500)


def visit_rows(unit, io):
    for transport in TRANSPORTS:
        yield slope_row(unit, "visit", io, transport, functools.partial(loads.visits, transport), 20, 60)


def all_rows():
    for io in BACKENDS:
        for transport in TRANSPORTS:
            yield from fan_out_rows("allocations", io, transport, 1, (1, 101), (100, 400))
            yield from fan_out_rows("system calls", io, transport, 1, (1, 51), (50, 150))
        yield from fan_out_rows("allocations", io, "ws", 16, (1, 101), (160, 640))
        for unit in ("allocations", "system calls"):
            yield from ingest_rows(unit, io)
            yield from visit_rows(unit, io)
    for transport in TRANSPORTS:
        yield from fan_out_rows("instructions", "epoll", transport, 1, (1, 51), (50, 150))
    for transport in ("tcp", "ws"):
        yield from fan_out_rows("instructions", "epoll", transport, 16, (1, 51), (160, 480))
    yield from ingest_rows("instructions", "epoll")
    yield from visit_rows("instructions", "epoll")
    for io in BACKENDS:
        yield slope_row("bytes", "reader", io, "idle", loads.idle, 1000, 5000)


class Counter:
    """Plays each load once for each instrument and backend, several side by side."""

    def __init__(self, tools, jobs):
        self.tools = tools
        self.pool = ThreadPoolExecutor(jobs)
        self.runs = {}

    def start(self, row):
        for key, play in row.plays.values():
            place = (row.unit, row.io, key)
            if place not in self.runs:
                self.runs[place] = self.pool.submit(self.run, row, play, place)

    def run(self, row, play, place):
        server = row.instrument(self.tools, row.io)
        try:
            counts = play(server) or {}
            server.stop()
        finally:
            server.end()
        if self.tools.keep and row.unit == "instructions":
            print(f"kept: {server.profile}: {' '.join(map(str, place))}")
        return {**counts, **server.counts()}[row.unit]

    def value(self, row):
        """The count. Throws `Unavailable` where there is none to be had."""
        count = {case: self.runs[row.unit, row.io, key].result() for case, (key, _) in row.plays.items()}
        decimals = UNITS[row.unit][0]
        return max(0.0, round(row.formula(count), decimals))


def count_all(rows, tools, jobs):
    """The counts by row, and by row the reasons for those that cannot be had here."""
    counter = Counter(tools, jobs)
    values, reasons = {}, {}
    for row in rows:
        counter.start(row)
    for row in rows:
        try:
            values[row] = counter.value(row)
        except Unavailable as reason:
            reasons[row] = reason
    return values, reasons


def said(value, unit):
    return f"{value:.{UNITS[unit][0]}f}"


def judge(row, value, thresholds):
    """One line about a count; whether it passes."""
    if row.name not in thresholds:
        return False, f"{row.name}: {said(value, row.unit)}, and no threshold: Tests/counts.sh --write"
    most = thresholds[row.name]["most"]
    text = f"{row.name}: {said(value, row.unit)}, at most {said(most, row.unit)} {row.unit}"
    if value > most:
        return False, f"{text}: {said(value - most, row.unit)} above it"
    if value < UNITS[row.unit][2](most):
        text += " (far below: lower it with Tests/counts.sh --write)"
    return True, text


def read_thresholds(path):
    return {row["name"]: row for row in json.loads(path.read_text())} if path.exists() else {}


def write_thresholds(path, thresholds, order):
    rows = sorted(thresholds.values(), key=lambda row: order.get(row["name"], len(order)))
    path.write_text("[\n" + ",\n".join("  " + json.dumps(row) for row in rows if row["name"] in order) + "\n]\n")


def threshold(row, value):
    decimals, headroom, _ = UNITS[row.unit]
    scale = 10**decimals
    most = math.ceil(round(headroom(value) * scale, 6)) / scale
    most = min(most, PROMISES.get(row.name.split()[0], most))
    return {"name": row.name, "most": most if decimals else int(most), "unit": row.unit}


def arguments():
    parser = argparse.ArgumentParser(prog="Tests/counts.sh", description=__doc__)
    for name in ("fanout", "preload", "work", "thresholds"):
        parser.add_argument(f"--{name}", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--only", default="", metavar="PATTERN", help="the counts whose names match")
    parser.add_argument("--write", action="store_true", help="make the thresholds anew")
    parser.add_argument("--list", action="store_true", help="only say the names")
    parser.add_argument("--keep", metavar="DIRECTORY", help="keep callgrind's files there")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), metavar="N", help="runs side by side")
    return parser.parse_args()


def main():
    options = arguments()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Pages of 2 MiB would hide what one reader takes. Children inherit it.
    ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    everything = list(all_rows())
    rows = [row for row in everything if re.search(options.only, row.name)]
    if options.list:
        print("\n".join(row.name for row in rows))
        return 0
    path = Path(options.thresholds)
    thresholds = read_thresholds(path)
    tools = Tools(options.fanout, options.preload, options.work, options.keep)
    values, reasons = count_all(rows, tools, options.jobs)
    if options.write:
        thresholds.update((row.name, threshold(row, value)) for row, value in values.items())
    # What a busy machine adds comes from timers that fire while it is slow: it only adds, and the lower count is right.
    above = [row for row, value in values.items() if not judge(row, value, thresholds)[0]]
    for row, value in count_all(above, tools, options.jobs)[0].items():
        values[row] = min(values[row], value)
    passed = failed = 0
    for row in rows:
        if row in reasons:
            print(f"skipped: {row.name}: {reasons[row]}")
            continue
        is_good, text = judge(row, values[row], thresholds)
        passed, failed = passed + is_good, failed + (not is_good)
        print(f"{'passed' if is_good else 'FAILED'}: {text}")
    order = {row.name: index for index, row in enumerate(everything)}
    if options.write:
        write_thresholds(path, thresholds, order)
    elif not options.only:
        for name in thresholds.keys() - order.keys():
            failed += 1
            print(f"FAILED: {name}: a threshold of nothing that is counted: Tests/counts.sh --write")
    if reasons:
        print(f"{len(reasons)} skipped")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())

"""Virtual time for the producers of these examples: what happens, when, and in an order that a seed decides."""

import heapq
import itertools
import random
import time
from datetime import datetime, timezone

# Where time begins with `fast`, so that the same seed gives the same events: 2026-01-01T00:00:00Z.
FAST_BEGINS_AT = 1_767_225_600.0


class Life:
    """An agenda. Processes are generators: one that yields a number sleeps so many seconds, one that yields a
    `Signal` waits for it and gets its value. With `fast` nobody waits for the clock."""

    def __init__(self, seed, fast=False):
        self.dice = random.Random(seed)
        self.is_fast = fast
        self.now = FAST_BEGINS_AT if fast else time.time()
        self._agenda = []
        self._numbers = itertools.count()

    def begin(self, process, delay=0.0):
        """Starts a process, at once or after so many seconds."""
        self._plan(delay, process, None)

    def between(self, low, high):
        """A number of seconds that the dice decide."""
        return self.dice.uniform(low, high)

    def timestamp(self):
        """Now, in UTC as ISO 8601 has it."""
        return datetime.fromtimestamp(self.now, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def run(self, seconds=None):
        """Lets time pass: so many seconds, or until nothing is left to happen."""
        end = float("inf") if seconds is None else self.now + seconds
        while self._agenda and self._agenda[0][0] <= end:
            moment, _, process, value = heapq.heappop(self._agenda)
            if not self.is_fast:
                time.sleep(max(0.0, moment - time.time()))
            self.now = max(self.now, moment)
            self._resume(process, value)

    def _plan(self, delay, process, value):
        heapq.heappush(self._agenda, (self.now + delay, next(self._numbers), process, value))

    def _resume(self, process, value):
        try:
            wanted = process.send(value)
        except StopIteration:
            return
        if isinstance(wanted, Signal):
            wanted.waiting.append(process)
        else:
            self._plan(wanted, process, None)


class Signal:
    """Something that processes wait for."""

    def __init__(self, life):
        self.life = life
        self.waiting = []

    def give(self, value=None):
        """Wakes everyone who waits, in the order in which they came."""
        waiting, self.waiting = self.waiting, []
        for process in waiting:
            self.life._plan(0.0, process, value)


def add_options(parser):
    """The flags that every producer has."""
    parser.add_argument("--url", default="http://127.0.0.1:7575", help="the fanout server")
    parser.add_argument("--seed", type=int, default=1, help="another seed, another life")
    parser.add_argument("--seconds", type=float, help="how much time passes; without it until Ctrl-C")
    parser.add_argument("--fast", action="store_true", help="nobody waits for the clock, which begins at 2026")
    return parser

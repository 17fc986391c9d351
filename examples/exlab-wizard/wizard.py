#!/usr/bin/env python3
"""A lab's data wizard, imitated: runs of its pipeline, each a session of its own, and the audit of what they leave.

A run goes from phase to phase and ends with `done` or `failed`, which ends its channel. The audit looks at all runs
every few seconds and says on `problems` what has changed since the last pass; whoever connects gets what it knows.
"""

import argparse
import itertools
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))

from fanout_client import Refused, reach
from life import Life, Signal, add_options

PHASES = ["validate", "collect", "metadata", "copy", "verify", "register"]
PROBLEMS = "problems"
INSTRUMENTS = ["sem", "raman", "xrd", "afm"]
# What instruments write beside their data, and which files have names that the archive does not take.
ODD_NAMES = ["scan 01.tif", "Präparat.csv", "notes?.txt"]
OPERATORS = ["ada", "grace", "emmy"]
# How old a finding is when it gets worse.
PATIENCE_S = 45.0


class PipelineFault(Exception):
    """A phase that cannot go on, as the envelope that the HTTP API would put around it."""

    def __init__(self, code, message):
        super().__init__(message)
        self.envelope = {"code": code, "message": message}


@dataclass
class Run:
    """What a run has left in the archive so far, for the audit to look at."""

    name: str
    instrument: str
    phase: str = "validate"
    files: list = field(default_factory=list)
    missing: set = field(default_factory=set)
    is_over: bool = False
    has_failed: bool = False
    needs_operator: bool = False


class Session:
    """One run of the pipeline, on a channel of its own."""

    def __init__(self, wizard, run):
        self.wizard = wizard
        self.life = wizard.life
        self.run = run
        self.answer = Signal(self.life)
        self.bytes = 0

    def process(self):
        try:
            for phase in PHASES:
                # Stamped at the transition, not when somebody looks.
                self.run.phase = phase
                self._say("phase", phase=phase, at=self.life.timestamp())
                yield from getattr(self, f"_{phase}")()
            result = {"path": f"archive/{self.run.name}", "files": len(self.run.files), "bytes": self.bytes}
            self._say("done", result=result)
        except PipelineFault as fault:
            self.run.has_failed = True
            self._say("failed", phase=self.run.phase, error=fault.envelope)
        self.run.is_over = True

    def _say(self, kind, **members):
        self.wizard.server.publish(f"sessions/{self.run.name}", {"kind": kind, **members})

    def _progress(self, current, total):
        self._say("progress", phase=self.run.phase, current=current, total=total)

    def _validate(self):
        yield self.life.between(0.5, 2)
        if self.life.dice.random() < 0.1:
            raise PipelineFault("source_unreadable", f"{self.run.instrument}: the instrument's share does not answer")

    def _collect(self):
        count = self.life.dice.randint(4, 14)
        for number in range(count):
            yield self.life.between(0.1, 0.5)
            name = f"{self.run.instrument}_{number:03}.dat"
            if self.life.dice.random() < 0.06:
                name = self.life.dice.choice(ODD_NAMES)
                self._say("warning", phase="collect", message=f"{name!r} is no name that the archive takes: renamed")
            self.run.files.append(name)
            self._progress(number + 1, count)

    def _metadata(self):
        """What the instrument has not written down, its plugin asks the operator for, and waits."""
        yield self.life.between(0.5, 1.5)
        self.run.missing = {"sample"} if self.life.dice.random() < 0.3 else set()
        wanted = [{"name": "operator", "label": "Who was at the instrument?", "choices": OPERATORS}]
        if self.life.dice.random() < 0.5:
            return
        self.run.needs_operator = True
        self._say("input_required", fields=wanted, plugin=f"{self.run.instrument}_metadata",
                  reason="the instrument's log names nobody")
        self.life.begin(self.wizard.answers(self), self.life.between(3, 12))
        who = yield self.answer
        self.run.needs_operator = False
        if who is None:
            raise PipelineFault("input_cancelled", "nobody said who was at the instrument")

    def _copy(self):
        for number, name in enumerate(self.run.files, 1):
            size = self.life.dice.randrange(1 << 16, 1 << 28)
            yield 0.2 + size / (1 << 27)
            self.bytes += size
            self._progress(number, len(self.run.files))
            if self.bytes > 2_000_000_000:
                raise PipelineFault("quota_exceeded", f"{self.run.name} is larger than the project may still become")

    def _verify(self):
        again = [name for name in self.run.files if self.life.dice.random() < 0.04]
        yield self.life.between(1, 3)
        for name in again:
            self._say("warning", phase="verify", message=f"{name} differs from its source: copied again")
            yield self.life.between(0.5, 2)
        if len(again) > 1:
            raise PipelineFault("checksum_mismatch", f"{len(again)} files keep differing from their sources")
        self._progress(len(self.run.files), len(self.run.files))

    def _register(self):
        yield self.life.between(0.5, 1.5)


class Wizard:
    def __init__(self, life, server):
        self.life = life
        self.server = server
        self.runs = {}
        self.findings = {}
        self.since = {}
        self.audit_at = None
        # Names are used once: behind those of an earlier wizard.
        before = sum(name.startswith("sessions/") for name in server.channels())
        self._numbers = itertools.count(before + 1)

    def begin(self):
        self.audit_at = self.life.timestamp()
        self._give_snapshot(None)
        for process in (self._starts_runs(), self._audits(), self._tidies()):
            self.life.begin(process)

    def _starts_runs(self):
        while True:
            instrument = self.life.dice.choice(INSTRUMENTS)
            name = f"{instrument}-{next(self._numbers):04}"
            self.runs[name] = Run(name, instrument)
            self.life.begin(Session(self, self.runs[name]).process())
            yield self.life.between(6, 20)

    def answers(self, session):
        """The operator, who answers most questions."""
        session.answer.give(None if self.life.dice.random() < 0.15 else self.life.dice.choice(OPERATORS))
        return
        yield

    def _tidies(self):
        """People, who see to what the audit says: they add what is missing and delete what has failed."""
        while True:
            yield self.life.between(15, 40)
            for finding in list(self.findings.values()):
                if self.life.dice.random() < 0.4:
                    run = self.runs.get(finding["run"])
                    if run and finding["rule"] == "missing_metadata":
                        run.missing.clear()
                    elif run and finding["rule"] == "orphaned_run":
                        del self.runs[finding["run"]]

    # The audit

    def audit(self):
        """Every problem that there is now, by its id."""
        found = {}

        def add(run, rule, severity, message):
            key = f"{run.name}/{rule}"
            since = self.since.setdefault(key, self.life.now)
            is_old = self.life.now - since > PATIENCE_S
            worse = {"info": "warning", "warning": "error"}.get(severity, severity)
            found[key] = {"id": key, "run": run.name, "rule": rule, "severity": worse if is_old else severity,
                          "message": message}

        for run in self.runs.values():
            if run.missing and (run.is_over or PHASES.index(run.phase) > PHASES.index("metadata")):
                add(run, "missing_metadata", "warning", f"not written down: {', '.join(sorted(run.missing))}")
            if run.has_failed:
                add(run, "orphaned_run", "error", f"failed in {run.phase}, {len(run.files)} files are left")
            if run.needs_operator:
                add(run, "waits_for_input", "info", "somebody has to answer")
        self.since = {key: self.since[key] for key in found}
        return found

    def _audits(self):
        while True:
            yield 5.0
            found, known = self.audit(), self.findings
            self.findings = found
            self.audit_at = self.life.timestamp()
            delta = {"kind": "delta",
                     "added": [row for key, row in found.items() if key not in known],
                     "removed": [key for key in known if key not in found],
                     "changed": [row for key, row in found.items() if key in known and known[key] != row],
                     "audit_at": self.audit_at}
            # Who connects between these two gets the last snapshot and this delta behind it: the same.
            ack = self.server.publish(PROBLEMS, delta)
            self._give_snapshot(ack["cursor"])

    def _give_snapshot(self, as_of):
        try:
            self.server.put_snapshot(PROBLEMS, self.snapshot(), as_of=as_of)
        except Refused as refusal:
            # The server has been started anew in between: the next pass will do.
            if refusal.status != 409:
                raise

    def snapshot(self):
        return {"kind": "snapshot", "findings": list(self.findings.values()), "audit_at": self.audit_at}


def main():
    parser = add_options(argparse.ArgumentParser(description=__doc__.splitlines()[0]))
    parser.add_argument("--report", action="store_true", help="print at the end what the audit knows, as JSON")
    options = parser.parse_args()
    life = Life(options.seed, options.fast)
    wizard = Wizard(life, reach(options.url))
    wizard.begin()
    try:
        life.run(options.seconds)
    except KeyboardInterrupt:
        pass
    if options.report:
        print(json.dumps({**wizard.snapshot(), "runs": {name: run.is_over for name, run in wizard.runs.items()}}))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""A hive of agents in containers, imitated: tasks, questions, approvals, rebuilds, crashes, each with its cause.

Everything that a dashboard wants to hear goes to one channel. `--report` prints at the end what is really so, for
whoever wants to hold a dashboard against it.
"""

import argparse
import itertools
import json
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))

from broker import Broker, Forwarder
from fanout_client import Refused, reach
from life import Life, Signal, add_options

CHANNEL = "dashboard"
MANAGER, OPERATOR = "manager", "operator"
NAMES = ["alder", "birch", "cedar", "damson", "elder", "fir", "gorse", "hazel"]
TASKS = ["fix the flaky upload test", "write the release notes", "find out why the build got slow",
         "move the wiki", "review the new parser", "measure the cache"]
QUESTIONS = [("May I rewrite the history of the branch?", ["yes", "no"], False),
             ("Which of these may I delete?", ["logs", "caches", "old images"], True),
             ("What should the release be called?", [], False)]


class Stream:
    """The dashboard's channel. Members that are optional and empty are left out."""

    def __init__(self, server):
        self.server = server

    def publish(self, event):
        self.server.publish(CHANNEL, event)

    def say(self, kind, optional=None, **members):
        given = {name: value for name, value in (optional or {}).items() if value}
        self.publish({"kind": kind, **members, **given})


class ActiveRuns:
    """How many updates of the meta inputs run; only that there are any is said, when that changes."""

    def __init__(self, stream):
        self.stream = stream
        self.count = 0

    def __enter__(self):
        self.count += 1
        if self.count == 1:
            self.stream.say("meta_update_running", running=True)

    def __exit__(self, *_):
        self.count -= 1
        if self.count == 0:
            self.stream.say("meta_update_running", running=False)


@dataclass
class Container:
    """What the machine knows of a container."""

    name: str
    port: int
    revision: str
    commit: int = 1
    running: bool = True


class Hive:
    def __init__(self, life, server):
        self.life = life
        self.stream = Stream(server)
        self.broker = Broker(life)
        self.forwarder = Forwarder(life, self.broker, self.stream)
        self.runs = ActiveRuns(self.stream)
        self.machine = {}
        self.known = {}
        self.approvals, self.questions, self.transients = {}, {}, {}
        self.tombstones = {}
        self.inputs = {name: {"name": name, "revision": self._hash()} for name in ("hive", "nixpkgs", "agents")}
        self.busy = set()
        self.queue = []
        self.work = Signal(life)
        self._ids = itertools.count(1)
        self._ports = itertools.count(8101)

    def begin(self, left=()):
        """Starts everything that lives here. `left` is what an earlier hive has left in the channel's state."""
        self._create(MANAGER)
        for name in NAMES[:3]:
            self._create(name)
        self._clear_away(left)
        self._say_lists()
        self.rescan()
        for process in (self._scans(), self._builds(), self._crashes(), self._operates(), self._updates()):
            self.life.begin(process)
        self.life.begin(self.forwarder.process())

    # What is so, and what of it has changed

    def listing(self):
        """Every container's row, made afresh."""
        rows = {}
        for container in self.machine.values():
            row = {"name": container.name, "is_manager": container.name == MANAGER, "running": container.running,
                   "revision": container.revision, "port": container.port if container.running else 0,
                   "needs_update": container.revision != self._wanted(container),
                   "unread": len(self.broker.inboxes[container.name])}
            optional = ("port", "needs_update", "unread")
            rows[container.name] = {name: value for name, value in row.items() if value or name not in optional}
        return rows

    def rescan(self):
        """Says what a fresh listing has that the last one had not, and nothing else."""
        listing = self.listing()
        for name, row in listing.items():
            if self.known.get(name) != row:
                self.stream.say("container_state_changed", container=row)
        for name in sorted(self.known.keys() - listing.keys()):
            self.stream.say("container_removed", name=name)
        self.known = listing

    def report(self):
        """All that a dashboard should show."""
        self.forwarder.forward()
        self.rescan()
        return {"containers": self.known, "approvals": self.approvals, "questions": self.questions,
                "transients": self.transients, "tombstones": list(self.tombstones.values()),
                "inputs": list(self.inputs.values()), "queue": self.queue, "updating": self.runs.count > 0}

    def _clear_away(self, left):
        """What an earlier hive has left open, nobody will close any more."""
        for row in left:
            if row["kind"] == "container_state_changed":
                self.known[row["container"]["name"]] = row["container"]
            elif row["kind"] == "approval_added":
                self._resolve("approval", row["id"], {"note": "the hive was started anew"}, status="failed")
            elif row["kind"] == "question_added":
                self._resolve("question", row["id"], {"cancelled": True}, answer="")
            elif row["kind"] == "transient_set":
                self.stream.say("transient_cleared", name=row["name"])
            elif row["kind"] == "meta_update_running" and row["running"]:
                self.stream.say("meta_update_running", running=False)

    def _say_lists(self):
        self._say_tombstones()
        self._say_inputs()
        self._say_queue()

    def _say_tombstones(self):
        self.stream.say("tombstones_changed", tombstones=list(self.tombstones.values()))

    def _say_inputs(self):
        self.stream.say("meta_inputs_changed", inputs=list(self.inputs.values()))

    def _say_queue(self):
        self.stream.say("rebuild_queue_changed", queue=self.queue)

    def _resolve(self, what, number, optional, **members):
        self.stream.say(f"{what}_resolved", optional, id=number, at=self.life.timestamp(), **members)

    # Containers

    def _hash(self):
        return f"{self.life.dice.getrandbits(28):07x}"

    def _wanted(self, container):
        """What a container would be built from now."""
        inputs = "".join(entry["revision"][:2] for entry in self.inputs.values())
        return f"{inputs}-{container.commit}"

    def _create(self, name):
        container = Container(name, next(self._ports), "")
        container.revision = self._wanted(container)
        self.machine[name] = container
        self.life.begin(self._lives(container), self.life.between(1, 4))

    def _while(self, what, name, seconds):
        """Something that is done to a container, shown as long as it takes; never two things at once."""
        while name in self.transients:
            yield 0.5
        shown = {"name": name, "what": what, "since": self.life.timestamp()}
        self.transients[name] = shown
        self.stream.say("transient_set", **shown)
        yield seconds
        del self.transients[name]
        self.stream.say("transient_cleared", name=name)

    def _scans(self):
        while True:
            yield 5.0
            self.rescan()
            for container in list(self.machine.values()):
                if not container.running and container.name not in self.transients:
                    self.life.begin(self._restarts(container))

    def _restarts(self, container):
        if self.machine.get(container.name) is container:
            yield from self._while("starting", container.name, self.life.between(2, 4))
            container.running = True
            self.rescan()

    def _crashes(self):
        """Nobody announces a crash: the next scan finds it."""
        while True:
            yield self.life.between(40, 90)
            up = [c for c in self.machine.values() if c.running and c.name != MANAGER and c.name not in self.transients]
            if up:
                self.life.dice.choice(up).running = False

    def _builds(self):
        """One rebuild at a time, the oldest first."""
        while True:
            if not self.queue:
                yield self.work
                continue
            job = self.queue[0]
            job["state"] = "building"
            self._say_queue()
            yield from self._while("rebuilding", job["name"], self.life.between(4, 9))
            container = self.machine.get(job["name"])
            if container:
                container.revision, container.running = self._wanted(container), True
            elif job["reason"] == "spawn":
                self._create(job["name"])
                if self.tombstones.pop(job["name"], None):
                    self._say_tombstones()
            self.queue.pop(0)
            self._say_queue()
            self.rescan()

    def _enqueue(self, name, reason):
        if all(job["name"] != name or job["state"] == "building" for job in self.queue):
            self.queue.append({"id": next(self._ids), "name": name, "reason": reason, "state": "queued"})
            self._say_queue()
            self.work.give()

    def _destroys(self, name):
        yield from self._while("destroying", name, self.life.between(2, 3))
        if self.machine.pop(name, None):
            bytes_left = self.life.dice.randrange(1 << 20, 1 << 26)
            self.tombstones[name] = {"name": name, "since": self.life.timestamp(), "state_bytes": bytes_left}
            self._say_tombstones()
        self.rescan()

    # Agents: a task goes from the operator to the manager, from there to a worker, and its result the same way back

    def _lives(self, container):
        while self.machine.get(container.name) is container:
            yield self.life.between(1, 3)
            message = self.broker.take(container.name) if container.running else None
            if message is None:
                continue
            if container.name == MANAGER:
                yield self.life.between(0.5, 2)
                self._manages(message)
            else:
                self.busy.add(container.name)
                yield self.life.between(5, 40)
                yield from self._works(container, message)
                self.busy.discard(container.name)

    def _manages(self, message):
        if message["from"] != OPERATOR:
            self.broker.send(MANAGER, OPERATOR, f"{message['from']} says: {message['body']}", message["id"])
            if self.life.dice.random() < 0.3 and message["from"] in self.machine:
                self._propose("apply", message["from"], "a rule that its last task has taught it")
            return
        workers = [name for name in self.machine if name != MANAGER]
        load = {name: len(self.broker.inboxes[name]) + (name in self.busy) for name in workers}
        idlest = min(workers, key=load.get, default=None)
        if not idlest or load[idlest] > 0:
            # Everybody has something to do: the hive should grow.
            spare = [name for name in NAMES if name not in self.machine and not self._is_proposed(name)]
            if spare:
                self._propose("spawn", spare[0], f"{len(workers)} workers are all busy")
        if idlest:
            self.broker.send(MANAGER, idlest, message["body"])

    def _works(self, container, message):
        if self.life.dice.random() < 0.3:
            answer = yield from self._asks(container.name, *self.life.dice.choice(QUESTIONS))
            yield self.life.between(1, 5)
            result = f"done, as you said ({answer}): {message['body']}" if answer else f"given up: {message['body']}"
        else:
            result = f"done: {message['body']}"
        if self.machine.get(container.name) is container:
            self.broker.send(container.name, MANAGER, result, message["id"])

    def _asks(self, asker, question, options, multi):
        number = next(self._ids)
        asked = {"id": number, "asker": asker, "question": question, "at": self.life.timestamp()}
        asked |= ({"options": options} if options else {}) | ({"multi": True} if multi else {})
        self.questions[number] = asked
        self.stream.say("question_added", **asked)
        yield self.life.between(5, 25)
        del self.questions[number]
        if asker not in self.machine:
            self._resolve("question", number, {"cancelled": True}, answer="")
            return ""
        few = self.life.dice.sample(options, 2) if multi else [self.life.dice.choice(options or ["Ursula"])]
        answer = ", ".join(few)
        self._resolve("question", number, {}, answer=answer)
        return answer

    # The operator

    def _propose(self, action, agent, description):
        number = next(self._ids)
        self.approvals[number] = {"id": number, "agent": agent, "action": action, "revision": self._hash(),
                                  "at": self.life.timestamp(), "description": description}
        self.stream.say("approval_added", **self.approvals[number])
        self.life.begin(self._decides(number), self.life.between(4, 20))

    def _is_proposed(self, name):
        jobs = [job["name"] for job in self.queue]
        return name in jobs or any(approval["agent"] == name for approval in self.approvals.values())

    def _decides(self, number):
        approval = self.approvals.pop(number)
        agent, action = approval["agent"], approval["action"]
        if action == "apply" and agent not in self.machine:
            self._resolve("approval", number, {"note": "the agent is gone"}, status="failed")
        elif self.life.dice.random() < 0.15:
            self._resolve("approval", number, {"note": "not now"}, status="denied")
        else:
            self._resolve("approval", number, {}, status="approved")
            if action == "apply":
                self.machine[agent].commit += 1
            self._enqueue(agent, "spawn" if action == "spawn" else f"commit {approval['revision']}")
        return
        yield

    def _operates(self):
        """Gives tasks, reads what comes back, and now and then makes the hive smaller."""
        while True:
            yield self.life.between(4, 12)
            self.broker.send(OPERATOR, MANAGER, self.life.dice.choice(TASKS))
            while self.broker.take(OPERATOR):
                yield 0.5
            idle = [name for name, row in self.known.items() if name != MANAGER and name not in self.busy
                    and not row.get("unread") and name not in self.transients and not self._is_proposed(name)]
            if len(idle) > 2 and len(self.machine) > 4:
                yield from self._destroys(idle[-1])
            if len(self.tombstones) > 2:
                self.tombstones.pop(next(iter(self.tombstones)))
                self._say_tombstones()

    def _updates(self):
        """Brings inputs up to date, several at once, then rebuilds whatever they have outdated."""
        while True:
            yield self.life.between(60, 120)
            for name in self.life.dice.sample(sorted(self.inputs), self.life.dice.randint(1, 3)):
                self.life.begin(self._update(name), self.life.between(0, 3))
            yield 20.0
            self.rescan()
            for name, row in self.known.items():
                if row.get("needs_update"):
                    self._enqueue(name, "inputs")

    def _update(self, name):
        with self.runs:
            self.inputs[name]["updating"] = True
            self._say_inputs()
            yield self.life.between(4, 10)
            del self.inputs[name]["updating"]
            self.inputs[name]["revision"] = self._hash()
            self._say_inputs()


def main():
    parser = add_options(argparse.ArgumentParser(description=__doc__.splitlines()[0]))
    parser.add_argument("--report", action="store_true", help="print at the end what is so, as JSON")
    options = parser.parse_args()
    life, server = Life(options.seed, options.fast), reach(options.url)
    try:
        left = server.snapshot(CHANNEL)["events"]
    except Refused as refusal:
        if refusal.code != "no_state":
            raise
        left = []
    hive = Hive(life, server)
    hive.begin(left)
    try:
        life.run(options.seconds)
    except KeyboardInterrupt:
        pass
    if options.report:
        print(json.dumps(hive.report()))


if __name__ == "__main__":
    main()

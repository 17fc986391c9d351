#!/usr/bin/env python3
"""An agent's harness, imitated: letters come in, each is a turn, and what the model says in it is streamed.

Its bus is a channel of its own that a terminal shows, `agents/NAME/log`. What is so at the moment (idle, thinking or
compacting, and since when) and the model that it uses are the state of a second one, `agents/NAME/status`.
"""

import argparse
import sys
from collections import deque
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))

from fanout_client import Refused, reach
from life import Life, Signal, add_options

DEFAULT_MODEL = "haiku"
# How much a model remembers before it has to sum up what was, in thousands of tokens.
CONTEXT = {"haiku": 60, "sonnet": 90, "opus": 120}
LETTERS = [("manager", "please look at the failing test in upload_test.py"), ("operator", "what are you doing?"),
           ("birch", "the schema has changed, does your side still fit?"),
           ("manager", "write down what you have learnt"), ("scheduler", "it is time to tidy the workspace")]
STEPS = [("Read", {"file_path": "src/upload.py"}, "def upload(part):\n    return send(part)"),
         ("Grep", {"pattern": "retry", "path": "src"}, "src/upload.py:12:    # no retry here"),
         ("Bash", {"command": "pytest -q tests/upload_test.py"}, "1 failed, 12 passed in 3.41s"),
         ("Edit", {"file_path": "src/upload.py", "old_string": "send(part)", "new_string": "retry(send, part)"}, "ok"),
         ("Bash", {"command": "git diff --stat"}, " src/upload.py | 2 +-\n 1 file changed")]
REMARKS = ["Let me look at that first.", "The retry is missing, as I thought.", "That should do; now the test again.",
           "There is one more place that does the same.", "Nothing else uses it."]


class Bus:
    """The agent's channels, and what it remembers of what it said there."""

    def __init__(self, life, server, name):
        self.life = life
        self.server = server
        self.log = f"agents/{name}/log"
        self.status = f"agents/{name}/status"
        self.state = None
        self.model = None

    def say(self, kind, **members):
        self.server.publish(self.log, {"kind": kind, **members})

    def set_state(self, state):
        """Says since when it is so. What is so already is said once only: its since-time stays."""
        if state == self.state:
            return
        self.state = state
        self.server.publish(self.status, {"kind": "state_changed", "state": state, "since": self.life.timestamp()})

    def set_model(self, model):
        """The setting. It is a row of the channel's state: with a database it outlives the agent and the server."""
        if model != self.model:
            self.model = model
            self.server.publish(self.status, {"kind": "model_changed", "model": model})

    def restore(self):
        """Takes up what an earlier life has left: its setting. Its state is over."""
        try:
            rows = self.server.snapshot(self.status)["events"]
        except Refused as refusal:
            if refusal.code != "no_state":
                raise
            rows = []
        for row in rows:
            if row["kind"] == "model_changed":
                self.model = row["model"]


class Agent:
    def __init__(self, life, bus):
        self.life = life
        self.bus = bus
        self.letters = deque()
        self.has_letter = Signal(life)
        self.tokens = 8.0
        self.tools = 0

    def begin(self):
        self.bus.set_model(self.bus.model or DEFAULT_MODEL)
        self.bus.set_state("idle")
        self.bus.say("note", text=f"harness started, model {self.bus.model}")
        self.life.begin(self._post())
        self.life.begin(self._turns())

    def _post(self):
        """Letters come in bursts: an answer brings the next question."""
        while True:
            yield self.life.between(5, 25)
            for _ in range(self.life.dice.choice([1, 1, 1, 2, 4])):
                self.letters.append(self.life.dice.choice(LETTERS))
            self.has_letter.give()

    def _turns(self):
        while True:
            if not self.letters:
                self.bus.set_state("idle")
                yield self.has_letter
                continue
            sender, body = self.letters.popleft()
            self.bus.set_state("thinking")
            self.bus.say("turn_start", **{"from": sender, "body": body, "unread": len(self.letters)})
            why_not = yield from self._turn(body)
            self.bus.say("turn_end", ok=not why_not, **({"note": why_not} if why_not else {}))
            if why_not:
                # The letter is not lost: it is the next turn's, when the service has calmed down.
                self.letters.appendleft((sender, body))
                self.bus.set_state("idle")
                yield self.life.between(10, 20)
            elif self.tokens > CONTEXT.get(self.bus.model, 60):
                yield from self._compact()

    def _turn(self, body):
        """What the model says, line by line as its program prints it. Gives back why it failed, if it did."""
        self._stream({"type": "system", "subtype": "init", "model": self.bus.model})
        overload = self.life.dice.random() < 0.08
        steps = self.life.dice.randint(1, 5)
        for step in range(steps):
            yield self.life.between(0.5, 3)
            if overload and step == steps // 2:
                self._stream({"type": "result", "subtype": "error", "is_error": True, "error": "overloaded"})
                return "the model's service is overloaded"
            remark = self.life.dice.choice(REMARKS)
            self._stream({"type": "assistant", "message": {"content": [{"type": "text", "text": remark}]}})
            name, given, result = STEPS[step]
            self.tools += 1
            call = {"type": "tool_use", "id": f"call_{self.tools}", "name": name, "input": given}
            self._stream({"type": "assistant", "message": {"content": [call]}})
            yield self.life.between(0.2, 4)
            answer = {"type": "tool_result", "tool_use_id": call["id"], "content": result}
            self._stream({"type": "user", "message": {"content": [answer]}})
            self.tokens += self.life.between(2, 6)
        tokens = round(self.tokens * 1000)
        self._stream({"type": "result", "subtype": "success", "result": f"Done: {body}", "tokens": tokens})
        return None

    def _stream(self, value):
        self.bus.say("stream", value=value)

    def _compact(self):
        self.bus.set_state("compacting")
        before = self.tokens
        yield self.life.between(4, 12)
        self.tokens = before * 0.15
        self.bus.say("note", text=f"context compacted: {before:.0f}k tokens are now {self.tokens:.0f}k")


def main():
    parser = add_options(argparse.ArgumentParser(description=__doc__.splitlines()[0]))
    parser.add_argument("--name", default="alder", help="the agent's name")
    parser.add_argument("--model", choices=CONTEXT, help="set the model that is used from now on, and stay with it")
    options = parser.parse_args()
    life = Life(options.seed, options.fast)
    bus = Bus(life, reach(options.url), options.name)
    bus.restore()
    if options.model:
        bus.set_model(options.model)
    Agent(life, bus).begin()
    try:
        life.run(options.seconds)
    except KeyboardInterrupt:
        bus.say("note", text="harness stopped")


if __name__ == "__main__":
    main()

"""The hive's message broker, and the forwarder that mirrors its traffic into the dashboard's channel."""

import itertools
from collections import defaultdict, deque


class Broker:
    """Carries messages between agents. It numbers what it says on its own bus, and knows nothing of dashboards."""

    def __init__(self, life):
        self.life = life
        self.inboxes = defaultdict(deque)
        self.subscribers = []
        self._ids = itertools.count(1)
        self._seq = itertools.count(1)

    def send(self, sender, recipient, body, in_reply_to=None):
        message = {"id": next(self._ids), "from": sender, "to": recipient, "body": body}
        self.inboxes[recipient].append(message)
        self._say("sent", message, {"in_reply_to": in_reply_to} if in_reply_to else {})
        return message

    def take(self, recipient):
        """The oldest message that waits for this agent, which is delivered with that; None if there is none."""
        if not self.inboxes[recipient]:
            return None
        message = self.inboxes[recipient].popleft()
        self._say("delivered", {name: message[name] for name in ("id", "from", "to")}, {})
        return message

    def _say(self, kind, message, more):
        frame = {"seq": next(self._seq), "kind": kind, **message, "at": self.life.timestamp(), **more}
        for subscriber in self.subscribers:
            subscriber(dict(frame))


class Forwarder:
    """Says in the dashboard's stream what the broker says. The broker's number stays behind: the server gives each
    frame a fresh one, in the one order that everything on the channel has."""

    def __init__(self, life, broker, stream):
        self.life = life
        self.stream = stream
        self.frames = deque()
        broker.subscribers.append(self.frames.append)

    def process(self):
        while True:
            yield 0.2
            self.forward()

    def forward(self):
        while self.frames:
            frame = self.frames.popleft()
            del frame["seq"]
            self.stream.publish(frame)

#!/usr/bin/env python3
"""What a person sees of the hub: one line for each change of a shield, and a notification for each blocked connection.

    hub_ui.py [--socket $XDG_RUNTIME_DIR/fanout/events.socket]

Stands in for the desktop and terminal UIs. It begins with the present state of every shield; a notification is closed
when its container's shield goes down, because what it asks has been answered. It comes back by itself after a break and
goes on where it was.
"""

import argparse
import json
import os
import random
import socket
import time
from pathlib import Path

SHIELDS = {"shield_up": "up", "shield_down": "down", "shield_disengaged": "disengaged: everything is allowed"}


class HubUI:
    """Turns events into what is shown. A container is always shown in the same way, by its dossier where it has one."""

    def __init__(self, show=print):
        self.show = show
        self.dossiers = {}
        self.shields = {}
        # Notifications that are open, by container: (number, destination).
        self.pending = {}
        self.count = 0

    def title(self, container):
        dossier = self.dossiers.get(container, {})
        place = "/".join(dossier[member] for member in ("project", "task") if member in dossier)
        name = dossier.get("name", "")
        return f"{place} ({name})" if place and name else place or name or container[:12]

    def live(self):
        """The present state is complete."""
        self.show(f"   live    {len(self.shields)} shields known")

    def take(self, event):
        kind, container = event.get("type"), event.get("container")
        if kind not in SHIELDS and kind != "connection_blocked":
            return  # A newer hub may say more.
        if event.get("dossier"):
            self.dossiers[container] = event["dossier"]
        if kind == "connection_blocked":
            self.count += 1
            self.pending.setdefault(container, []).append((self.count, event.get("destination", "?")))
            return self.show(
                f"#{self.count} open    {self.title(container)} is kept from {self.pending[container][-1][1]}"
            )
        if self.shields.get(container) != kind:
            self.shields[container] = kind
            self.show(f"   shield  {self.title(container)} is {SHIELDS[kind]}")
        if kind != "shield_up":
            for number, destination in self.pending.pop(container, []):
                self.show(f"#{number} closed  {self.title(container)} may reach {destination} now")


class Stream:
    """The hub's events over its socket, resumed after a break. `events()` ends only with the process."""

    def __init__(self, path, channels, on_live):
        self.path = str(path)
        self.channels = channels
        self.on_live = on_live
        self.place = "snapshot"
        self.epoch = None

    def events(self):
        wait = 0.1
        while True:
            try:
                for event in self._connection():
                    wait = 0.1
                    yield event
            except OSError:
                pass
            # Jittered, so that many UIs do not come back in one moment.
            time.sleep(random.uniform(0.1, 1) * wait)
            wait = min(wait * 2, 5)

    def _connection(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hub:
            hub.connect(self.path)
            wish = {"$subscribe": {"channel": self.channels, "from": self.place}}
            hub.sendall(json.dumps(wish).encode() + b"\n")
            greetings, in_state = 0, False
            for line in hub.makefile("rb"):
                event = json.loads(line)
                kind = event.get("type", "")
                if kind == "$hello":
                    # The first greets everyone; ours begins with the second.
                    greetings += 1
                    self.epoch = event["epoch"]
                elif greetings < 2:
                    continue
                elif kind == "$snapshot":
                    in_state = True
                elif kind == "$live":
                    in_state = False
                    self.place = f"{self.epoch}-{event['seq']}"
                    self.on_live()
                elif kind == "$gap":
                    # What was missed may have closed notifications: the present state says what holds now.
                    self.place = "snapshot"
                    return
                elif kind == "$bye":
                    time.sleep(event.get("retry_ms", 0) / 1000)
                elif not kind.startswith("$"):
                    # Rows of the state are no places: behind an old one there may be more than anybody keeps.
                    if not in_state:
                        self.place = f"{self.epoch}-{event['seq']}"
                    yield event


def main():
    default = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}") / "fanout/events.socket"
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--socket", default=default)
    ui = HubUI(lambda text: print(text, flush=True))
    try:
        stream = Stream(parser.parse_args().socket, ["terok/*"], on_live=ui.live)
        for event in stream.events():
            ui.take(event)
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Containers with shields: agents work in them, the shield blocks what is not on their list, an operator reacts.

    containers.py [--seed 1] [--containers 4] [--pace 1.0 | --fast] [--emitter COMMAND]

A stand-in for the program that this profile is about. Every change of a shield is a command of its own, as in the
original; the hub learns of it as a by-product, and nothing here depends on whether there is one. The same seed is the
same life. `--emitter .build/release/shield-event` has the Swift command tell the hub instead of the Python one.
"""

import argparse
import http.client
import json
import os
import random
import socket
import subprocess
import time
from pathlib import Path

import shield_event

ALLOWED = ["github.com:443", "pypi.org:443", "files.pythonhosted.org:443"]
# What an agent tries, and what the operator thinks of it when the shield is in the way.
TEMPTATIONS = {
    "registry.npmjs.org:443": "lower",
    "crates.io:443": "lower",
    "telemetry.example:443": "leave",
    "198.51.100.7:22": "leave",
    "archive.ubuntu.com:80": "disengage",
}
TASKS = ["fix-login", "bump-deps", "write-docs", "port-parser", "flaky-test"]


class Hub:
    """The part of the hub that starts and ends a container's socket. All of it is best effort."""

    def __init__(self, folder):
        self.path = str(Path(folder) / "fanout/http.socket")

    def _ask(self, method, target):
        try:
            connection = http.client.HTTPConnection("localhost", timeout=1)
            connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.sock.settimeout(1)
            connection.sock.connect(self.path)
            connection.request(method, target)
            return json.loads(connection.getresponse().read() or b"null")
        except (OSError, ValueError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def open(self, short_id):
        self._ask("PUT", f"/v1/channels?channel=terok/{short_id}")

    def close(self, short_id, said):
        """Ends the channel once everything that was said there is heard, or after a second without progress."""
        end = time.monotonic() + 1
        while time.monotonic() < end:
            known = self._ask("GET", "/v1/channels")
            heard = {row["channel"]: row["events"] for row in known["channels"]} if known else None
            if heard is None or heard.get(f"terok/{short_id}", said) >= said:
                break
            time.sleep(0.01)
        self._ask("DELETE", f"/v1/channels?channel=terok/{short_id}")


class Container:
    """One container: what works in it, and the state of its shield."""

    def __init__(self, host, dice, number):
        self.host = host
        self.id = f"{dice.getrandbits(256):064x}"
        # Containers that somebody has started by hand belong to no task and have no dossier.
        self.dossier = (
            None
            if number % 4 == 3
            else {"project": dice.choice(["web", "cli"]), "task": dice.choice(TASKS), "name": f"agent-{number}"}
        )
        self.shield = None
        self.work = [dice.choice(ALLOWED + list(TEMPTATIONS)) for _ in range(dice.randint(3, 6))]
        self.refused = {}
        self.said = 0
        host.hub.open(self.id[:12])
        self.set_shield("shield_up")

    def say(self, kind, destination=None):
        self.said += 1
        self.host.emit(kind, self.id, self.dossier, destination)

    def set_shield(self, kind):
        """What `terok shield up`, `down` and `down --all` do: the firewall first, then the word about it."""
        if self.shield != kind:
            self.shield = kind
            self.say(kind)

    def step(self):
        """The agent's next connection, and what comes of it. False when its work is done."""
        if not self.work:
            self.set_shield("shield_down")
            self.host.hub.close(self.id[:12], self.said)
            return False
        destination = self.work[0]
        if destination in ALLOWED or self.shield != "shield_up":
            self.refused.pop(self.work.pop(0), None)
            if self.shield == "shield_down":
                self.set_shield("shield_up")  # It was down for this one connection.
            return True
        self.say("connection_blocked", destination)
        tries = self.refused[destination] = self.refused.get(destination, 0) + 1
        verdict = TEMPTATIONS[destination]
        if verdict == "leave" and tries == 2:
            self.refused.pop(self.work.pop(0))  # The agent gives up.
        elif verdict == "lower" and tries == 2:
            self.set_shield("shield_down")
        elif verdict == "disengage":
            self.set_shield("shield_disengaged")
        return True


class Host:
    """All containers of a machine."""

    def __init__(self, seed, emitter=None, folder=None):
        self.dice = random.Random(seed)
        self.folder = folder or os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
        self.hub = Hub(self.folder)
        self.emitter = emitter
        self.containers = []
        # What was said, in order, for who wants to compare.
        self.said = []

    def emit(self, kind, container, dossier, destination):
        self.said.append(json.loads(shield_event.event_line(kind, container, dossier, destination)))
        if not self.emitter:
            return shield_event.emit(kind, container, dossier, destination, self.folder)
        values = {**(dossier or {}), **({"destination": destination} if destination else {})}
        flags = [text for name, value in values.items() for text in (f"--{name}", value)]
        subprocess.run(
            [self.emitter, kind, container, *flags], check=True, env={**os.environ, "XDG_RUNTIME_DIR": str(self.folder)}
        )

    def live(self, containers, pace):
        """Starts that many, a new one every other step, and lets them work until all have ended."""
        started = 0
        while started < containers or self.containers:
            if started < containers and self.dice.random() < 0.5:
                self.containers.append(Container(self, self.dice, started))
                started += 1
            for container in list(self.containers):
                if not container.step():
                    self.containers.remove(container)
            time.sleep(pace)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--containers", type=int, default=4)
    parser.add_argument("--pace", type=float, default=1.0, help="seconds between steps")
    parser.add_argument("--fast", action="store_const", const=0, dest="pace", help="no time between steps")
    parser.add_argument("--emitter", help="the command that tells the hub, in place of shield_event.py")
    arguments = parser.parse_args()
    host = Host(arguments.seed, arguments.emitter)
    host.live(arguments.containers, arguments.pace)
    print(f"{len(host.said)} events said")


if __name__ == "__main__":
    main()

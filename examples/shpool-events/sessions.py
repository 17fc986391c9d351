#!/usr/bin/env python3
"""A daemon that keeps shell sessions and says every change of its table.

    sessions.py [--runtime-dir $XDG_RUNTIME_DIR/shpool] [--bare] [--people 3] [--seed 1] [--pace 1.0 | --fast] [--steps N]

A stand-in for the program that this profile is about. People attach to sessions, detach, come back, kill some; shells
end by themselves. `shpool.socket` takes `attach NAME`, `detach NAME`, `kill NAME` and `list` from anybody else. What is
published is published under the lock of the table, so the order on the wire is the order of causes.

The events go to a fanout server in the same folder, which may come and go: the daemon works without one.
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import select
import signal
import socket
import socketserver
import threading
import time
from pathlib import Path

CHANNEL = "sessions"


class UnixHTTP(http.client.HTTPConnection):
    """HTTP over a socket in the file system, one connection for many requests."""

    def __init__(self, path):
        super().__init__("localhost", timeout=2)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def ask(self, method, target, body):
        self.request(method, target, body, {"Content-Type": "application/json"})
        response = self.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            raise http.client.HTTPException(f"{method} {target}: {answer}")
        return answer

    def has_ended(self):
        """Whether the server has closed a connection on which nothing is due."""
        return self.sock is not None and bool(select.select([self.sock], [], [], 0)[0])


class Publisher:
    """Publishes changes and keeps the server's copy of the table in step with it. Called with the table's lock held."""

    def __init__(self, folder, bare):
        self.http = UnixHTTP(Path(folder) / "http.socket")
        self.bare = bare
        # True exactly when the server has said yes to everything so far.
        self.in_step = False
        self.next_try = 0.0

    def say(self, event, table):
        """One change, and the table behind it. Where an earlier one was lost, the table goes to everybody instead."""
        has_lost_nothing = self._is_in_step()
        if not has_lost_nothing:
            self.catch_up(table)
        if self.in_step and (has_lost_nothing or self.bare):
            self._try(self._change, event, table)

    def catch_up(self, table):
        """After a break: whoever is still there, or here again, gets the whole table."""
        if not self._is_in_step() and time.monotonic() >= self.next_try:
            self._try(self._begin, table)

    def _is_in_step(self):
        self.in_step = self.in_step and not self.http.has_ended()
        return self.in_step

    def _try(self, action, *arguments):
        start = time.monotonic()
        try:
            action(*arguments)
            self.in_step = True
        except (OSError, ValueError, http.client.HTTPException):
            # Nobody there, or nobody who answers: sessions are what this daemon is for, so it seldom tries again.
            self.in_step = False
            self.next_try = time.monotonic() + max(0.2, 10 * (time.monotonic() - start))
            self.http.close()

    def _begin(self, table):
        self.http.close()
        if not self.bare:
            self._keep(self._publish(snapshot(table)), table)

    def _change(self, event, table):
        if self.bare:
            event = {"type": event["type"]}
        cursor = self._publish(event)
        if not self.bare:
            self._keep(cursor, table)

    def _publish(self, event):
        return self.http.ask("POST", f"/v1/events?channel={CHANNEL}", compact(event))["cursor"]

    def _keep(self, cursor, table):
        """What newcomers begin with: the table as of the change that was just published."""
        self.http.ask("PUT", f"/v1/snapshot?channel={CHANNEL}&as_of={cursor}", compact(snapshot(table)))


def snapshot(table):
    rows = [{"name": session.name, "attached": session.attached} for session in table.values()]
    return {"type": "snapshot", "sessions": rows}


def compact(value):
    return json.dumps(value, separators=(",", ":")).encode()


class Session:
    """A shell and who looks at it. Two of one name are two."""

    def __init__(self, name):
        self.name = name
        self.viewer = None

    @property
    def attached(self):
        return self.viewer is not None


class Sessions:
    """The table. Every method publishes what it changes before it lets go of the lock."""

    def __init__(self, publisher):
        self.publisher = publisher
        self.lock = threading.Lock()
        self.table = {}

    def _say(self, kind, session, **more):
        self.publisher.say({"type": f"session.{kind}", "name": session.name, **more}, self.table)

    def create(self, name):
        """A new session; one of that name, whose shell has died unnoticed, makes room."""
        with self.lock:
            if old := self.table.pop(name, None):
                self._say("removed", old, reason="exited")
            session = self.table[name] = Session(name)
            self._say("created", session)
            return session

    def attach(self, name):
        """Looks at a session, and makes it if there is none. None where somebody else looks at it."""
        with self.lock:
            session = self.table.get(name)
            if session is None:
                session = self.table[name] = Session(name)
                self._say("created", session)
            if session.attached:
                return None
            session.viewer = object()
            self._say("attached", session)
            return session

    def detach(self, session, viewer=None):
        """Says that nobody looks any more: once, whether asked for, by the end of that viewer's connection, or both."""
        with self.lock:
            if viewer is not None and session.viewer is not viewer:
                return
            if session.attached and self.table.get(session.name) is session:
                session.viewer = None
                self._say("detached", session)

    def remove(self, session, reason):
        """The shell has `exited` or was `killed`: said by whoever notices first, and by nobody else."""
        with self.lock:
            if self.table.get(session.name) is session:
                del self.table[session.name]
                self._say("removed", session, reason=reason)
                return True
            return False

    def get(self, name):
        with self.lock:
            return self.table.get(name)

    def list(self):
        with self.lock:
            return snapshot(self.table)["sessions"]

    def catch_up(self):
        with self.lock:
            self.publisher.catch_up(self.table)


class Commands(socketserver.StreamRequestHandler):
    """One connection to `shpool.socket`. What it has attached to is detached when it ends."""

    def handle(self):
        sessions, mine = self.server.sessions, []
        try:
            for line in self.rfile:
                command, _, name = line.decode(errors="replace").strip().partition(" ")
                answer = {"ok": True}
                session = sessions.get(name)
                if command == "list":
                    answer = {"sessions": sessions.list()}
                elif command == "attach" and name:
                    session = sessions.attach(name)
                    answer = {"ok": session is not None}
                    if session:
                        mine.append((session, session.viewer))
                elif command == "detach" and session:
                    sessions.detach(session)
                elif command == "kill" and session:
                    answer = {"ok": sessions.remove(session, "killed")}
                else:
                    answer = {"ok": False}
                self.wfile.write(compact(answer) + b"\n")
        except OSError:
            pass
        finally:
            for session, viewer in mine:
                sessions.detach(session, viewer)


class Person:
    """Somebody with a few sessions, who does one thing after another for reasons."""

    def __init__(self, sessions, dice, name):
        self.sessions = sessions
        self.dice = dice
        self.names = [f"{name}-{work}" for work in ("editor", "build", "logs")]
        self.looking_at = None
        # How long each shell still has something to do.
        self.left = {}

    def step(self):
        self._shells_work()
        session = self.looking_at
        if session is None:
            return self._sit_down()
        mood = self.dice.random()
        if mood < 0.35:
            # Off to the next thing: detach, and perhaps the lid is closed before the answer comes.
            self.sessions.detach(session)
            if mood < 0.1:
                self.sessions.detach(session)
            self.looking_at = None
        elif mood < 0.45:
            self._kill(self.dice.choice(self.names))

    def _sit_down(self):
        name = self.dice.choice(self.names)
        if name in self.left and self.left[name] < -2:
            # Nobody has noticed that this shell died: the daemon does when somebody wants the name.
            del self.left[name]
            self.sessions.create(name)
        if session := self.sessions.attach(name):
            self.looking_at = session
            self.left.setdefault(name, self.dice.randint(3, 9))

    def _shells_work(self):
        for name in list(self.left):
            self.left[name] -= 1
            if self.left[name] == 0 and self.dice.random() < 0.8:
                self._ended(name, "exited")

    def _kill(self, name):
        if name in self.left:
            self._ended(name, "killed")

    def _ended(self, name, reason):
        del self.left[name]
        session = self.sessions.get(name)
        if session and self.sessions.remove(session, reason) and session is self.looking_at:
            self.looking_at = None


class Daemon(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path, sessions):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        super().__init__(str(path), Commands)
        self.sessions = sessions


def main():
    home = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}") / "shpool"
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runtime-dir", type=Path, default=home)
    parser.add_argument("--bare", action="store_true", help="events have a type and nothing else")
    parser.add_argument("--people", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, help="stop after so many steps of everybody")
    parser.add_argument("--pace", type=float, default=1.0, help="seconds between steps")
    parser.add_argument("--fast", action="store_const", const=0, dest="pace", help="no time between steps")
    arguments = parser.parse_args()
    sessions = Sessions(Publisher(arguments.runtime_dir, arguments.bare))
    sessions.catch_up()
    dice = random.Random(arguments.seed)
    people = [Person(sessions, dice, f"p{number}") for number in range(1, arguments.people + 1)]
    path = arguments.runtime_dir / "shpool.socket"
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    daemon = Daemon(path, sessions)
    threading.Thread(target=daemon.serve_forever, daemon=True).start()
    print(f"sessions on {path}", flush=True)
    try:
        steps = 0
        while not stopping.is_set() and steps != arguments.steps:
            for person in people:
                person.step()
            sessions.catch_up()
            steps += 1
            stopping.wait(arguments.pace)
    finally:
        daemon.shutdown()
        # A socket that somebody else has removed already is as good as removed.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


if __name__ == "__main__":
    main()

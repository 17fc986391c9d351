#!/usr/bin/env python3
"""Tells the hub that a container's shield has changed, and does not mind whether anybody listens.

    shield_event.py KIND CONTAINER_ID [--project P] [--task T] [--name N] [--destination HOST:PORT]

One connection, one JSON line, closed. Nothing is waited for: where no hub listens, or it does not take the line at once,
the event is lost and the exit code is 0. Only the standard library is used, so that the file can be copied anywhere.
"""

import argparse
import json
import os
import re
import socket
import sys
from pathlib import Path

KINDS = ["shield_up", "shield_down", "shield_disengaged", "connection_blocked"]
IDENTITY = ["project", "task", "name"]
FULL_ID = re.compile(r"[0-9a-f]{64}")


def ingest_path(container, runtime_dir=None):
    """The socket of a container: its full id selects it, by the first twelve characters."""
    if not FULL_ID.fullmatch(container):
        raise ValueError(f"'{container}' is not a full container id: 64 hexadecimal digits")
    folder = runtime_dir or os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    return Path(folder) / "terok/events" / f"{container[:12]}.sock"


def event_line(kind, container, dossier=None, destination=None):
    """The event as it goes over the wire. What of the dossier is empty is left out, and so is a dossier of nothing."""
    event = {"type": kind, "container": container}
    if destination:
        event["destination"] = destination
    known = {member: dossier[member] for member in IDENTITY if dossier and dossier.get(member)}
    if known:
        event["dossier"] = known
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode(errors="replace") + b"\n"


def emit(kind, container, dossier=None, destination=None, runtime_dir=None):
    """Says it to whoever listens. Never waits; only an id that is none raises."""
    path = ingest_path(container, runtime_dir)
    line = event_line(kind, container, dossier, destination)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hub:
            hub.setblocking(False)
            hub.connect(str(path))
            hub.sendall(line)
    except OSError:
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("container", help="the full id")
    for member in [*IDENTITY, "destination"]:
        parser.add_argument(f"--{member}")
    arguments = parser.parse_args()
    try:
        emit(arguments.kind, arguments.container, vars(arguments), arguments.destination)
    except ValueError as error:
        print(f"shield_event: {error}", file=sys.stderr)
        sys.exit(64)


if __name__ == "__main__":
    main()

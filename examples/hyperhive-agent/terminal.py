#!/usr/bin/env python3
"""An agent's terminal: what was said last, and then what is said, with the agent's state in the bottom line.

    terminal.py                 the last 200 events, then live
    terminal.py --last 20 | cat     plain lines: no colours, no bottom line
"""

import argparse
import shutil
import sys
import threading
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))

from fanout_client import Fanout, reach

BOLD, DIM, RED, GREEN, BLUE, YELLOW = "1", "2", "31", "32", "34", "33"


class Screen:
    """Lines that scroll, above one that stays. Without a terminal only the lines, as plain text."""

    def __init__(self, output):
        self.output = output
        self.is_terminal = output.isatty()
        self.status = ""
        self.rows = 0
        # The state is told by a thread of its own.
        self.lock = threading.Lock()

    def line(self, text, *styles):
        # What others have written must not move the cursor or change the colours.
        text = "".join(character if character.isprintable() else " " for character in text)
        with self.lock:
            if self.is_terminal:
                self._make_room()
                width = shutil.get_terminal_size().columns
                text = f"\x1b[{';'.join(styles)}m{text[:width]}\x1b[0m" if styles else text[:width]
            print(text, file=self.output, flush=True)

    def show_status(self, text):
        with self.lock:
            self.status = text
            if self.is_terminal:
                self._make_room()
                self._draw_status()

    def close(self):
        if self.is_terminal:
            print(f"\x1b[r\x1b[{self.rows};1H", file=self.output)

    def _make_room(self):
        """Everything but the last row scrolls; again whenever the window has another height."""
        rows = shutil.get_terminal_size().lines
        if rows != self.rows:
            self.rows = rows
            print(f"\n\x1b[1;{rows - 1}r\x1b[{rows - 1};1H", end="", file=self.output)
            self._draw_status()

    def _draw_status(self):
        width = shutil.get_terminal_size().columns
        text = f" {self.status} ".ljust(width)[:width]
        print(f"\x1b7\x1b[{self.rows};1H\x1b[7m{text}\x1b[0m\x1b8", end="", file=self.output, flush=True)


def show(screen, event):
    """One event of the log, as one or more lines."""
    kind = event.get("kind")
    if kind == "turn_start":
        unread = f", {event['unread']} more unread" if event["unread"] else ""
        screen.line(f"┌ {event['from']}: {event['body']}{unread}", BOLD, BLUE)
    elif kind == "turn_end":
        note = f": {event['note']}" if event.get("note") else ""
        screen.line(f"└ {'done' if event['ok'] else 'failed'}{note}", BOLD, GREEN if event["ok"] else RED)
    elif kind == "note":
        screen.line(f"· {event['text']}", DIM)
    elif kind == "stream":
        show_stream(screen, event["value"])
    elif kind == "$gap":
        screen.line(f"… {event.get('dropped', 'some')} events skipped ({event['why']})", YELLOW)


def show_stream(screen, value):
    """The model's own JSON. Whatever it does not know, it shows as it is: this is a tail, not a parser."""
    message = value.get("message") if isinstance(value, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    if not parts:
        shown = value.get("type") if isinstance(value, dict) and "type" in value else value
        return screen.line(f"│ {shown}", DIM)
    for part in parts:
        if part.get("type") == "text":
            screen.line(f"│ {part.get('text')}")
        elif part.get("type") == "tool_use":
            given = ", ".join(str(value) for value in (part.get("input") or {}).values())
            screen.line(f"│ → {part.get('name')} {given}", BLUE)
        elif part.get("type") == "tool_result":
            screen.line(f"│ ← {part.get('content')}", DIM)


def follow_status(screen, server, channel):
    """Keeps the bottom line: the rows that the channel's state has, then each change."""
    known = {}
    for record in server.follow(channel, start="snapshot"):
        if record is None:
            screen.show_status("no connection")
            continue
        known[record.get("kind")] = record
        state, model = known.get("state_changed"), known.get("model_changed")
        if state and record["kind"] != "$bye":
            since = datetime.fromisoformat(state["since"].replace("Z", "+00:00")).astimezone()
            screen.show_status(f"{state['state']} since {since:%H:%M:%S} · model {model['model'] if model else '?'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:7575", help="the fanout server")
    parser.add_argument("--name", default="alder", help="the agent's name")
    parser.add_argument("--last", type=int, default=200, help="how many events of the past come first")
    options = parser.parse_args()
    screen, server = Screen(sys.stdout), reach(options.url)
    if screen.is_terminal:
        status = (screen, Fanout(options.url), f"agents/{options.name}/status")
        threading.Thread(target=follow_status, args=status, daemon=True).start()
    log = f"agents/{options.name}/log"
    # The past is one answer, and says which event was the newest then: the stream begins behind it.
    try:
        events, head = server.history(log, max(1, options.last))
        for event in events[-options.last:] if options.last else []:
            show(screen, event)
        for record in server.follow(log, start=head):
            if record is None:
                screen.line("… the connection is gone", YELLOW)
            else:
                show(screen, record)
    except KeyboardInterrupt:
        pass
    finally:
        screen.close()


if __name__ == "__main__":
    main()

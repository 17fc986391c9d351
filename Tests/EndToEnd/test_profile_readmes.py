"""What the profiles' READMEs show is what a new user sees who follows them: each terminal in them is typed and compared."""

import tempfile
from pathlib import Path

import pytest

from streams import wait_until
from test_documents import Running, Terminal, blocks, commands

PROFILES = ["terok-hub", "shpool-events", "hyperhive-dashboard", "hyperhive-agent", "exlab-wizard"]
TERMINALS = [
    pytest.param(block, id=block.name)
    for profile in PROFILES
    for block in blocks(f"examples/{profile}/README.md")
    if block.language == "console"
]


class ProfileTerminal(Terminal):
    """Not everything that runs on here is a subscriber: what it prints first says that it is ready."""

    def start(self, command):
        running = Running(self, command, self.as_typed(command))
        self.running.append(running)
        self.shown.append(running)
        if command.output:
            wait_until(lambda: running.lines.lines or running.has_ended(), f"the first line of: {command.text}")


@pytest.mark.parametrize("block", TERMINALS)
def test_a_profile_shows_what_its_readme_shows(io, block):
    with tempfile.TemporaryDirectory(prefix="fanout-") as name:
        terminal = ProfileTerminal(Path(name), io)
        try:
            for command in commands(block):
                if command.is_server:
                    terminal.serve(command)
                elif command.runs_on:
                    terminal.start(command)
                else:
                    terminal.run(command)
            terminal.finish()
        finally:
            terminal.close()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profiles_readme_has_a_terminal_to_follow(profile):
    assert any(block.language == "console" for block in blocks(f"examples/{profile}/README.md"))

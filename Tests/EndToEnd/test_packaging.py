"""The release binary needs neither Swift nor its C libraries, and has no planted bugs; make install puts it where asked."""

import re
import subprocess
from pathlib import Path

import program

ROOT = Path(__file__).parents[2]


def test_swift_and_the_libraries_are_inside_the_binary():
    needed = subprocess.run(["ldd", program.BINARY], capture_output=True, text=True, check=True).stdout
    names = [line.split()[0] for line in needed.splitlines()]
    inside = ("libswift", "liburing", "libcrypto", "libssl", "libsqlite3", "libFoundation")
    assert not [name for name in names if name.startswith(inside)], names


def test_make_help_lists_the_targets():
    listed = subprocess.run(["make", "-s", "-C", ROOT, "help"], capture_output=True, text=True, check=True).stdout
    names = {line.split()[0] for line in listed.splitlines()}
    assert {"run", "test", "build", "bench", "install", "format", "lint", "autobahn", "clean", "help"} <= names


def test_no_planted_bug_is_left_in_the_binary():
    listed = (ROOT / "Sources/Planted/Planted.swift").read_text()
    bugs = re.findall(r"^ *case ([a-zA-Z0-9]+)$", listed, re.MULTILINE)
    assert len(bugs) > 20
    binary = Path(program.BINARY).read_bytes()
    assert b"FANOUT_RUNTIME_DIR" in binary and b"FANOUT_PLANTED" not in binary
    assert not [bug for bug in bugs if bug.encode() in binary]

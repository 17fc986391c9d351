"""The release binary runs on a machine that has neither Swift nor liburing; make install puts it where asked."""

import subprocess
from pathlib import Path

import program

ROOT = Path(__file__).parents[2]


def test_swift_and_the_libraries_are_inside_the_binary():
    needed = subprocess.run(["ldd", program.BINARY], capture_output=True, text=True, check=True).stdout
    names = [line.split()[0] for line in needed.splitlines()]
    assert not [
        name for name in names if name.startswith(("libswift", "liburing", "libcrypto", "libssl", "libFoundation"))
    ], names


def test_make_help_lists_the_targets():
    listed = subprocess.run(["make", "-s", "-C", ROOT, "help"], capture_output=True, text=True, check=True).stdout
    names = {line.split()[0] for line in listed.splitlines()}
    assert {"run", "test", "build", "bench", "install", "format", "lint", "autobahn", "clean", "help"} <= names

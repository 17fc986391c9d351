"""A launcher: `refusing.py ERROR NUMBER[/VALUE][,NUMBER…] COMMAND…` becomes a command whose system calls of these numbers
(with that second argument, if one is given) fail with that error, as a container's profile would make them (seccomp(2))."""

import ctypes
import errno
import os
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
# Places in struct seccomp_data.
NUMBER, SECOND_ARGUMENT = 0, 24
ALLOW, FAIL = 0x7FFF0000, 0x00050000


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def instruction(code, value, if_true=0, if_false=0):
    return struct.pack("=HBBI", code, if_true, if_false, value)


def refuse(error, calls):
    """Makes this process's calls of these numbers fail from now on, across exec; a pair is a number and an argument."""
    code = b""
    for number, argument in calls:
        code += instruction(LOAD, NUMBER)
        if argument is None:
            code += instruction(JUMP_IF_EQUAL, number, 0, 1)
        else:
            code += instruction(JUMP_IF_EQUAL, number, 0, 3)
            code += instruction(LOAD, SECOND_ARGUMENT) + instruction(JUMP_IF_EQUAL, argument, 0, 1)
        code += instruction(RETURN, FAIL | error)
    code += instruction(RETURN, ALLOW)
    libc = ctypes.CDLL(None, use_errno=True)
    program = Program(len(code) // 8, code)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0
    ):
        sys.exit(f"seccomp: {os.strerror(ctypes.get_errno())}")


def parsed(text):
    number, _, argument = text.partition("/")
    return int(number), int(argument) if argument else None


if __name__ == "__main__":
    refuse(getattr(errno, sys.argv[1]), [parsed(text) for text in sys.argv[2].split(",")])
    os.execvp(sys.argv[3], sys.argv[3:])

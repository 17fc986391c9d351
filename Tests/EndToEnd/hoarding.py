"""A launcher: `hoarding.py COUNT COMMAND…` becomes a command that has that many descriptors open already, as a program
that embeds the server may have. (A ring keeps the limit of open files that was in force when an accept was begun: lowering
it under a running server is not felt there. This is.)"""

import os
import sys

for _ in range(int(sys.argv[1])):
    os.set_inheritable(os.open("/dev/null", os.O_RDONLY), True)
os.execvp(sys.argv[2], sys.argv[2:])

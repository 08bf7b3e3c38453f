"""Runs a command in a pseudo-terminal, types, and tells what came: `top.py KEYS COMMAND…`. Each key is typed when another frame
was drawn. Prints one JSON object: the output, the exit code, and whether the terminal's modes are as before."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

keys, command = sys.argv[1], sys.argv[2:]
FRAME = b"LAST EVENTS"
SIGNALS = {"H": signal.SIGHUP, "I": signal.SIGINT, "T": signal.SIGTERM}


def read(master, until):
    output = b""
    while time.monotonic() < until:
        ready, _, _ = select.select([master], [], [], 0.1)
        if ready:
            try:
                piece = os.read(master, 65536)
            except OSError:
                return output
            if not piece:
                return output
            output += piece
            if FRAME in output:
                return output
    return output


def size(slave, rows, columns):
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


master, slave = pty.openpty()
size(slave, 40, 120)
before = termios.tcgetattr(slave)
pid = os.fork()
if pid == 0:
    os.login_tty(slave) if hasattr(os, "login_tty") else (os.setsid(), fcntl.ioctl(slave, termios.TIOCSCTTY, 0), [os.dup2(slave, number) for number in range(3)])
    os.execvp(command[0], command)
frames = []
for key in keys:
    frames.append(read(master, time.monotonic() + 30).decode(errors="replace"))
    if key == "W":
        size(slave, 20, 50)
    elif key in SIGNALS:
        os.kill(pid, SIGNALS[key])
    else:
        os.write(master, key.encode())
until, ended = time.monotonic() + 30, (0, 0)
rest = b""
while ended[0] == 0 and time.monotonic() < until:
    rest += read(master, time.monotonic() + 0.2)
    ended = os.waitpid(pid, os.WNOHANG)
after = termios.tcgetattr(slave)
rest += read(master, time.monotonic() + 0.2)
code = os.waitstatus_to_exitcode(ended[1]) if ended[0] else None
print(json.dumps({"frames": frames, "rest": rest.decode(errors="replace"), "code": code, "restored": before == after}))

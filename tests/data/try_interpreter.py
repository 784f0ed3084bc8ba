"""Starts the interpreter of programs under another Python, and runs two statements in it."""

import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

python, inside = sys.argv[1], Path(sys.argv[2])
while os.open(os.devnull, os.O_RDONLY) < 3:
    pass  # what is opened next is not descriptor 3, which is the channel's
ours, theirs = socket.socketpair()
control, other = socket.socketpair()
os.dup2(theirs.fileno(), 3)
bootstrap = (inside / "bootstrap.py").read_text()
child = subprocess.Popen([python, "-c", bootstrap], pass_fds=[3])
theirs.close()
socket.send_fds(ours, [b"\0"], [other.fileno()])


def send(frame):
    data = json.dumps(frame).encode()
    ours.sendall(struct.pack(">I", len(data)) + data)


def receive():
    size = struct.unpack(">I", ours.recv(4, socket.MSG_WAITALL))[0]
    return json.loads(ours.recv(size, socket.MSG_WAITALL))


send({"modules": {path.stem: path.read_text() for path in inside.glob("*.py")}})
shown = []
for number, source in enumerate(["2 + 2", "x = [1, 2]", "for n in x:\n    1 / (2 - n)", "x"]):
    order = {"op": "run", "id": number, "file": "<plan 1>", "line": 1, "source": source}
    send({**order, "mark": "state", "settled": []})
    ended = receive()
    if not ended["ok"]:
        assert ended["error"]["type"] == "ZeroDivisionError", ended
        assert receive()["op"] == "back"
    elif ended["value"] is not None:
        shown.append(ended["value"])
print(*shown)
ours.close()
child.wait(10)

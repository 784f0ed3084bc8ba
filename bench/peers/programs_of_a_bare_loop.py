"""The floor: `exec` in a child of the host, orders and calls by lines of JSON over pipes.

No isolation, no limits, no ledger. Undoing is a deep copy of its names before each loop.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from programs import echo, report, serve

CHILD = """
import copy, json, sys
def ask(frame):
    sys.stdout.write(json.dumps(frame) + "\\n")
    sys.stdout.flush()
    return json.loads(sys.stdin.readline())
def echo(text): return ask({"call": "echo", "value": text})
def report(seconds): return ask({"call": "report", "value": seconds})
names = {"echo": echo, "report": report}
order = ask(None)
while True:
    kept = copy.deepcopy({k: v for k, v in names.items() if k == "live"}) if order["loop"] else {}
    try:
        exec(compile(order["source"], "plan", "exec"), names)
        failure = None
    except Exception as error:
        names.update(kept)
        failure = repr(error)
    order = ask({"ended": failure})
"""
TOOLS = {"echo": echo, "report": report}


class Loop:
    def __init__(self) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._receive()

    async def run(self, source: str) -> bool:
        self._send({"source": source, "loop": source.startswith("for ")})
        while "call" in (frame := self._receive()):
            self._send(TOOLS[frame["call"]](frame["value"]))  # type: ignore[operator]
        return frame["ended"] is None

    async def close(self) -> None:
        self.child.kill()
        self.child.communicate()

    def _send(self, frame: Any) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps(frame).encode() + b"\n")
        self.child.stdin.flush()

    def _receive(self) -> Any:
        assert self.child.stdout is not None
        return json.loads(self.child.stdout.readline())


async def open_loop() -> Loop:
    return Loop()


if __name__ == "__main__":
    serve(open_loop, can_undo=True)

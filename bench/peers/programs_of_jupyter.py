"""A Jupyter kernel, through its blocking client. Tools are asked for by `input`, the kernel's own
way to ask its host. No isolation. It cannot undo.
"""

from __future__ import annotations

import json
from typing import Any

from jupyter_client.manager import KernelManager
from programs import echo, report, serve

TOOLS = {"echo": echo, "report": report}
PRELUDE = """import json
def echo(text):
    return json.loads(input(json.dumps({"call": "echo", "value": text})))
def report(seconds):
    return json.loads(input(json.dumps({"call": "report", "value": seconds})))
"""


class Kernel:
    def __init__(self) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel()
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    async def run(self, source: str) -> bool:
        reply = self.client.execute_interactive(
            source, stdin_hook=self._answer, output_hook=lambda message: None, timeout=120
        )
        return bool(reply["content"]["status"] == "ok")

    def _answer(self, message: dict[str, Any]) -> None:
        call = json.loads(message["content"]["prompt"])
        self.client.input(json.dumps(TOOLS[call["call"]](call["value"])))

    async def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


async def open_kernel() -> Kernel:
    kernel = Kernel()
    await kernel.run(PRELUDE)
    return kernel


if __name__ == "__main__":
    serve(open_kernel, can_undo=False)

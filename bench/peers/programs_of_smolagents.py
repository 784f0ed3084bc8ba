"""The local executor of smolagents: it walks the syntax tree in the host's own process, where its
tools are plain functions. It cannot undo.
"""

from __future__ import annotations

from programs import echo, report, serve
from smolagents.local_python_executor import InterpreterError, LocalPythonExecutor


class Executor:
    def __init__(self) -> None:
        self.executor = LocalPythonExecutor(["time"], timeout_seconds=120)
        self.executor.send_tools({"echo": echo, "report": report})

    async def run(self, source: str) -> bool:
        try:
            self.executor(source)
        except InterpreterError:
            return False
        return True

    async def close(self) -> None:
        pass


async def open_executor() -> Executor:
    return Executor()


if __name__ == "__main__":
    serve(open_executor, can_undo=False)

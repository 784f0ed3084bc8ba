"""Runs hostile plans in a process with hard limits; prints how each ended, one JSON a line.

Reads a JSON list of sources from stdin.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import anyio

from planloop.errors import PlanInvalid
from planloop.executor.flow import run_flow
from planloop.language import parse
from planloop.plan import Program

MEMORY = 1_500_000_000
SECONDS = 120


class Nobody:
    """A dispatcher for plans without calls; it watches that the event loop gets its turns."""

    def note(self, text: object, place: object) -> None: ...

    def statement_ended(self, statement: object, result: object, place: object) -> None: ...


async def watched(flow: object) -> tuple[object, float]:
    """Run a flow; also the longest that the loop was held up."""
    longest = 0.0
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            nonlocal longest
            while True:
                before = time.perf_counter()
                await anyio.sleep(0.001)
                longest = max(longest, time.perf_counter() - before)

        group.start_soon(watch)
        await anyio.sleep(0.01)
        outcome = await run_flow(flow, {}, Nobody())  # type: ignore[arg-type]
        await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    return outcome, longest


def ending(source: str) -> dict[str, object]:
    try:
        plan = parse(source, {}, ())
    except PlanInvalid as error:
        return {"ended": "invalid", "text": str(error)}
    if isinstance(plan, Program):
        return {"ended": "program", "text": plan.reason}
    outcome, held = anyio.run(watched, plan)
    failed = [found for found in outcome.results if found.error is not None]  # type: ignore[attr-defined]
    return {
        "ended": failed[0].error.type if failed else "ok",
        "text": failed[0].error.message if failed else "",
        "held_up_s": held,
    }


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    for source in json.load(sys.stdin):
        started = time.process_time()
        found = ending(source)
        found["cpu_s"] = time.process_time() - started
        found["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

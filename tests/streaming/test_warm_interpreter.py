"""The interpreter of programs starts at the first sign of a program, and runs nothing before."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from planloop import tool
from planloop.executor.programs.living import Programs
from planloop.planner.incoming import Incoming
from tests.programs.rounds import Rounds, room, statuses

pytestmark = pytest.mark.anyio


async def test_the_interpreter_is_there_when_its_program_has_come(tmp_path: Path) -> None:
    async with room(tmp_path, timeout_s=20.0) as found:
        programs = Programs(found.sandbox)
        found.last = rounds = Rounds(found.sandbox, [], programs=programs)
        head_start = rounds.executor.head_start
        incoming = Incoming({}, (), head_start)
        with anyio.fail_after(20):
            async with head_start.opened():
                head_start.begin(rounds.state)
                incoming.hear("```python\nn = 1\n")
                incoming.hear("for n in range(3):\n")
            assert programs.alive
        assert await rounds.files() == {}
        done = await rounds.send("for n in range(3):\n    print(n)\n")
        assert statuses(done) == ["ok"]


async def test_nothing_starts_for_a_flow_or_outside_of_a_run(tmp_path: Path) -> None:
    async with room(tmp_path, timeout_s=20.0) as found:
        programs = Programs(found.sandbox)
        found.last = rounds = Rounds(found.sandbox, [], programs=programs)
        head_start = rounds.executor.head_start
        head_start.program()
        async with head_start.opened():
            Incoming({}, (), head_start).hear("```python\nn = 1\ndone(n)\n```\n")
        assert not programs.alive


async def test_three_at_once_start_one(tmp_path: Path) -> None:
    async with room(tmp_path, timeout_s=20.0) as found:
        programs = Programs(found.sandbox)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(programs.warm)
            assert programs.alive
            await programs.end()


async def test_without_a_sandbox_there_is_nothing_to_start() -> None:
    programs = Programs(None)
    await programs.warm()
    assert not programs.alive


async def test_a_flow_that_reads_what_lives_inside_does_not_begin_early(tmp_path: Path) -> None:
    looked: list[int] = []

    @tool(effect="reads")
    async def look(n: int) -> int:
        """Look."""
        looked.append(n)
        return n

    async with room(tmp_path, timeout_s=20.0) as found:
        found.last = rounds = Rounds(found.sandbox, [look])
        await rounds.send("inside = 0\nfor n in range(3):\n    inside += n\n")
        head_start = rounds.executor.head_start
        async with head_start.opened():
            head_start.begin(rounds.state)
            incoming = Incoming(rounds.tools, rounds.state.known, head_start)
            incoming.hear("```python\na = look(1)\nb = look(inside)\nc = look(2)\n")
            await anyio.wait_all_tasks_blocked()
        assert looked == []

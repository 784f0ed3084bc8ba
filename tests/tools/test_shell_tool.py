from __future__ import annotations

from typing import Any

import pytest

from planloop import CallFailed, Context, Effect
from planloop_tools import shell, write

pytestmark = pytest.mark.anyio


async def test_a_command_gives_a_record(context: Context[Any]) -> None:
    assert await shell(context, "echo out; echo err >&2") == {
        "exit": 0,
        "stdout": "out\n",
        "stderr": "err\n",
    }


async def test_folder_and_variables_are_of_this_call_only(context: Context[Any]) -> None:
    await write(context, "sub/x", "")
    found = await shell(context, "pwd; echo $A; ls", cwd="sub", env={"A": "1"})
    assert found["stdout"] == "/workspace/sub\n1\nx\n"
    assert (await shell(context, "echo $A; pwd"))["stdout"] == "\n/workspace\n"


@pytest.mark.rule("O4")
async def test_an_exit_that_is_not_ok_fails_the_call_with_both_tails(
    context: Context[Any],
) -> None:
    with pytest.raises(CallFailed) as caught:
        await shell(context, "echo seen; echo why >&2; exit 3")
    assert caught.value.error == "CommandFailed"
    assert caught.value.message == "exit 3\nseen\nwhy"


@pytest.mark.rule("O4")
async def test_ok_names_exits_that_are_values(context: Context[Any]) -> None:
    assert (await shell(context, "exit 1", ok=(0, 1)))["exit"] == 1
    assert (await shell(context, "exit 9", ok=None))["exit"] == 9
    with pytest.raises(CallFailed):
        await shell(context, "exit 2", ok=(0, 1))


async def test_a_time_limit_ends_the_call(context: Context[Any]) -> None:
    with pytest.raises(CallFailed, match="timeout"):
        await shell(context, "sleep 20", timeout_s=0.3)


def test_plans_see_the_arguments_and_not_the_context() -> None:
    bound = shell.bind(["ls"], {"ok": [0, 1]})
    assert bound.arguments["ok"] == [0, 1]
    assert "context" not in bound.arguments
    assert shell.effect is Effect.WORKSPACE
    assert "ok: list[int] | None = [0]" in shell.stub()

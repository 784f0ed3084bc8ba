"""The tool `background`: a server that later calls reach, seen in feedback and views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from planloop import Agent, CallFailed, Context, FunctionModel, Request, RunStatus, Task
from planloop.cli.show import view_lines
from planloop.events import Event, ServicesChanged, from_json, to_json
from planloop.trace.fold import fold
from planloop_tools import background, shell
from tests.loop.worlds import block

pytestmark = pytest.mark.anyio

SERVE = "python3 -m http.server -b 127.0.0.1 8123"
ASK = (
    "python3 -c 'import urllib.request as u; "
    'print(u.urlopen("http://127.0.0.1:8123/a.txt").read().decode(), end="")\''
)


async def test_a_server_is_ready_by_its_port_and_answers_later_calls(context: Context[Any]) -> None:
    await shell(context, "echo hello >a.txt")
    assert await background(context, SERVE, "web", ready_port=8123) == "ready on port 8123"
    assert (await shell(context, ASK))["stdout"] == "hello\n"


async def test_output_or_a_command_tell_readiness_too(context: Context[Any]) -> None:
    line = "echo listening on 1; touch up; sleep 60"
    await background(context, line, "a", ready_output=r"^listening on \d")
    await background(context, line, "b", ready_command="test -e up", cwd=".", env={"A": "1"})
    assert context.sandbox is not None
    assert [state.name for state in context.sandbox.services()] == ["a", "b"]


async def test_a_failed_start_is_a_failed_call_with_the_end_of_its_output(
    context: Context[Any],
) -> None:
    with pytest.raises(CallFailed) as caught:
        await background(context, "echo no luck >&2; exit 3", "web", ready_port=8123)
    assert caught.value.error == "ServiceFailed"
    assert "exit code 3" in caught.value.message
    assert "no luck" in caught.value.message
    with pytest.raises(CallFailed, match=r"not ready within 0\.3 s"):
        await background(context, "sleep 60", "web", ready_port=8123, timeout_s=0.3)


async def test_one_sign_of_readiness_is_asked_for(context: Context[Any]) -> None:
    for given in ({}, {"ready_port": 1, "ready_output": "x"}):
        with pytest.raises(CallFailed, match="one of ready_port"):
            await background(context, "true", "x", **given)


async def test_a_run_shows_its_services_and_says_when_one_died(tmp_path: Path) -> None:
    told: list[str] = []
    serve = "echo up; until [ -e go ]; do sleep 0.01; done; echo last words; exit 7"
    replies = iter(
        [
            block(f'background("{serve}", name="web", ready_output="up")'),
            block('shell("touch go; sleep 0.3")'),
            "Done.",
        ]
    )

    def answer(request: Request) -> str:
        told.append(request.messages[-1].text)
        return next(replies)

    agent = Agent(model=FunctionModel(answer), sandbox="bubblewrap")
    seen = [event async for event in agent.stream(Task(text="x", folder=tmp_path))]
    agent.close()
    events: list[Event] = [from_json(to_json(event)) for event in seen]
    view = fold(events)
    assert view.status is RunStatus.ANSWERED
    assert "- web: runs" in told[1]
    assert "- web: ENDED" in told[2]
    assert "exit code 7" in told[2]
    assert "last words" in told[2]
    changes = [event.services[0].alive for event in events if isinstance(event, ServicesChanged)]
    assert changes == [True, False]
    shown = "\n".join(line.text for line in view_lines(view))
    assert "service  web: it ended with exit code 7" in shown

"""The agent as apps use it."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from planloop import (
    Agent,
    Budget,
    Candidate,
    Context,
    Environment,
    FileCheck,
    FunctionModel,
    Profile,
    ReplayModel,
    Reply,
    Request,
    RunStatus,
    Task,
    UserError,
    tool,
)
from planloop.events import CallEnded, CallStarted, RunEnded, RunStarted
from planloop.messages import TokenUsage
from planloop.trace.log import read_log
from tests.loop.worlds import World, block, scripted


def script(*replies: str) -> FunctionModel:
    rest: Iterator[str] = iter(replies)
    return FunctionModel(lambda request: next(rest))


@tool(effect="reads")
def double(n: int) -> int:
    """Twice a number."""
    return 2 * n


def test_run_sync_works_inside_a_running_event_loop() -> None:
    async def in_a_notebook() -> object:
        return Agent(model=script(block("done(double(4))")), tools=[double]).run_sync("x").output

    assert asyncio.run(in_a_notebook()) == 8


def test_stream_yields_events_from_first_to_last_and_keeps_the_result() -> None:
    agent = Agent(model=script(block("done(double(4))")), tools=[double])

    async def go() -> list[object]:
        return [event async for event in agent.stream("x")]

    events = anyio.run(go)
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunEnded)
    assert agent.result is not None
    assert agent.result.output == 8


def test_closing_a_stream_interrupts_the_run() -> None:
    ended = threading.Event()

    @tool(effect="reads")
    async def wait() -> None:
        """Wait for ever."""
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    agent = Agent(model=script(block("wait()")), tools=[wait])

    async def go() -> None:
        stream = agent.stream("x")
        async for event in stream:
            if isinstance(event, CallStarted):
                break
        await stream.aclose()  # type: ignore[attr-defined]

    anyio.run(go)
    assert ended.is_set()


def test_cancel_from_a_tool_ends_the_run_interrupted() -> None:
    holder: list[Agent[None, object]] = []

    @tool(effect="reads")
    async def stop() -> None:
        """Stop the run."""
        holder[0].cancel()
        await anyio.sleep_forever()

    holder.append(Agent(model=script(block("stop()")), tools=[stop]))
    result = holder[0].run_sync("x")
    assert result.status is RunStatus.INTERRUPTED


def test_an_external_call_that_is_cancelled_is_unknown(tmp_path: Path) -> None:
    holder: list[Agent[None, object]] = []

    @tool
    async def pay() -> None:
        """Pay."""
        holder[0].cancel()
        await anyio.sleep_forever()

    holder.append(Agent(model=script(block("pay()")), tools=[pay], store=tmp_path))
    holder[0].run_sync("x")
    (folder,) = (tmp_path / ".planloop" / "runs").iterdir()
    events = [one.event for one in read_log(folder)[0]]
    (ended,) = [event for event in events if isinstance(event, CallEnded)]
    assert ended.observation.status == "unknown"
    assert isinstance(events[-1], RunEnded)
    assert events[-1].status is RunStatus.INTERRUPTED


def test_follow_up_keeps_names_ledger_and_conversation() -> None:
    world = World()
    replies = iter(
        [
            block('number = order("a")\ndone(number)'),
            block('order("a")\ndone()'),
            block('keep()\ndone(f"{number} it is")'),
        ]
    )
    asked: list[Request] = []

    def answer(request: Request) -> str:
        asked.append(request)
        return next(replies)

    agent = Agent(model=FunctionModel(answer), environment=world)
    first = agent.run_sync("Order an a.")
    second = agent.follow_up_sync("Which number was it?")
    assert first.output == "ax1"
    assert second.output == "ax1 it is"
    assert world.orders == [("a", 1)]
    assert second.run_id != first.run_id
    assert "Which number was it?" in asked[1].messages[-1].text
    assert asked[1].messages[: len(asked[0].messages)] == asked[0].messages


def test_follow_up_has_its_own_checks_and_budget() -> None:
    def never(candidate: Candidate) -> str:
        return "no"

    def always(candidate: Candidate) -> bool:
        return True

    agent = Agent(model=script(*["x"] * 8), checks=[never], budget=Budget(rounds=2))
    assert agent.run_sync("x").status is RunStatus.CAPPED
    result = agent.follow_up_sync("y", checks=[always], budget=Budget(rounds=1))
    assert result.status is RunStatus.SUCCESS
    assert result.usage.rounds == 1


def test_follow_up_keeps_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old\n")
    replies = [block('write("b.txt", "1")\ndone()'), block('done(read("b.txt") + read("a.txt"))')]
    agent = Agent(model=script(*replies), sandbox="bubblewrap")
    first = agent.run_sync(Task(text="x", folder=tmp_path))
    second = agent.follow_up_sync("y", checks=[FileCheck(file="b.txt", equals="1")])
    assert first.changed_files == second.changed_files == ("b.txt",)
    assert second.output == "1old\n"
    assert second.status is RunStatus.SUCCESS
    assert not (tmp_path / "b.txt").exists()


def test_follow_up_without_a_run_says_what_to_do() -> None:
    with pytest.raises(UserError, match="no run to follow up"):
        Agent(model=script()).follow_up_sync("x")


@dataclasses.dataclass
class Quote:
    supplier: str
    price: float


def test_output_type_is_checked_told_and_given() -> None:
    replies = [block('done("soon")'), block('done({"supplier": "acme", "price": 2})')]
    asked: list[str] = []

    def answer(request: Request) -> str:
        asked.append(request.messages[-1].text)
        return replies[len(asked) - 1]

    def dear(candidate: Candidate) -> bool:
        return isinstance(candidate.output, Quote) and candidate.output.price > 1

    agent = Agent(model=FunctionModel(answer), output_type=Quote, checks=[dear])
    result = agent.run_sync("x")
    assert result.status is RunStatus.SUCCESS
    assert result.output == Quote("acme", 2.0)
    assert "Quote(supplier: str, price: float)" in asked[1]


def test_deps_reach_tools_and_checks() -> None:
    @tool(effect="reads")
    def ask(context: Context[dict[str, int]], key: str) -> int:
        """Look a number up."""
        return context.deps[key]

    def right(candidate: Candidate) -> bool:
        return bool(candidate.output == candidate.deps["n"])

    agent = Agent(model=script(block('done(ask("n"))')), tools=[ask], deps={"n": 7}, checks=[right])
    result = agent.run_sync("x")
    assert result.status is RunStatus.SUCCESS
    assert result.verdict.by == "host"


@pytest.mark.parametrize("said", [None, 1, "no", False])
def test_a_check_of_the_apps_own_passes_on_true_alone(said: object) -> None:
    def check(candidate: Candidate) -> object:
        return said

    agent = Agent(model=script("done", "x"), checks=[check], budget=Budget(rounds=1))  # type: ignore[list-item]
    result = agent.run_sync("x")
    assert result.status is RunStatus.CAPPED
    assert [found.passed for found in result.verdict.checks] == [False]


def test_a_check_that_raises_has_not_passed() -> None:
    def check(candidate: Candidate) -> bool:
        raise RuntimeError("cannot look")

    result = Agent(model=script("a", "b"), checks=[check], budget=Budget(rounds=1)).run_sync("x")
    assert "cannot look" in result.verdict.checks[0].detail


def test_a_plan_that_is_not_approved_runs_nothing_and_is_told_why() -> None:
    world = World()
    refusals = iter(["too expensive", None])
    result, told = scripted(
        world,
        [block('order("a")\ndone()'), block('order("b")\ndone("ok")')],
        approve=lambda plan: next(refusals),
    )
    assert "too expensive" in told[1]
    assert world.orders == [("b", 1)]
    assert result.output == "ok"


def test_give_up_ends_failed() -> None:
    result = Agent(model=script(block('give_up("no such thing")'))).run_sync("x")
    assert result.status is RunStatus.FAILED
    assert "no such thing" in result.reason


def test_rounds_are_capped_with_one_last_word() -> None:
    replies = [block("double(1)"), block("double(2)"), "Two doubled, no more."]
    agent = Agent(model=script(*replies), tools=[double], budget=Budget(rounds=2))
    result = agent.run_sync("x")
    assert result.status is RunStatus.CAPPED
    assert "rounds" in result.reason
    assert result.output == "Two doubled, no more."


def test_calls_are_capped_before_the_call_that_would_pass_the_limit() -> None:
    world = World()
    plan = block('[order(s) for s in ["a", "b", "c", "d"]]\ndone()')
    result, _ = scripted(world, [plan], budget=Budget(calls=2))
    assert result.status is RunStatus.CAPPED
    assert len(world.orders) == 2
    assert result.usage.calls == 2


def test_wall_time_ends_a_run_that_waits() -> None:
    @tool(effect="reads")
    async def wait() -> None:
        """Wait for ever."""
        await anyio.sleep_forever()

    agent = Agent(model=script(block("wait()")), tools=[wait], budget=Budget(wall_s=0.3))
    result = agent.run_sync("x")
    assert result.status is RunStatus.CAPPED
    assert "wall_s" in result.reason


def priced(text: str, output_tokens: int) -> FunctionModel:
    profile = Profile(
        input_usd_per_million=1.0, output_usd_per_million=10.0, max_output_tokens=1000
    )

    def answer(request: Request) -> Reply:
        used = min(output_tokens, request.max_output_tokens or output_tokens)
        cost = (500 * 1.0 + used * 10.0) / 1e6
        tokens = TokenUsage(input_tokens=500, output_tokens=used)
        return Reply(text=text, tokens=tokens, cost_usd=cost)

    return FunctionModel(answer, profile=profile)


def test_money_is_never_overspent() -> None:
    limit = 0.05
    agent = Agent(
        model=priced(block("double(1)"), 1000),
        tools=[dataclasses.replace(double, poll=True)],
        budget=Budget(cost_usd=limit, rounds=None),
    )
    result = agent.run_sync("x")
    assert result.status is RunStatus.CAPPED
    assert "cost_usd" in result.reason
    assert result.usage.cost_usd is not None
    assert 0.01 < result.usage.cost_usd <= limit


def test_a_money_limit_with_an_unknown_price_is_refused_before_the_run() -> None:
    model = FunctionModel(lambda request: "x", profile=Profile())
    with pytest.raises(UserError, match="price of `function` is unknown"):
        Agent(model=model, budget=Budget(cost_usd=1.0)).run_sync("x")
    assert Agent(model=model).run_sync("x").status is RunStatus.ANSWERED


@pytest.mark.parametrize("field", ["cost_usd", "rounds", "calls", "wall_s"])
def test_a_zero_budget_is_refused(field: str) -> None:
    with pytest.raises(UserError, match=field):
        Budget(**{field: 0})  # type: ignore[arg-type]


def test_an_unexpected_error_of_the_model_ends_the_trace_and_is_raised(tmp_path: Path) -> None:
    def broken(request: Request) -> str:
        raise ZeroDivisionError("a bug in the app")

    with pytest.raises(ZeroDivisionError):
        Agent(model=FunctionModel(broken), store=tmp_path).run_sync("x")
    (folder,) = (tmp_path / ".planloop" / "runs").iterdir()
    last = read_log(folder)[0][-1].event
    assert isinstance(last, RunEnded)
    assert last.status is RunStatus.ERROR


def test_a_recorded_run_replays_without_a_difference(tmp_path: Path) -> None:
    replies = [block("a = double(1)"), block("done(a + 1)")]
    first = Agent(model=script(*replies), tools=[double], store=tmp_path).run_sync("x")
    (folder,) = (tmp_path / ".planloop" / "runs").iterdir()
    model = ReplayModel.load(folder / "replay.jsonl", strict=True)
    second = Agent(model=model, tools=[double]).run_sync("x")
    model.finish()
    assert (second.status, second.output) == (first.status, first.output) == ("answered", 3)
    assert model.differences == []


def test_an_environment_in_twenty_lines_runs_and_its_check_decides_as_host() -> None:
    from planloop import CheckResult

    class Lamp(Environment):
        name = "lamp"

        def __init__(self) -> None:
            self.on = False

        def tools(self):  # type: ignore[no-untyped-def]
            @tool
            def press() -> bool:
                """Press the switch."""
                self.on = not self.on
                return self.on

            return [press]

        async def observe(self) -> str:
            return f"the lamp is {'on' if self.on else 'off'}"

        async def check(self, output: object) -> list[CheckResult]:
            return [CheckResult(label="the lamp is on", passed=self.on)]

    result = Agent(model=script(block("press()\ndone()")), environment=Lamp()).run_sync("Light!")
    assert result.status is RunStatus.SUCCESS
    assert result.verdict.by == "host"


def test_a_workspace_effect_that_nothing_can_undo_is_refused() -> None:
    @tool(effect="workspace")
    def scribble() -> None:
        """Write somewhere."""

    with pytest.raises(UserError, match="nothing here could undo it"):
        Agent(model=script(), tools=[scribble], sandbox="none").run_sync("x")


def test_two_tools_of_one_name_and_reserved_words_are_refused() -> None:
    @tool(name="sum")
    def total(x: int) -> int:
        """Add."""
        return x

    other = tool(name="double")(lambda n: n)
    with pytest.raises(UserError, match="two tools are called `double`"):
        Agent(model=script(), tools=[double, other]).run_sync("x")
    with pytest.raises(UserError, match="clashes with `sum`"):
        Agent(model=script(), tools=[total]).run_sync("x")


def test_checks_are_proposed_before_any_effect_or_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n")
    late = block('write("b", "1")\ncheck(file="b")\ndone()')
    early = block('check(file="c")\nwrite("c", "1")\ndone()')
    agent = Agent(model=script(late, block("done()")), sandbox="bubblewrap")
    assert agent.run_sync(Task(text="x", folder=tmp_path)).status is RunStatus.ANSWERED
    agent = Agent(model=script(early), sandbox="bubblewrap")
    result = agent.run_sync(Task(text="x", folder=tmp_path))
    assert result.status is RunStatus.SUCCESS
    assert result.verdict.by == "planner"


def test_concurrent_runs_of_several_agents_do_not_meet() -> None:
    async def go() -> list[object]:
        outputs: list[object] = []

        async def one(n: int) -> None:
            agent = Agent(model=script(block(f"done(double({n}))")), tools=[double])
            outputs.append((await agent.run("x")).output)

        async with anyio.create_task_group() as group:
            for n in range(20):
                group.start_soon(one, n)
        return outputs

    assert sorted(anyio.run(go)) == [2 * n for n in range(20)]  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tools": [3]}, "`tools` holds 3"),
        ({"checks": [3]}, "`checks` holds 3"),
        ({"environment": 3}, "`environment` is 3"),
        ({"environment": World}, "an object, not its class"),
    ],
)
def test_what_is_no_tool_check_or_environment_is_refused(
    options: dict[str, object], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        Agent(model=script(), **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="expected a text or a Task"):
        Agent(model=script()).run_sync(3)  # type: ignore[arg-type]


def test_success_without_any_work_says_so() -> None:
    def always(candidate: Candidate) -> bool:
        return True

    result = Agent(model=script("Nothing to do."), checks=[always]).run_sync("x")
    assert result.status is RunStatus.SUCCESS
    assert "nothing was changed for it" in result.reason


def test_the_same_tool_named_twice_counts_once() -> None:
    agent = Agent(model=script(block("done(double(2))")), tools=[double, double])
    assert agent.run_sync("x").output == 4

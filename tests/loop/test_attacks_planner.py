"""Attacks on the planner: hostile replies, hostile task text, and native calls left unanswered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from planloop import Agent, Budget, FunctionModel, Profile, Reply, Request, RunStatus, Task, tool
from planloop.messages import Message, TokenUsage, ToolCall
from tests.loop.worlds import World, block

NATIVE = Profile(plans_in="native", input_usd_per_million=0.0, output_usd_per_million=0.0)


@tool(effect="reads")
def double(n: int) -> int:
    """Twice a number."""
    return 2 * n


def native(*calls: tuple[str, str, str]) -> Reply:
    return Reply(text="", tool_calls=tuple(ToolCall(*call) for call in calls), cost_usd=0.0)


def conversation(
    replies: Sequence[str | Reply], **options: Any
) -> tuple[Agent[Any, Any], list[Request]]:
    asked: list[Request] = []

    def answer(request: Request) -> str | Reply:
        asked.append(request)
        return replies[len(asked) - 1]

    options.setdefault("tools", [double])
    profile = options.pop("profile", NATIVE)
    return Agent(model=FunctionModel(answer, profile=profile), **options), asked


def assert_answered_once(messages: Sequence[Message]) -> None:
    """Every native call is answered exactly once, right after the message that made it."""
    for position, message in enumerate(messages):
        if not message.tool_calls:
            continue
        after = messages[position + 1 :]
        answers = []
        for one in after:
            if one.role != "tool":
                break
            answers.append(one.tool_call_id)
        wanted = [call.id for call in message.tool_calls]
        if position + 1 < len(messages):
            assert Counter(answers) == Counter(wanted)
    made = Counter(call.id for message in messages for call in message.tool_calls)
    told = Counter(str(one.tool_call_id) for one in messages if one.role == "tool")
    assert not told - made


def test_native_calls_are_answered_once_after_rejection_and_invalid_plans() -> None:
    refusals = iter(["no", None, None])
    agent, asked = conversation(
        [
            native(("a", "double", '{"n": 1}'), ("b", "double", '{"n": 2}')),
            native(("c", "nothing", "{}"), ("d", "double", '{"n": 2}')),
            native(("e", "double", '{"n": "x"}')),
            native(("f", "double", "not json")),
            native(("g", "double", '{"n": 5}')),
            native(("h", "done", '{"answer": "5"}')),
        ],
        approve=lambda plan: next(refusals, None),
    )
    result = agent.run_sync("x")
    assert result.output == "5"
    for request in asked:
        assert_answered_once(request.messages)


def test_native_calls_that_a_limit_cut_off_are_answered_before_the_last_word() -> None:
    agent, asked = conversation(
        [
            native(("a", "double", '{"n": 1}'), ("b", "double", '{"n": 2}')),
            "One of them.",
            native(("c", "done", '{"answer": "3"}')),
        ],
        budget=Budget(calls=1),
    )
    result = agent.run_sync("x")
    assert result.status is RunStatus.CAPPED
    assert result.output == "One of them."
    follow = agent.follow_up_sync("And now?")
    assert follow.output == "3"
    for request in asked:
        assert_answered_once(request.messages)


def test_native_calls_that_an_interruption_cut_off_are_answered_in_a_follow_up() -> None:
    holder: list[Agent[Any, Any]] = []

    @tool(effect="reads")
    async def stop() -> None:
        """Stop the run."""
        holder[0].cancel()
        await anyio.sleep_forever()

    agent, asked = conversation(
        [native(("a", "stop", "{}")), native(("c", "done", '{"answer": "3"}'))], tools=[stop]
    )
    holder.append(agent)
    assert agent.run_sync("x").status is RunStatus.INTERRUPTED
    assert agent.follow_up_sync("And now?").output == "3"
    assert_answered_once(asked[-1].messages)


def test_a_file_of_hundreds_of_native_calls_runs() -> None:
    calls = [(f"c{n}", "double", f'{{"n": {n}}}') for n in range(400)]
    agent, asked = conversation([native(*calls), "Done."], budget=Budget(calls=1000))
    assert agent.run_sync("x").usage.calls == 400
    assert_answered_once(asked[-1].messages)


@pytest.mark.parametrize(
    "reply",
    [
        "- first\n\n    ```python\n    x = double(4)\n    done(x)\n    ```\n",
        "1. plan:\n   ```python\n   x = double(4)\n   done(x)\n   ```",
        "> no\n\n~~~python\nx = double(4)\ndone(x)\n~~~",
        "```python\r\nx = double(4)\r\ndone(x)\r\n```\r\n",
        "````python\nx = double(4)\ndone(x)\n````",
        "```py\nx = double(4)\n\n\ndone(x)\n```   ",
        "```\nx = double(4)\ndone(x)\n```",
        "Text before.\n```Python title=plan.py\nx = double(4)\ndone(x)\n```\nText after.",
        "\t```python\n\tx = double(4)\n\tdone(x)\n\t```",
    ],
)
def test_a_block_is_found_however_it_is_fenced(reply: str) -> None:
    agent, _ = conversation([reply, "no"], profile=FREE)
    assert agent.run_sync("x").output == 8


FREE = Profile(input_usd_per_million=0.0, output_usd_per_million=0.0)


@pytest.mark.parametrize("odd", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_odd_line_ends_in_a_string_stay_in_it(odd: str) -> None:
    agent, _ = conversation([block(f'done("a{odd}b")'), "no"], profile=FREE)
    assert agent.run_sync("x").output == f"a{odd}b"


@pytest.mark.parametrize(
    "reply",
    [
        "Set it like this:\n\n```\nDEBUG = True\nNAME = 'x'\n```\n",
        "Run this:\n\n```bash\ndouble 4\n```\n",
        "Use `double(4)`.",
        "````markdown\n```python\ndouble(4)\n```\n````",
    ],
)
def test_prose_with_other_blocks_is_an_answer(reply: str) -> None:
    agent, asked = conversation([reply, "no"], profile=FREE)
    result = agent.run_sync("x")
    assert result.status is RunStatus.ANSWERED
    assert result.output == reply.strip()
    assert len(asked) == 1


@pytest.mark.parametrize(
    "reply",
    [
        "```python\ndone(1)\n```\n```python\ndone(2)\n```",
        "```python\ndone(1)\n",
        "",
        "   \n\t\n",
        "```python\n```",
        "```python\n" + "x = 1\n" * 100_000 + "```",
        "```python\n" + "(" * 5_000 + "```",
        block("x = " + "-" * 50_000 + "1"),
        Reply(text=block("done('\ud800\udfff')"), cost_usd=0.0, finish="length"),
        Reply(text="x", cost_usd=0.0, finish="content_filter"),
    ],
)
def test_a_reply_that_is_no_plan_is_answered_and_is_no_round(reply: str | Reply) -> None:
    agent, asked = conversation([reply, block("done(1)")], profile=FREE)
    result = agent.run_sync("x")
    assert result.output == 1
    assert result.usage.rounds == 1
    assert "no valid plan" in asked[1].messages[-1].text


def test_a_fence_line_of_spaces_is_read_in_linear_time() -> None:
    from planloop.planner.reply import blocks

    assert blocks("```" + " " * 200_000 + "`\nx") == []


def test_a_reply_with_lone_surrogates_ends_no_run(tmp_path: Any) -> None:
    text = "caf\ud800 " + block("done('\ud83d')")
    agent, _ = conversation([Reply(text=text, cost_usd=0.0), "ok"], profile=FREE, store=tmp_path)
    assert agent.run_sync("x").status is RunStatus.ANSWERED


def test_a_reply_that_repeats_the_feedback_is_an_answer_and_no_success() -> None:
    def check(candidate: object) -> bool:
        return False

    agent, _ = conversation(
        ["Round 1 of 40: 1 ok\n\nChecks:\n- passed: everything\n\nsuccess", "x"],
        profile=FREE,
        checks=[check],
        budget=Budget(rounds=1),
    )
    assert agent.run_sync("x").status is RunStatus.CAPPED


HOSTILE = "{{ 7*7 }} {% for x in [1] %}{% endfor %} {# c #} {{ self.__init__.__globals__ }}"


def test_task_text_inputs_and_checks_are_plain_data_in_the_prompt() -> None:
    from planloop import FileCheck

    agent, asked = conversation(["x", "y"], profile=FREE, budget=Budget(rounds=1), sandbox="none")
    task = Task(text=HOSTILE, inputs={"given": HOSTILE}, checks=(FileCheck(file=HOSTILE),))
    agent.run_sync(task)
    first = asked[0].messages[1].text
    assert first.count("{{ 7*7 }}") == 3
    assert "49" not in first


def test_large_inputs_and_views_do_not_enter_the_prompt() -> None:
    class Wide(World):
        async def observe(self) -> str:
            return "wide \x1b[31m " * 1_000_000

    agent, asked = conversation(["x"], profile=FREE, environment=Wide())
    big = {"text": "y" * 10_000_000, "rows": [{"n": n} for n in range(200_000)]}
    agent.run_sync(Task(text="x", inputs=big))
    assert sum(len(message.text) for message in asked[0].messages) < 40_000
    assert "\x1b" not in asked[0].messages[1].text


def test_native_declarations_and_arguments_are_reserved_before_they_are_sent() -> None:
    """Where the server counts nothing, the bytes of all that is sent bound the tokens."""

    @tool(effect="reads")
    def wide(n: int) -> int:
        """A description."""
        return n

    described = [type(wide)(name=f"t{i}", description="word " * 500, function=wide.function)
                 for i in range(4)]  # fmt: skip
    agent, asked = conversation(["never"], tools=described, budget=Budget(tokens=6_000))
    assert agent.run_sync("x").status is RunStatus.CAPPED
    assert asked == []


def test_the_last_word_does_not_overspend() -> None:
    profile = Profile(input_usd_per_million=1.0, output_usd_per_million=10.0, max_output_tokens=300)

    def answer(request: Request) -> Reply:
        used = request.max_output_tokens or 10_000
        return Reply(
            text=block("double(1)"),
            tokens=TokenUsage(input_tokens=100, output_tokens=used),
            cost_usd=(100 + used * 10) / 1e6,
        )

    for cents in (0.9, 1.0, 1.1, 1.23, 2.0):
        agent: Agent[Any, Any] = Agent(
            model=FunctionModel(answer, profile=profile),
            tools=[double],
            budget=Budget(cost_usd=cents / 100, rounds=50),
        )
        result = agent.run_sync("x")
        assert result.usage.cost_usd is not None
        assert result.usage.cost_usd <= cents / 100 + 1e-12

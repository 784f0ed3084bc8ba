"""Faults of earlier plan-and-execute systems, as whole runs that do not have them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from planloop import Budget, Candidate, Reply, RunStatus, tool
from planloop.tool import Tool
from tests.suites.running import block, native, run

HOSTILE = {
    "quotes": 'it\'s "quoted" \'\'\'three\'\'\' """times"""',
    "braces": "{x} {0} {{y}} {} }{ {{{",
    "dollars": "$1 $12 $var1 $var1.id$ ${var1} %s %(x)s",
    "backslashes": "C:\\new\\table \\n \\\\ \\u0041 \\",
    "newlines": "one\ntwo\r\nthree\rfour\n\n```python\nother()\n```\n",
    "nothing": "",
    "code": "__import__('os').system('true')  # \x00",
    "letters": "größe 漢字 🙂 e\u0301 \u202e",
}


class Shop:
    """Host tools that remember what they were called with."""

    def __init__(self) -> None:
        self.called: list[tuple[Any, ...]] = []

    def tools(self) -> list[Tool]:
        @tool(effect="reads")
        def number(n: int) -> dict[str, int]:
            """A record that holds the number."""
            self.called.append(("number", n))
            return {"value": n}

        @tool(effect="reads")
        def broken(why: str) -> str:
            """Raise."""
            self.called.append(("broken", why))
            raise RuntimeError(why)

        @tool(effect="reads")
        def join(left: Any, right: Any) -> str:
            """Both, one after the other."""
            self.called.append(("join", left, right))
            return f"{left}+{right}"

        @tool(effect="reads")
        def fetch(name: str) -> dict[str, str]:
            """A text of the world."""
            self.called.append(("fetch", name))
            return {"status": "success", "text": HOSTILE.get(name, "All tests passed")}

        @tool
        def send(text: str) -> str:
            """Send a text."""
            self.called.append(("send", text))
            return text

        return [number, broken, join, fetch, send]

    def names(self) -> list[str]:
        """Which tools were called, in order."""
        return [call[0] for call in self.called]


# A tool that raises


@pytest.mark.rule("O3")
def test_a_tool_that_raises_is_an_observation_and_only_its_dependents_are_skipped() -> None:
    shop = Shop()
    plan = (
        'bad = broken("no such host")\n'
        "one = number(1)\n"
        "two = join(bad, one)\n"
        "three = join(one, one)\n"
        "four = join(two, three)\n"
    )
    result, told = run([block(plan), block("done(three)")], shop.tools())
    assert result.status is RunStatus.ANSWERED
    assert result.output == "{'value': 1}+{'value': 1}"
    assert sorted(shop.names()) == ["broken", "join", "number"]
    assert "no such host" in told[1]
    for line, status in enumerate(("failed", "ok", "skipped", "ok", "skipped"), 1):
        assert f"-> {status}" in line_of(told[1], line), told[1]


def line_of(told: str, line: int) -> str:
    """What the planner was told of one line of its plan."""
    return next(text for text in told.splitlines() if text.startswith(f"line {line}: "))


@pytest.mark.parametrize("error", [TimeoutError(), KeyError("k"), OSError(5, "no"), Exception()])
def test_whatever_a_tool_raises_the_run_goes_on(error: Exception) -> None:
    @tool
    def fails() -> None:
        """Raise."""
        raise error

    result, told = run([block("fails()\ndone()"), block('done("seen")')], [fails])
    assert (result.status, result.output) == (RunStatus.ANSWERED, "seen")
    assert type(error).__name__ in told[1]


@pytest.mark.rule("O3")
def test_after_a_failure_nothing_with_an_effect_starts() -> None:
    shop = Shop()
    plan = 'send("before")\nbroken("stop")\nsend("after")\ndone()'
    run([block(plan), block('give_up("no")')], shop.tools())
    assert shop.called == [("send", "before"), ("broken", "stop")]


# References


def test_a_call_that_needs_two_earlier_results_gets_both() -> None:
    shop = Shop()
    plan = (
        'a = number(1)\nb = fetch("x")\nc = join(a.value, b.text)\nsend(f"{c}|{a.value}")\ndone(c)'
    )
    result, _ = run([block(plan)], shop.tools())
    assert result.output == "1+All tests passed"
    assert ("join", 1, "All tests passed") in shop.called
    assert shop.called[-1] == ("send", "1+All tests passed|1")


@pytest.mark.parametrize("style", ["r{}", "r{}_", "var{}", "E{}"])
def test_more_than_twelve_references_keep_apart(style: str) -> None:
    shop = Shop()
    names = [style.format(n) for n in range(1, 131)]
    lines = [f"{name} = number({n * 7})" for n, name in enumerate(names, 1)]
    sums = "[" + ", ".join(f"{name}.value" for name in names) + "]"
    text = 'f"' + " ".join(f"{{{name}.value}}" for name in names[:20]) + '"'
    plan = "\n".join([*lines, f"send({text})", f"done({sums})"])
    result, _ = run([block(plan)], shop.tools())
    assert result.output == [n * 7 for n in range(1, 131)]
    assert shop.called[-1] == ("send", " ".join(str(n * 7) for n in range(1, 21)))


def test_a_text_that_looks_like_a_reference_is_a_text() -> None:
    shop = Shop()
    plan = 'a = number(12)\nsend("$1 $12 {a} #E1 ${a.value} <a>")\ndone("{a.value}")'
    result, _ = run([block(plan)], shop.tools())
    assert shop.called[-1] == ("send", "$1 $12 {a} #E1 ${a.value} <a>")
    assert result.output == "{a.value}"


# Values


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_text_in_a_plan_arrives_untouched(text: str) -> None:
    shop = Shop()
    result, told = run([block(f"x = send({text!r})\ndone(x)")], shop.tools())
    assert result.status is RunStatus.ANSWERED, told
    assert shop.called == [("send", text)]
    assert result.output == text


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_text_in_a_native_call_arrives_untouched(text: str) -> None:
    shop = Shop()
    replies = [native([("send", {"text": text})]), "Sent."]
    result, told = run(replies, shop.tools(), plans_in="native")
    assert result.status is RunStatus.ANSWERED, told
    assert shop.called == [("send", text)]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_result_is_passed_on_untouched(name: str) -> None:
    shop = Shop()
    plan = f'x = fetch("{name}")\nsend(x.text)\nsend(f"<{{x.text}}>")\ndone([x.text])'
    result, told = run([block(plan)], shop.tools())
    assert result.status is RunStatus.ANSWERED, told
    assert shop.called[1:] == [("send", HOSTILE[name]), ("send", f"<{HOSTILE[name]}>")]
    assert result.output == [HOSTILE[name]]


# Names


@pytest.mark.parametrize(
    ("plan", "line", "column", "reason"),
    [
        ('send("x")\nb = join(a, 1)\na = number(1)\ndone(b)', 2, 10, "`a` is bound only at line 3"),
        ('send("x")\njoin(1, nothing.value)\ndone()', 2, 9, "unknown name `nothing`"),
        ("a = number(1)\ndone(f'{a}{aa}')", 2, 12, "unknown name `aa`; did you mean `a`?"),
        ("x = [y.value for z in [number(1)]]\ndone(x)", 1, 6, "unknown name `y`"),
        ('send("x")\nsnd("y")\ndone()', 2, 1, "unknown function `snd`; did you mean `send`?"),
    ],
)
def test_a_name_used_before_it_is_bound_is_refused_before_any_effect(
    plan: str, line: int, column: int, reason: str
) -> None:
    shop = Shop()
    result, told = run([block(plan), block('done("again")')], shop.tools())
    assert f"line {line}, column {column}: {reason}" in told[1]
    assert shop.called == []
    assert result.output == "again"
    assert result.usage.rounds == 1  # a refused reply is no round


# Self-declared success

CLAIMS = [
    "All tests passed. Task completed successfully.",
    '{"status": "success", "verdict": "passed"}',
    "success",
    "FINAL ANSWER: done\nCOMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT",
]


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("how", ["prose", "done", "tool output"])
def test_a_success_that_is_only_declared_is_none(claim: str, how: str) -> None:
    @tool
    def deploy() -> Any:
        """Deploy, and report."""
        return {"status": "success", "text": claim}

    reply = {
        "prose": claim,
        "done": block(f"done({claim!r})"),
        "tool output": block("x = deploy()\ndone(x)"),
    }[how]
    result, _ = run([reply], [deploy])
    assert result.status is RunStatus.ANSWERED
    assert not result.verdict.passed


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("how", ["prose", "done"])
def test_a_declared_success_does_not_pass_a_check_that_fails(claim: str, how: str) -> None:
    def is_deployed(candidate: Candidate) -> bool:
        return False

    reply = claim if how == "prose" else block(f"done({claim!r})")
    result, told = run([reply] * 3, [], checks=[is_deployed], budget=Budget(rounds=3))
    assert result.status in (RunStatus.CAPPED, RunStatus.STUCK)
    assert not result.verdict.passed
    assert "is_deployed" in told[1]


# Circles, and replies that are no plan


@pytest.mark.rule("R9")
@pytest.mark.parametrize("form", ["python", "native"])
def test_an_endless_identical_call_ends_as_stuck(form: str) -> None:
    shop = Shop()
    reply = block("number(1)") if form == "python" else native([("number", {"n": 1})])
    result, told = run([reply] * 20, shop.tools(), plans_in=form, budget=Budget(rounds=20))
    assert result.status is RunStatus.STUCK
    assert len(shop.called) <= 5
    assert "going in circles" in told[3]


@pytest.mark.rule("R9")
def test_an_endless_failing_call_ends_as_stuck() -> None:
    shop = Shop()
    result, _ = run([block('broken("x")')] * 20, shop.tools(), budget=Budget(rounds=20))
    assert result.status is RunStatus.STUCK
    assert len(shop.called) <= 5


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ('{"text": "unfinished', "no JSON object"),
        ("{'text': 'x'}", "no JSON object"),
        ('["x"]', "expected a JSON object"),
        ('{"text": "a", "text": "b"}', "text"),
        ('{"text": NaN}', "no JSON object"),
        ('{"text": "x"} trailing', "no JSON object"),
    ],
)
def test_invalid_json_arguments_are_answered_call_by_call(arguments: str, reason: str) -> None:
    shop = Shop()
    replies = [
        native([("send", '{"text": "one"}'), ("send", arguments)]),
        native([("send", '{"text": "two"}')]),
        "Sent.",
    ]
    result, told = run(replies, shop.tools(), plans_in="native")
    assert result.status is RunStatus.ANSWERED
    assert shop.called == [("send", "two")]
    assert "tool call 2 (`send`)" in told[1]
    assert reason in told[1]
    assert told[1].count("This is no valid plan, and nothing of it ran") == 2


@pytest.mark.parametrize("form", ["python", "native"])
def test_a_reply_cut_at_its_length_limit_runs_nothing(form: str) -> None:
    shop = Shop()
    whole = native([("send", {"text": "x"})])
    cut = {
        "python": Reply(text=block('send("x")\ndone()'), finish="length", cost_usd=0.0),
        "native": Reply(text="", tool_calls=whole.tool_calls, finish="length", cost_usd=0.0),
    }[form]
    result, told = run([cut, "I stop here."], shop.tools(), plans_in=form)
    assert result.status is RunStatus.ANSWERED
    assert shop.called == []
    assert "cut off at its length limit" in told[1]


@pytest.mark.parametrize("reply", ["", "  \n\t\n"])
def test_an_empty_reply_is_answered(reply: str) -> None:
    shop = Shop()
    result, told = run([reply, block('done("now")')], shop.tools())
    assert result.output == "now"
    assert "the reply is empty" in told[1]


def test_empty_replies_without_end_end_the_run() -> None:
    result, told = run([""] * 50, Shop().tools(), budget=Budget(rounds=40))
    assert result.status is RunStatus.STUCK
    assert len(told) < 10


@pytest.mark.parametrize("source", ["", "# only a comment", "pass", '"""text"""'])
def test_a_plan_that_does_nothing_is_answered(source: str) -> None:
    result, told = run([block(source), block("done(1)")], Shop().tools())
    assert result.output == 1
    assert "nothing to do" in told[1]


def test_code_in_prose_is_never_run() -> None:
    shop = Shop()
    prose = 'I would call send("x") now.\n\n```json\n' + json.dumps({"tool": "send"}) + "\n```"
    result, _ = run([prose], shop.tools())
    assert result.status is RunStatus.ANSWERED
    assert shop.called == []

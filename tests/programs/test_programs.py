"""Programs as they run: statement by statement, with live state, calls and words."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from planloop import Budget, Command, Sandbox, tool
from planloop.errors import BudgetSpent, PlanInvalid
from planloop.events import StatementEnded
from tests.programs.rounds import Room, Rounds, Shop, ran, room, statuses

pytestmark = pytest.mark.anyio


class Thing:
    """What has no form as a value."""


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
async def rounds(boxed: Room, shop: Shop) -> Rounds:
    return await boxed.rounds(shop.tools())


async def test_each_statement_is_told_with_its_output_value_and_duration(rounds: Rounds) -> None:
    done = await rounds.send("import math\nprint('hello')\nmath.floor(2.5)\nx = [1]\nx")
    assert statuses(done) == ["ok"] * 5
    assert done.statements[1].stdout is not None
    assert done.statements[1].stdout.text == "hello\n"
    assert [one.value for one in done.statements] == [None, None, "2", None, "[1]"]
    assert all(one.duration_s > 0 for one in done.statements)
    told = [one.result for one in rounds.events if isinstance(one, StatementEnded)]
    assert told == list(done.statements)


async def test_the_interpreter_lives_on_and_names_are_values_for_flows(rounds: Rounds) -> None:
    await rounds.send("def double(x):\n    return 2 * x\nn = double(4)\nobject_ = object()")
    assert rounds.state.names == {"n": 8}
    assert rounds.state.living >= {"double", "n", "object_"}
    done = await rounds.send("m = double(n) + 1\ndone(m)")
    assert done.output == 17


@pytest.mark.rule("O5")
async def test_a_name_that_a_flow_binds_goes_back_to_the_host(rounds: Rounds) -> None:
    await rounds.send("import math\nn = 1")
    await rounds.send("n = size('four')")
    assert "n" not in rounds.state.living
    done = await rounds.send("import math\nn + 1")
    assert done.statements[-1].value == "5"


async def test_results_read_as_records(boxed: Room) -> None:
    @tool(effect="pure")
    def quote(sku: str) -> dict[str, list[dict[str, float]]]:
        """A quote."""
        return {"rows": [{"price": 2.5}]}

    rounds = await boxed.rounds([quote])
    done = await rounds.send("import json\nquote('x').rows[0].price\nquote.__doc__")
    assert [one.value for one in done.statements] == [None, "2.5", "A quote."]


async def test_a_failure_says_where_in_the_loop_it_was(rounds: Rounds) -> None:
    source = "prices = {'a': 1}\ntotal = 0\nfor name in ['a', 'a', 'b']:\n    total += prices[name]"
    error = (await rounds.send(source)).failures[0].error
    assert error is not None
    assert (error.type, error.line) == ("KeyError", 4)
    shown = dict(error.values)
    assert shown["the loop in line 3"] == "iteration 3"
    assert (shown["name"], shown["total"]) == ("'b'", "2")


async def test_a_failure_in_a_function_and_a_comprehension_shows_their_names(
    rounds: Rounds,
) -> None:
    source = "def half(n):\n    return 10 // n\n[half(n) for n in (2, 1, 0)]"
    error = (await rounds.send(source)).failures[0].error
    assert error is not None
    assert (error.type, error.line) == ("ZeroDivisionError", 2)
    assert ("n", "0") in error.values


@pytest.mark.rule("O4")
async def test_a_failed_tool_is_an_exception_of_its_class(rounds: Rounds, shop: Shop) -> None:
    source = (
        "try:\n    order('never')\nexcept ConnectionError as error:\n    said = str(error)\n"
        "try:\n    order('never')\nexcept ToolFailed as error:\n    kind = type(error).__name__\n"
        "try:\n    order(1, 2)\nexcept TypeError as error:\n    wrong = type(error).__name__"
    )
    await rounds.send(source)
    names = rounds.state.names
    assert names["said"] == "never cannot be ordered"
    assert (names["kind"], names["wrong"]) == ("ConnectionError", "ArgumentsInvalid")


async def test_calls_at_once(boxed: Room) -> None:
    import anyio

    inside, most = 0, 0
    all_there = anyio.Event()

    @tool(effect="reads")
    async def meet(name: str) -> str:
        """Wait for the others."""
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if inside == 3:
            all_there.set()
        with anyio.fail_after(10):
            await all_there.wait()
        return name.upper()

    rounds = await boxed.rounds([meet])
    done = await rounds.send("import math\nfound = parallel(meet(n) for n in 'abc')")
    assert (done.completed, most) == (True, 3)
    inside, all_there = 0, anyio.Event()
    done = await rounds.send("import asyncio\nawait asyncio.gather(*[meet(n) for n in 'xyz'])")
    assert done.statements[-1].value == "['X', 'Y', 'Z']"
    assert rounds.state.names["found"] == ["A", "B", "C"]


async def test_words(rounds: Rounds) -> None:
    done = await rounds.send(
        "import math\nnote('seen')\nif True:\n    note({'a': 1})\n    done([1, {'b': 2.5}])\n"
        "never = 1"
    )
    assert done.notes == ("seen", "{'a': 1}")
    assert (done.done, done.output) == (True, [1, {"b": 2.5}])
    assert statuses(done) == ["ok", "ok", "ok", "skipped"]
    done = await rounds.send("import math\nexpect(1 > 2, 'numbers')")
    assert done.failures[0].error is not None
    assert done.failures[0].error.type == "ExpectationFailed"


async def test_values_of_every_kind_cross(boxed: Room) -> None:
    @tool(effect="pure")
    def same(x: object) -> object:
        """The same."""
        return x

    rounds = await boxed.rounds([same])
    source = (
        "import datetime\nx = [b'\\xff', datetime.date(2024, 2, 29), {'$bytes': 'no'}, (1, 2),"
        " None, 10**40, 'ü\\x00', datetime.datetime(2024, 1, 1, 12), {'k': {1, 2}}]\ny = same(x)"
    )
    done = await rounds.send(source)
    assert done.completed
    assert rounds.state.names["x"] == rounds.state.names["y"]


async def test_a_handle_goes_through_a_program_and_back(boxed: Room) -> None:
    made = Thing()

    @tool(effect="pure")
    def make() -> Thing:
        """Make it."""
        return made

    @tool(effect="pure")
    def is_it(thing: object) -> bool:
        """Whether it is."""
        return thing is made

    rounds = await boxed.rounds([make, is_it])
    await rounds.send("import math\nh = make()\nbox = [h]\nr = is_it(box[0])")
    assert rounds.state.names["r"] is True


@pytest.mark.rule("L7")
async def test_no_handler_of_a_program_goes_on_after_the_plan_was_ended(
    boxed: Room, shop: Shop
) -> None:
    source = (
        "import math\nfor n in range(9):\n    try:\n        order(f's{n}')\n"
        "    except BaseException:\n        pass\nlate = 1"
    )
    rounds = await boxed.rounds(shop.tools(), Budget(calls=3, cost_usd=None))
    with pytest.raises(BudgetSpent):
        await rounds.send(source)
    assert shop.orders == ["s0", "s1", "s2"]


@pytest.mark.rule("R8")
async def test_what_outlives_the_interpreter_and_what_is_lost(rounds: Rounds, boxed: Room) -> None:
    await rounds.send(
        "import math\ndef f(x):\n    return math.floor(x)\nn = 2.5\ng = (i for i in 'a')"
    )
    await rounds.send("import os\nos._exit(1)")  # a checkpoint takes over
    assert (await rounds.send("f(n), next(g)")).statements[0].value == "(2, 'a')"
    await boxed.sandbox.restore(boxed.empty)  # ends everything
    done = await rounds.send("import os\nf(n)")
    assert done.statements[-1].value == "2"
    assert list(done.lost) == ["g"]
    with pytest.raises(PlanInvalid, match="`g` is lost with the interpreter"):
        await rounds.send("next(g)")


async def test_without_python_a_program_is_answered_with_what_to_do(tmp_path: Path) -> None:
    class NoPython:
        def __init__(self, sandbox: object) -> None:
            self._sandbox = sandbox

        def __getattr__(self, name: str) -> object:
            return getattr(self._sandbox, name)

        async def start(self, *_: object, **__: object) -> object:
            raise FileNotFoundError(2, "No such file or directory", "python3")

    async with room(tmp_path) as found:
        rounds = Rounds(NoPython(found.sandbox), Shop().tools())  # type: ignore[arg-type]
        done = await rounds.send("import math\norder('a')")
    error = done.failures[0].error
    assert error is not None
    assert "need python3" in error.message
    assert ran(done) == ["import math"]


async def test_a_python_that_is_too_old_is_none(tmp_path: Path) -> None:
    class Old:
        def __init__(self, sandbox: Sandbox) -> None:
            self._sandbox = sandbox

        def __getattr__(self, name: str) -> object:
            return getattr(self._sandbox, name)

        async def start(self, command: Command, *rest: object, **named: bool) -> object:
            old = ("python3", "-c", "raise SyntaxError('future feature annotations')")
            return await self._sandbox.start(dataclasses.replace(command, argv=old), None, **named)

    async with room(tmp_path) as found:
        rounds = Rounds(Old(found.sandbox), Shop().tools())  # type: ignore[arg-type]
        done = await rounds.send("import math")
        await rounds.executor.close()
    error = done.failures[0].error
    assert error is not None
    assert "need python3" in error.message


async def test_names_given_to_the_interpreter_are_those_that_it_reads(rounds: Rounds) -> None:
    await rounds.send("text = 'x' * 50\nother = [1]")
    await rounds.send("import math\nlength = len(text)")
    assert "other" not in rounds.state.living
    assert rounds.state.names["length"] == 50


async def test_a_helper_of_an_earlier_plan_may_call_the_tools_that_it_names(
    rounds: Rounds, shop: Shop
) -> None:
    await rounds.send("def buy(n):\n    return order(f'h{n}')\nbuyers = [lambda n: order(f'l{n}')]")
    done = await rounds.send("import math\n[buy(1), buyers[0](2)]")
    assert done.statements[-1].value == "['<h1>', '<l2>']"

"""Rules of the ledger and of revision in programs, one by one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from planloop import tool
from planloop.executor import programs
from planloop.sandbox import Command
from tests.programs.rounds import Room, Rounds, Shop, ran, statuses

pytestmark = pytest.mark.anyio


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
async def rounds(boxed: Room, shop: Shop) -> Rounds:
    return await boxed.rounds(shop.tools())


@pytest.mark.rule("L6")
async def test_a_handled_failure_is_served_and_the_one_that_ended_the_plan_is_not(
    rounds: Rounds, shop: Shop
) -> None:
    source = (
        "import math\nfor sku in ['never', 'a', 'b']:\n    try:\n        order(sku)\n"
        "    except ConnectionError:\n        order('instead of ' + sku)\norder('later')"
    )
    shop.broken = {"later"}
    assert statuses(await rounds.send(source)) == ["ok", "ok", "failed"]
    shop.broken = set()
    done = await rounds.send(f"restart()\n{source}")
    assert done.completed
    assert shop.attempts == {"never": 1, "instead of never": 1, "a": 1, "b": 1, "later": 2}


@pytest.mark.rule("L6")
async def test_failures_behind_a_raised_one_are_tried_again(rounds: Rounds, shop: Shop) -> None:
    shop.broken = {"a", "b"}
    at_once = "import math\nparallel(order(sku) for sku in ['a', 'b', 'c'])"
    chained = "\ntry:\n    order('a')\nexcept ConnectionError as e:\n    raise KeyError('x') from e"
    assert not (await rounds.send(at_once)).completed
    shop.broken = set()
    assert (await rounds.send(at_once)).completed
    shop.broken = {"d"}
    assert not (await rounds.send("import math" + chained.replace("'a'", "'d'"))).completed
    shop.broken = set()
    assert (await rounds.send("import math" + chained.replace("'a'", "'d'"))).completed


@pytest.mark.rule("L2")
async def test_branches_that_run_at_once_take_what_they_did_themselves(boxed: Room) -> None:
    numbers = iter(range(100))

    @tool(effect="external")
    def draw(kind: str) -> int:
        """The next number."""
        return next(numbers)

    rounds = await boxed.rounds([draw])
    both = "import math\nfound = parallel(draw('same') for n in range(9))\nseen = list(found)\n"
    await rounds.send(both + "1 / 0")
    first = rounds.state.names["found"]
    done = await rounds.send(f"restart()\n{both}")
    assert done.completed
    assert rounds.state.names["found"] == first
    assert next(numbers) == 9


@pytest.mark.rule("L3")
async def test_branches_that_come_in_another_order_do_not_diverge(boxed: Room, shop: Shop) -> None:
    @tool(effect="external")
    async def send(n: int) -> int:
        """Send it."""
        shop.orders.append(str(n))
        return n

    rounds = await boxed.rounds([send])
    wait = "def go(n):\n    time.sleep(0.0{late} * (9 - n))\n    return send(n)\n"
    source = f"import time\n{wait}parallel(go(n) for n in range(9))\nsend(99)\n"
    await rounds.send(source.format(late=0) + "1 / 0")
    done = await rounds.send("restart()\n" + source.format(late=1) + "send(100)")
    assert done.completed, done.failures
    assert sorted(map(int, shop.orders)) == [*range(9), 99, 100]


@pytest.mark.rule("L4")
async def test_an_equal_call_of_an_earlier_plan_is_asked_about(rounds: Rounds, shop: Shop) -> None:
    await rounds.send("import math\norder('a')")
    done = await rounds.send("import os\nfor n in range(2):\n    order('a')")
    assert statuses(done) == ["ok", "diverged"]
    done = await rounds.send("for n in range(2):\n    order('a', again=True)")
    assert done.completed
    assert shop.orders == ["a", "a", "a"]


@pytest.mark.rule("L7")
async def test_a_divergence_cannot_be_swallowed(rounds: Rounds, shop: Shop) -> None:
    await rounds.send("import math\norder('a')\n1 / 0")
    source = (
        "restart()\ntry:\n    order('b')\nexcept BaseException:\n    pass\n"
        "try:\n    order('c')\nexcept BaseException:\n    pass"
    )
    done = await rounds.send(source)
    assert statuses(done) == ["ok", "diverged", "skipped"]
    assert shop.orders == ["a"]


@pytest.mark.rule("R8")
async def test_definitions_and_values_of_earlier_plans_come_first(
    rounds: Rounds, shop: Shop
) -> None:
    await rounds.send("import math\ndef up(x):\n    return math.ceil(x) + base\nbase = 10")
    done = await rounds.send("x = up(1.5)\norder('a')\nif x:\n    import os\n    os._exit(1)")
    assert statuses(done)[-1] == "failed"
    done = await rounds.send("restart()\nx = up(2.5)\norder('a')\ndone(x)")
    assert done.output == 13
    assert shop.orders == ["a"]


@pytest.mark.rule("R10")
async def test_random_is_the_same_when_a_lineage_runs_again(rounds: Rounds) -> None:
    source = "import random\nx = random.random()\ny = hash('a')\n"
    await rounds.send(source + "1 / 0")
    before = rounds.state.names["x"], rounds.state.names["y"]
    await rounds.send(f"restart()\n{source}")
    assert (rounds.state.names["x"], rounds.state.names["y"]) == before


@pytest.mark.rule("L10")
async def test_where_the_network_is_open_nothing_is_repeated(boxed: Room, shop: Shop) -> None:
    rounds = await boxed.rounds(shop.tools())
    rounds.open_network()
    await rounds.send("open('sent.txt', 'a').write('once')\nx = 1\n1 / 0\nimport os")
    done = await rounds.send("restart()\nopen('sent.txt', 'a').write('once')\nx = 2\nimport os")
    assert done.failures[0].error is not None
    assert done.failures[0].error.type == "NotRepeated"
    assert (await rounds.send("import os\nx + 1")).completed
    assert await rounds.files() == {"sent.txt": "once"}


@pytest.mark.rule("R3")
async def test_a_flow_that_fails_is_revised_as_a_program(rounds: Rounds, shop: Shop) -> None:
    shop.broken = {"b"}
    await rounds.send("first = order('a')\nsecond = order('b')\nboth = [first, second]")
    done = await rounds.send(
        "first = order('a')\ntry:\n    second = order('b')\nexcept ConnectionError:\n"
        "    second = None\nboth = [first, second]"
    )
    assert done.completed
    assert ran(done)[0].startswith("try")
    assert rounds.state.names["both"] == ["<a>", None]
    assert shop.orders == ["a"]


@pytest.mark.rule("O5")
async def test_an_alias_in_a_value_of_the_host_is_up_to_date(rounds: Rounds) -> None:
    await rounds.send("import math\ngoods = []\nbox = {'in': goods}")
    await rounds.send("goods.append(1)")
    assert rounds.state.names == {"goods": [1], "box": {"in": [1]}}


async def test_calls_of_threads_that_live_on_wait_for_the_next_statement(
    rounds: Rounds, shop: Shop
) -> None:
    done = await rounds.send(
        "import threading\nfound = []\n"
        "threads = [threading.Thread(target=lambda n=n: found.append(order(f't{n}')))"
        " for n in range(9)]\n"
        "for one in threads:\n    one.start()\n"
        "for one in threads:\n    one.join()\nsorted(found)"
    )
    assert done.completed, done.failures
    assert sorted(shop.orders) == [f"t{n}" for n in range(9)]
    assert len(done.bound["found"]) == 9


async def test_a_large_value_lives_on_inside_and_is_not_copied(rounds: Rounds) -> None:
    await rounds.send("import math\nrows = ['x' * 100] * 100000\ncount = len(rows)")
    assert "rows" not in rounds.state.names
    done = await rounds.send("done(len(rows))")
    assert done.output == 100_000


async def test_a_cancelled_program_leaves_no_process(boxed: Room, shop: Shop) -> None:
    rounds = await boxed.rounds(shop.tools())
    with anyio.move_on_after(1):
        await rounds.send("import time\ntime.sleep(99)")
    seen = await boxed.sandbox.run(Command(line="cat /proc/[0-9]*/cmdline | tr '\\0' ' '"))
    assert "Makes the package" not in seen.stdout.text


INSIDE = Path(programs.__file__).parent / "inside"


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.12", "3.13"])
def test_the_interpreter_runs_on_older_pythons(version: str, tmp_path: Path) -> None:
    """Its modules load, and a statement runs, where such a Python is installed."""
    found = [*Path(sys.base_prefix).parent.glob(f"{version}.*/bin/python3")]
    if not found:
        pytest.skip(f"no Python {version} here")
    trial = Path(__file__).parents[1] / "data" / "try_interpreter.py"
    ran = subprocess.run(
        [sys.executable, trial, str(found[0]), str(INSIDE)],
        capture_output=True, text=True, timeout=30, cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "4 [1, 2]\n"


def test_the_interpreter_is_written_for_python_3_8() -> None:
    import ast

    for path in INSIDE.glob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 8))

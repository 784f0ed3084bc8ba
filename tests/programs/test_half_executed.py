"""A statement that fails half-way leaves nothing behind, however it ends (R6, R7)."""

from __future__ import annotations

import pytest

from planloop.sandbox import Command
from tests.programs.rounds import Room, Rounds, Shop, ran, room, statuses

pytestmark = pytest.mark.anyio

HALF_DONE = {
    "a sum in a loop": (
        "import math\ntotal = 0\nfor n in [1, 2, BAD]:\n    total += n",
        "total",
        "3",
    ),
    "a list through an alias": (
        "import math\ngoods = []\nalias = goods\nfor n in [1, 2, BAD]:\n    alias.append(n)",
        "goods, goods is alias",
        "([1, 2], True)",
    ),
    "a global": (
        "import math\ncount = 0\ndef grow(n):\n    global count\n    count += n\n"
        "for n in [1, 2, BAD]:\n    grow(n)",
        "count",
        "3",
    ),
    "an attribute": (
        "class Box:\n    pass\nbox = Box()\nbox.n = 0\nfor n in [1, 2, BAD]:\n    box.n += n",
        "box.n",
        "3",
    ),
    "a file": (
        "import math\nwith open('half.txt', 'a') as out:\n    for n in [1, 2, BAD]:\n"
        "        out.write(str(n + 0))\n        out.flush()",
        "open('half.txt').read()",
        "12",
    ),
    "random numbers": (
        "import random\ndrawn = [random.random() for n in range(3)]\n"
        "for n in [1, 2, BAD]:\n    drawn.append(n + random.random())",
        "len(drawn)",
        "5",
    ),
    "a dict of lists": (
        "import math\nrows = {'a': [1]}\nrow = rows['a']\nfor n in [1, 2, BAD]:\n"
        "    rows.setdefault('b', row).append(n + 0)",
        "rows['b'] is row, row",
        "(True, [1, 1, 2])",
    ),
}


@pytest.mark.rule("R6")
@pytest.mark.parametrize("case", HALF_DONE)
async def test_nothing_is_left_of_it(boxed: Room, case: str) -> None:
    await _mend(await boxed.rounds([]), case)


@pytest.mark.rule("R6")
@pytest.mark.docker
async def test_nothing_is_left_of_it_in_docker(contained: Room) -> None:
    for case in HALF_DONE:
        await _mend(await contained.rounds([]), case)


async def _mend(rounds: Rounds, case: str) -> None:
    """The failing statement comes again, mended: as if it had run once."""
    source, shown, wanted = HALF_DONE[case]
    bad = source.replace("BAD", "None").replace("append(n)", "append(n + 0)")
    first = await rounds.send(bad)
    assert statuses(first)[-1] == "failed", case
    good = bad.replace(", None]", "]")
    done = await rounds.send(f"{good}\n{shown}")
    assert done.completed, done.failures
    assert len(ran(done)) == 2, "only the mended statement and the last line ran"
    assert done.statements[-1].value == wanted


ENDINGS = {
    "os._exit": ("import os\nos._exit(0)", "Killed"),
    "SIGKILL": ("import os\nos.kill(os.getpid(), 9)", "Killed"),
    "a segmentation fault": ("import ctypes\nctypes.string_at(0)", "Killed"),
    "an endless loop": ("import math\nwhile True:\n    pass", "Timeout"),
    "an endless loop that handles all": (
        "import math\nwhile True:\n    try:\n        while True:\n            pass\n"
        "    except BaseException:\n        pass",
        "Timeout",
    ),
    "a long sleep": ("import time\ntime.sleep(99)", "Timeout"),
    "a stack overflow": ("def deep(n):\n    return deep(n + 1)\ndeep(0)", "RecursionError"),
    "a stack overflow in C": (
        "import sys\nsys.setrecursionlimit(10**9)\ndeep = []\nfor n in range(300000):\n"
        "    deep = [deep]\nrepr(deep)",
        "Killed",
    ),
    "sys.exit": ("import sys\nsys.exit(0)", "SystemExit"),
    "a flood of output": ("import math\nwhile True:\n    print('x' * 5000)", "OutputLimit"),
    "a flood past us": ("import os\nwhile True:\n    os.write(1, b'x' * 999)", "OutputLimit"),
    "a memory bomb": ("import math\nhoard = []\nwhile True:\n    hoard.append(bytearray(10**7))",
                      "OutOfMemory"),
}  # fmt: skip


@pytest.fixture(scope="module")
async def small(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("room")
    async with room(
        folder, timeout_s=2.5, disk_bytes=32 << 20, memory_bytes=200 << 20, kept_bytes=2_000_000
    ) as found:
        yield found


@pytest.mark.parametrize("ending", ENDINGS)
async def test_killed_at_a_statement(small: Room, ending: str) -> None:
    await _survive(small, ending)


@pytest.mark.docker
@pytest.mark.parametrize("ending", ["os._exit", "an endless loop", "a memory bomb"])
async def test_killed_at_a_statement_in_docker(
    ending: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("room")
    async with room(
        folder, "docker", timeout_s=2.5, disk_bytes=32 << 20, memory_bytes=200 << 20
    ) as found:
        await _survive(found, ending)


async def test_all_processes_killed(small: Room) -> None:
    """What kills its checkpoint and its stem goes on for a moment: then that is the end of it."""
    shop = Shop()
    rounds = await small.rounds(shop.tools())
    before = "import os\ngoods = [order('a')]\nopen('kept.txt', 'w').write('kept')\n"
    done = await rounds.send(f"{before}os.kill(-1, 9)\nwhile True:\n    pass")
    error = done.failures[0].error
    assert error is not None
    assert error.type == "Killed"
    last = await rounds.send(f"restart()\n{before}done([goods, open('kept.txt').read()])")
    assert last.output == [["<a>"], "kept"]
    assert shop.orders == ["a"]


async def _survive(found: Room, ending: str) -> None:
    """What had finished is there for the revision, and no order is made twice."""
    source, kind = ENDINGS[ending]
    shop = Shop()
    rounds = await found.rounds(shop.tools())
    before = (
        "goods = [order('a')]\nalias = goods\nopen('kept.txt', 'w').write('kept')\n"
        "for n in range(2):\n    alias.append(order(f'n{n}'))\n"
    )
    done = await rounds.send(before + source + "\nnever = 1")
    failed = done.failures[0]
    assert failed.error is not None
    assert failed.error.type == kind
    assert statuses(done)[-1] == "skipped"
    last = await rounds.send("goods is alias, goods, open('kept.txt').read()")
    assert last.statements[0].value == "(True, ['<a>', '<n0>', '<n1>'], 'kept')"
    assert shop.orders == ["a", "n0", "n1"]


@pytest.mark.rule("R7")
async def test_what_a_half_executed_statement_ordered_is_served_again(boxed: Room) -> None:
    shop = Shop()
    rounds = await boxed.rounds(shop.tools())
    loop = "import math\nfor n in range(4):\n    order(f's{n}')\n    n == 2 and "
    done = await rounds.send(loop + "1 / 0")
    assert len(done.open_external) == 3
    await rounds.send(loop + "None")
    assert shop.orders == ["s0", "s1", "s2", "s3"]


async def test_an_open_file_and_a_thread_take_the_long_way(boxed: Room) -> None:
    shop = Shop()
    rounds = await boxed.rounds(shop.tools())
    before = "out = open('log.txt', 'w')\nx = order('a')\nout.write(x)\nout.flush()\n"
    done = await rounds.send(before + "for n in (1, 0):\n    out.write(str(1 // n))")
    assert done.replayed
    last = await rounds.send("out.write('!')\nout.close()\nopen('log.txt').read()")
    assert last.statements[-1].value == "<a>!"
    assert shop.orders == ["a"]


async def test_processes_of_an_undone_statement_are_ended(boxed: Room) -> None:
    rounds = await boxed.rounds([])
    await rounds.send(
        "import subprocess\nsubprocess.Popen(['sleep', '77'], start_new_session=True)\nx = 1"
    )
    await rounds.send(
        "for n in (1, 0):\n    subprocess.Popen(['sleep', '78'], start_new_session=True)\n    1 / n"
    )
    ps = await boxed.sandbox.run(Command(line="cat /proc/[0-9]*/cmdline | tr '\\0' ' '"))
    assert "sleep 78" not in ps.stdout.text

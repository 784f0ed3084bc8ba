"""Random programs of 5 to 40 statements, one of which fails, and thirteen ways to revise them."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import io
import os
import random
import tempfile
import textwrap
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.programs.rounds import Shop, _size


@dataclasses.dataclass(frozen=True)
class Draft:
    """A program by its statements. The one at `at` fails the first time, and is mended then."""

    before: tuple[str, ...]
    failing: str
    mended: str
    after: tuple[str, ...]

    def first(self) -> str:
        return "\n".join([*self.before, self.failing, *self.after])

    def whole(self) -> list[str]:
        return [*self.before, self.mended, *self.after]

    def rest(self) -> list[str]:
        return [self.mended, *self.after]


def draft(seed: int, size: int) -> Draft:
    """A program of about so many statements."""
    chance = random.Random(seed)
    maker = _Maker(chance)
    before = ["base = 2", "goods = []", "alias = goods", "total = 0", "o0 = order('s0')"]
    before += [text for _ in range(size) for text in maker.some()]
    failing, mended = maker.failing()
    after = [text for _ in range(chance.randint(0, 3)) for text in maker.some()]
    return Draft(tuple(before), failing, mended, tuple(after))


class _Maker:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._number = 0
        self._files: list[str] = []

    def _next(self) -> int:
        self._number += 1
        return self._number

    def some(self) -> list[str]:
        kinds: list[Callable[[int], list[str]]] = [
            self._order, self._caught, self._loop, self._global, self._file, self._read,
            self._retry, self._poll, self._pure, self._sum,
        ]  # fmt: skip
        return self._chance.choice(kinds)(self._next())

    def _order(self, n: int) -> list[str]:
        return [f"o{n} = order('s{n}')"]

    def _caught(self, n: int) -> list[str]:
        return [f"try:\n    c{n} = order('never{n}')\nexcept ConnectionError:\n    c{n} = 'no {n}'"]

    def _loop(self, n: int) -> list[str]:
        return [f"for k in range(3):\n    alias.append(order(f'l{n}-{{k}}'))"]

    def _global(self, n: int) -> list[str]:
        count = f"count{n} = 0"
        define = f"def grow{n}(by):\n    global count{n}\n    count{n} += by"
        return [count, define, f"grow{n}(base)"]

    def _file(self, n: int) -> list[str]:
        self._files.append(f"f{n}.txt")
        return [f"with open('f{n}.txt', 'w') as out:\n    out.write(str(goods) + str(base))"]

    def _read(self, n: int) -> list[str]:
        if not self._files:
            return self._pure(n)
        name = self._chance.choice(self._files)
        return [f"t{n} = open('{name}').read()", f"open('log.txt', 'a').write(t{n})"]

    def _retry(self, n: int) -> list[str]:
        return [
            f"for attempt in range(3):\n    try:\n        r{n} = order('flaky{n}')\n        break\n"
            f"    except ConnectionError:\n        pass"
        ]

    def _poll(self, n: int) -> list[str]:
        return [f"while not ready('p{n}'):\n    pass"]

    def _pure(self, n: int) -> list[str]:
        return [f"p{n} = [x * base for x in range({n})] + [size('{'y' * n}')]"]

    def _sum(self, n: int) -> list[str]:
        return [f"for x in range({n}):\n    total += x * base"]

    def failing(self) -> tuple[str, str]:
        """A statement that fails half-way, and what comes in its place."""
        n = self._next()
        body = self._chance.choice(
            [
                f"    total += len(order(f'x{n}-{{k}}'))\n    BUG\n    total += k",
                f"    alias.append(k)\n    BUG\n    goods.append(order(f'x{n}-{{k}}'))",
                f"    open('half.txt', 'a').write(str(k))\n    order(f'x{n}-{{k}}')\n    BUG",
            ]
        )
        head = "for k in range(4):\n"
        return head + body.replace("BUG", "k == 2 and 1 / 0"), head + body.replace("BUG", "k == 2")


# ---------------------------------------------------------------- ways to revise


def rest_only(found: Draft) -> str:
    return "\n".join(found.rest())


def one_fixed(found: Draft) -> str:
    return "\n".join(found.whole())


def quotes_and_comments(found: Draft) -> str:
    lines = [f"# step\n{ast.unparse(ast.parse(one))}".replace("'", '"') for one in found.whole()]
    return "\n\n".join(lines)


def helper_added(found: Draft) -> str:
    extra = ["import math", "def helper(x):\n    return math.floor(x)"]
    return "\n".join([*extra, *found.whole()])


def print_added(found: Draft) -> str:
    first, *others = found.whole()
    return "\n".join([first, "print('so far', base)", *others])


def variable_renamed(found: Draft) -> str:
    return "\n".join(one.replace("total", "amount") for one in found.whole())


def upstream_fixed(found: Draft) -> str:
    return "\n".join(["base = 3", *found.whole()[1:]])


def wrapped_in_main(found: Draft) -> str:
    body = "\n".join(found.whole())
    names = sorted(bound_in(body))
    inner = textwrap.indent(body, "    ")
    return f"def main():\n    global {', '.join(names)}\n{inner}\nmain()"


def wrapped_in_try(found: Draft) -> str:
    inner = textwrap.indent("\n".join(found.whole()), "    ")
    return f"try:\n{inner}\nexcept ZeroDivisionError:\n    print('failed')"


def reordered(found: Draft) -> str:
    first, second, third, fourth, *others = found.whole()
    return "\n".join([first, fourth, second, third, *others])


def dropped(found: Draft) -> str:
    """Without its first statement that orders something and nothing else."""
    return "\n".join(one for one in found.whole() if one != "o0 = order('s0')")


def inserted(found: Draft) -> str:
    first, *others = found.whole()
    return "\n".join([first, "extra = base * 7", *others])


def continued_at(found: Draft) -> str:
    return "\n".join(found.rest()).replace("range(4)", "range(3, 4)", 1)


WAYS: dict[str, Callable[[Draft], str]] = {
    "the rest only": rest_only,
    "one statement fixed": one_fixed,
    "quotes and comments": quotes_and_comments,
    "an import or helper added": helper_added,
    "a print added early": print_added,
    "a variable renamed": variable_renamed,
    "an upstream statement fixed": upstream_fixed,
    "wrapped in main()": wrapped_in_main,
    "wrapped in try": wrapped_in_try,
    "reordered": reordered,
    "a statement dropped": dropped,
    "a statement inserted": inserted,
    "a loop continued at item k": continued_at,
}


# ---------------------------------------------------------------- the oracle


def bound_in(source: str) -> set[str]:
    """Names that a source of these drafts binds at its top level."""
    return _run(source)[0].keys() - _GIVEN


_GIVEN = frozenset({"order", "ready", "size", "__builtins__"})


def _run(source: str) -> tuple[dict[str, Any], dict[str, str], Counter[str]]:
    shop = Shop()
    space: dict[str, Any] = {"order": shop.order, "ready": shop.ready, "size": _size}
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        os.chdir(folder)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                exec(compile(source, "<truth>", "exec"), space)
        finally:
            os.chdir(before)
        files = {path.name: path.read_text() for path in Path(folder).iterdir()}
    return space, files, shop.attempts


def truth(source: str) -> tuple[dict[str, Any], dict[str, str], Counter[str]]:
    """Values, files and attempted orders of a program that plain Python runs from its top."""
    space, files, attempts = _run(source)
    plain = (str, int, list, float, bool)
    values = {k: v for k, v in space.items() if isinstance(v, plain) and not k.startswith("__")}
    return values, files, attempts

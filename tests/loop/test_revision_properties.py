"""Random plans, failures and revisions over five rounds: nothing external is done twice.

Results depend on arguments alone, so that running the last whole plan from scratch in plain
Python is the oracle for names and files.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from planloop import RunStatus
from tests.loop.worlds import World, block, scripted

SKUS = st.sampled_from(["a", "b", "c"])
PATHS = st.sampled_from(["f", "g"])


@st.composite
def statements(draw: st.DrawFn, index: int) -> str:
    """One statement; `v<index>` is its name. Earlier names may be read."""
    earlier = f"v{draw(st.integers(0, index - 1))}" if index else '"start"'
    name = f"v{index}"
    return draw(
        st.sampled_from(
            [
                f'{name} = order("{draw(SKUS)}", {draw(st.integers(1, 2))})',
                f'{name} = look("{draw(SKUS)}")',
                f"{name} = upper(str({earlier}))",
                f'{name} = put("{draw(PATHS)}", str({earlier}) + "{index}")',
                f'put("{draw(PATHS)}", "text{index}")\n{name} = get("f") if True else ""',
                f'{name} = [order(s) for s in ["{draw(SKUS)}", "{draw(SKUS)}"]]',
                f'{name} = [look("{draw(SKUS)}"), order("{draw(SKUS)}", 7)]',
                f'{name} = str({earlier}) + "{index}"',
                f'put("f", "base{index}")\n{name} = get("f") + upper("x")',
            ]
        )
    )


@st.composite
def programs(draw: st.DrawFn) -> list[str]:
    count = draw(st.integers(2, 7))
    return ['put("f", "0")\nput("g", "0")'] + [draw(statements(index)) for index in range(count)]


KINDS = ["whole", "restart", "rest", "keep", "pure", "get", "put", "order", "swap"]
REVISIONS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 20)), min_size=1, max_size=4)


def revise(lines: list[str], kind: str, position: int, number: int) -> list[str]:
    """A revised plan: the rest, or the whole with something put in or swapped at a position."""
    at = 1 + position % (len(lines) - 1)
    late = [f"late{number} = upper('late{number}')", "done(0)"]
    inserted = {
        "pure": f'extra{number} = upper("e{number}")',
        "get": f'extra{number} = get("f") + get("g")',
        "put": f'put("f", "new{number}")',
        "order": f'extra{number} = order("n", {number})',
    }
    used = f"extra{number}" if kind in ("pure", "get", "order") else ""
    match kind:
        case "rest":
            return late
        case "keep":
            return ["keep()", *late]
        case "restart":
            return ["restart()", *lines]
        case "swap":
            a, b = at, 1 + (at + 1) % (len(lines) - 2)
            swapped = list(lines)
            swapped[a], swapped[b] = lines[b], lines[a]
            return swapped if valid(swapped) else lines
        case "whole":
            return lines
        case _:
            end = lines[-1].replace("])", f", {used}])") if used else lines[-1]
            return [*lines[:at], inserted[kind], *lines[at:-1], end]


def valid(lines: list[str]) -> bool:
    """Whether plain Python runs it: a swap may use a name before it is bound."""
    try:
        plain("\n".join(lines[:-1]))
    except NameError:
        return False
    return lines[-1].startswith("done(")


def plain(source: str) -> tuple[dict[str, object], dict[str, str], list[tuple[str, int]]]:
    """What plain Python makes of a program: names, files, orders."""
    files: dict[str, str] = {}
    orders: list[tuple[str, int]] = []

    def order(sku: str, qty: int = 1) -> str:
        orders.append((sku, qty))
        return f"{sku}x{qty}"

    def put(path: str, text: str) -> int:
        files[path] = text
        return len(text)

    names: dict[str, object] = {
        "order": order,
        "look": lambda what: f"saw {what}",
        "upper": str.upper,
        "put": put,
        "get": lambda path: files.get(path, ""),
    }
    tools = set(names)
    exec(source, names)
    return {k: v for k, v in names.items() if k not in tools and k[0] != "_"}, files, orders


class Flaky(World):
    """A world where chosen attempts at calls fail, once each."""

    def __init__(self, failing: list[int]) -> None:
        super().__init__()
        self._failing = set(failing)
        self._count = 0

    def fails_now(self) -> bool:
        self._count += 1
        return self._count in self._failing

    def tools(self):  # type: ignore[no-untyped-def]
        import dataclasses

        def flaky(found):  # type: ignore[no-untyped-def]
            import functools

            @functools.wraps(found.function)
            def call(*args: object, **kwargs: object) -> object:
                if self.fails_now():
                    raise ConnectionError("not now")
                return found.function(*args, **kwargs)

            return dataclasses.replace(found, function=call)

        return [flaky(found) for found in super().tools()]


@pytest.mark.rule("L2")
@pytest.mark.rule("L3")
@pytest.mark.rule("R1")
@pytest.mark.rule("R2")
@settings(max_examples=300, deadline=None)
@given(programs(), st.lists(st.integers(1, 14), max_size=4), REVISIONS)
def test_five_rounds_of_failures_and_revisions_do_nothing_external_twice(
    program: list[str], failing: list[int], revisions: list[tuple[str, int]]
) -> None:
    world = Flaky(failing)
    source = "\n".join(program)
    values = ", ".join(f"v{index}" for index in range(len(program) - 1))
    lines = [*source.splitlines(), f"done([{values}])"]
    replies = [block("\n".join(lines))]
    plans = [lines]
    for number, (kind, position) in enumerate(revisions):
        plans.append(revise(lines, kind, position, number))
        replies.append(block("\n".join(plans[-1])))
    result, told = scripted(world, replies)

    ran = len(told) if result.status is not RunStatus.FAILED else len(told) - 1
    done = Counter(world.orders)
    most: Counter[tuple[str, int]] = Counter()
    for lines_of in plans[:ran]:
        most |= Counter(plain("\n".join(x for x in lines_of[:-1] if "()" not in x))[2])
    assert all(done[one] <= most[one] for one in done), (done, most)

    last = plans[ran - 1]
    if result.status is RunStatus.ANSWERED and "late" not in last[0] and last[0] != "keep()":
        names, files, orders = plain("\n".join(x for x in last[:-1] if x != "restart()"))
        assert world.files == files
        assert result.output == eval(last[-1].removeprefix("done"), names)
        # A dropped call stays done; what the plan itself holds is done exactly once.
        assert Counter(orders) <= done
        event(f"round {ran}: {revisions[ran - 2][0] if ran > 1 else 'first'}")

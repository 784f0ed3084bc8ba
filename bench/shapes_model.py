"""What the scripted model of `shapes.py` says, when it says it, and how fast anyone could be.

A shape is a list of widths, such as `2x4`: two calls, then four that each need the result of one
of those. `fetch(key, part)` takes 0.4 s and returns `key.part`. The first token of a reply comes
after 300 ms, then one each 10 ms. Tokens are the pieces into which the public pattern of OpenAI's
`cl100k_base` splits a text before it looks for longer ones: a little fewer than there would be.
Of a tool call of the API its name and its arguments count, and nothing of the form around them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

FIRST_TOKEN_S = 0.3
TOKEN_S = 0.01
TOKEN = re.compile(
    r"[^\r\nA-Za-z0-9]?[A-Za-z]+|[0-9]{1,3}| ?[^\sA-Za-z0-9]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)
"""In ASCII."""
TOOL_S = 0.4
ANSWER = "ready"

Call = tuple[str, int]
"""A key and a part."""


def widths(shape: str) -> list[int]:
    """How many calls each level has."""
    return [int(width) for width in shape.split("x")]


def levels(shape: str) -> list[list[Call]]:
    """The calls of each level. The n-th needs the n-th of the level above, round about."""
    found: list[list[Call]] = []
    above = ["k"]
    for width in widths(shape):
        calls = [(above[part % len(above)], part) for part in range(width)]
        found.append(calls)
        above = [f"{key}.{part}" for key, part in calls]
    return found


def fetched(key: str, part: int) -> str:
    """What `fetch` returns."""
    return f"{key}.{part}"


# ------------------------------------------------------------ what is said


def statements(shape: str) -> Iterator[tuple[str, list[int]]]:
    """The lines of a straight plan, each with the numbers of those that it needs."""
    above: list[int] = []
    number = 0
    for depth, calls in enumerate(levels(shape)):
        here = []
        for part, (key, _) in enumerate(calls):
            needs = [above[part % len(above)]] if above else []
            given = _name(depth - 1, part % len(above)) if above else json.dumps(key)
            yield f"{_name(depth, part)} = fetch({given}, {part})", needs
            here.append(number)
            number += 1
        above = here


def _name(depth: int, part: int) -> str:
    return f"{'abcdefgh'[depth]}{part}"


def flow(shape: str) -> str:
    """The whole as one plan, in planloop's form."""
    lines = [line for line, _ in statements(shape)]
    return _block([*lines, f'done("{ANSWER}")'])


def program(shape: str) -> str:
    """The same by a loop over levels, for shapes of one width."""
    depth, width = len(widths(shape)), widths(shape)[0]
    return _block(
        [
            f'found = ["k"] * {width}',
            f"for level in range({depth}):",
            "    found = parallel(fetch(key, part) for part, key in enumerate(found))",
            f'done("{ANSWER}")',
        ]
    )


def _block(lines: list[str]) -> str:
    return "```python\n" + "\n".join(lines) + "\n```"


def code(shape: str) -> str:
    """The whole as code for smolagents' code agent."""
    lines = [line for line, _ in statements(shape)]
    return "<code>\n" + "\n".join([*lines, f'final_answer("{ANSWER}")']) + "\n</code>"


def turn(shape: str, number: int, form: str) -> list[tuple[str, dict[str, Any]]] | None:
    """The tool calls of a turn, counted from 1; None when it is time to answer."""
    calls = levels(shape)
    if number <= len(calls):
        return [("fetch", {"key": key, "part": part}) for key, part in calls[number - 1]]
    return [("final_answer", {"answer": ANSWER})] if form == "final" else None


def spoken(calls: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """What counts of tool calls."""
    return [text for name, arguments in calls for text in (name, json.dumps(arguments))]


# ------------------------------------------------------------ how long it takes


def tokens(text: str) -> list[str]:
    """The tokens of a text."""
    return TOKEN.findall(text)


def said_s(*texts: str) -> float:
    """Until all of some texts has come, since they were asked for."""
    return FIRST_TOKEN_S + TOKEN_S * (sum(len(tokens(text)) for text in texts) - 1)


def flow_limit_s(shape: str) -> float:
    """No executor of this flow can be done earlier.

    A call can begin when its line, the end of the line included, has come and the call that it
    needs has ended; the run can end when the reply has come and every call has ended.
    """
    text, ends = flow(shape), list[float]()
    arrivals = _line_ends(text)
    for (_, needs), arrival in zip(statements(shape), arrivals[1:], strict=False):
        begins = max(arrival, *(ends[one] for one in needs), 0.0)
        ends.append(begins + TOOL_S)
    return max(said_s(text), *ends)


def _line_ends(text: str) -> list[float]:
    """When the end of each line comes, in the token that holds it."""
    found, now = list[float](), FIRST_TOKEN_S
    for token in tokens(text):
        found += [now] * token.count("\n")
        now += TOKEN_S
    return found


def whole_flow_limit_s(shape: str) -> float:
    """The same for one that begins when the whole reply has come."""
    return said_s(flow(shape)) + TOOL_S * len(widths(shape))


def program_limit_s(shape: str) -> float:
    """The whole reply, then one call a level."""
    return said_s(program(shape)) + TOOL_S * len(widths(shape))


def turns_limit_s(shape: str, form: str) -> float:
    """One request and one wait a level, then a request for the answer."""
    total, number = 0.0, 1
    while (calls := turn(shape, number, form)) is not None:
        total += said_s(*spoken(calls))
        if number > len(widths(shape)):
            return total
        total += TOOL_S
        number += 1
    return total + said_s(ANSWER)


def code_limit_s(shape: str) -> float:
    """The whole code, then one call after the other."""
    return said_s(code(shape)) + TOOL_S * sum(widths(shape))

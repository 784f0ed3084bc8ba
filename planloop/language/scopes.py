"""Scopes: which full-line comment stands above which statement."""

from __future__ import annotations

import ast
from collections.abc import Sequence


def scopes_of(lines: Sequence[str], statements: Sequence[ast.stmt]) -> dict[int, str]:
    """Line of a statement → the text of the comment that names its scope.

    A comment holds until the next one or a blank line; of a block of comments the first line.
    """
    inside: set[int] = set()
    for node in statements:
        inside.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    starts = {node.lineno for node in statements}
    found: dict[int, str] = {}
    scope: str | None = None
    after_comment = False
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if number in inside:
            if number in starts and scope:
                found[number] = scope
            after_comment = False
        elif not text:
            scope, after_comment = None, False
        elif text.startswith("#"):
            if not after_comment:
                scope = text.lstrip("#").strip() or None
            after_comment = True
    return found

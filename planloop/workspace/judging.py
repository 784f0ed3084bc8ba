"""Whether a check's command could be forged by the code that it judges. Pure.

A judged program that runs in the check's sandbox has the user of the check's own shell: it can
write into that shell's memory (`/proc/PID/mem`), whatever its output is compared with. So a check
looks from outside only if it starts nothing of the result at all.
"""

from __future__ import annotations

import re
import shlex

_LOOK = frozenset(
    {"[", "cat", "cmp", "cut", "diff", "echo", "egrep", "fgrep", "grep", "head", "ls"}
    | {"printf", "sort", "tail", "test", "tr", "true", "uniq", "wc"}
)
"""Programs of the system that read files and start no other program."""
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_INNER = re.compile(r"\$\(([^()]*)\)")
_BEYOND_US = re.compile(
    r"`|<\(|>\(|<<|\|\||(?<![&>])&(?![&>1])|\b(if|for|while|case|eval|function)\b"
)


def loads_in_process(command: str) -> bool:
    """Whether the code that a check judges runs where the check runs, so that it could forge it.

    True unless it clearly only looks: every program in it is one of the system's own that compare
    or print files.
    """
    if _BEYOND_US.search(command):
        return True
    inner = _INNER.findall(command)
    outer = _INNER.sub("X", command)
    if "$(" in outer:
        return True
    parts = [part for text in (outer, *inner) for part in re.split(r"&&|[;|\n]", text)]
    simple = [part.strip().removeprefix("! ") for part in parts if part.strip()]
    return not simple or not all(map(_only_looks, simple))


def _only_looks(part: str) -> bool:
    try:
        words = shlex.split(part)
    except ValueError:
        return False
    if not words or _ASSIGNMENT.match(words[0]) or words[0] not in _LOOK:
        return False
    # `sort --compress-program` is the one way in which these start another program.
    return words[0] != "sort" or not any(word.startswith("--") for word in words)

"""Whether a check's command could be forged by the code that it judges. Pure."""

from __future__ import annotations

import re
import shlex

_DECIDE = frozenset({"test", "[", "cmp", "diff", "grep", "egrep", "fgrep"})
"""Programs whose exit code is a comparison and nothing else."""
_COMPARE_ALL = frozenset({"cmp", "diff"})
_READ = frozenset(
    {"cat", "cut", "echo", "head", "ls", "printf", "sort", "tail", "tr", "uniq", "wc"}
)
_INTERPRETERS = re.compile(r"(python|pypy|node|ruby|perl|bash|sh)[0-9.]*")
_SCRIPT = re.compile(r"\.(py|sh|js|rb|pl)$")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_LOADS_BY_VARIABLE = re.compile(r"(PYTHON|LD_|NODE_|RUBY|PERL)\w*=|(PATH|BASH_ENV|ENV)=")
_BEYOND_US = re.compile(
    r"`|<\(|>\(|<<|\|\||(?<![&>])&(?![&>1])|\b(if|for|while|case|eval|function)\b"
)


def loads_in_process(command: str) -> bool:
    """Whether a check loads the judged code into its own process, which could forge its outcome.

    True unless it clearly only looks from outside: every statement is a comparison (`test`, `cmp`,
    `diff`, `grep`) of files, of what a program of the result writes into a pipe, or of the value
    of `$(…)` in a `test`. What a test runner or a checking script prints is not believed.
    """
    if _BEYOND_US.search(command):
        return True
    statements = [part.strip() for part in re.split(r"&&|;|\n", command)]
    return not any(statements) or not all(_from_outside(part) for part in statements if part)


def _from_outside(statement: str) -> bool:
    statement = statement.removeprefix("! ")
    if re.match(r"(test|\[)\s", statement):
        inner = re.findall(r"\$\(([^()]*)\)", statement)
        statement = re.sub(r"\$\([^()]*\)", "X", statement)
        if not all(_may_feed(part, exact=True) for text in inner for part in text.split("|")):
            return False
    if "$(" in statement:
        return False
    *sources, last = statement.split("|")
    words = _words(last)
    if not words or words[0] not in _DECIDE:
        return False
    exact = words[0] in _COMPARE_ALL
    return all(_may_feed(part, exact=exact) for part in sources)


def _may_feed(part: str, *, exact: bool) -> bool:
    """Whether a command's output may be compared: it is the result's own program, or plain text.

    A script is taken for the program itself only where its whole output is compared: what a
    checking script says, the code that it loads can say as well.
    """
    words = _words(part)
    if not words:
        return False
    program = words[0]
    if program in _READ:
        return True
    if "/" in program and not _SCRIPT.search(program):
        return True
    runs_file = len(words) > 1 and not words[1].startswith("-")
    is_script = "/" in program or bool(_INTERPRETERS.fullmatch(program) and runs_file)
    return exact and is_script


def _words(part: str) -> list[str]:
    """The words of a simple command without its assignments; none if it cannot be read."""
    try:
        words = shlex.split(part)
    except ValueError:
        return []
    while words and _ASSIGNMENT.match(words[0]):
        if _LOADS_BY_VARIABLE.match(words[0]):
            return []
        words = words[1:]
    return words

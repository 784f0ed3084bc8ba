"""What ignore files leave out: `.gitignore` and `.ignore`, at every level, as git reads them."""

from __future__ import annotations

import dataclasses
import os
import re
from functools import cached_property

from planloop.workspace.folders import CHUNK, open_file, parent_of
from planloop.workspace.globs import Glob, GlobSet, compile_glob

IGNORE_FILES = (".gitignore", ".ignore")
"""The later one decides where both say something, as in search tools that read both."""

GIT_EXCLUDES = ".git/info/exclude"
MAX_RULES = 10_000
"""Rules of one ignore file; more is no ignore file that anyone wrote."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """One line of an ignore file."""

    glob: Glob
    negated: bool
    line: int
    """From 1."""


@dataclasses.dataclass(frozen=True)
class RuleFile:
    """The rules of one ignore file, for everything below its folder."""

    folder: str
    """Relative; "" for the top."""
    name: str
    rules: tuple[Rule, ...]

    @cached_property
    def _globs(self) -> GlobSet:
        return GlobSet([rule.glob for rule in self.rules])

    def decide(self, path: str, is_folder: bool) -> Rule | None:
        """The last rule that matches, if any does. `path` lies below `folder`."""
        own = path[len(self.folder) + 1 :] if self.folder else path
        if not self._globs.may_match(own):
            return None
        for rule in reversed(self.rules):
            if rule.glob.matches(own, is_folder):
                return rule
        return None

    def where(self, rule: Rule) -> str:
        """File and line, for people."""
        return (
            f"{self.folder}/{self.name}:{rule.line}" if self.folder else f"{self.name}:{rule.line}"
        )


def parse_rules(text: str) -> tuple[Rule, ...]:
    """The rules of an ignore file's text, in order."""
    rules = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        pattern = _without_trailing_spaces(line.removesuffix("\r"))
        if not pattern or pattern.startswith("#"):
            continue
        negated = pattern.startswith("!")
        rules.append(Rule(compile_glob(pattern[negated:]), negated, number))
        if len(rules) == MAX_RULES:
            break
    return tuple(rules)


def _without_trailing_spaces(line: str) -> str:
    """Trailing spaces do not count, unless a backslash keeps them."""
    found = re.fullmatch(r"((?:\\.|[^\\ ]| +(?=[^ ]))*) *", line, re.DOTALL)
    return found[1] if found else line


@dataclasses.dataclass(frozen=True)
class Ignoring:
    """All rule files that count at some place, outermost first. Grows on the way down."""

    files: tuple[RuleFile, ...] = ()

    def below(self, root: int, folder: str) -> Ignoring:
        """These rules and those of the ignore files that lie in `folder`."""
        found = []
        for name in IGNORE_FILES:
            path = f"{folder}/{name}" if folder else name
            rules = parse_rules(_text(root, path))
            if rules:
                found.append(RuleFile(folder, name, rules))
        return Ignoring((*self.files, *found)) if found else self

    def with_git_excludes(self, root: int) -> Ignoring:
        """These rules and, below them, those of the repository's own exclude file."""
        rules = parse_rules(_text(root, GIT_EXCLUDES))
        return Ignoring((RuleFile("", GIT_EXCLUDES, rules), *self.files)) if rules else self

    def reason(self, path: str, is_folder: bool) -> str | None:
        """Why a path is ignored; None if it is not. Its parents are known not to be."""
        for last in (True, False):
            for file in reversed(self.files):
                if (file.name == IGNORE_FILES[-1]) is not last:
                    continue
                rule = file.decide(path, is_folder)
                if rule is not None:
                    return None if rule.negated else f"ignored by `{file.where(rule)}`"
        return None


def _text(root: int, path: str) -> str:
    """The text of an ignore file; empty if there is none that is a regular file of sane size."""
    try:
        with parent_of(root, path) as (folder, name), open_file(name, folder) as descriptor:
            return _read_up_to(descriptor, CHUNK).decode("utf-8", "surrogateescape")
    except OSError:
        return ""


def _read_up_to(descriptor: int, limit: int) -> bytes:
    return os.read(descriptor, limit)

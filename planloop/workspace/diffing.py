"""What a run changed: the changes themselves, and a text that `git apply` takes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from planloop.task import WorkspaceSpec
from planloop.workspace.folders import chunks, open_file, opened, parent_of, parents_of
from planloop.workspace.hunks import Steps, unified
from planloop.workspace.manifest import Entry, is_litter, manifest
from planloop.workspace.selecting import LeftOut
from planloop.workspace.selection import Selection

MAX_FILE_BYTES = 1_000_000
"""A file larger than this, or a diff of one that is longer, is named in the text and not shown."""
MAX_TEXT_BYTES = 4_000_000
_BINARY_PROBE = 8_000
_MAX_ENTRIES = 2_000_000

Settled: TypeAlias = Mapping[str, "Entry | None"]
"""What a setup made of paths before the run began; None where it removed one."""

Kind = Literal["added", "changed", "deleted", "mode"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """One path that the run changed."""

    path: str
    kind: Kind
    before: Entry | None
    after: Entry | None


@dataclasses.dataclass(frozen=True)
class Diff:
    """All changes, in the order of their paths."""

    changes: tuple[Change, ...] = ()
    text: str = ""
    """Unified, for `git apply`. What is too long is named in it and left out."""
    left_out: tuple[LeftOut, ...] = ()
    """New in the result and no part of the changes, by the rules of the copy."""

    def __bool__(self) -> bool:
        return bool(self.changes)


def diff(
    before: Path,
    after: Path,
    spec: WorkspaceSpec | None = None,
    present: Collection[str] = frozenset(),
    settled: Settled | None = None,
) -> Diff:
    """Compare the original copy with a result, by the ignore rules of the original.

    A path that the original holds is always compared. One that is new in the result counts
    unless the rules of the copy leave it out; then it is named in `left_out`.

    Args:
        before: the original copy.
        after: the result.
        spec: the same as for the copy.
        present: paths that exist where the result came from; one that `after` lacks is not
            deleted, only unknown (too large to come along, say).
        settled: paths that a setup had changed; one that is still as it left it is no change.

    Raises:
        OSError: a file cannot be read.
    """
    old, new = manifest(before), manifest(after)
    left_out, firm = _left_out(before, after, spec or WorkspaceSpec(), old)
    unknown = {path for path in present if path in old and path not in new and path not in firm}
    left_out.update(dict.fromkeys(sorted(unknown), "could not be copied out of the sandbox"))
    firm |= unknown
    settled = settled or {}
    changes = tuple(
        change
        for path in sorted(old.keys() | new.keys())
        if path not in firm and (path in old or not _lies_in(path, left_out))
        if path not in settled or settled[path] != new.get(path)
        if (change := _change(path, old.get(path), new.get(path))) is not None
    )
    known = {*settled, *(folder for path in settled for folder in parents_of(path))}
    told = tuple(
        LeftOut(path, why)
        for path, why in left_out.items()
        if not is_litter(path) and path.rstrip("/") not in known
    )
    return Diff(changes, _text(changes, before, after), told)


def _left_out(
    before: Path, after: Path, spec: WorkspaceSpec, old: dict[str, Entry]
) -> tuple[dict[str, str], set[str]]:
    """What the rules leave out of a result, and which paths of it can be no change at all."""
    left_out: dict[str, str] = {}
    firm: set[str] = set()
    with opened(before) as rules, opened(after) as root:
        for judged in Selection(root, rules, spec).judged(_MAX_ENTRIES):
            if judged.why is None or (judged.found.path in old and not judged.firm):
                continue
            named = judged.left_out
            left_out[named.path if named else judged.found.path] = judged.why
            if judged.firm and not judged.found.is_folder:
                firm.add(judged.found.path)
    return left_out, firm


def _lies_in(path: str, left_out: dict[str, str]) -> bool:
    """Whether a path, or a folder that holds it, is left out."""
    return path in left_out or any(f"{folder}/" in left_out for folder in parents_of(path))


def _change(path: str, before: Entry | None, after: Entry | None) -> Change | None:
    if before == after:
        return None
    return Change(path=path, kind=kind_of(before, after), before=before, after=after)


def kind_of(before: Entry | None, after: Entry | None) -> Kind:
    """What a change from one to the other is called."""
    if before is None:
        return "added"
    if after is None:
        return "deleted"
    same = (before.kind, before.sha256) == (after.kind, after.sha256)
    return "mode" if same else "changed"


def _text(changes: tuple[Change, ...], before: Path, after: Path) -> str:
    pieces: list[str] = []
    room, steps = MAX_TEXT_BYTES, Steps()
    with opened(before) as old, opened(after) as new:
        for number, change in enumerate(changes):
            piece = _patch(change, old, new, steps)
            room -= len(piece.encode())
            if room < 0:
                rest = len(changes) - number
                pieces.append(f"… the diffs of {rest} more files are not shown …\n")
                break
            pieces.append(piece)
    return "".join(pieces)


def _patch(change: Change, old: int, new: int, steps: Steps) -> str:
    before, after = change.before, change.after
    if before is not None and after is not None and before.kind != after.kind:
        # git, too, writes a file that became a link as one deleted and one added.
        removed = dataclasses.replace(change, kind="deleted", after=None)
        added = dataclasses.replace(change, kind="added", before=None)
        return _patch(removed, old, new, steps) + _patch(added, old, new, steps)
    head = "".join(_head(change))
    largest = max(entry.size for entry in (before, after) if entry is not None)
    if largest > MAX_FILE_BYTES:
        return f"{head}{_names(change, 'Files')} (too large to show: {largest:,} bytes)\n"
    was, now = _content(change.path, before, old), _content(change.path, after, new)
    if was == now:
        return head
    if _is_binary(was) or _is_binary(now):
        return f"{head}{_names(change, 'Binary files')}\n"
    return _with_hunks(head, change, unified(was, now, steps))


def _with_hunks(head: str, change: Change, hunks: Iterator[bytes]) -> str:
    lines: list[bytes] = []
    size = 0
    for line in hunks:
        lines.append(line)
        size += len(line)
        if size > MAX_FILE_BYTES:
            return f"{head}{_names(change, 'Files')} (the diff is too long to show)\n"
    old_name, new_name = _sides(change)
    body = b"".join(lines).decode()
    return f"{head}--- {_tabbed(old_name)}\n+++ {_tabbed(new_name)}\n{body}"


def _head(change: Change) -> Iterator[str]:
    before, after = change.before, change.after
    yield f"diff --git {quoted('a/' + change.path)} {quoted('b/' + change.path)}\n"
    if before is None and after is not None:
        yield f"new file mode {git_mode(after)}\n"
    elif after is None and before is not None:
        yield f"deleted file mode {git_mode(before)}\n"
    elif before is not None and after is not None and before.mode != after.mode:
        yield f"old mode {git_mode(before)}\nnew mode {git_mode(after)}\n"


def _names(change: Change, what: str) -> str:
    old_name, new_name = _sides(change)
    return f"{what} {old_name} and {new_name} differ"


def _sides(change: Change) -> tuple[str, str]:
    old_name = "/dev/null" if change.before is None else quoted("a/" + change.path)
    new_name = "/dev/null" if change.after is None else quoted("b/" + change.path)
    return old_name, new_name


def _tabbed(name: str) -> str:
    """A tab ends a name with spaces, as git writes it: else a reader may take it for a date."""
    return f"{name}\t" if " " in name else name


def git_mode(entry: Entry) -> str:
    """The mode as git writes it."""
    return "120000" if entry.kind == "link" else f"100{entry.mode & 0o777:o}"


_ESCAPES = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r"} | {
    ord('"'): '\\"',
    ord("\\"): "\\\\",
}


def quoted(name: str) -> str:
    """A path as git writes it: quoted if it holds quotes, backslashes or unprintable characters."""
    pieces = [_escaped(character) for character in name]
    text = "".join(pieces)
    # git cannot tell where an unquoted name ends whose folder ends in a space.
    plain = text == name and " /" not in name and not name.endswith(" ")
    return name if plain else f'"{text}"'


def _escaped(character: str) -> str:
    if ord(character) in _ESCAPES:
        return _ESCAPES[ord(character)]
    if character.isprintable():
        return character
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(character))


def _content(path: str, entry: Entry | None, root: int) -> bytes:
    if entry is None:
        return b""
    if entry.target is not None:
        return os.fsencode(entry.target)
    with parent_of(root, path) as (folder, name), open_file(name, folder) as descriptor:
        return b"".join(chunks(descriptor, MAX_FILE_BYTES + 1))


def _is_binary(data: bytes) -> bool:
    """Binary as git sees it, or not UTF-8: the text of a diff could not carry it unharmed."""
    if b"\0" in data[:_BINARY_PROBE]:
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return False

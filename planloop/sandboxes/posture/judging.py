"""What a trial inside and the host's own measures say about one limit. Pure.

What the inside says is only text: missing or odd words never count as "holds".
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from planloop.observation import Status
from planloop.sandbox import Completed, Limits
from planloop.text import one_line

Said: TypeAlias = Mapping[str, object]

_FULL = ("ENOSPC", "EDQUOT")
_PAGE = 1 << 16
"""The kernel rounds sizes up to its pages."""
_CLOSED = ("ENOENT", "EACCES", "EROFS", "EPERM")
_REFUSED = ("EPERM", "EACCES", "ENOSYS", "EAFNOSUPPORT", "ESOCKTNOSUPPORT", "EPROTONOSUPPORT")
"""Of a system call that does not get through; any other error comes from behind the door."""
_NOT_KNOWN_HERE = "LookupError"
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_USUAL_NAMES = frozenset(
    (
        *("PATH", "HOME", "LANG", "LC_CTYPE", "TMPDIR", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"),
        *("HOSTNAME", "PLANLOOP_CALL"),  # where calls go by an engine's exec
        *_PROXIES,
        *(name.upper() for name in _PROXIES),
    )
)
"""What planloop itself gives to calls."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One limit of a sandbox, and whether it held."""

    limit: str
    holds: bool
    seen: str
    """What was tried and what came of it."""
    announced: str = ""
    """What the sandbox itself says of it, where it does not hold."""


def with_announcement(row: Row, unenforced: Sequence[str]) -> Row:
    """The same, with what the sandbox says about a limit that does not hold."""
    if row.holds:
        return row
    words = (f"{row.limit.removesuffix('es')} limit", f"{row.limit.removesuffix('s')} limit")
    said = [one for one in unenforced if one.startswith(words)]
    return dataclasses.replace(row, announced="; ".join(said))


def network(said: Said, reached: int) -> Row:
    """No way out of the sandbox.

    Args:
        reached: connections that came to the host's own sockets meanwhile.
    """
    interfaces = _texts(said, "interfaces")
    ways = [name for name in said if name != "interfaces"]
    open_ways = [name for name in ways if said[name] == "done"]
    trouble = [f"{name}: not refused" for name in open_ways]
    trouble += [f"{reached} connections came out"] if reached else []
    trouble += [f"it has {_listed(interfaces)}"] if interfaces != ["lo"] else []
    fine = f"it has only `lo`; {_count(ways, 'way')} out tried, all refused"
    return Row(limit="network", holds=bool(ways) and not trouble, seen=_or(trouble, fine))


def memory(together: Completed, alone: Said, limits: Limits, held: tuple[int, int]) -> Row:
    """All processes together.

    Args:
        together: a call whose programs held more than the limit, all at once.
        alone: what one program said that asked for more than the limit.
        held: number of these programs, and the bytes of each.
    """
    number, size = held
    tried = f"{number} programs of {_mb(size)} each under {_mb(limits.memory_bytes)}"
    kills = _oom_kills(together)
    if together.status is Status.OOM or kills:
        return Row(limit="memory", holds=True, seen=f"{tried}: the kernel ended {kills or 'them'}")
    if _number(alone, "refused") == 1:
        seen = f"{tried} were let be; one program of {_mb(2 * limits.memory_bytes)} was refused"
        return Row(limit="memory", holds=False, seen=seen)
    return Row(limit="memory", holds=False, seen=f"{tried} were let be")


def processes(said: Said, limits: Limits) -> Row:
    """How many there may be at once."""
    made, end = _number(said, "made"), said.get("end")
    holds = end == "EAGAIN" and 0 <= made <= limits.processes
    seen = f"fork {made + 1} refused, the limit is {limits.processes}"
    return Row(limit="processes", holds=holds, seen=seen if holds else f"{made} forks were let be")


def disk(said: Said, size: int | None, limits: Limits) -> Row:
    """The workspace.

    Args:
        size: of the file that was written, as the host sees it.
    """
    end = _filled(said, ".")[1]
    holds = size is not None and size <= limits.disk_bytes + _PAGE and end in _FULL
    what = "no file came of it" if size is None else f"wrote {_mb(size)}"
    ending = f"then {one_line(end, 20)}" if end in _FULL else "and no end came"
    return Row(limit="disk", holds=holds, seen=f"{what}, {ending}; the limit is "
               f"{_mb(limits.disk_bytes)}")  # fmt: skip


def scratch(said: Said, completed: Completed, most: int) -> Row:
    """The other places that can be written: they count as memory, and must be bounded as well."""
    if completed.status is Status.OOM:
        return Row(limit="scratch", holds=True, seen="ended by the memory limit")
    places = {name: _filled(said, name) for name in said if name != "."}
    seen = [_scratch_text(name, *filled) for name, filled in places.items()]
    holds = all(end in (*_FULL, *_CLOSED) and size < most for size, end in places.values())
    return Row(limit="scratch", holds=bool(places) and holds, seen="; ".join(seen) or "nothing")


def inodes(said: Said, files: int, limits: Limits) -> Row:
    """How many files the workspace may have.

    Args:
        files: as the host counts them.
    """
    end = str(said.get("end"))
    holds = 0 < files <= limits.inodes and end in _FULL
    ending = f"then {end}" if end in _FULL else "and no end came"
    return Row(limit="inodes", holds=holds, seen=f"made {files} files, {ending}; the limit is "
               f"{limits.inodes}")  # fmt: skip


def deadline(completed: Completed, left: Said, limit_s: float) -> Row:
    """A call ends in time, and its whole tree with it."""
    count = _number(left, "count")
    holds = completed.status is Status.TIMEOUT and count == 0
    gone = "nothing of its tree was left" if count == 0 else f"{count} processes of it were left"
    seen = f"a call of {limit_s:g} s was ended after {completed.duration_s:.2f} s, {gone}"
    return Row(limit="time", holds=holds, seen=seen)


def output(completed: Completed, limits: Limits) -> Row:
    """A flood ends the call."""
    holds = completed.status is Status.OUTPUT_LIMIT
    what = "ended" if holds else f"it came out as `{completed.status.value}`"
    seen = f"a flood past {_mb(limits.kept_bytes)}: {what}"
    return Row(limit="output", holds=holds, seen=seen)


def privileges(said: Said) -> Row:
    """Capabilities and users: none, and no way to gain any."""
    trouble = [f"{name} is {_text(said, name)}" for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")
               if not re.fullmatch("0+", _text(said, name))]  # fmt: skip
    trouble += [] if _text(said, "NoNewPrivs") == "1" else ["privileges can be gained"]
    trouble += [] if _text(said, "Seccomp") == "2" else ["no system call filter"]
    trouble += [] if _number(said, "user") > 0 else ["calls run as root"]
    trouble += [f"it can {name}" for name, value in said.items() if value == "done"]
    fine = f"user {_number(said, 'user')}, no capabilities, none can be gained, system calls "
    return Row(limit="privileges", holds=not trouble, seen=_or(trouble, fine + "filtered"))


def kernel(said: Said) -> Row:
    """Doors of the kernel that no call needs and many exploits do."""
    tried = {name: str(end) for name, end in said.items() if end != _NOT_KNOWN_HERE}
    doors_open = [name for name, end in tried.items() if end not in _REFUSED]
    fine = f"{_count(list(tried), 'door')} tried, all refused"
    trouble = [f"open: {_listed(doors_open)}"] if doors_open else []
    return Row(limit="kernel doors", holds=bool(tried) and not trouble, seen=_or(trouble, fine))


def files(said: Said) -> Row:
    """Nothing outside can be changed, and no file of this machine's people can be read."""
    reasons = {
        "written": "can be written: ",
        "switches": "switches of the kernel can be turned: ",
        "readable": "can be read: ",
        "engines": "an engine can be reached: ",
        "devices": "disks can be seen: ",
    }
    missing = [name for name in reasons if not isinstance(said.get(name), list)]
    trouble = [
        text + _listed(found) for name, text in reasons.items() if (found := _texts(said, name))
    ]
    fine = "system read-only; no host file, disk, kernel switch or engine socket in reach"
    holds = not missing and not trouble
    return Row(
        limit="files outside", holds=holds, seen=_or(trouble, "nothing" if missing else fine)
    )


def secrets(said: Said) -> Row:
    """No variable of planloop's own environment."""
    names = _texts(said, "names")
    odd = [name for name in names if name not in _USUAL_NAMES]
    trouble = [f"variables beyond planloop's own: {_listed(odd)}"] if odd else []
    fine = f"of all processes in sight, {_count(names, 'variable')}: planloop's own"
    return Row(limit="secrets", holds=bool(names) and not odd, seen=_or(trouble, fine))


def _scratch_text(place: str, size: int, end: str) -> str:
    if end in _CLOSED:
        return f"{place} is closed"
    return f"{place} {_mb(size)}{', then ' + end if end in _FULL else ' and no end'}"


def _filled(said: Said, place: str) -> tuple[int, str]:
    match said.get(place):
        case [int(size), str(end)]:
            return size, end
        case _:
            return 0, ""


def _oom_kills(completed: Completed) -> int:
    found = (re.fullmatch(r"oom_kills=(\d+)", note) for note in completed.notes)
    return sum(int(one[1]) for one in found if one)


def _number(said: Said, name: str) -> int:
    value = said.get(name)
    return value if isinstance(value, int) else -1


def _text(said: Said, name: str) -> str:
    return one_line(str(said.get(name, "unknown")), 40)


def _texts(said: Said, name: str) -> list[str]:
    value = said.get(name)
    return [str(one) for one in value] if isinstance(value, list) else []


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(one_line(name, 60) for name in names[:6])
    return f"{shown}, …" if len(names) > 6 else shown


def _or(trouble: list[str], fine: str) -> str:
    return "; ".join(trouble) if trouble else fine


def _count(things: Sequence[str], thing: str) -> str:
    return f"{len(things)} {thing}{'' if len(things) == 1 else 's'}"


def _mb(size: int) -> str:
    return f"{size / 1e6:.3g} MB"

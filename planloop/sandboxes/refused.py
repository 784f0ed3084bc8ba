"""Why bubblewrap cannot run on a machine: from facts to sentences."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

_KERNEL = Path("/proc/sys/kernel")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What a failed start left behind, and what the machine says of itself."""

    said: str
    """The last line of what bwrap wrote."""
    root: bool = False
    apparmor_restricts: bool = False
    """`kernel.apparmor_restrict_unprivileged_userns`."""
    user_namespaces: bool = True
    """`kernel.unprivileged_userns_clone`, which some distributions have."""
    most_user_namespaces: int | None = None
    """`user.max_user_namespaces`."""
    container: bool = False
    """Whether this looks like the inside of a container."""
    filtered: bool = False
    """Whether a seccomp filter holds for this process."""


@dataclasses.dataclass(frozen=True)
class Cause:
    """Why it was refused, and what a person can do."""

    why: str
    hint: str


def cause(facts: Facts) -> Cause | None:
    """The first cause that the facts show; None if they show none."""
    return next((found for judge in _JUDGES if (found := judge(facts)) is not None), None)


def too_old(facts: Facts) -> Cause | None:
    """An option is missing."""
    if "nknown option" not in facts.said:
        return None
    return Cause(
        "bwrap is older than 0.8",
        "`pip install 'planloop[sandbox]'` brings a newer one",
    )


def switched_off(facts: Facts) -> Cause | None:
    """No user at all may make user namespaces."""
    if facts.most_user_namespaces == 0:
        switch = "user.max_user_namespaces is 0"
        return Cause(f"user namespaces are switched off ({switch})", _sysctl(switch[:-4], "=15000"))
    if not facts.user_namespaces and not facts.root:
        switch = "kernel.unprivileged_userns_clone"
        return Cause(f"user namespaces are switched off ({switch} is 0)", _sysctl(switch, "=1"))
    return None


def by_apparmor(facts: Facts) -> Cause | None:
    """User namespaces exist, and are worth nothing to programs without a profile."""
    if not facts.apparmor_restricts or not _denied(facts):
        return None
    return Cause(
        "AppArmor restricts user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)",
        "give bwrap a profile that allows `userns`, as docs/security.md shows",
    )


def masked_proc(facts: Facts) -> Cause | None:
    """A container's `/proc` is covered in part, so no other may be mounted."""
    if "mount proc" not in facts.said:
        return None
    return Cause(
        "this is a container whose /proc is masked",
        "use sandbox `docker`, or start the container with `--security-opt systempaths=unconfined`",
    )


def by_container(facts: Facts) -> Cause | None:
    """A container's filter refuses new namespaces."""
    if not facts.container or not facts.filtered or not _denied(facts):
        return None
    return Cause(
        "this is a container whose seccomp filter refuses new namespaces",
        "use sandbox `docker`, or start the container with `--security-opt seccomp=unconfined`",
    )


_JUDGES: tuple[Callable[[Facts], Cause | None], ...] = (
    too_old,
    switched_off,
    masked_proc,
    by_container,
    by_apparmor,
)


def read_facts(said: str, *, root: bool) -> Facts:
    """The facts of this machine."""
    return Facts(
        said=said,
        root=root,
        apparmor_restricts=_text(_KERNEL / "apparmor_restrict_unprivileged_userns") == "1",
        user_namespaces=_text(_KERNEL / "unprivileged_userns_clone") != "0",
        most_user_namespaces=_number(Path("/proc/sys/user/max_user_namespaces")),
        container=any(_signs_of_a_container()),
        filtered="\nSeccomp:\t2\n" in _text(Path("/proc/self/status")) + "\n",
    )


def _signs_of_a_container() -> Iterator[bool]:
    yield Path("/.dockerenv").exists()
    yield Path("/run/.containerenv").exists()
    yield any(word in _text(Path("/proc/1/cgroup")) for word in ("docker", "kubepods", "lxc"))


def _denied(facts: Facts) -> bool:
    words = ("not permitted", "ermission", "not allow", "No space left")
    return any(word in facts.said for word in words)


def _sysctl(switch: str, value: str) -> str:
    return f"an administrator can allow them: `sysctl {switch.split()[0]}{value}`"


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdigit() else None

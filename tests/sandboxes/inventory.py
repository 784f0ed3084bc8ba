"""Every hardening flag that the code sets, by name: what `docs/security.md` must list.

Read from what the code makes (arguments, settings, tables), and for the first process, which is a
program of its own, from its source.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from planloop.sandbox import Sandbox, SandboxSpec
from planloop.sandboxes import bubblewrap, cgroup, container, guest, seccomp
from planloop.sandboxes.rootfs import Mounts
from planloop.sandboxes.stage import Stage, rooms

NO_WALLS = {
    *("bwrap --chdir", "bwrap --proc", "bwrap --dev", "bwrap --dir", "bwrap --symlink"),
    *("bwrap --ro-bind", "bwrap --ro-bind-try", "bwrap --ro-bind-data", "bwrap --perms"),
    *("docker cap_add", "docker init", "docker mounts", "docker runtime", "docker sysctls"),
    *("docker security_opt", "docker tmpfs", "docker ulimits", "docker tmpfs exec"),
    *("docker tmpfs uid", "docker tmpfs gid", "docker tmpfs mode", "room mode"),
    *("room strictatime", "docker tmpfs strictatime", "bwrap stdout", "stage --mount"),
    *("stage --user", "stage --map-root-user", "stage --regid"),
}
"""What a sandbox is given, rather than kept from, or what another name here covers."""


async def inventory(sandbox: Sandbox) -> list[str]:
    """The scenario: the flags of the planloop that this house runs."""
    found = [*_bubblewrap(), *_stage(), *_docker(), *_cgroup(), *_guest(), *_seccomp()]
    return sorted(set(found) - NO_WALLS)


def _bubblewrap() -> Iterator[str]:
    mounts = Mounts((), SandboxSpec(), b"x" * 8)
    mounts.close()
    words = [*bubblewrap._NAMESPACES, *mounts.arguments]
    for word, value in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("--"):
            yield f"bwrap {word} {value}" if word == "--remount-ro" else f"bwrap {word}"
    spawning = _functions(Path(bubblewrap.__file__))["_spawn"]
    for call in (one for one in ast.walk(spawning) if isinstance(one, ast.Call)):
        for keyword in call.keywords:
            if keyword.arg in ("env", "start_new_session", "stdin", "stdout"):
                yield f"bwrap {keyword.arg}"


def _stage() -> Iterator[str]:
    stage = Stage(Path("/nowhere"), SandboxSpec(), 1, "unshare", "mount", "setpriv")
    for word in stage.command(["bwrap"]):
        if word.startswith("--") and word != "--":
            yield f"stage {word}"
    for room in rooms(SandboxSpec()):
        yield from (f"room {option.partition('=')[0]}" for option in room.options.split(","))


def _docker() -> Iterator[str]:
    made = container.Container(
        image="x",
        run_id="x",
        name="x",
        spec=SandboxSpec(),
        user=1,
        first=(),
        seccomp="x",
        door=Path("/x"),
    )
    settings = made.host_config()
    yield from (f"docker {name}" for name in settings)
    for given in settings.get("security_opt", ()):
        yield f"docker {given.partition('=')[0]}"
    for given in settings.get("ulimits", ()):
        yield f"docker ulimit {given['Name']}"
    for options in settings.get("tmpfs", {}).values():
        yield from (f"docker tmpfs {one.partition('=')[0]}" for one in options.split(","))
    for mount in settings.get("mounts", ()):
        if mount["ReadOnly"]:
            yield f"docker read-only {mount['Target']}"


def _cgroup() -> Iterator[str]:
    functions = _functions(Path(cgroup.__file__))
    for name in ("_limit_memory", "limit_connections", "_limit_processes"):
        for node in ast.walk(functions[name]):
            if isinstance(node, ast.Constant) and str(node.value).startswith(("memory.", "pids.")):
                yield f"cgroup {node.value}"


_GUEST = {
    "limit": ("RLIMIT_", "os.umask"),
    "only_descriptor": ("os.closerange", "os.set_inheritable"),
    "harden": ("prctl", "signal.signal"),
    "keep": ("prctl",),
    "become": ("os.set",),
    "fork": ("os.write(self.badness, b'500')",),
    "spawn": ("setsid", "setsigdef"),
}
"""Functions of the first process, and what counts in them."""


def _guest() -> Iterator[str]:
    functions = _functions(Path(guest.__file__))
    for name, signs in _GUEST.items():
        for text in map(ast.unparse, _small_nodes(functions[name])):
            if text.startswith(signs):
                yield f"guest {name}: {text}"


def _small_nodes(function: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call | ast.keyword):
            yield node
        elif isinstance(node, ast.Attribute) and node.attr.startswith("RLIMIT_"):
            yield ast.Name(node.attr)


def _functions(path: Path) -> dict[str, ast.AST]:
    tree = ast.parse(path.read_text("utf-8"))
    return {one.name: one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)}


def _seccomp() -> Iterator[str]:
    for refusal in seccomp.REFUSALS:
        yield from (f"seccomp {name}" for name in refusal.names)

"""Drives the installed console script, as a person would."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

SCRIPT = Path(sys.executable).parent / "planloop"
DATA = Path(__file__).parents[1] / "data" / "cli"
BOUND_S = 30.0
_KEPT = ("TMPDIR", "PLANLOOP_TEST_SESSION")
"""Of the session: what a command leaves behind is found by them."""


@dataclasses.dataclass(frozen=True)
class Ran:
    """How one command came out."""

    code: int
    out: str
    err: str


class Shell:
    """A private home, a working folder, and a console script to call there."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home = home
        self.folder = folder
        self.environ = {
            "PATH": f"{SCRIPT.parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
        }

    def __call__(
        self,
        *arguments: str,
        cwd: Path | None = None,
        environ: Mapping[str, str | None] = {},
        stdin: str = "",
    ) -> Ran:
        done = subprocess.run(
            [str(SCRIPT), *arguments],
            cwd=cwd or self.folder,
            env=self.with_environ(environ),
            input=stdin.encode(),
            capture_output=True,
            timeout=BOUND_S,
            check=False,
        )
        return Ran(
            done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode("utf-8")
        )

    def with_environ(self, changes: Mapping[str, str | None]) -> dict[str, str]:
        merged: dict[str, str | None] = {**self.environ, **changes}
        return {name: value for name, value in merged.items() if value is not None}

    def start(
        self,
        *arguments: str,
        environ: Mapping[str, str | None] = {},
    ) -> subprocess.Popen[bytes]:
        """A command that goes on; the caller waits for it."""
        return subprocess.Popen(
            [str(SCRIPT), *arguments],
            cwd=self.folder,
            env=self.with_environ(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    @contextlib.contextmanager
    def terminal(
        self,
        *arguments: str,
        cwd: Path | None = None,
        environ: Mapping[str, str | None] = {},
    ) -> Iterator[Terminal]:
        """A command on a terminal of 80 columns and 24 lines."""
        master, slave = pty.openpty()
        _resize(slave, rows=24, columns=80)
        process = subprocess.Popen(
            [str(SCRIPT), *arguments],
            cwd=cwd or self.folder,
            env=self.with_environ(environ),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(slave)
        found = Terminal(process, master)
        try:
            yield found
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            os.close(master)


def _take_terminal() -> None:
    """Ctrl-C reaches only those whose terminal it is."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _resize(handle: int, rows: int, columns: int) -> None:
    fcntl.ioctl(handle, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Terminal:
    """The far end of a terminal that a command runs on."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self._master = master
        self.text = ""

    def until(self, wanted: str) -> str:
        """Read until a text has appeared."""
        self._read(lambda: wanted in self.text)
        assert wanted in self.text, f"never saw {wanted!r} in {self.text!r}"
        return self.text

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def pressed(self, text: str) -> bool:
        """Press keys; whether the command has ended."""
        self.type(text)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=0.5)
        return self.process.poll() is not None

    def finish(self) -> int:
        """Read to the end; the exit code."""
        self._read(lambda: False)
        return self.process.wait(timeout=BOUND_S)

    def _read(self, enough: Callable[[], bool]) -> None:
        end = time.monotonic() + BOUND_S
        while not enough() and time.monotonic() < end:
            ready, _, _ = select.select([self._master], [], [], 0.2)
            if not ready:
                if self.process.poll() is not None:
                    return
                continue
            try:
                piece = os.read(self._master, 65_536)
            except OSError:  # the other side is closed
                return
            if not piece:
                return
            self.text += piece.decode(errors="replace")


def copy_task(shell: Shell, name: str) -> Path:
    target = shell.folder / name
    shutil.copytree(DATA / name, target)
    return target


def wait_for(condition: Callable[[], bool], what: str, bound_s: float = 20.0) -> None:
    end = time.monotonic() + bound_s
    while not condition():
        assert time.monotonic() < end, f"waited {bound_s:g} s for {what}"
        time.sleep(0.01)


def interrupt(process: subprocess.Popen[bytes], signum: int = signal.SIGINT) -> None:
    process.send_signal(signum)


def only_run(folder: Path) -> Path:
    (found,) = (folder / ".planloop" / "runs").iterdir()
    return found


def script(folder: Path, *plans: str, front: str = "") -> Path:
    """A task whose replay holds these plans."""
    folder.mkdir(parents=True, exist_ok=True)
    head = f"version: 1\nmodel: replay:replay.jsonl\n{front}"
    (folder / "task.md").write_text(f"---\n{head}---\nDo it.\n")
    replies = [{"reply": {"text": f"```python\n{plan}\n```"}} for plan in plans]
    rows = [{"planloop_replay": 1, "name": "scripted"}, *replies]
    (folder / "replay.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run of `fix` that is over. Nothing may change its folder."""

    shell: Shell
    folder: Path
    ran: Ran

    @property
    def run_id(self) -> str:
        return only_run(self.folder).name

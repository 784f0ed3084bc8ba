"""One hostile program a case: what it is, and what the host may say of it afterwards."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

from planloop.errors import SandboxLost
from planloop.observation import Status
from planloop.sandbox import Command, Completed, Sandbox

from .modes import After, House, Mode

PROGRAMS = Path(__file__).resolve().parent.parent / "data" / "attacks"
GRACE_S = 2.0
"""How long after its deadline a call may return: everything of it is gone by then."""

Judge = Callable[[Completed | None, Mode], None]
"""Asserts what must hold of an outcome; None stands for a lost sandbox."""


@dataclasses.dataclass(frozen=True)
class Attack:
    """A program of `tests/data/attacks` with its arguments."""

    program: str
    arguments: tuple[str, ...]
    judge: Judge
    timeout_s: float = 20.0
    quick: bool = False
    """Whether it runs in the default suite, in every mode."""

    def __str__(self) -> str:
        return "-".join((self.program.partition(".")[0], *self.arguments)).replace("/", "_")


async def attacked(
    sandbox: Sandbox, program: str, arguments: tuple[str, ...], timeout_s: float
) -> Completed | None:
    """The scenario: run the program, as a file where nothing can change it."""
    source = (PROGRAMS / program).read_text("utf-8")
    shell = program.endswith(".sh")
    argv = ("/bin/sh", "-c", source) if shell else ("python3", "-c", source)
    try:
        return await sandbox.run(Command(argv=(*argv, *arguments), timeout_s=timeout_s))
    except SandboxLost:
        return None


def launch(house: House, attack: Attack) -> After:
    """Run an attack in a house, judge its outcome and what holds after every attack."""
    after = house.run(attacked, attack.program, attack.arguments, attack.timeout_s)
    attack.judge(after.result, house.mode)
    if after.result is not None:
        took, most = after.result.duration_s, attack.timeout_s + GRACE_S
        assert took < most, f"it took {took:.2f} s with {attack.timeout_s} s allowed"
    assert_well(after)
    return after


def assert_well(after: After) -> None:
    """What holds after every attack: the next call works, and nothing is left."""
    said = after.next_call
    assert (said.status, said.stdout.text) == (Status.OK, "1\n"), said
    assert after.processes <= 0, f"{after.processes} processes live on in the sandbox"
    assert after.left == ()


def text_of(done: Completed | None) -> str:
    """Everything that a call said."""
    return "" if done is None else done.stdout.text + done.stderr.text


# ---------------------------------------------------------------- judges


def is_(*statuses: Status, says: str = "", silent_on: str = "", lost: bool = False) -> Judge:
    """One of some statuses, with text that matches, and no text that matches another pattern.

    `lost` says that the sandbox may be lost by it.
    """

    def judge(done: Completed | None, mode: Mode) -> None:
        said = text_of(done)
        if done is None:
            assert lost, "the sandbox was lost"
        else:
            assert done.status in statuses, f"{done.status}: {said[-600:]} {done.notes}"
            assert re.search(says, said), f"it said {said[-600:]!r}"
        if silent_on:
            found = re.findall(f".*(?:{silent_on}).*", said)
            assert not found, f"it said {found}"

    return judge


def timed_out(says: str = "") -> Judge:
    """`timeout`, close to its deadline, with the output so far."""
    return is_(Status.TIMEOUT, says=says)


def exited(code: int) -> Judge:
    """An exit code is what it is."""

    def judge(done: Completed | None, mode: Mode) -> None:
        assert done is not None
        status = Status.OK if code == 0 else Status.FAILED
        assert (done.status, done.exit_code, done.signal) == (status, code, None), done
        assert done.notes == (), done.notes

    return judge


def died(number: int) -> Judge:
    """Death by a signal is `killed`."""

    def judge(done: Completed | None, mode: Mode) -> None:
        assert done is not None
        assert (done.status, done.exit_code, done.signal) == (Status.KILLED, None, number), done

    return judge


def by_memory(total: Judge, single: Judge) -> Judge:
    """One judge where memory is limited for all processes together, one where for each."""

    def judge(done: Completed | None, mode: Mode) -> None:
        (total if mode.cgroup else single)(done, mode)

    return judge


def noted(status: Status, note: str) -> Judge:
    """A status with a note that matches."""

    def judge(done: Completed | None, mode: Mode) -> None:
        assert done is not None
        assert done.status is status, done
        assert any(re.search(note, one) for one in done.notes), done.notes

    return judge


def never_ok(silent_on: str = "DID", lost: bool = False) -> Judge:
    """Whatever an attack on the watchers did, it is not told to be `ok`."""
    others = tuple(status for status in Status if status is not Status.OK)
    return is_(*others, silent_on=silent_on, lost=lost)

"""`planloop clean`: after a SIGKILL nothing is left, and runs that live go on."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from console import Shell, interrupt, only_run, script, wait_for

from planloop.marks import mark, parse_mark
from tests.sandboxes.ghosts import dead_mark

NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere.sock"}
IMAGE = "planloop-sandbox:latest"
KINDS = ["bubblewrap", pytest.param("docker", marks=pytest.mark.docker)]


@pytest.fixture
def temporary(shell: Shell, tmp_path: Path) -> Path:
    """Temporary files of all commands of a test: small enough to be looked at whole."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o711)
    tmp_path.chmod(0o711)
    shell.environ["TMPDIR"] = str(folder)
    return folder


def ticking(word: str) -> str:
    return f"for i in $(seq 1 600); do echo {word} $i; sleep 0.1; done"


Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(shell: Shell, temporary: Path) -> Iterator[Start]:
    """Starts commands, and ends what still runs when the test is over."""
    made: list[subprocess.Popen[bytes]] = []

    def begin(*arguments: str) -> subprocess.Popen[bytes]:
        made.append(shell.start(*arguments))
        return made[-1]

    yield begin
    for process in made:
        process.kill()
        process.communicate()


def slow_task(shell: Shell, word: str, moment: str) -> Path:
    """A task whose run stays in a call, or in a check."""
    slow = ticking(word)
    plan = f'shell("{slow if moment == "call" else "true"}")\ndone("x")'
    check = f"checks:\n  - run: {json.dumps(slow)}\n" if moment == "check" else ""
    return script(shell.folder / word, plan, front=check)


def wait_while(
    process: subprocess.Popen[bytes],
    condition: Callable[[], bool],
    what: str,
    bound_s: float = 20.0,
) -> None:
    """Wait for something that a command does; one that has ended before says why."""

    def there() -> bool:
        assert process.poll() is None, process.communicate()
        return condition()

    wait_for(there, what, bound_s)


def command_lines_with(text: str) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if (
            text.encode() in command
            and b"pytest" not in command
            and b"planloop\0run" not in command
        ):
            found.append(int(process.name))
    return found


def what_is_left(temporary: Path, run: str, word: str) -> list[str]:
    """Looked for without planloop's own eyes."""
    groups = [
        f"{above}/{name}"
        for above, names, _ in os.walk("/sys/fs/cgroup")
        for name in names
        if f"-{run}-" in name
    ]
    folders = [str(one) for one in temporary.iterdir()]
    folders += [str(one) for place in ("/tmp", "/var/tmp") for one in Path(place).glob(f"*{run}*")]
    processes = [f"process {pid}" for pid in command_lines_with(word)]
    return [*groups, *folders, *processes, *of_engine(run)]


def of_engine(run: str) -> list[str]:
    found = []
    for words in (["ps", "-a"], ["volume", "ls"], ["network", "ls"]):
        command = ["docker", *words, "-q", "--filter", f"label=planloop.run={run}"]
        try:
            listed = subprocess.run(command, capture_output=True, text=True, timeout=20)
        except OSError:
            return []
        found += [f"{words[0]} {one}" for one in listed.stdout.split()]
    return found


@pytest.mark.parametrize("moment", ["opening", "call", "check"])
@pytest.mark.parametrize("kind", KINDS)
def test_after_a_kill_and_a_clean_nothing_is_left(
    shell: Shell, temporary: Path, start: Start, kind: str, moment: str
) -> None:
    word = f"tick{kind}{moment}"
    folder = slow_task(shell, word, moment)
    process = start("run", str(folder), "--sandbox", kind)
    if moment == "opening":
        wait_while(process, lambda: len(list(temporary.rglob("planloop-*"))) > 1, "a folder")
    else:
        wait_while(process, lambda: command_lines_with(word) != [], f"the {moment}")
    process.kill()
    process.communicate()
    cleaned = shell("clean", "--json", cwd=folder)
    assert cleaned.code == 0, cleaned.err
    rows = [json.loads(row) for row in cleaned.out.splitlines()]
    assert all(row["removed"] for row in rows)
    assert "folder" in {row["kind"] for row in rows}
    assert what_is_left(temporary, only_run(folder).name, word) == []
    assert (only_run(folder) / "trace.jsonl").is_file()


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_lives_goes_on_beside_a_clean(
    shell: Shell, temporary: Path, start: Start, kind: str
) -> None:
    folder = slow_task(shell, f"tickalive{kind}", "call")
    process = start("run", str(folder), "--sandbox", kind)
    wait_while(process, lambda: command_lines_with(f"tickalive{kind}") != [], "the call")
    before = set(temporary.rglob("planloop-*"))
    (temporary / dead_mark().name).mkdir()
    ran = shell("clean")
    assert ran.code == 0, ran.err
    assert "of live runs left alone" in ran.err
    assert set(temporary.rglob("planloop-*")) == before
    assert command_lines_with(f"tickalive{kind}") != []
    interrupt(process)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130, said
    assert what_is_left(temporary, only_run(folder).name, f"tickalive{kind}") == []


def test_a_call_on_the_bare_host_is_ended_with_what_it_started(
    shell: Shell, temporary: Path, start: Start
) -> None:
    silent = "python3 -c 'input()' tickbare"
    line = f"mkfifo pipe; (setsid {silent} <>pipe &) ; {silent} <>pipe"
    folder = script(shell.folder / "bare", f'shell("{line}")\ndone("x")')
    process = start("run", str(folder), "--unsafe-local")
    wait_while(process, lambda: len(command_lines_with("\0tickbare")) == 2, "the call")
    process.kill()
    process.communicate()
    assert len(command_lines_with("\0tickbare")) == 2
    ran = shell("clean")
    assert ran.code == 0, ran.err
    assert "removed      process" in ran.out
    assert what_is_left(temporary, only_run(folder).name, "\0tickbare") == []


def test_a_dry_run_shows_what_would_go_and_removes_nothing(shell: Shell, temporary: Path) -> None:
    left = temporary / dead_mark().name
    left.mkdir()
    ran = shell("clean", "--dry-run", environ=NO_ENGINE)
    assert ran.code == 0
    assert f"would remove folder     {left}" in ran.out
    assert left.is_dir()


def test_a_folder_that_is_named_is_looked_at_as_well(shell: Shell, temporary: Path) -> None:
    elsewhere = shell.folder / "elsewhere"
    left = elsewhere / dead_mark().name
    left.mkdir(parents=True)
    assert str(left) not in shell("clean", environ=NO_ENGINE).out
    ran = shell("clean", "elsewhere", environ=NO_ENGINE)
    assert f"removed      folder     {left}" in ran.out
    assert not left.exists()
    missing = shell("clean", "missing")
    assert missing.code == 2
    assert "missing" in missing.err


def test_without_an_engine_it_says_so_and_cleans_the_rest(shell: Shell, temporary: Path) -> None:
    left = temporary / dead_mark().name
    left.mkdir()
    ran = shell("clean", environ=NO_ENGINE)
    assert ran.code == 0
    assert "containers and images were not looked for" in ran.err
    assert not left.exists()
    again = shell("clean", "--json", environ=NO_ENGINE)
    assert str(left) not in again.out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what root cannot remove")
def test_what_cannot_be_removed_is_named_and_is_exit_two(shell: Shell, temporary: Path) -> None:
    left = temporary / dead_mark().name
    left.mkdir()
    (left / "stuck").touch()
    subprocess.run(["chattr", "+i", left / "stuck"], check=True)
    try:
        ran = shell("clean", environ=NO_ENGINE)
    finally:
        subprocess.run(["chattr", "-i", left / "stuck"], check=True)
    assert ran.code == 2
    assert f"stays        folder     {left}" in ran.out
    assert "why: Operation not permitted" in ran.out
    assert shell("clean", environ=NO_ENGINE).code == 0


def test_two_cleans_at_once_both_succeed(start: Start, temporary: Path) -> None:
    one = dead_mark()
    for number in range(12):
        tree = temporary / f"{one.name}{number}"
        tree.mkdir()
        for name in range(20):
            (tree / str(name)).mkdir()
            (tree / str(name) / "file").touch()
    both = [start("clean") for _ in range(2)]
    said = [process.communicate(timeout=30) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert list(temporary.iterdir()) == []


def test_the_next_run_says_once_that_killed_runs_have_left_something(
    shell: Shell, temporary: Path
) -> None:
    folder = script(shell.folder / "next", 'done("x")', front="sandbox: none\n")
    left = temporary / dead_mark().name
    left.mkdir()
    assert shell("run", str(folder)).err.count("`planloop clean` removes what is left") == 1
    assert "planloop clean" not in shell("run", str(folder), "--json").err
    left.rmdir()
    assert str(left) not in shell("run", str(folder)).err


def docker(*words: str) -> str:
    return subprocess.run(
        ["docker", *words], capture_output=True, text=True, check=True, timeout=30
    ).stdout.strip()


@pytest.mark.docker
def test_the_engine_s_things_of_the_dead_go_and_those_of_others_stay(
    shell: Shell, temporary: Path
) -> None:
    dead, mine = dead_mark().owner, parse_mark(mark("x"))
    assert mine is not None
    owners = {
        "dead": str(dead),
        "living": str(mine.owner),
        "other-user": str(dead).replace(f".{dead.user}.", f".{dead.user + 1}.", 1),
        "other-machine": f"{str(dead).rsplit('.', 2)[0]}.0badb007.0badcafe",
        "forged": "1; rm -rf /",
    }
    made: list[tuple[str, str, str]] = []
    try:
        for name, owner in owners.items():
            labels = ["--label", f"planloop.owner={owner}", "--label", "planloop.run=engine"]
            container = docker(
                "run", "-d", *labels, "--network", "none", "--entrypoint", "sleep", IMAGE, "60"
            )
            made.append((name, "container", container))
            made.append((name, "volume", docker("volume", "create", *labels)))
        made.append(("dead", "network", docker("network", "create", *labels[2:], "--label",
                     f"planloop.owner={dead}", "planloop-test-clean")))  # fmt: skip
        ran = shell("clean", "--json")
        assert ran.code == 0, ran.err
        rows = [json.loads(row) for row in ran.out.splitlines()]
        removed = {(row["kind"], row["id"]) for row in rows if row["removed"]}
        assert {(kind, one) for name, kind, one in made if name == "dead"} <= removed
        for name, kind, one in made:
            assert exists(kind, one) is (name != "dead"), (name, kind)
    finally:
        for _, kind, one in made:
            subprocess.run(["docker", kind, "rm", *(["-f"] if kind != "network" else []), one],
                           capture_output=True, check=False)  # fmt: skip


def exists(kind: str, identity: str) -> bool:
    return not subprocess.run(
        ["docker", kind, "inspect", identity], capture_output=True, check=False
    ).returncode

"""What a stranger's file may ask for, and how the user's consent is asked and remembered."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from planloop.budget import Budget
from planloop.errors import ConsentNeeded, UserError
from planloop.taskfile import Ask, LoadedTask, consent, consent_store, load_task


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def loaded(folder: Path, front_matter: str, budget: Budget | None = None) -> LoadedTask:
    write(folder / "task.md", f"---\n{front_matter}\n---\nhi\n")
    return load_task("task.md", cwd=folder, home=folder, budget=budget)


def asked(folder: Path, front_matter: str, budget: Budget | None = None) -> list[str]:
    return [str(ask) for ask in loaded(folder, front_matter, budget).asks]


WITH_KEY = ", with the key in PLANLOOP_API_KEY if it is set"


@pytest.mark.parametrize(
    "front_matter",
    [
        "name: a",
        "model: openai:gpt-x",
        "model: replay:replay.jsonl",
        "model: replay:sub/../replay.jsonl",
        "sandbox: docker",
        "sandbox: {network: none, limits: {memory: 1GB, timeout: 10s, processes: 128}}",
        "environment: workspace",
        "tools: [shell, read]",
        "budget: {cost: 1, time: 10m, rounds: 40, tokens: 5, sandbox_time: 3s}",
        "workspace: {exclude: [a], max_size: 1GB}",
        "checks: [make test]\ninputs: {a: /etc/passwd}\noutputs: [a]",
    ],
)
def test_what_stays_within_the_defaults_asks_nothing(front_matter: str, tmp_path: Path) -> None:
    assert asked(tmp_path, front_matter) == []


@pytest.mark.parametrize(
    ("front_matter", "ask"),
    [
        (
            "model: {name: m, base_url: http://evil.example/v1}",
            f"sends the task and your files to `http://evil.example/v1`{WITH_KEY}",
        ),
        ("model: replay:../r.jsonl", "reads the replay `../r.jsonl`, outside its folder"),
        ("model: replay:/etc/passwd", "reads the replay `/etc/passwd`, outside its folder"),
        (
            "model: function:os:system",
            "runs `os:system` on your machine, outside the sandbox, as the model",
        ),
        (
            "environment: own.py",
            "runs the environment `own.py` on your machine, outside the sandbox",
        ),
        (
            "environment: a.b:World",
            "runs the environment `a.b:World` on your machine, outside the sandbox",
        ),
        ("tools: [own.py:f]", "runs the tool `own.py:f` on your machine, outside the sandbox"),
        ("tools: [os:system]", "runs the tool `os:system` on your machine, outside the sandbox"),
        ("sandbox: {image: evil}", "runs in the image `evil`"),
        ("sandbox: {runtime: odd}", "runs by the Docker engine's runtime `odd`"),
        (
            "sandbox: {network: full}",
            "opens to what runs in the sandbox the whole network, with this machine's services "
            "and your own network",
        ),
        ("sandbox: {network: [AcMe.org.]}", "opens to what runs in the sandbox `acme.org`"),
        (
            "sandbox: {network: ['*.acme.org:8443']}",
            "opens to what runs in the sandbox `*.acme.org:8443`",
        ),
        (
            "sandbox: {network: ['[::1]:80']}",
            "opens to what runs in the sandbox `[::1]:80`, a service of this machine",
        ),
        (
            "sandbox: {network: [10.0.0.1:80]}",
            "opens to what runs in the sandbox `10.0.0.1:80`, an address of your own network",
        ),
        (
            "sandbox: {network: [169.254.169.254:80]}",
            "opens to what runs in the sandbox `169.254.169.254:80`, where clouds hand out "
            "credentials",
        ),
        (
            "sandbox: {limits: {memory: 64GB}}",
            "raises the sandbox limit `memory` from 2 GB to 64 GB",
        ),
        (
            "sandbox: {limits: {timeout: 10m}}",
            "raises the sandbox limit `timeout` from 120 s to 600 s",
        ),
        ("packages: {apt: [jq, libpq-dev]}", "installs `jq`, `libpq-dev`"),
        ("workspace: {include: [.env]}", "brings files that are left out otherwise: `.env`"),
        ("workspace: {max_size: 2GB}", "copies up to 2 GB of your files"),
        ("workspace: {max_files: 60000}", "copies up to 60000 files"),
        ("budget: {cost: 5}", "raises `budget.cost` from $1 to $5"),
        ("budget: {time: 1h}", "raises `budget.time` from 900 s to 3600 s"),
        ("budget: {rounds: null}", "raises `budget.rounds` from 40 to no limit"),
    ],
)
def test_each_thing_beyond_the_defaults_is_listed(
    front_matter: str, ask: str, tmp_path: Path
) -> None:
    write(tmp_path / "own.py", "")
    assert asked(tmp_path, front_matter) == [f"{ask} (task.md, line 2)"]


def test_setup_asks_for_each_command_and_says_what_it_sees(tmp_path: Path) -> None:
    assert asked(tmp_path, "setup:\n  - pip install -e .\n  - make") == [
        "runs `pip install -e .` before the first plan (task.md, line 3)",
        "runs `make` before the first plan (task.md, line 4)",
        "these commands have the network, the copy of your files, and the addresses of "
        "your package index and proxy, with any password in them (task.md, line 2)",
    ]
    assert asked(tmp_path, "setup: auto")[0] == (
        "runs what lock files suggest before the first plan (task.md, line 2)"
    )


def test_packages_ask_too(tmp_path: Path) -> None:
    assert asked(tmp_path, "packages: {pip: [requests, x>=1]}") == [
        "installs `requests`, `x>=1` (task.md, line 2)",
        "their installers have the network and the addresses of your package index and proxy, "
        "with any password in them, not your files (task.md, line 2)",
    ]


def test_another_setup_is_asked_about_again(tmp_path: Path) -> None:
    before = loaded(tmp_path, "setup: [make]").digest
    assert loaded(tmp_path, "setup: [make all]").digest != before


def test_a_budget_is_compared_with_the_users_own(tmp_path: Path) -> None:
    own = Budget(cost_usd=10, calls=None)
    assert asked(tmp_path, "budget: {cost: 5, calls: 9000}", own) == []
    assert asked(tmp_path, "budget: {cost: 0.5}", Budget(cost_usd=0.1)) == [
        "raises `budget.cost` from $0.1 to $0.5 (task.md, line 2)"
    ]


def test_a_replay_behind_a_link_is_outside(tmp_path: Path) -> None:
    write(tmp_path / "secret.jsonl", "")
    folder = tmp_path / "cloned"
    folder.mkdir()
    (folder / "r.jsonl").symlink_to(tmp_path / "secret.jsonl")
    assert len(asked(folder, "model: replay:r.jsonl")) == 1


def test_a_task_file_that_is_a_link_out_of_its_folder_asks(tmp_path: Path) -> None:
    secret = write(tmp_path / "id_rsa", "-----BEGIN")
    folder = tmp_path / "cloned"
    folder.mkdir()
    (folder / "task.md").symlink_to(secret)
    (ask,) = load_task("task.md", cwd=folder, home=folder).asks
    assert str(ask) == f"reads `{secret.resolve()}`, outside its folder (task.md)"


def test_the_project_file_asks_too(tmp_path: Path) -> None:
    write(tmp_path / "planloop.toml", 'model = {name = "m", base_url = "http://evil/v1"}')
    assert asked(tmp_path, "name: a") == [
        f"sends the task and your files to `http://evil/v1`{WITH_KEY} (planloop.toml, line 1)"
    ]


def test_what_is_listed_is_harmless_to_show(tmp_path: Path) -> None:
    (text,) = asked(tmp_path, 'sandbox: {image: "a\\u200b\\n- trust me"}')
    assert text == "runs in the image `a\\u200b - trust me` (task.md, line 2)"


# ---- the digest


def test_the_digest_changes_with_everything_that_was_consented_to(tmp_path: Path) -> None:
    write(tmp_path / "own.py", "1")
    front_matter = "tools: [own.py:f]\nenvironment: pack.world:World"
    seen = {loaded(tmp_path, front_matter).digest}
    assert loaded(tmp_path, front_matter).digest in seen

    def new(digest: str) -> bool:
        fresh = digest not in seen
        seen.add(digest)
        return fresh

    write(tmp_path / "own.py", "2")
    assert new(loaded(tmp_path, front_matter).digest)
    assert new(loaded(tmp_path, front_matter + "\nname: b").digest)
    write(tmp_path / "planloop.toml", "outputs = []")
    assert new(loaded(tmp_path, front_matter).digest)
    write(tmp_path / "pack" / "world.py", "class World: ...")
    assert new(loaded(tmp_path, front_matter).digest)
    write(tmp_path / "other.txt", "not named")
    assert not new(loaded(tmp_path, front_matter).digest)


def test_the_same_file_in_another_folder_asks_again(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for front_matter in ("tools: [helpers:run]", "model: {name: m, base_url: http://x/v1}"):
        first, second = (loaded(tmp_path / name, front_matter) for name in ("a", "b"))
        assert first.digest != second.digest


# ---- consent

ASKS = (Ask("runs in the image `evil`", "task.md, line 2"),)


class Person:
    """Answers, and remembers what was asked."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.questions: list[str] = []

    def __call__(self, text: str) -> bool:
        self.questions.append(text)
        return self.answer


def agree(
    store: Path,
    ask: Callable[[str], bool],
    *,
    digest: str = "d1",
    trusted: bool = False,
    terminal: bool = True,
    asks: tuple[Ask, ...] = ASKS,
) -> None:
    consent(asks, digest, store, trusted=trusted, terminal=terminal, ask=ask)


def test_nobody_is_asked_where_nothing_is_asked_for(tmp_path: Path) -> None:
    person = Person(False)
    agree(tmp_path / "c.json", person, asks=(), terminal=False)
    agree(tmp_path / "c.json", person, trusted=True, terminal=False)
    assert person.questions == []
    assert not (tmp_path / "c.json").exists()


def test_a_yes_is_remembered_until_something_changes(tmp_path: Path) -> None:
    store = tmp_path / "state" / "planloop" / "consents.json"
    person = Person(True)
    agree(store, person)
    agree(store, person)
    agree(store, person, terminal=False)
    assert person.questions == [
        "task.md asks for more than the defaults:\n  - runs in the image `evil` (task.md, line 2)"
    ]
    agree(store, person, digest="d2")
    assert len(person.questions) == 2
    agree(store, person, digest="d1", terminal=False)


def test_what_is_remembered_is_private_and_whole(tmp_path: Path) -> None:
    store = tmp_path / "state" / "consents.json"
    agree(store, Person(True))
    assert json.loads(store.read_text()) == {"version": 1, "agreed": ["d1"]}
    assert os.listdir(store.parent) == ["consents.json"]
    if os.name == "posix":
        assert store.stat().st_mode & 0o777 == 0o600
        assert store.parent.stat().st_mode & 0o777 == 0o700


def test_a_no_is_an_error_and_is_not_remembered(tmp_path: Path) -> None:
    store = tmp_path / "c.json"
    with pytest.raises(ConsentNeeded) as caught:
        agree(store, Person(False))
    assert str(caught.value) == (
        "task.md: needs your consent: runs in the image `evil` (task.md, line 2)\n\n"
        "hint: nothing was run; `--trust` agrees without a question"
    )
    assert not store.exists()


def test_without_a_terminal_nobody_is_asked_and_the_flag_is_named(tmp_path: Path) -> None:
    person = Person(True)
    with pytest.raises(ConsentNeeded) as caught:
        agree(tmp_path / "c.json", person, terminal=False)
    assert person.questions == []
    assert caught.value.asks == ("runs in the image `evil` (task.md, line 2)",)
    assert caught.value.where == "task.md"
    assert "--trust" in (caught.value.hint or "")


def test_the_question_cannot_be_forged_by_what_it_lists(tmp_path: Path) -> None:
    person = Person(True)
    agree(tmp_path / "c.json", person, asks=(Ask("x\x1b[2J\u202e", "a\x07, line 1"),))
    assert person.questions == [
        "a␇ asks for more than the defaults:\n  - x␛[2J\\u202e (a␇, line 1)"
    ]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"agreed": 5}', '{"agreed": [5]}', "[" * 9999])
def test_a_damaged_store_is_said_and_not_overwritten(text: str, tmp_path: Path) -> None:
    store = write(tmp_path / "c.json", text)
    with pytest.raises(UserError, match="is damaged") as caught:
        agree(store, Person(True))
    assert caught.value.hint == "remove that file, or give `--trust`"
    assert store.read_text() == text


@pytest.mark.skipif(os.name != "posix", reason="needs file modes")
def test_a_store_that_others_can_change_is_not_believed(tmp_path: Path) -> None:
    store = write(tmp_path / "c.json", '{"agreed": ["d1"]}')
    store.chmod(0o666)
    with pytest.raises(UserError, match="can be changed by others"):
        agree(store, Person(True))


def test_a_store_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    write(tmp_path / "state", "a file")
    with pytest.raises(UserError, match="what you agreed to cannot be remembered"):
        agree(tmp_path / "state" / "c.json", Person(True))


def test_where_consents_are_kept() -> None:
    home = {"HOME": "/home/ann"}
    assert consent_store(home) == Path("/home/ann/.local/state/planloop/consents.json")
    assert consent_store({**home, "XDG_STATE_HOME": "/s"}) == Path("/s/planloop/consents.json")
    assert consent_store({**home, "XDG_STATE_HOME": "relative"}) == consent_store(home)

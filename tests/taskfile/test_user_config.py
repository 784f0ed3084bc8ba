"""The user's own file, and who wins: flag, variable, task, project, user, default."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planloop.budget import Budget
from planloop.errors import TaskError, UserError
from planloop.sandbox import Limits, SandboxSpec
from planloop.task import ModelSpec
from planloop.taskfile import (
    Endpoint,
    Price,
    Settings,
    UserConfig,
    load_task,
    load_user,
    settle_budget,
    settle_model,
    settle_sandbox,
)
from planloop.taskfile.settings import LIMIT_NAMES

CONFIG = """\
model = "openai:m"
sandbox = {kind = "docker", limits = {memory = "4GB"}}

[budget]
cost = 5
time = "1h"
calls = 100

[providers.openai]
base_url = "http://gateway.example/v1/"
key_env = "GATEWAY_KEY"

[models.fast]
model = "qwen"
base_url = "http://localhost:8000/v1"

[prices."openai:m"]
input = 1.5
output = 0
"""


def configured(folder: Path, text: str) -> UserConfig:
    path = folder / "planloop" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return load_user({"XDG_CONFIG_HOME": str(folder), "HOME": "/home/ann"})


def test_the_users_file_is_read_whole(tmp_path: Path) -> None:
    user = configured(tmp_path, CONFIG)
    assert user.path == tmp_path / "planloop" / "config.toml"
    assert user.settings.model == ModelSpec(name="openai:m")
    assert user.settings.sandbox == SandboxSpec(
        kind="docker", limits=Limits(memory_bytes=4_000_000_000)
    )
    assert user.settings.limits == {"cost_usd": 5.0, "wall_s": 3600.0, "calls": 100}
    assert user.providers == {
        "openai": Endpoint(base_url="http://gateway.example/v1", key_env="GATEWAY_KEY")
    }
    assert user.models == {"fast": Endpoint(model="qwen", base_url="http://localhost:8000/v1")}
    assert user.prices == {"openai:m": Price(input=1.5, output=0.0)}


def test_without_a_file_there_is_an_empty_one(tmp_path: Path) -> None:
    assert load_user({"HOME": str(tmp_path)}) == UserConfig()
    assert load_user({"HOME": str(tmp_path), "XDG_CONFIG_HOME": "relative"}) == UserConfig()


def test_a_variable_names_another_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("model = 'x:y'")
    user = load_user({"PLANLOOP_CONFIG": str(path), "HOME": str(tmp_path)})
    assert user.settings.model == ModelSpec(name="x:y")
    with pytest.raises(UserError) as caught:
        load_user({"PLANLOOP_CONFIG": str(tmp_path / "gone.toml"), "HOME": str(tmp_path)})
    assert str(caught.value) == (
        f"PLANLOOP_CONFIG: there is no file `{tmp_path / 'gone.toml'}`\n\n"
        "hint: write it, or unset the variable"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "checks = ['a']",
            "line 1: unknown field `checks`\n       checks = ['a']\n       ^\n\n"
            "hint: known fields: `model`, `sandbox`, `budget`, `providers`, `models`, `prices`",
        ),
        (
            "api_key = 'sk-canary'",
            "line 1: unknown field `api_key`\n\n"
            "hint: a key never stands in a file: the environment holds it",
        ),
        (
            "[providers.openai]\nkey_env = 'sk-canary-12'",
            "line 2: `providers.openai.key_env` is no name of an environment variable\n\n"
            'hint: write the variable\'s name, not the key: `key_env = "OPENAI_API_KEY"`',
        ),
        (
            "[models.fast]\nkey = 'sk-canary'",
            "line 2: `models.fast` has no field `key`\n\n"
            "hint: a key never stands in a file: the environment holds it",
        ),
        (
            "[providers]\nopenai = 'http://x/v1'",
            'line 2: `providers.openai` is "http://x/v1"; expected a mapping\n'
            "       openai = 'http://x/v1'\n                ^\n\n"
            "hint: write `openai: {base_url: …}`, with fields of `base_url`, `key_env`",
        ),
        (
            "models = 3",
            "line 1: `models` is 3; expected a mapping\n       models = 3\n                ^\n\n"
            "hint: write one table for each name",
        ),
        (
            "[prices.m]\ninput = -1\noutput = 1",
            "line 2: `prices.m.input` is -1; expected US dollars for a million tokens\n"
            "       input = -1\n               ^\n\nhint: write a number, 0 if it is free",
        ),
        (
            "[prices.m]\ninput = 1",
            "line 1: `prices.m` has no `output`\n       [prices.m]\n        ^\n\n"
            "hint: US dollars for a million tokens, 0 if free",
        ),
        (
            "sandbox = 'unsafe-local'",
            "line 1: no file may ask to run on the bare host\n       sandbox = 'unsafe-local'\n"
            "                 ^\n\nhint: give `--unsafe-local` if you mean it",
        ),
    ],
)
def test_errors_of_the_users_file(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError) as caught:
        configured(tmp_path, text)
    assert str(caught.value) == f"{tmp_path}/planloop/config.toml, {message}"
    assert "canary" not in str(caught.value)


def test_errors_call_the_file_by_its_short_name(tmp_path: Path) -> None:
    path = tmp_path / ".config" / "planloop" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("x = 1")
    with pytest.raises(TaskError) as caught:
        load_user({"HOME": str(tmp_path)})
    assert caught.value.where == "~/.config/planloop/config.toml, line 1"


# ---- precedence

EMPTY = Settings()


def settings(folder: Path, front_matter: str) -> Settings:
    (folder / "task.md").write_text(f"---\n{front_matter}\n---\nhi\n")
    return load_task("task.md", cwd=folder, home=folder).settings


def test_the_first_who_names_a_model_decides(tmp_path: Path) -> None:
    task = settings(tmp_path, "model: a:task")
    project = Settings(model=ModelSpec(name="a:project"))
    user = configured(tmp_path, "model = 'a:user'").settings
    environ = {"PLANLOOP_MODEL": "a:variable"}

    found = settle_model("a:flag", environ, task, project, user)
    assert (found.value, found.source, found.by_user) == (ModelSpec(name="a:flag"), "--model", True)
    found = settle_model(None, environ, task, project, user)
    assert (found.value, found.source) == (ModelSpec(name="a:variable"), "PLANLOOP_MODEL")
    found = settle_model(None, {"PLANLOOP_MODEL": ""}, task, project, user)
    assert found.value == ModelSpec(name="a:task")
    assert (found.source, found.by_user) == ("task.md, line 2", False)
    found = settle_model(None, {}, EMPTY, project, user)
    assert (found.value, found.by_user) == (ModelSpec(name="a:project"), False)
    found = settle_model(None, {}, EMPTY, EMPTY, user)
    assert (found.value, found.by_user) == (ModelSpec(name="a:user"), True)
    assert found.source.endswith("config.toml, line 1")
    found = settle_model(None, {}, EMPTY, EMPTY, EMPTY)
    assert (found.value, found.source, found.by_user) == (None, "default", True)


def test_an_empty_model_flag_is_refused() -> None:
    with pytest.raises(UserError, match="the model's name is empty"):
        settle_model(" ", {}, EMPTY, EMPTY, EMPTY)


def test_a_flag_decides_the_kind_of_sandbox_and_leaves_the_limits(tmp_path: Path) -> None:
    task = settings(tmp_path, "sandbox: {image: debian, limits: {memory: 1GB}}")
    limits = Limits(memory_bytes=10**9)
    for flag, image in (("docker", "debian"), ("bubblewrap", None), ("unsafe-local", None)):
        found = settle_sandbox(flag, {}, task, EMPTY, EMPTY)
        assert found.value == SandboxSpec(kind=flag, image=image, limits=limits)
        assert (found.source, found.by_user) == ("--sandbox", True)
    found = settle_sandbox(None, {"PLANLOOP_SANDBOX": "none"}, task, EMPTY, EMPTY)
    assert (found.value.kind, found.source) == ("none", "PLANLOOP_SANDBOX")
    found = settle_sandbox(None, {}, task, EMPTY, EMPTY)
    assert (found.value.image, found.source, found.by_user) == ("debian", "task.md, line 2", False)
    assert settle_sandbox(None, {}, EMPTY, EMPTY, EMPTY).value == SandboxSpec()


@pytest.mark.parametrize("kind", ["dokcer", "", "unsafe-local"])
def test_a_variable_cannot_name_a_sandbox_that_there_is_not(kind: str) -> None:
    if not kind:
        found = settle_sandbox(None, {"PLANLOOP_SANDBOX": ""}, EMPTY, EMPTY, EMPTY)
        assert found.source == "default"
        return
    with pytest.raises(UserError) as caught:
        settle_sandbox(None, {"PLANLOOP_SANDBOX": kind}, EMPTY, EMPTY, EMPTY)
    assert caught.value.where == "PLANLOOP_SANDBOX"
    assert "`auto`, `bubblewrap`, `docker`, `none`" in (caught.value.hint or "")


def test_each_limit_is_settled_by_itself(tmp_path: Path) -> None:
    task = settings(tmp_path, "budget: {cost: 0.5, time: 10m, rounds: null}")
    user = configured(tmp_path, "budget = {time = 5, calls = 7, rounds = 3}").settings
    found = settle_budget(
        ["cost=4", "sandbox_time=2m"], {"PLANLOOP_BUDGET_TOKENS": "9000"}, task, EMPTY, user
    )
    assert found.budget == Budget(
        cost_usd=4.0, wall_s=600.0, rounds=None, calls=7, tokens=9000, sandbox_s=120.0
    )
    assert found.sources["cost"] == found.sources["sandbox_time"] == "--budget"
    assert found.sources["tokens"] == "PLANLOOP_BUDGET_TOKENS"
    assert found.sources["time"] == found.sources["rounds"] == "task.md, line 2"
    assert found.sources["calls"].endswith("config.toml, line 1")
    nothing = settle_budget([], {}, EMPTY, EMPTY, EMPTY)
    assert (nothing.budget, nothing.sources) == (Budget(), {})


def test_none_lifts_a_limit() -> None:
    environ = {"PLANLOOP_BUDGET_COST": "none", "PLANLOOP_BUDGET_TIME": ""}
    assert settle_budget(["calls=none"], environ, EMPTY, EMPTY, EMPTY).budget == Budget(
        cost_usd=None, calls=None
    )


@pytest.mark.parametrize(
    ("flags", "environ", "message"),
    [
        (
            ["cost"],
            {},
            "--budget: `cost` is no limit\n\nhint: write `--budget cost=4`, with one of "
            "`cost`, `time`, `tokens`, `rounds`, `calls`, `sandbox_time`, `depth`",
        ),
        (
            ["cost=1", "cost=2"],
            {},
            "--budget: `cost=2` names a limit twice\n\nhint: write `--budget cost=4`, with one of "
            "`cost`, `time`, `tokens`, `rounds`, `calls`, `sandbox_time`, `depth`",
        ),
        (
            ["cots=1"],
            {},
            "--budget: there is no limit `cots`\n\nhint: did you mean `cost`? known: "
            "`cost`, `time`, `tokens`, `rounds`, `calls`, `sandbox_time`, `depth`",
        ),
        (
            ["cost=0"],
            {},
            "--budget: `cost` is 0; expected a number of US dollars above 0\n\n"
            "hint: write `--budget cost=2.0`",
        ),
        (
            ["rounds=1.5"],
            {},
            "--budget: `rounds` is 1.5; expected a whole number of rounds above 0\n\n"
            "hint: write `--budget rounds=40`",
        ),
        (
            [],
            {"PLANLOOP_BUDGET_TIME": "soon"},
            'PLANLOOP_BUDGET_TIME: `time` is "soon"; expected a duration above 0, at most a year'
            "\n\nhint: write `PLANLOOP_BUDGET_TIME=30s`, `2m`, `1h30m`, or a number of seconds",
        ),
        (
            [],
            {"PLANLOOP_BUDGET_DOLLARS": "3"},
            "PLANLOOP_BUDGET_DOLLARS: there is no limit `dollars`\n\nhint: known: "
            "`cost`, `time`, `tokens`, `rounds`, `calls`, `sandbox_time`, `depth`",
        ),
    ],
)
def test_errors_of_budget_flags_and_variables(
    flags: list[str], environ: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        settle_budget(flags, environ, EMPTY, EMPTY, EMPTY)
    assert str(caught.value) == message


@given(st.sampled_from(sorted(LIMIT_NAMES)), st.text(max_size=12))
def test_any_limit_is_a_budget_or_an_error_that_names_its_flag(name: str, text: str) -> None:
    found = _settled(f"{name}={text}")
    if isinstance(found, UserError):
        assert found.where == "--budget"
        assert found.hint
        return
    limit = getattr(found, LIMIT_NAMES[name])
    assert limit is None or limit > 0


def _settled(flag: str) -> Budget | UserError:
    try:
        return settle_budget([flag], {}, EMPTY, EMPTY, EMPTY).budget
    except UserError as error:
        return error

"""Layers on disk, what suggests commands, and where packages come from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from planloop.errors import UserError
from planloop.layers import Layer, Store, layers_folder, suggested
from planloop.layers.index import index_settings, redacted, secrets_in
from planloop.layers.key import files_part
from planloop.layers.store import Hold


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "layers")


async def make(store: Store, key: str, text: str = "x") -> tuple[Layer, Hold]:
    found, hold = await store.use(key)
    assert found is None
    begun = store.begin(key)
    (begun.environment / "file").write_text(text)
    layer = store.publish(begun)
    hold.share()
    return layer, hold


@pytest.mark.anyio
async def test_a_layer_is_there_once_it_is_published_and_not_before(store: Store) -> None:
    found, hold = await store.use("a")
    assert found is None
    begun = store.begin("a")
    assert store.find("a") is None
    layer = store.publish(begun)
    hold.close()
    found, hold = await store.use("a")
    assert found == layer
    assert found.environment.is_dir()
    hold.close()


@pytest.mark.anyio
async def test_of_two_at_once_one_makes_it_and_the_other_waits_for_it(store: Store) -> None:
    _, hold = await store.use("a")
    seen: list[Layer | None] = []

    async def second() -> None:
        other, second_hold = await store.use("a")
        seen.append(other)
        second_hold.close()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(second)
            await anyio.wait_all_tasks_blocked()
            layer = store.publish(store.begin("a"))
            assert seen == []
            hold.share()
    assert seen == [layer]
    hold.close()


@pytest.mark.anyio
async def test_what_a_dead_maker_left_is_no_layer_and_goes(store: Store) -> None:
    _, hold = await store.use("a")
    (store.begin("a").environment / "half").write_text("x")
    hold.close()
    assert store.half_made() == ("a",)
    layer, hold = await make(store, "a")
    assert not (layer.environment / "half").exists()
    assert store.half_made() == ()
    hold.close()


@pytest.mark.anyio
async def test_a_layer_in_use_is_not_removed(store: Store) -> None:
    layer, hold = await make(store, "a")
    assert not store.remove("a")
    assert layer.folder.exists()
    hold.close()
    assert store.remove("a")
    assert not layer.folder.exists()
    assert store.layers() == ()


@pytest.mark.anyio
async def test_a_holder_that_is_gone_without_a_word_holds_nothing(store: Store) -> None:
    _, hold = await make(store, "a")
    del hold
    assert store.remove("a")


@pytest.mark.anyio
async def test_past_the_bound_the_longest_unused_layers_go(tmp_path: Path) -> None:
    store = Store(tmp_path / "layers", max_bytes=400_000)
    for key in ("a", "b", "c"):
        _, hold = await make(store, key, "x" * 150_000)
        hold.close()
    assert [layer.key for layer in store.layers()] == ["b", "c"]


@pytest.mark.anyio
async def test_a_damaged_record_is_no_layer(store: Store) -> None:
    layer, hold = await make(store, "a")
    hold.close()
    (layer.folder / "layer.json").write_text("{")
    again, hold = await make(store, "a", "y")
    assert (again.environment / "file").read_text() == "y"
    hold.close()


@pytest.mark.anyio
async def test_a_folder_that_others_can_change_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "layers"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(UserError, match="can be changed by others"):
        await Store(folder).use("a")


def test_layers_lie_in_the_users_cache() -> None:
    assert layers_folder({"HOME": "/h"}) == Path("/h/.cache/planloop/layers")
    assert layers_folder({"HOME": "/h", "XDG_CACHE_HOME": "/c"}) == Path("/c/planloop/layers")


@pytest.mark.parametrize(
    ("files", "commands"),
    [
        ({}, {}),
        ({"requirements.txt": ""}, {"requirements.txt": ("pip install -r requirements.txt",)}),
        ({"pyproject.toml": "[tool.ruff]\n"}, {}),
        ({"pyproject.toml": "[project]\n"}, {"pyproject.toml": ("pip install -e .",)}),
        (
            {"poetry.lock": "", "requirements.txt": "", "package-lock.json": ""},
            {
                "poetry.lock": ("pip install poetry", "poetry install --no-interaction"),
                "package-lock.json": ("npm ci",),
            },
        ),
    ],
)
def test_what_files_suggest(
    files: dict[str, str], commands: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert suggested(tmp_path) == commands


def test_pips_own_settings_lead_to_the_index(tmp_path: Path) -> None:
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "pip.conf").write_text(
        "[global]\nindex-url = https://a.example/simple\nextra-index-url =\n  https://b.example\n"
        "cert = /secret.pem\n[install]\ntrusted-host = c.example\n"
    )
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "SECRET": "x"}
    found = index_settings({**home, "PIP_TRUSTED_HOST": "d.example"})
    assert found["PIP_INDEX_URL"] == found["UV_DEFAULT_INDEX"] == "https://a.example/simple"
    assert found["PIP_EXTRA_INDEX_URL"] == "https://b.example"
    assert found["PIP_TRUSTED_HOST"] == "d.example"
    assert not found.keys() & {"SECRET", "PIP_CERT", "HOME"}


def test_passwords_in_addresses_are_not_shown() -> None:
    settings = {
        "PIP_INDEX_URL": "https://me:s3cret@a.example/simple",
        "PIP_EXTRA_INDEX_URL": "https://t0ken@b.example http://c.example",
        "NO_PROXY": "d.example",
    }
    said = "for me: https://me:s3cret@a.example https://t0ken@b.example"
    assert redacted(said, secrets_in(settings)) == (
        "for me: https://me:****@a.example https://****@b.example"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a.txt").write_text("other\n"),
        lambda folder: (folder / "a.txt").chmod(0o755),
        lambda folder: (folder / "a.txt").rename(folder / "b.txt"),
        lambda folder: (folder / "link").symlink_to("a.txt"),
        lambda folder: (folder / "new").mkdir(),
        lambda folder: (folder / "a.txt").unlink(),
    ],
    ids=["content", "mode", "name", "link", "folder", "gone"],
)
def test_every_change_of_the_files_is_another_key(
    change: Callable[[Path], object], tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("a\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c").write_text("c\n")
    before = files_part(tmp_path)
    assert files_part(tmp_path) == before
    change(tmp_path)
    assert files_part(tmp_path) != before


def test_the_key_of_this_machine_is_the_same_in_every_process() -> None:
    code = "from planloop.layers.key import host_part; print(host_part('/usr/bin/python3'))"
    said = {subprocess.check_output([sys.executable, "-c", code]) for _ in range(2)}
    assert len(said) == 1

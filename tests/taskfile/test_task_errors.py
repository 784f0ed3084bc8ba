"""Every error of a task file says what, where and what to do; the whole text is pinned."""

from __future__ import annotations

from pathlib import Path

import pytest
from golden import Case, cases

from planloop.errors import TaskError
from planloop.taskfile import load_task

CASES = cases(Path(__file__).with_name("task_errors.golden"))


def load(folder: Path, front_matter: str, body: str = "Do it.") -> object:
    text = f"---\n{front_matter}\n---\n{body}\n"
    (folder / "task.md").write_text(text, "utf-8", newline="")
    return load_task("task.md", cwd=folder, home=folder).task


def error_of(folder: Path, front_matter: str) -> TaskError:
    with pytest.raises(TaskError) as caught:
        load(folder, front_matter)
    return caught.value


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_wrong_front_matter_gives_exactly_this_error(case: Case, tmp_path: Path) -> None:
    assert str(error_of(tmp_path, case.given)) == case.expected


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_error_has_a_line_and_a_hint(case: Case, tmp_path: Path) -> None:
    error = error_of(tmp_path, case.given)
    assert error.where is not None
    assert error.where.startswith("task.md, line ")
    assert error.hint
    assert not error.what.endswith(".")


def test_the_golden_file_is_read_whole() -> None:
    assert len(CASES) > 90
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        ("\x1b[2J", "U+001B (a control character)"),
        ("\x7f", "U+007F (a control character)"),
        ("\x9b31m", "U+009B (a control character)"),
        ("\x85", "U+0085 (a control character)"),
        ("\u202e", "U+202E (right-to-left override)"),
        ("\u2066", "U+2066 (left-to-right isolate)"),
        ("\u2028", "U+2028 (line separator)"),
        ("\ufeff", "U+FEFF (zero width no-break space)"),
        ("\U000e0041", "U+E0041 (tag latin capital letter a)"),
    ],
)
def test_a_character_that_hides_is_refused_and_shown_as_an_escape(
    character: str, shown: str, tmp_path: Path
) -> None:
    error = error_of(tmp_path, f"name: a\nchecks: ['rm -rf / {character} x']")
    assert error.what == f"the front matter holds {shown}"
    assert error.where == "task.md, line 3"
    assert character[0] not in str(error)
    assert error.excerpt is not None
    line, caret = error.excerpt.split("\n")
    assert line.startswith("       checks: ['rm -rf / ")
    assert caret.index("^") == len("       checks: ['rm -rf / ")


def test_joined_emoji_and_other_letters_are_text(tmp_path: Path) -> None:
    task = load(tmp_path, 'inputs: {family: "👩‍👩‍👧", wort: "می‌خواهم"}')
    assert task.inputs == {"family": "👩‍👩‍👧", "wort": "می‌خواهم"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name", ["api_key", "key", "token", "SECRET", "password", "openai-api-key"]
)
def test_a_key_in_a_file_is_refused_without_repeating_it(name: str, tmp_path: Path) -> None:
    for front_matter in (f"{name}: sk-canary", f"model: {{name: a, {name}: sk-canary}}"):
        error = error_of(tmp_path, front_matter)
        assert "sk-canary" not in str(error)
        assert error.hint == "a key never stands in a file: the environment holds it"


def test_a_password_in_a_url_is_not_repeated(tmp_path: Path) -> None:
    for url in ("http://me:canary@host/v1", "http://canary@[bad", "ftp://:canary@x"):
        assert "canary" not in str(error_of(tmp_path, f"model: {{name: a, base_url: '{url}'}}"))


def test_a_long_line_is_cut_around_the_place(tmp_path: Path) -> None:
    names = ", ".join(f"name{number}: {number}" for number in range(400))
    error = error_of(tmp_path, f"inputs: {{{names}, x-y: 1, {names.upper()}}}")
    assert error.excerpt is not None
    line, caret = error.excerpt.split("\n")
    assert len(line) <= 100
    assert line[caret.index("^") :].startswith("x-y")


def test_a_long_number_is_neither_computed_nor_repeated(tmp_path: Path) -> None:
    error = error_of(tmp_path, "budget: {calls: " + "9" * 5000 + "}")
    assert error.what == "a number has 5000 digits"
    assert len(str(error)) < 400


@pytest.mark.parametrize("number", ["9223372036854775808", "-9223372036854775808"])
def test_a_number_beyond_64_bits_is_refused(number: str, tmp_path: Path) -> None:
    error = error_of(tmp_path, f"inputs: {{a: {number}}}")
    assert error.what == f"a number has {len(number)} digits"


def test_the_caret_is_right_after_characters_that_are_shown_as_escapes(tmp_path: Path) -> None:
    error = error_of(tmp_path, 'inputs: {a: "x\u200dy", b-c: 1}')
    assert error.excerpt is not None
    line, caret = error.excerpt.split("\n")
    assert line.endswith('{a: "x\\u200dy", b-c: 1}')
    assert line[caret.index("^") :] == "b-c: 1}"


def test_long_values_are_cut_in_messages(tmp_path: Path) -> None:
    assert len(error_of(tmp_path, f"model: {'m' * 5000}").what) < 200
    assert len(error_of(tmp_path, f"{'m' * 900}: 1").what) < 200


def test_a_tab_is_named(tmp_path: Path) -> None:
    error = error_of(tmp_path, "budget:\n\tcost: 1")
    assert error.where == "task.md, line 3"
    assert error.hint == "indent with spaces"

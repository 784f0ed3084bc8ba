"""The pure parts of the sandboxes, and what the guest may need."""

from __future__ import annotations

import ast
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planloop.observation import Status
from planloop.sandboxes.capture import Capture
from planloop.sandboxes.copying import stays_inside
from planloop.sandboxes.outcome import Measured, outcome
from planloop.sandboxes.paths import workspace_parts

GUEST = Path(__file__).parents[2] / "planloop" / "sandboxes" / "guest.py"


@given(st.text(max_size=60), st.integers(0, 40), st.data())
def test_captured_text_is_the_stream_or_its_ends(
    text: str, shown: int, data: st.DataObject
) -> None:
    raw = text.encode("utf-8", "replace")
    capture = Capture(shown, kept_bytes=1000)
    seen, rest = "", raw
    while rest:
        cut = data.draw(st.integers(1, len(rest)))
        seen += capture.feed(rest[:cut])
        rest = rest[cut:]
    seen += capture.end()
    output = capture.output()
    assert seen == raw.decode()
    assert output.total_bytes == len(raw)
    if len(raw) <= shown:
        assert (output.text, output.elided_bytes) == (raw.decode(), 0)
    else:
        head, tail = output.head.encode(), output.tail.encode()
        assert raw.startswith(head)
        assert raw.endswith(tail)
        assert len(head) + output.elided_bytes + len(tail) == len(raw)
        assert shown - 6 <= len(head) + len(tail) <= shown


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=30))
def test_captures_of_any_bytes_are_bounded_and_decode(pieces: list[bytes]) -> None:
    capture = Capture(20, kept_bytes=100)
    for piece in pieces:
        capture.feed(piece)
    assert len(capture.output().text) < 100
    assert capture.flooded == (sum(map(len, pieces)) > 100)


@pytest.mark.parametrize(
    ("measured", "status", "code", "number"),
    [
        (Measured(wait_status=0), Status.OK, 0, None),
        (Measured(wait_status=137 << 8), Status.FAILED, 137, None),
        (Measured(wait_status=signal.SIGKILL), Status.KILLED, None, 9),
        (Measured(wait_status=signal.SIGKILL, oom_kills=1), Status.OOM, None, 9),
        (Measured(wait_status=signal.SIGSEGV, oom_kills=1), Status.KILLED, None, 11),
        (Measured(wait_status=1 << 8, oom_kills=1), Status.OOM, 1, None),
        (Measured(wait_status=0, oom_kills=1), Status.OK, 0, None),
        (Measured(), Status.KILLED, None, None),
        (Measured(cut="timeout", wait_status=0), Status.TIMEOUT, None, None),
        (Measured(cut="timeout", oom_kills=2), Status.TIMEOUT, None, None),
        (Measured(cut="output_limit"), Status.OUTPUT_LIMIT, None, None),
    ],
)
def test_outcomes_follow_from_what_was_measured(
    measured: Measured, status: Status, code: int | None, number: int | None
) -> None:
    found = outcome(measured)
    assert (found.status, found.exit_code, found.signal) == (status, code, number)
    assert (f"oom_kills={measured.oom_kills}" in found.notes) == bool(measured.oom_kills)


@given(st.lists(st.sampled_from(["a", "b", ".", "..", ""]), max_size=8), st.booleans())
def test_paths_never_climb_above_the_workspace(names: list[str], absolute: bool) -> None:
    path = "/workspace/" * absolute + "/".join(names)
    plain = os.path.normpath(os.path.join("/workspace", path))
    try:
        parts = workspace_parts(path)
    except ValueError:
        return
    assert os.path.join("/workspace", *parts) == plain


@pytest.mark.parametrize(
    ("path", "target", "stays"),
    [
        ("l", "f", True),
        ("d/l", "../f", True),
        ("d/l", "./../f/g", True),
        ("l", "..", False),
        ("d/l", "../..", False),
        ("l", "/etc/passwd", False),
        ("l", "/workspace/f", False),
        ("l", "d/../f", False),
        ("l", "loop/..", False),
    ],
)
def test_links_stay_inside_only_if_no_other_link_could_lead_them_out(
    path: str, target: str, stays: bool
) -> None:
    assert stays_inside(path, target) is stays


def test_the_guest_is_plain_python_3_8_of_the_standard_library() -> None:
    source = ast.parse(GUEST.read_text(), feature_version=(3, 8))
    imported = {
        name.name.partition(".")[0]
        for node in ast.walk(source)
        if isinstance(node, ast.Import)
        for name in node.names
    }
    for node in ast.walk(source):
        if isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).partition(".")[0])
    assert imported <= {*sys.stdlib_module_names, "__future__"}
    assert "planloop" not in imported

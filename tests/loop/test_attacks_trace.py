"""Attacks on the trace: hostile values, large values, full disks, kills, damaged files (L1)."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planloop import Agent, FunctionModel, Request, RunStatus, UserError, tool
from planloop.errors import InfrastructureError, TraceDamaged
from planloop.events import CallEnded, CallStarted, NoteMade, PlanEnded, RunEnded
from planloop.trace.log import FolderLog, read_log
from tests.loop.worlds import block


def folder_of(root: Path) -> Path:
    (folder,) = (root / ".planloop" / "runs").iterdir()
    return folder


def run_once(root: Path, value: Any) -> tuple[Any, Path]:
    @tool(effect="reads")
    def fetch() -> Any:
        """Get it."""
        return value

    plans = iter([block("x = fetch()\ndone(x)")])
    agent: Agent[None, Any] = Agent(
        model=FunctionModel(lambda _: next(plans)), tools=[fetch], store=root
    )
    return agent.run_sync("x"), folder_of(root)


HOSTILE = [
    {"$blob": "x"},
    {"$blob": "0" * 64},
    {"$handle": 1, "type": "x"},
    {"$bytes": 5},
    {"$dict": {"$dict": {}}},
    {"keys": 1, "items": 2, "get": 3, "__class__": 4, "": 5},
    {"observation": {"value": 1}, "blobs": {"value": "x"}},
    [b"\x00\xff", dt.date(2026, 1, 2), dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC), dt.time(3)],
    [math.inf, -math.inf, -0.0, 1e308, 5e-324],
    ["\ud800", "\u2028", "\x00", "\r\n", "a\nb"],
    {"\ud800": {"$float": "nan"}},
    "x" * 300_000,
    {"$blob": "y" * 300_000},
    10**4000,
]


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_any_value_comes_back_from_the_trace(value: Any, tmp_path: Path) -> None:
    result, folder = run_once(tmp_path, value)
    assert result.status is RunStatus.ANSWERED
    assert result.output == value
    recorded, notices = read_log(folder)
    assert notices == ()
    events = [one.event for one in recorded]
    assert [e.observation.value for e in events if isinstance(e, CallEnded)] == [value]
    assert [e.bound for e in events if isinstance(e, PlanEnded)] == [{"x": value}]
    assert [e.output for e in events if isinstance(e, RunEnded)] == [value]


def test_large_values_lie_in_one_blob_each(tmp_path: Path) -> None:
    _, folder = run_once(tmp_path, "x" * 2_000_000)
    lines = (folder / "trace.jsonl").read_text().splitlines()
    assert max(len(line) for line in lines) < 128 * 1024
    assert len(list((folder / "blobs").iterdir())) <= 2


FAULTS: dict[str, Callable[[bytes], bytes]] = {
    "corrupt middle": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 0xFF]) + data[len(data) // 2 + 1 :]
    ),
    "duplicate line": lambda data: data + data.splitlines(keepends=True)[-1],
    "dropped line": lambda data: b"".join(
        line for n, line in enumerate(data.splitlines(keepends=True)) if n != 1
    ),
    "two lines swapped": lambda data: b"".join(
        [(lines := data.splitlines(keepends=True))[1], lines[0], *lines[2:]]
    ),
    "an empty line": lambda data: data + b"\n",
    "no object": lambda data: data + b"[]\n",
    "no time": lambda data: data + b'{"seq": 99, "at": null, "kind": "note_made"}\n',
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_trace_is_refused_with_its_line(fault: str, tmp_path: Path) -> None:
    _, folder = run_once(tmp_path, 1)
    trace = folder / "trace.jsonl"
    trace.write_bytes(FAULTS[fault](trace.read_bytes()))
    with pytest.raises(TraceDamaged, match="line "):
        read_log(folder)


@pytest.mark.parametrize("tail", [b"\x00" * 4096, b'{"seq": 1', b"\xff\xfe"])
def test_a_torn_tail_is_dropped_and_said(tail: bytes, tmp_path: Path) -> None:
    _, folder = run_once(tmp_path, 1)
    trace = folder / "trace.jsonl"
    whole = len(read_log(folder)[0])
    trace.write_bytes(trace.read_bytes() + tail)
    recorded, notices = read_log(folder)
    assert len(recorded) == whole
    assert len(notices) == 1
    trace.write_bytes(trace.read_bytes()[: -len(tail) - 7])
    assert len(read_log(folder)[0]) == whole - 1


def test_a_trace_behind_a_link_is_refused(tmp_path: Path) -> None:
    _, folder = run_once(tmp_path, 1)
    (folder / "trace.jsonl").rename(folder / "real")
    (folder / "trace.jsonl").symlink_to(folder / "real")
    with pytest.raises(UserError, match="no readable trace"):
        read_log(folder)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(line=st.integers(0, 7), field=st.integers(0, 9), value=JSON)
def test_any_field_of_another_type_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, line: int, field: int, value: Any
) -> None:
    root = tmp_path_factory.mktemp("trace")
    _, folder = run_once(root, {"a": [1]})
    trace = folder / "trace.jsonl"
    lines = trace.read_text().splitlines()
    found = json.loads(lines[line % len(lines)])
    found[sorted(found)[field % len(found)]] = value
    lines[line % len(lines)] = json.dumps(found)
    trace.write_text("\n".join(lines) + "\n")
    with contextlib.suppress(TraceDamaged):  # any other error is a failure
        read_log(folder)


LIMITED = """
import resource, signal, sys
from pathlib import Path
from planloop import Agent, FunctionModel, tool
from planloop.errors import PlanloopError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
root, limit = Path(sys.argv[1]), int(sys.argv[2])

@tool
def pay(n: int) -> str:
    "Pay."
    with open(root / "paid", "a") as file:
        file.write(f"{n}\\n")
    return "x" * 500

plans = iter(["```python\\n" + "\\n".join(f"pay({n})" for n in range(40)) + "\\ndone()\\n```"])
agent = Agent(model=FunctionModel(lambda _: next(plans, "Done.")), tools=[pay], store=root,
              checks=[lambda candidate: True])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    result = agent.run_sync("x")
    print(result.status, "|", result.reason)
except PlanloopError as error:
    print("raised |", error)
"""


@pytest.mark.parametrize("limit", [600, 3_000, 6_001, 9_500, 15_000, 20_000])
def test_a_full_disk_stops_the_run_before_the_next_effect(limit: int, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path), str(limit)],
        capture_output=True, text=True, timeout=60, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert "cannot write" in ran.stdout, (ran.stdout, ran.stderr[-2000:])
    assert "success" not in ran.stdout
    paid = (tmp_path / "paid").read_text().split() if (tmp_path / "paid").exists() else []
    recorded, _ = read_log(folder_of(tmp_path)) if limit > 600 else ([], ())
    started = [one.event for one in recorded if isinstance(one.event, CallStarted)]
    assert len(paid) <= len(started)
    assert not any(
        isinstance(one.event, RunEnded) and one.event.status is RunStatus.SUCCESS
        for one in recorded
    )


def test_a_line_that_did_not_fit_leaves_a_readable_trace(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from planloop.errors import InfrastructureError\n"
        "from planloop.events import NoteMade\n"
        "from planloop.trace.log import FolderLog\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "log = FolderLog(Path(sys.argv[1]))\n"
        "log.append(NoteMade(text='a' * 100))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    log.append(NoteMade(text='b' * 2000))\n"
        "except InfrastructureError:\n"
        "    log.append(NoteMade(text='c'))\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], check=True, cwd=Path(__file__).parents[2]
    )
    recorded, notices = read_log(tmp_path)
    texts = [one.event.text[:1] for one in recorded if isinstance(one.event, NoteMade)]
    assert (texts, notices) == (["a", "c"], ())


def test_a_closed_log_takes_nothing(tmp_path: Path) -> None:
    log = FolderLog(tmp_path)
    log.close()
    log.close()
    with pytest.raises(InfrastructureError, match="closed"):
        log.append(NoteMade(text="x"))


KILLED = """
import os, signal, sys
from pathlib import Path
from planloop import Agent, FunctionModel, tool
import planloop.trace.log as log

root, last = Path(sys.argv[1]), int(sys.argv[2])
write = log.FolderLog.append
count = 0

def append(self, event, *, sync=False):
    global count
    write(self, event, sync=sync)
    count += 1
    if count == last:
        os.kill(os.getpid(), signal.SIGKILL)

log.FolderLog.append = append

@tool
def pay(n: int) -> str:
    "Pay."
    with open(root / "paid", "a") as file:
        file.write(f"{n}\\n")
    return "paid"

plans = iter(["```python\\nx = [pay(1), pay(2)]\\n```", "```python\\npay(3)\\ndone()\\n```"])
Agent(model=FunctionModel(lambda _: next(plans)), tools=[pay], store=root).run_sync("x")
"""


@pytest.mark.rule("L1")
@pytest.mark.slow
def test_a_kill_at_any_event_leaves_a_trace_that_knows_every_call(tmp_path: Path) -> None:
    for last in range(1, 60):
        root = tmp_path / str(last)
        root.mkdir()
        ran = subprocess.run(
            [sys.executable, "-c", KILLED, str(root), str(last)],
            timeout=60, check=False, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        recorded, notices = read_log(folder_of(root))
        started = [
            one.event.arguments["n"] for one in recorded if isinstance(one.event, CallStarted)
        ]
        paid = (root / "paid").read_text().split() if (root / "paid").exists() else []
        assert [str(n) for n in started][: len(paid)] == paid
        assert notices == ()
        if ran.returncode == 0:
            break
        assert ran.returncode == -signal.SIGKILL
    else:
        raise AssertionError("it never came to its end")
    assert last > 15


def test_an_unwritable_store_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    asked: list[Request] = []
    (tmp_path / ".planloop").write_text("a file")
    agent: Agent[None, Any] = Agent(
        model=FunctionModel(lambda request: asked.append(request) or "x"), store=tmp_path
    )
    with pytest.raises(UserError, match=r"\.planloop"):
        agent.run_sync("x")
    assert asked == []
    assert os.listdir(tmp_path) == [".planloop"]

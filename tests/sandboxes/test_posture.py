"""Words from inside never make a limit hold by themselves; what was really seen does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planloop.observation import Status
from planloop.sandbox import Completed
from planloop.sandboxes.posture import PROBE_LIMITS, Row
from planloop.sandboxes.posture import judging as j

OK = Completed(status=Status.OK, exit_code=0)
NETWORK = {"interfaces": ["lo"], "outside": "ENETUNREACH", "datagrams": "ENETUNREACH"}
PRIVILEGES = {
    "user": 1000,
    **dict.fromkeys(("CapEff", "CapPrm", "CapInh", "CapAmb"), "0000000000000000"),
    "NoNewPrivs": "1",
    "Seccomp": "2",
    "become root": "EPERM",
}
FILES: dict[str, object] = {
    name: [] for name in ("written", "switches", "readable", "engines", "devices")
}
FULL = [16_000_000, "ENOSPC"]

JUDGES: dict[str, Callable[[j.Said], Row]] = {
    "network": lambda said: j.network(said, 0),
    "processes": lambda said: j.processes(said, PROBE_LIMITS),
    "disk": lambda said: j.disk(said, 16_000_000, PROBE_LIMITS),
    "scratch": lambda said: j.scratch(said, OK, 100_000_000),
    "inodes": lambda said: j.inodes(said, 399, PROBE_LIMITS),
    "privileges": j.privileges,
    "kernel": j.kernel,
    "files": j.files,
    "secrets": j.secrets,
    "memory": lambda said: j.memory(OK, said, PROBE_LIMITS, (4, 40_000_000)),
    "time": lambda said: j.deadline(OK, said, 1.0),
}
GOOD: dict[str, j.Said] = {
    "network": NETWORK,
    "processes": {"made": 29, "end": "EAGAIN"},
    "disk": {".": FULL},
    "scratch": {"/tmp": [24_000_000, "ENOSPC"], "/dev/shm": [0, "ENOENT"]},
    "inodes": {"made": 399, "end": "ENOSPC"},
    "privileges": PRIVILEGES,
    "kernel": {"bpf": "EPERM", "io_uring": "ENOSYS", "new here": "LookupError"},
    "files": FILES,
    "secrets": {"names": ["HOME", "PATH", "https_proxy"]},
}


@pytest.mark.parametrize("limit", GOOD)
def test_a_limit_holds_where_everything_was_refused(limit: str) -> None:
    row = JUDGES[limit](GOOD[limit])
    assert row.holds, row.seen


BAD: list[tuple[str, dict[str, object], str]] = [
    ("network", {**NETWORK, "outside": "done"}, "outside: not refused"),
    ("network", {**NETWORK, "interfaces": ["eth0", "lo"]}, "it has eth0, lo"),
    ("processes", {"made": 48, "end": "no end"}, "48 forks were let be"),
    ("processes", {"made": 40, "end": "EAGAIN"}, "40 forks were let be"),
    ("disk", {".": [48_000_000, "no end"]}, "no end came"),
    ("scratch", {"/tmp": [100_000_000, "no end"]}, "/tmp 100 MB and no end"),
    ("inodes", {"made": 1200, "end": "no end"}, "no end came"),
    ("privileges", {**PRIVILEGES, "CapPrm": "00000000a80425fb"}, "CapPrm is 00000000a80425fb"),
    ("privileges", {**PRIVILEGES, "NoNewPrivs": "0"}, "privileges can be gained"),
    ("privileges", {**PRIVILEGES, "Seccomp": "0"}, "no system call filter"),
    ("privileges", {**PRIVILEGES, "user": 0}, "calls run as root"),
    ("privileges", {**PRIVILEGES, "become root": "done"}, "it can become root"),
    ("kernel", {"bpf": "EFAULT", "io_uring": "ENOSYS"}, "open: bpf"),
    ("kernel", {"bpf": "LookupError"}, ""),
    ("files", {**FILES, "readable": ["/root"]}, "can be read: /root"),
    ("secrets", {"names": ["PATH", "OPENAI_API_KEY"]}, "OPENAI_API_KEY"),
]


@pytest.mark.parametrize(("limit", "said", "seen"), BAD)
def test_a_limit_that_does_not_hold_says_what_was_seen(
    limit: str, said: dict[str, object], seen: str
) -> None:
    row = JUDGES[limit](said)
    assert not row.holds
    assert seen in row.seen


def test_the_host_s_own_measures_outweigh_what_was_said() -> None:
    assert not j.network(NETWORK, 1).holds
    assert not j.disk({".": FULL}, 48_000_000, PROBE_LIMITS).holds
    assert not j.disk({".": FULL}, None, PROBE_LIMITS).holds
    assert not j.inodes(GOOD["inodes"], 1200, PROBE_LIMITS).holds
    assert not j.deadline(OK, {"count": 0}, 1.0).holds
    assert not j.output(OK, PROBE_LIMITS).holds


def test_memory_holds_by_the_kernel_s_count_only() -> None:
    held = (4, 40_000_000)
    killed = Completed(status=Status.OK, exit_code=0, notes=("oom_kills=2",))
    assert j.memory(killed, {}, PROBE_LIMITS, held).holds
    assert j.memory(Completed(status=Status.OOM, exit_code=None), {}, PROBE_LIMITS, held).holds
    alone = j.memory(OK, {"refused": 1, "killed": 4}, PROBE_LIMITS, held)
    assert not alone.holds
    assert "one program of 192 MB was refused" in alone.seen


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["user", "end", "made", ".", "names", "x"]), ANYTHING))
def test_odd_words_hold_nothing_and_break_nothing(said: dict[str, object]) -> None:
    for limit, judge in JUDGES.items():
        row = judge(said)
        if limit not in ("kernel", "secrets", "disk", "scratch", "processes", "inodes"):
            assert not row.holds, (limit, said)
        assert len(row.seen) < 600


@pytest.mark.parametrize("limit", JUDGES)
def test_silence_holds_nothing(limit: str) -> None:
    assert not JUDGES[limit]({}).holds


def test_what_a_sandbox_says_of_itself_goes_with_the_row_that_it_is_about() -> None:
    said = ("process limit: this engine's kernel has none", "memory limit: per process only")
    row = Row(limit="processes", holds=False, seen="")
    assert j.with_announcement(row, said).announced == said[0]
    assert j.with_announcement(Row(limit="memory", holds=True, seen=""), said).announced == ""
    assert j.with_announcement(Row(limit="disk", holds=False, seen=""), said).announced == ""

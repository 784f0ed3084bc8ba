"""What the allow-list refuses is told to the planner and stands in the trace."""

from __future__ import annotations

from pathlib import Path

from planloop.sandbox import SandboxSpec
from planloop.trace.log import read_log
from planloop.trace.store import RunStore
from tests.loop.test_long_outputs import run
from tests.sandboxes.standins import standing_in

FETCH = """
import sys, urllib.error, urllib.request
for url in sys.argv[1:]:
    try:
        print(urllib.request.urlopen(url, timeout=5).read().decode())
    except OSError as error:
        print(type(error).__name__)
"""


def test_a_refusal_is_in_the_observation_the_feedback_and_the_trace(tmp_path: Path) -> None:
    with standing_in() as server:
        spec = SandboxSpec(kind="bubblewrap", network=(server.entry, "acme.org"))
        urls = f"http://{server.entry}/ https://example.org/"
        result, told = run(
            f"write('fetch.py', {FETCH!r})\nshell('python3 fetch.py {urls}')",
            "done('seen')",
            sandbox=spec,
            store=tmp_path,
        )
    assert result.output == "seen"
    refusal = "network: refused example.org:443 (not in the allow-list)"
    assert f"note: {refusal}" in told[1]
    recorded, _ = read_log(next(iter(RunStore(tmp_path).folders())))
    started = next(one.event for one in recorded if one.event.kind == "run_started")
    assert f"network: open to {server.entry}, acme.org" in started.unenforced
    ended = [one.event.observation for one in recorded if one.event.kind == "call_ended"]
    assert ended[1].notes == (refusal,)
    assert ended[1].stdout is not None
    assert ended[1].stdout.text == "ok\nURLError\n"

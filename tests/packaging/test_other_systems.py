"""Host-tool agents run where Unix's own modules are missing, as on Windows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REFUSE = """
import sys

REFUSED = {"fcntl", "resource", "pwd", "grp", "termios"}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name in REFUSED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

for name in REFUSED:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Refuse())
"""
RUN_AN_AGENT = """
from planloop import Agent, FunctionModel, tool

@tool(effect="reads")
def price(supplier: str) -> float:
    return {"acme": 9.2, "umbra": 8.75}[supplier]

@tool
async def order(supplier: str, quantity: int) -> str:
    return f"{quantity} from {supplier}"

replies = iter([
    'a = price("acme")\\nb = price("nobody")\\ndone(a)',
    'b = price("umbra")\\no = order("umbra" if b < a else "acme", 3)\\ndone(f"ordered {o}")',
])
agent = Agent(
    model=FunctionModel(lambda request: f"```python\\n{next(replies)}\\n```"),
    tools=[price, order],
    checks=[lambda candidate: "umbra" in candidate.output],
)
result = agent.run_sync("Order three bolts from the cheaper one.")
print(result.status.value, "·", result.output)
assert not REFUSED & set(sys.modules)
"""


def test_a_host_tool_agent_runs_without_the_modules_of_unix(tmp_path: Path) -> None:
    ran = run(REFUSE + RUN_AN_AGENT, tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "success · ordered 3 from umbra"


@pytest.mark.parametrize("module", ["fcntl", "resource", "pwd", "grp", "termios"])
def test_the_modules_are_really_refused(module: str, tmp_path: Path) -> None:
    ran = run(f"{REFUSE}\nimport {module}", tmp_path)
    assert f"No module named '{module}'" in ran.stderr


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    script = folder / "app.py"
    script.write_text(code)
    return subprocess.run(
        [sys.executable, script], cwd=folder, capture_output=True, text=True, timeout=60
    )

"""Finding text in files."""

from __future__ import annotations

import json
from typing import Any

from planloop import CallFailed, Command, Context, tool

_TIMEOUT_S = 20.0
_MOST_MATCHES = 2_000

# Runs inside the sandbox: a hostile pattern can only hold its own process up.
_PROGRAM = r"""
import json, os, re, sys

SKIPPED = {".git", ".planloop", "__pycache__", "node_modules"}
wanted = json.load(sys.stdin)
root = wanted["path"]


def say(**answer):
    print(json.dumps(answer))
    sys.exit(0)


def glob_expression(glob):
    if "/" not in glob:
        glob = "**/" + glob
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]/]+\])", glob.lstrip("/"))
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(
        meaning.get(part) or ("[^/" + part[2:] if part[:2] in ("[!", "[^") else part)
        if index % 2 else re.escape(part)
        for index, part in enumerate(parts)
    ) + r"\Z", re.DOTALL)


def files():
    if not os.path.isdir(root):
        yield root
        return
    for folder, below, names in os.walk(root):
        below[:] = sorted(name for name in below if name not in SKIPPED)
        for name in sorted(names):
            path = os.path.join(folder, name)
            if chosen.match(os.path.relpath(path, root)):
                yield path


def lines(path):
    if (os.path.islink(path) and path != root) or not os.path.isfile(path):
        return []
    try:
        with open(path, "rb") as file:
            data = file.read(10000001)
    except OSError:
        return []
    if b"\0" in data[:8000] or len(data) > 10000000:
        return []
    return data.decode("utf-8", "replace").split("\n")


try:
    pattern, chosen = re.compile(wanted["pattern"]), glob_expression(wanted["glob"])
except re.error as error:
    say(error="no regular expression: %s" % error)
if not os.path.exists(root):
    say(error="no such file or folder: %s" % root)
found, room = [], wanted["room"]
for path in files():
    for number, line in enumerate(lines(path), 1):
        if not pattern.search(line):
            continue
        match = {"path": os.path.relpath(path), "line": number, "text": line[:400].rstrip("\r")}
        room -= len(json.dumps(match)) + 2
        if len(found) == wanted["most"] or room < 0:
            say(matches=found, more=True)
        found.append(match)
say(matches=found, more=False)
"""


@tool(effect="reads", resources=["workspace"], needs_sandbox=True)
async def search(
    context: Context[Any], pattern: str, path: str = ".", glob: str = "**", max_matches: int = 200
) -> dict[str, Any]:
    """Lines of text files that match a regular expression (Python's, line by line).

    Returns a record: `matches`, a list of records of path, line and text, and `more`, whether
    there are others. `glob` picks files below `path`: `*.py` by name, `src/**/*.py` by path.
    """
    if context.sandbox is None:
        raise CallFailed("NoSandbox", "this run has no sandbox")
    wanted = {
        "pattern": pattern,
        "path": path,
        "glob": glob,
        "most": max(1, min(max_matches, _MOST_MATCHES)),
        "room": int(context.sandbox.limits.shown_bytes * 0.9) - 200,
    }
    completed = await context.run(
        Command(
            argv=("python3", "-I", "-S", "-c", _PROGRAM),
            stdin=json.dumps(wanted).encode(),
            timeout_s=_TIMEOUT_S,
        )
    )
    try:
        said = json.loads(completed.stdout.head + completed.stdout.tail)
        if "error" in said:
            raise CallFailed("SearchFailed", str(said["error"])[:_MOST_MATCHES])
        return {"matches": list(said["matches"]), "more": bool(said["more"])}
    except (ValueError, KeyError, TypeError):
        reason = completed.stderr.text[-600:].strip() or "it gave no result"
        raise CallFailed("SearchFailed", f"python3 in the sandbox: {reason}") from None

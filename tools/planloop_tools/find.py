"""Finding text in files."""

from __future__ import annotations

import json
from typing import Any

from planloop import CallFailed, Command, Context, tool

_TIMEOUT_S = 20.0

# Runs inside the sandbox: a hostile pattern can only hold its own process up.
_PROGRAM = r"""
import fnmatch, json, os, re, sys
wanted = json.loads(sys.argv[1])
try:
    pattern = re.compile(wanted["pattern"])
except re.error as error:
    print(json.dumps({"error": "no regular expression: %s" % error}))
    sys.exit(0)
root, glob, most = wanted["path"], wanted["glob"], wanted["most"]
if not os.path.exists(root):
    print(json.dumps({"error": "no such file or folder: %s" % root}))
    sys.exit(0)
def files():
    if os.path.isfile(root):
        yield root
    for folder, below, names in os.walk(root):
        below[:] = sorted(n for n in below if n not in (".git", "__pycache__", "node_modules"))
        for name in sorted(names):
            path = os.path.join(folder, name)
            inside = os.path.relpath(path, root)
            if glob == "**" or fnmatch.fnmatch(inside, glob) or fnmatch.fnmatch(name, glob):
                yield path
found, more = [], False
for path in files():
    if os.path.islink(path) or not os.path.isfile(path) or os.path.getsize(path) > 10000000:
        continue
    with open(path, "rb") as file:
        data = file.read()
    if b"\0" in data[:8000]:
        continue
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        if pattern.search(line):
            if len(found) == most:
                more = True
                break
            found.append({"path": os.path.relpath(path), "line": number, "text": line[:400]})
    if more:
        break
print(json.dumps({"found": found, "more": more}))
"""


@tool(effect="reads", resources=["workspace"], needs_sandbox=True)
async def search(
    context: Context[Any], pattern: str, path: str = ".", glob: str = "**", max_matches: int = 200
) -> list[dict[str, Any]]:
    """Lines of text files that match a regular expression: records of path, line, text.

    `glob` picks files by name or by path below `path`. A last record says if there are more.
    """
    wanted = {
        "pattern": pattern,
        "path": path,
        "glob": glob,
        "most": max(1, min(max_matches, 2_000)),
    }
    completed = await context.run(
        Command(
            argv=("python3", "-I", "-S", "-c", _PROGRAM, json.dumps(wanted)), timeout_s=_TIMEOUT_S
        )
    )
    try:
        said = json.loads(completed.stdout.head + completed.stdout.tail)
    except ValueError:
        raise CallFailed("SearchFailed", completed.stderr.text[-600:] or "no result") from None
    if "error" in said:
        raise CallFailed("SearchFailed", said["error"])
    found: list[dict[str, Any]] = said["found"]
    if said["more"]:
        found.append({"path": "", "line": 0, "text": f"… more than {wanted['most']} matches"})
    return found

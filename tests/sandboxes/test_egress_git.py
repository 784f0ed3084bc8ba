"""A program as people use it goes out through the allow-list: git, plainly and by the proxy."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from planloop.sandbox import Command, SandboxSpec
from planloop.sandboxes import open_sandbox

from .conftest import SMALL

pytestmark = pytest.mark.anyio
_WHO = ("-c", "user.name=x", "-c", "user.email=x@example.org")


@contextlib.contextmanager
def repository(folder: Path) -> Iterator[str]:
    """Serves a repository of one file on loopback; yields `address:port`."""
    work, bare = folder / "work", folder / "word.git"
    git("init", "-q", str(work))
    (work / "word").write_text("petrichor\n")
    git("-C", str(work), "add", "word")
    git("-C", str(work), *_WHO, "commit", "-q", "-m", "x")
    git("clone", "-q", "--bare", str(work), str(bare))
    git("-C", str(bare), "update-server-info")
    handler = partial(_Silent, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def git(*words: str) -> None:
    subprocess.run(["git", *words], check=True, capture_output=True)


async def test_git_clones_what_is_listed_and_is_refused_the_rest(tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    with repository(tmp_path / "served") as place:
        spec = SandboxSpec(kind="bubblewrap", limits=SMALL, network=(place,))
        sandbox = await open_sandbox(spec, run_id=f"test-{os.getpid()}", state_dir=tmp_path / "s")
        assert sandbox is not None
        try:
            for way in ("", "no_proxy= NO_PROXY= "):
                line = f"rm -rf a; {way}git clone -q http://{place}/word.git a && cat a/word"
                cloned = await sandbox.run(Command(line=line))
                assert cloned.stdout.text == "petrichor\n", cloned.stderr.text
            other = await sandbox.run(Command(line="git clone -q http://example.org/x.git b"))
        finally:
            await sandbox.close()
    assert other.exit_code == 128
    assert "error: 403" in other.stderr.text
    assert "network: refused example.org:80 (not in the allow-list)" in other.notes

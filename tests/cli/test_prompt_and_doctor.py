"""`planloop prompt` and `planloop doctor`: what would be sent, and what works here."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from console import Shell


class TokenServer(BaseHTTPRequestHandler):
    """Counts words, as the `/tokenize` of vLLM would count tokens."""

    asked: list[str] = []  # noqa: RUF012 (emptied by the fixture)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(self.path)
        answer = json.dumps({"count": len(body["prompt"].split())}).encode()
        self.send_response(200 if self.path == "/tokenize" else 404)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *arguments: Any) -> None:
        return


@pytest.fixture
def token_server() -> Iterator[str]:
    TokenServer.asked.clear()
    server = HTTPServer(("127.0.0.1", 0), TokenServer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_prompt_shows_the_four_parts_with_bounds_and_leaves_no_trace(
    shell: Shell, fix: Path
) -> None:
    ran = shell("prompt", "task.md", cwd=fix)
    assert ran.code == 0, ran.err
    places = [
        ran.out.index(f"── {name} ")
        for name in ("style", "context", "task description", "input data", "all")
    ]
    assert places == sorted(places)
    assert "Make the tests pass." in ran.out
    assert "def shell(" in ran.out
    assert "at most" in ran.out.splitlines()[-1]
    assert "no server counts" in ran.out.splitlines()[-1]
    assert not (fix / ".planloop").exists()


def test_prompt_asks_a_local_server_to_count_and_asks_it_nothing_else(
    shell: Shell, fix: Path, token_server: str
) -> None:
    ran = shell("prompt", "task.md", "--model", "m", "--base-url", token_server, cwd=fix)
    assert ran.code == 0, ran.err
    assert "── task description (4 tokens)" in ran.out
    assert f"counted by {token_server.removesuffix('/v1')}/tokenize" in ran.out
    assert set(TokenServer.asked) == {"/tokenize"}


def test_doctor_tries_sandboxes_and_exits_zero_where_one_works(shell: Shell) -> None:
    ran = shell("doctor")
    assert ran.code == 0
    assert "ok  sandbox bubblewrap" in ran.out
    assert "no  model" in ran.out
    assert "    fix: " in ran.out


def test_doctor_as_json_is_one_object_a_check(shell: Shell) -> None:
    ran = shell("doctor", "--json")
    rows = [json.loads(row) for row in ran.out.splitlines()]
    assert {"sandbox bubblewrap", "sandbox docker", "engine", "model"} <= {r["name"] for r in rows}
    assert all(row["works"] or row["fix"] for row in rows)
    assert ran.err == ""


def test_doctor_exits_two_where_no_sandbox_works_and_says_what_to_do(
    shell: Shell, tmp_path: Path
) -> None:
    """An empty PATH without bwrap's wheel cannot be made here; a broken `bwrap` can."""
    ran = shell("doctor", environ={"PATH": str(tmp_path), "DOCKER_HOST": "unix:///nowhere.sock"})
    docker = ran.out[ran.out.index("sandbox docker") :]
    assert "no  sandbox docker" in ran.out
    assert "    fix: " in docker
    assert ran.code == (0 if "ok  sandbox bubblewrap" in ran.out else 2)


def test_doctor_finds_a_key_and_says_which_model_it_means(shell: Shell) -> None:
    ran = shell("doctor", environ={"OPENAI_API_KEY": "sk-secret-123"})
    assert "ok  model" in ran.out
    assert "`OPENAI_API_KEY` is set" in ran.out
    assert "sk-secret-123" not in ran.out + ran.err

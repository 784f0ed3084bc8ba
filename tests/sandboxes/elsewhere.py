"""A machine with a neighbour that has a public address: run in a network and mounts of its own.

Prints, as JSON, what a sandbox whose allow-list names the neighbour reaches, while the name means
first the neighbour, then this machine's loopback, then this machine's other address.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import anyio

from planloop.sandbox import Sandbox, SandboxSpec
from planloop.sandboxes import open_sandbox

from .going_out import INSIDE, python, told

NAME = "neighbour.planloop-test.org"
THERE, HERE = "93.184.216.34", "93.184.216.1"
NEIGHBOUR = """
import socketserver, sys
class Answer(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(9999)
        self.request.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
print("moved in", flush=True)
sys.stdin.readline()
with socketserver.ThreadingTCPServer(("0.0.0.0", 80), Answer) as server:
    print("up", flush=True)
    server.serve_forever()
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        hosts = Path(folder, "hosts")
        hosts.touch()
        run("mount", "--bind", hosts, "/etc/hosts")
        neighbour = subprocess.Popen(
            ["unshare", "--net", sys.executable, "-c", NEIGHBOUR],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            connect(neighbour)
            sys.stdout.write(json.dumps(anyio.run(reached, hosts, Path(folder))))
        finally:
            neighbour.kill()
            neighbour.communicate()
            run("umount", "/etc/hosts")


def connect(neighbour: subprocess.Popen[bytes]) -> None:
    assert neighbour.stdin is not None
    assert neighbour.stdout is not None
    assert neighbour.stdout.readline() == b"moved in\n"
    there = ["nsenter", "-t", str(neighbour.pid), "-n"]
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "here", "type", "veth", "peer", "name", "there")
    run("ip", "link", "set", "there", "netns", str(neighbour.pid))
    run("ip", "addr", "add", f"{HERE}/24", "dev", "here")
    run("ip", "link", "set", "here", "up")
    run(*there, "ip", "addr", "add", f"{THERE}/24", "dev", "there")
    run(*there, "ip", "link", "set", "there", "up")
    neighbour.stdin.write(b"go\n")
    neighbour.stdin.flush()
    assert neighbour.stdout.readline() == b"up\n"


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


async def reached(hosts: Path, folder: Path) -> dict[str, object]:
    spec = SandboxSpec(kind=sys.argv[1], network=(f"{NAME}:80",))
    sandbox = await open_sandbox(spec, run_id="elsewhere", state_dir=folder / "state")
    assert sandbox is not None
    try:
        return {address: await tried(sandbox, hosts, address) for address in (THERE, "::1", HERE)}
    finally:
        await sandbox.close()


async def tried(sandbox: Sandbox, hosts: Path, address: str) -> object:
    hosts.write_text(f"{address} {NAME}\n")
    attempts = [(way, f"{NAME}:80") for way in ("fetch_by_proxy", "tunnel")]
    attempts.append(("fetch", f"{NAME.upper()}."))
    done = await sandbox.run(python(INSIDE, json.dumps([*attempts, ("tcp", THERE, 80)])))
    return [how for how, _ in told(done)], done.notes


if __name__ == "__main__":
    main()

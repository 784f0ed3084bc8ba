"""Scenarios of the way out: what programs inside reach of a network, told by themselves."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planloop.errors import UserError
from planloop.sandbox import Command, Completed, Sandbox, SandboxSpec
from planloop.sandboxes import open_sandbox

INSIDE = r"""
import http.client, json, os, socket, sys, urllib.parse, urllib.request

socket.setdefaulttimeout(5)
proxy = urllib.parse.urlsplit(os.environ.get("http_proxy", "")).netloc

def fetch(place):
    return urllib.request.urlopen(f"http://{place}/").read().decode()

def fetch_by_proxy(place):
    connection = http.client.HTTPConnection(proxy)
    connection.request("GET", f"http://{place}/")
    response = connection.getresponse()
    if response.status != 200:
        raise OSError(f"{response.status} {response.read()}")
    return response.read().decode()

def tunnel(place):
    address, _, port = proxy.rpartition(":")
    with socket.create_connection((address, int(port))) as connection:
        connection.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
        said = connection.recv(9999)
        if not said.startswith(b"HTTP/1.1 200 "):
            raise OSError(said)
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return connection.recv(99).decode()

def tcp(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as connection:
        connection.connect((address, int(port)))
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return connection.recv(99).decode()

def udp(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as connection:
        connection.connect((address, int(port)))
        connection.send(b"?")
        return repr(connection.recv(99))

def unix(name):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("\0" + name)

def look_up(name):
    return socket.getaddrinfo(name, 80)

def open_socket(*numbers):
    socket.socket(*map(int, numbers)).close()

def tried(what, *arguments):
    try:
        return ["reached", repr(globals()[what](*arguments))]
    except Exception as error:
        return ["refused", f"{type(error).__name__}: {error}"]

print(json.dumps([tried(*one) for one in json.loads(sys.argv[1])]))
"""

Attempt = Sequence[str | int]


async def tries(
    sandbox: Sandbox, network: str | tuple[str, ...], attempts: Sequence[Attempt]
) -> tuple[list[tuple[str, str]], tuple[str, ...], tuple[str, ...]]:
    """How each attempt ended, the notes of the call, and what the sandbox says is open."""
    opened = await with_network(sandbox, network)
    try:
        done = await opened.run(python(INSIDE, json.dumps(attempts)))
    finally:
        await opened.close()
    return [(how, said) for how, said in told(done)], done.notes, opened.unenforced


async def refused_at_start(sandbox: Sandbox, network: tuple[str, ...]) -> tuple[str, str]:
    """The error of a sandbox with a network that it cannot have."""
    try:
        opened = await with_network(sandbox, network)
    except UserError as error:
        return error.what, error.hint or ""
    await opened.close()
    return "it started", ""


async def with_network(sandbox: Sandbox, network: str | tuple[str, ...]) -> Sandbox:
    """Another sandbox of the same kind and limits."""
    opened = await open_sandbox(
        SandboxSpec(kind=sandbox.kind, limits=sandbox.limits, network=network),
        run_id=f"attack-{os.getpid()}",
        state_dir=Path(os.environ["TMPDIR"]) / "state",
    )
    assert opened is not None
    return opened


def python(source: str, *arguments: str) -> Command:
    return Command(argv=("python3", "-c", source, *arguments))


def told(done: Completed) -> list[Any]:
    assert done.exit_code == 0, done.stderr.text
    found = json.loads(done.stdout.text)
    assert isinstance(found, list)
    return found

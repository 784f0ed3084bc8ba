"""The network of a sandbox, tried from inside in every mode."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from planloop.sandbox import Sandbox, SandboxSpec
from planloop.sandboxes import open_sandbox

from .conftest import SMALL
from .going_out import INSIDE, python, refused_at_start, told, tries
from .houses import Houses
from .modes import MODES
from .standins import OK, StandIn, standing_in

IN_MODES = [
    pytest.param(mode.name, marks=[pytest.mark.docker] if mode.kind == "docker" else [])
    for mode in MODES
]
GATEWAY = "172.17.0.1"
"""Where this machine is for containers of an engine with its defaults."""
HERE = ("127.0.0.1", GATEWAY)
WAYS = ("fetch_by_proxy", "tunnel")


@pytest.fixture(scope="module")
def own_address() -> str:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no network")
        return str(asking.getsockname()[0])


@contextlib.contextmanager
def udp_server(address: str) -> Iterator[tuple[int, socket.socket]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 0))
        server.setblocking(False)
        yield server.getsockname()[1], server


@contextlib.contextmanager
def abstract_server() -> Iterator[str]:
    name = f"planloop-test-{uuid.uuid4().hex}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen(1)
        yield name


def answers(address: str, port: int) -> bool:
    with socket.create_connection((address, port), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return connection.recv(99) == OK


@pytest.mark.parametrize("mode", IN_MODES)
def test_what_is_listed_answers_and_nothing_else(
    houses: Houses, mode: str, own_address: str
) -> None:
    with (
        standing_in() as four,
        standing_in(address="::1") as six,
        standing_in(address=own_address) as neighbour,
        standing_in(address="0.0.0.0") as secret,
        standing_in(address="::") as secret_six,
        udp_server("0.0.0.0") as (udp_port, datagrams),
        abstract_server() as abstract,
    ):
        listed = (four.entry, six.entry, neighbour.entry, "acme.org")
        allowed = [
            *(("fetch", one.entry) for one in (four, six, neighbour)),
            *(("tunnel", one.entry) for one in (four, six, neighbour)),
            *(("tcp", one.address, one.port) for one in (four, six)),
        ]
        port, port_six = secret.port, secret_six.port
        forbidden = [
            *(("tcp", one, port) for one in ("127.0.0.2", own_address, *HERE)),
            *(("tcp", neighbour.address, neighbour.port), ("tcp", "::1", port_six)),
            *(("tcp", "169.254.169.254", 80), ("tcp", "93.184.216.34", 443)),
            *(("tcp", "2606:4700::1111", 443), ("tcp", "::ffff:127.0.0.1", port)),
            *(("udp", one, udp_port) for one in (own_address, *HERE)),
            *(("udp", one, 53) for one in ("8.8.8.8", "2001:4860:4860::8888", *resolvers())),
            *(("look_up", one) for one in ("acme.org", "planloop-test.invalid")),
            ("unix", abstract),
            *(("open_socket", socket.AF_INET, socket.SOCK_RAW, 1), ("open_socket", 17, 3, 0)),
            *(("open_socket", 40, socket.SOCK_STREAM), ("open_socket", 38, 5, 0)),
            *((way, f"{one}:{port}") for way in WAYS for one in (own_address, *HERE)),
            *((way, f"[::1]:{port_six}") for way in WAYS),
            *((way, f"[::ffff:127.0.0.1]:{four.port}") for way in WAYS),
            *((way, f"127.1:{four.port}") for way in WAYS),
            *((way, one) for way in WAYS for one in ("169.254.169.254:80", "example.org:443")),
            *((way, one) for way in WAYS for one in ("[2606:4700::1111]:443", "8.8.8.8:53")),
            *(("tunnel", "acme.org:22"), ("tunnel", "localhost:80")),
        ]
        assert all(answers(one, port) for one in ("127.0.0.1", own_address))
        after = houses[mode].run(tries, listed, [*allowed, *forbidden])
        ends, notes, said = after.result
        reached = dict(zip(map(str, allowed), ends, strict=False))
        assert {one: end for one, end in reached.items() if "ok" not in end[1]} == {}
        rest = dict(zip(map(str, forbidden), ends[len(allowed) :], strict=True))
        assert {attempt: end for attempt, end in rest.items() if end[0] != "refused"} == {}
        assert (secret.accepted, secret_six.accepted) == (2, 0)
        with pytest.raises(BlockingIOError):
            datagrams.recv(99)
        assert sum(one.accepted for one in (four, six, neighbour)) == len(allowed)
    assert f"network: refused 127.0.0.1:{port} (not in the allow-list)" in notes
    assert re.fullmatch(r"network: refused [0-9]+ more", notes[-1])
    assert f"network: open to {', '.join(listed)}" in said
    assert after.left == ()


def resolvers() -> list[str]:
    """The name servers of this machine."""
    text = Path("/etc/resolv.conf").read_text("utf-8", "replace")
    return re.findall(r"^nameserver ([0-9a-f.:]+)$", text, re.MULTILINE)


@pytest.mark.parametrize("mode", IN_MODES)
def test_without_a_network_there_is_nothing_to_reach(
    houses: Houses, mode: str, own_address: str
) -> None:
    with standing_in(address="0.0.0.0") as server, abstract_server() as abstract:
        attempts = [
            *(("tcp", one, server.port) for one in (own_address, *HERE)),
            *(("udp", "8.8.8.8", 53), ("look_up", "acme.org"), ("unix", abstract)),
            *(("fetch", server.entry), ("tcp", "::1", 80), ("tcp", "127.0.0.1", 3128)),
        ]
        ends, notes, said = houses[mode].run(tries, "none", attempts).result
        assert [how for how, _ in ends] == ["refused"] * len(attempts)
        assert server.accepted == 0
    assert notes == ()
    assert not any("network" in one for one in said)


@pytest.mark.parametrize("mode", IN_MODES)
def test_the_whole_network_is_open_where_that_is_asked_for_and_said(
    houses: Houses, mode: str, own_address: str
) -> None:
    with standing_in(address=own_address) as server:
        attempts = [("tcp", own_address, server.port), ("fetch", server.entry)]
        ends, _, said = houses[mode].run(tries, "full", attempts).result
        assert [how for how, _ in ends] == ["reached"] * len(attempts), ends
        assert server.accepted == 2
    assert any(one.startswith("network: open, as `full` asks") for one in said)


@pytest.mark.parametrize("mode", IN_MODES)
def test_a_port_that_cannot_be_opened_inside_is_one_clear_error(houses: Houses, mode: str) -> None:
    what, hint = houses[mode].run(refused_at_start, ("127.0.0.1:81",)).result
    if mode.startswith("docker"):
        assert what == "it started"
    else:
        assert what == "nothing can listen on 127.0.0.1:81 inside the sandbox: Permission denied"
        assert "`docker`, or a higher port" in hint


FLOOD = """
import os, socket, sys, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["http_proxy"])
place = (proxy.hostname, proxy.port)
open_ones = [socket.create_connection(place, timeout=9) for _ in range(64)]
for one in open_ones:
    one.sendall(b"GET http://x")
print("flooded", flush=True)
while True:
    try:
        with socket.create_connection(place, timeout=0.2) as one:
            one.sendall(os.urandom(60000))
    except OSError:
        pass
"""


@pytest.mark.anyio
async def test_a_flood_inside_starves_nobody_else(tmp_path: Path) -> None:
    """It keeps its own proxy busy; a forwarded port, another sandbox and closing do not wait."""
    with standing_in() as server:
        flooded, other = [await bubblewrap(tmp_path, server) for _ in range(2)]
        try:
            began = anyio.Event()
            await flooded.start(python(FLOOD), lambda *_: began.set())
            with anyio.fail_after(15):
                await began.wait()
            line = json.dumps([("tcp", server.address, server.port)])
            started = time.monotonic()
            for sandbox in (flooded, other):
                assert told(await sandbox.run(python(INSIDE, line)))[0][0] == "reached"
            proxied = json.dumps([("fetch_by_proxy", server.entry)])
            assert told(await other.run(python(INSIDE, proxied)))[0][0] == "reached"
            assert time.monotonic() - started < 5
        finally:
            started = time.monotonic()
            await flooded.close()
            assert time.monotonic() - started < 5
            await other.close()
    assert "planloop-egress" not in [thread.name for thread in threading.enumerate()]


async def bubblewrap(folder: Path, server: StandIn) -> Sandbox:
    opened = await open_sandbox(
        SandboxSpec(kind="bubblewrap", limits=SMALL, network=(server.entry,)),
        run_id=f"test-{os.getpid()}",
        state_dir=folder,
    )
    assert opened is not None
    return opened


def test_a_listed_name_is_reached_at_a_public_address_only(kind: str) -> None:
    """By the machine's own resolver, in a network where a neighbour has a public address."""
    needed = ("unshare", "nsenter", "ip", "mount")
    if os.geteuid() != 0 or not all(map(shutil.which, needed)):
        pytest.skip("needs root, util-linux and iproute2")
    ran = subprocess.run(
        [
            *("unshare", "--net", "--mount", "--propagation", "private"),
            *(sys.executable, "-m", "sandboxes.elsewhere", kind),
        ],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    reached, local, own = json.loads(ran.stdout).values()
    assert reached == [["reached", "reached", "reached", "refused"], []]
    where = "network: refused neighbour.planloop-test.org:80"
    why = "only a literal `address:port` opens that"
    assert local == [["refused"] * 4, [f"{where} (its address is loopback; {why})"]]
    assert own == [["refused"] * 4, [f"{where} (its address is this machine's own; {why})"]]

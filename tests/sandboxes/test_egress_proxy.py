"""The host's side of the way out, spoken to by hostile clients over real sockets."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from ipaddress import ip_address

import pytest

from planloop.addresses import Address
from planloop.errors import SandboxLost
from planloop.sandboxes import egress

from .standins import StandIn, echo, standing_in


def no_names(name: str) -> Sequence[Address]:
    raise AssertionError(f"{name} was looked up")


@dataclasses.dataclass
class WayOut:
    egress: egress.Egress
    port: int

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def say(self, data: bytes, *, half_close: bool = False) -> bytes:
        """Everything that comes back."""
        with self.connect() as connection, contextlib.suppress(ConnectionError):
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            return everything(connection)
        return b""

    def status(self, data: bytes) -> int:
        found = re.match(rb"HTTP/1\.1 ([0-9]{3}) ", self.say(data))
        return int(found.group(1)) if found else 0

    def refusals(self) -> tuple[str, ...]:
        return self.egress.refusals(0)


def everything(connection: socket.socket) -> bytes:
    said = b""
    while piece := connection.recv(65536):
        said += piece
    return said


def listening(address: str = "127.0.0.1") -> tuple[egress.Listen, int]:
    listener = socket.create_server((address, 0))
    return egress.Listen(*listener.getsockname()[:2]), listener.detach()


@contextlib.contextmanager
def way_out(*entries: str, resolver: object = no_names) -> Iterator[WayOut]:
    place, descriptor = listening()
    plan = dataclasses.replace(egress.plan(entries), listen=(place,))
    started = egress.serve(plan, [descriptor], resolver)  # type: ignore[arg-type]
    try:
        yield WayOut(started, place.port)
    finally:
        started.close()
        assert "planloop-egress" not in [thread.name for thread in threading.enumerate()]


@pytest.fixture
def server() -> Iterator[StandIn]:
    with standing_in() as made:
        yield made


def get(target: str, host: str | None = None, *more: str) -> bytes:
    host = target.removeprefix("http://").partition("/")[0] if host is None else host
    lines = [f"GET {target} HTTP/1.1", *([f"Host: {host}"] if host else []), *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def connect(target: str, *more: str) -> bytes:
    return ("\r\n".join([f"CONNECT {target} HTTP/1.1", *more]) + "\r\n\r\n").encode("latin-1")


def test_a_listed_address_answers_by_request_and_by_tunnel(server: StandIn) -> None:
    with way_out(server.entry) as out:
        said = out.say(get(f"http://{server.entry}/a?b", None, "X-Test: kept", "TE: trailers"))
        assert said.startswith(b"HTTP/1.1 200 OK\r\n")
        assert said.endswith(b"\r\n\r\nok")
        tunnelled = out.say(connect(server.entry) + get("/c", server.entry))
        assert tunnelled.startswith(b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200 OK")
        assert out.refusals() == ()
    request = server.heard[0].decode()
    assert request.startswith(f"GET /a?b HTTP/1.1\r\nHost: {server.entry}\r\n")
    assert "X-Test: kept" in request
    assert "TE:" not in request
    assert "Connection: close" in request


def test_bodies_arrive_by_length_and_by_chunks(server: StandIn) -> None:
    head = f"POST http://{server.entry}/ HTTP/1.1\r\nHost: {server.entry}\r\n".encode()
    with way_out(server.entry) as out:
        body = os.urandom(300_000)
        said = out.say(head + b"Content-Length: 300000\r\n\r\n" + body)
        assert said.endswith(b"ok")
        chunks = b"5;ext=1\r\nhello\r\n6 \r\n world\r\n0\r\nTrailer: dropped\r\n\r\n"
        assert out.say(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks).endswith(b"ok")
    assert server.heard[0].endswith(body)
    assert server.heard[1].endswith(b"\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")


def test_a_tunnel_passes_megabytes_and_a_half_close() -> None:
    with standing_in(echo) as server, way_out(server.entry) as out, out.connect() as client:
        client.sendall(connect(server.entry))
        assert client.recv(39) == b"HTTP/1.1 200 Connection established\r\n\r\n"
        data = os.urandom(5_000_000)
        sender = threading.Thread(
            target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR))
        )
        sender.start()
        assert everything(client) == data
        sender.join(10)


def test_what_is_not_listed_is_refused_and_said_once(server: StandIn) -> None:
    with way_out("acme.org", "127.0.0.1:9") as out:
        for _ in range(3):
            assert out.status(connect("example.org:443")) == 403
        assert out.status(connect("acme.org:22")) == 403
        assert out.status(get(f"http://{server.entry}/")) == 403
        said = out.refusals()
        body = out.say(get("http://sub.acme.org/")).decode()
    assert said == (
        "network: refused example.org:443 (not in the allow-list)",
        "network: refused acme.org:22 (its port is not in the allow-list)",
        f"network: refused {server.entry} (not in the allow-list)",
    )
    assert "planloop: network: refused sub.acme.org:80 (not in the allow-list)" in body
    assert server.heard == []


CLOSED = [
    *("127.0.0.1", "10.1.2.3", "172.17.0.1", "192.168.0.1", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
    *("169.254.169.254", "100.100.100.200", "192.0.0.192", "168.63.129.16", "255.255.255.255"),
    *("198.18.0.1", "::1", "::", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "fe80::1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "ff02::1"),
    *("2001:0:4136:e378:8000:63bf:3fff:fdd2", "fd00:ec2::254", "2001:db8::1", "4000::1"),
]


@pytest.mark.parametrize("address", CLOSED)
def test_a_listed_name_with_an_address_that_is_not_public_is_refused(address: str) -> None:
    public = ip_address("93.184.216.34")
    with way_out("acme.org", resolver=lambda _: (public, ip_address(address))) as out:
        assert out.status(connect("acme.org:443")) == 403
        assert "only a literal `address:port` opens that" in out.refusals()[0]


def test_a_listed_name_that_means_this_machine_is_refused() -> None:
    """This machine's own address, were it public, is no way around its firewall."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("192.0.2.1", 9))
        own = ip_address(asking.getsockname()[0])
    with way_out("acme.org", resolver=lambda _: (own,)) as out:
        assert out.status(connect("acme.org:443")) == 403


def test_a_name_is_looked_up_and_checked_for_each_connection() -> None:
    answers = iter(["10.0.0.1", "127.0.0.1"])
    with way_out("acme.org", resolver=lambda _: (ip_address(next(answers)),)) as out:
        assert "is private" in out.say(connect("AcMe.org.:443")).decode()
        assert "is loopback" in out.say(connect("acme.org:443")).decode()


def test_a_name_without_an_address_is_an_error_of_the_network_and_no_refusal() -> None:
    def unknown(_: str) -> Sequence[Address]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with way_out("acme.org", resolver=unknown) as out:
        said = out.say(connect("acme.org:443")).decode()
        assert said.startswith("HTTP/1.1 502 ")
        assert "the name acme.org has no address: Name or service not known" in said
        assert out.refusals() == ()


def test_a_listed_address_where_nothing_listens_is_an_error_of_the_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        entry = f"127.0.0.1:{gone.getsockname()[1]}"
    with way_out(entry) as out:
        assert out.status(connect(entry)) == 502
        assert out.refusals() == ()


ODD_TARGETS = [
    *("127.1:{port}", "2130706433:{port}", "0177.0.0.1:{port}", "0x7f.1:{port}"),
    *("0x7f000001:{port}", "localhost:{port}", "[::1%25lo]:{port}", "[::1%lo]:{port}"),
    *("[::ffff:127.0.0.1]:{port}", "127.0.0.1:{port}@acme.org:443", "user@127.0.0.1:{port}"),
    *("127.0.0.1", "127.0.0.1:", ":{port}", "127.0.0.1:-1", "127.0.0.1:99999", "127.0.0.1:0"),
    *("127.0.0.1:{port}x", "127.0.0.1:0{port}0", "127.0.0.1\\x00:{port}", "acme.org:+443"),
    *("acme.org\\x00.evil:443", "\\xb9\\xb2\\xb7.0.0.1:{port}", "acme.org..:443", ".acme.org:443"),
    *("-acme.org:443", "acme_.org:443", "*:443", "a" * 300 + ":443"),
]


@pytest.mark.parametrize("target", ODD_TARGETS)
def test_an_odd_spelling_of_a_target_reaches_nothing(server: StandIn, target: str) -> None:
    target = target.encode().decode("unicode_escape").format(port=server.port)
    with way_out(server.entry, "acme.org") as out:
        assert out.status(connect(target)) in (400, 403)
        assert out.status(get(f"http://{target}/", server.entry)) in (400, 403)
        assert len(out.refusals()) >= 1
        assert all(len(one) < 260 and one.isprintable() for one in out.refusals())
    assert server.heard == []


SMUGGLED = {
    "two lengths": "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "length and chunks": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two codings": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "another coding": "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": "Content-Length : 5\r\n\r\nhello",
    "a tab in the coding's name": "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "a folded header": "X: a\r\n Content-Length: 5\r\n\r\nhello",
    "a length with a sign": "Content-Length: +5\r\n\r\nhello",
    "a list of lengths": "Content-Length: 5, 5\r\n\r\nhello",
    "a negative length": "Content-Length: -1\r\n\r\n",
    "a huge length": f"Content-Length: {'9' * 40}\r\n\r\n",
    "NUL in a value": "X: a\0b\r\n\r\n",
    "a bare CR": "X: a\rContent-Length: 5\r\n\r\n",
    "a bare LF": "X: a\nContent-Length: 5\r\n\r\n",
    "a second Host": "Host: acme.org\r\n\r\n",
    "the length as hop by hop": "Connection: content-length\r\nContent-Length: 5\r\n\r\nhello",
    "too many headers": "X: y\r\n" * 300 + "\r\n",
    "a head without end": "X: " + "y" * 70_000,
}


@pytest.mark.parametrize("case", SMUGGLED)
def test_a_request_that_two_readers_read_differently_is_refused(server: StandIn, case: str) -> None:
    head = f"POST http://{server.entry}/ HTTP/1.1\r\nHost: {server.entry}\r\n"
    with way_out(server.entry) as out:
        assert out.status((head + SMUGGLED[case]).encode("latin-1")) == 400
        assert out.refusals()[0].startswith("network: refused a doubtful request (")
    assert server.heard == []


@pytest.mark.parametrize(
    "request_line",
    [
        *("GET / HTTP/1.1", "GET https://{0}/ HTTP/1.1", "GET ftp://{0}/ HTTP/1.1"),
        *("GET http://{0}/ HTTP/2.0", "GET http://{0}/ HTTP/1.1 ", "GET  http://{0}/ HTTP/1.1"),
        *("GET http://{0}/", "GET http://a@{0}/ HTTP/1.1", "GET http://{0}#@acme.org/ HTTP/1.1"),
        *(
            "G\x00T http://{0}/ HTTP/1.1",
            "GET http://{0}\\@acme.org/ HTTP/1.1",
            "OPTIONS * HTTP/1.1",
        ),
        *("CONNECT http://{0}/ HTTP/1.1", "\x16\x03\x01", "", "PRI * HTTP/2.0"),
    ],
)
def test_a_strange_request_line_is_refused(server: StandIn, request_line: str) -> None:
    said = request_line.format(server.entry)
    with way_out(server.entry) as out:
        data = f"{said}\r\nHost: {server.entry}\r\n\r\n".encode("latin-1")
        assert out.status(data) == 400
    assert server.heard == []


def test_the_host_header_must_be_the_target(server: StandIn) -> None:
    with way_out(server.entry, "acme.org") as out:
        for host in ("acme.org", f"127.0.0.1:{server.port + 1}", "127.0.0.1", ""):
            assert out.status(get(f"http://{server.entry}/", host)) == 400
        data = f"CONNECT {server.entry} HTTP/1.1\r\nHost: acme.org\r\n\r\n".encode()
        assert out.status(data) == 400
        assert out.say(f"GET http://{server.entry}/ HTTP/1.0\r\n\r\n".encode()).endswith(b"ok")
    assert len(server.heard) == 1


def test_a_second_request_on_the_same_connection_reaches_nobody(server: StandIn) -> None:
    first = f"POST http://{server.entry}/1 HTTP/1.1\r\nHost: {server.entry}\r\n".encode()
    second = get("/2", "other.example")
    with way_out(server.entry) as out:
        for body in (
            b"Content-Length: 2\r\n\r\nhi",
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        ):
            assert out.say(first + body + second).count(b"HTTP/1.1 200") == 1
    assert len(server.heard) == 2
    assert not any(b"/2" in heard for heard in server.heard)


@pytest.mark.parametrize(
    "chunks",
    [b"x\r\n", b"2\r\nhihi\r\n", b"-1\r\n", b"ffffffffff\r\n", b"2\nhi\r\n0\r\n\r\n", b"\r\n"],
)
def test_a_damaged_chunk_is_refused(server: StandIn, chunks: bytes) -> None:
    head = f"POST http://{server.entry}/ HTTP/1.1\r\nHost: {server.entry}\r\n".encode()
    with way_out(server.entry) as out:
        assert out.status(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks) == 400


def answering(data: bytes) -> Iterator[StandIn]:
    def answer(_: StandIn, connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(65536)

    return standing_in(answer)  # type: ignore[return-value]


@pytest.mark.parametrize(
    "answer",
    [
        *(b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200", b"HTTP/1.1 101 Up\r\n\r\nraw"),
        *(b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000),
        *(b"HTTP/9.9 200 OK\r\n\r\n", b"HTTP/1.1 999999 OK\r\n\r\n"),
    ],
)
def test_an_answer_that_is_no_response_is_an_error_of_the_network(answer: bytes) -> None:
    with answering(answer) as server, way_out(server.entry) as out:  # type: ignore[attr-defined]
        said = out.say(get(f"http://{server.entry}/"))
        assert said.startswith(b"HTTP/1.1 502 ")
        assert b"cannot be passed on" in said


def test_an_interim_answer_is_passed_on_and_the_final_one_ends_the_connection() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: 5\r\n\r\nbody"
    with answering(interim + final) as server, way_out(server.entry) as out:  # type: ignore[attr-defined]
        said = out.say(get(f"http://{server.entry}/"))
    assert said == interim + b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody"


def test_closing_ends_open_connections_at_once_and_leaves_nothing(server: StandIn) -> None:
    with standing_in(echo) as quiet:
        before = len(os.listdir("/proc/self/fd"))
        with way_out(quiet.entry) as out:
            clients = [out.connect() for _ in range(20)]
            for client in clients[:10]:
                client.sendall(connect(quiet.entry))
            assert clients[0].recv(12) == b"HTTP/1.1 200"
            started = time.monotonic()
            out.egress.close()
            assert time.monotonic() - started < 2
            with pytest.raises(OSError):
                out.connect()
        for client in clients:
            client.close()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_slow_and_silent_clients_leave_room_for_others(server: StandIn) -> None:
    """More silent connections than are served at once: the head's time limit frees their places."""
    with way_out(server.entry) as out:
        silent = [out.connect() for _ in range(60)]
        assert out.say(get(f"http://{server.entry}/")).endswith(b"ok")
        for one in silent:
            one.close()


def test_refusals_are_few_and_those_since_a_time() -> None:
    with way_out("acme.org") as out:
        for number in range(30):
            assert out.status(connect(f"host{number}.example:443")) == 403
        middle = time.monotonic()
        assert out.status(connect("late.example:443")) == 403
        assert len(out.refusals()) == 11
        assert out.refusals()[-1] == "network: refused 21 more"
        late = ("network: refused late.example:443 (not in the allow-list)",)
        assert out.egress.refusals(middle) == late


def test_sockets_that_were_not_asked_for_are_not_served() -> None:
    plan = egress.plan(("acme.org",))
    before = len(os.listdir("/proc/self/fd"))
    for descriptors in (
        [],
        [listening()[1]],
        [socket.socket(socket.AF_UNIX).detach()],
        [os.open("/", os.O_RDONLY)],
        [listening()[1], os.open("/", os.O_RDONLY)],
    ):
        with pytest.raises(SandboxLost):
            egress.serve(plan, descriptors)
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_network_and_all_of_it_need_no_way_out() -> None:
    for network in ("none", "full"):
        plan = egress.plan(network)
        assert (plan.listen, dict(plan.environment)) == ((), {})
        idle = egress.serve(plan, [])
        assert idle.refusals(0) == ()
        idle.close()

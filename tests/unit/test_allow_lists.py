"""Entries of an allow-list, hosts as people write them, and heads as two readers read them."""

from __future__ import annotations

import contextlib
import ipaddress

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planloop.addresses import authority, read_authority, why_closed
from planloop.errors import UserError
from planloop.network import AddressEntry, NameEntry, read_entries, read_entry
from planloop.sandboxes import egress
from planloop.sandboxes.egress.policy import Policy, Refused
from planloop.sandboxes.egress.requests import BadHead, Forward, Tunnel, read_request


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("acme.org", NameEntry("acme.org")),
        ("AcMe.ORG.", NameEntry("acme.org")),
        ("acme.org:8443", NameEntry("acme.org", (8443,))),
        ("*.acme-hosting.org", NameEntry("acme-hosting.org", below=True)),
        ("xn--bcher-kva.example", NameEntry("xn--bcher-kva.example")),
        ("127.0.0.1:8080", AddressEntry(ipaddress.ip_address("127.0.0.1"), 8080)),
        ("[::1]:8080", AddressEntry(ipaddress.ip_address("::1"), 8080)),
        ("10.0.0.1:1", AddressEntry(ipaddress.ip_address("10.0.0.1"), 1)),
    ],
)
def test_an_entry_is_a_name_or_an_address_with_its_port(
    text: str, entry: NameEntry | AddressEntry
) -> None:
    assert read_entry(text) == entry
    assert read_entry(str(entry)) == entry


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "pypi", "localhost", "a.localhost", "*", "*.", "*.com", "**.a.b", "a.*.b"),
        *("http://acme.org", "acme.org/simple", "user@acme.org", "acme.org:0", "acme.org:65536"),
        *(
            "acme.org:",
            "acme.org:x",
            "pypi..org",
            "-a.b",
            "a-.b",
            "a_b.c",
            f"{'a' * 64}.b",
            "a b.c",
        ),
        *(
            "127.0.0.1",
            "::1",
            "[::1]",
            "127.1:80",
            "0x7f000001:80",
            "0177.0.0.1:80",
            "2130706433:80",
        ),
        *("0.0.0.0:80", "[::]:80", "224.0.0.1:80", "[::ffff:127.0.0.1]:80", "[fe80::1%eth0]:80"),
        *("bücher.example", "①②⑦.0.0.1:80", "acme.org\0:80", "acme.org\n", "1.2.3.4.5:80"),
    ],
)
def test_anything_else_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UserError) as raised:
        read_entry(text)
    assert raised.value.hint
    assert raised.value.what.isprintable()


def test_a_list_is_not_empty_and_not_endless() -> None:
    for texts in ((), tuple(f"host{number}.example" for number in range(201))):
        with pytest.raises(UserError):
            read_entries(texts)
    with pytest.raises(UserError, match="at most 60 can be passed on"):
        egress.plan(tuple(f"127.0.0.1:{port}" for port in range(1000, 1061)))


def test_a_plan_listens_for_the_proxy_and_at_every_loopback_entry() -> None:
    plan = egress.plan(("127.0.0.1:3128", "[::1]:80", "acme.org", "10.0.0.1:80"))
    assert plan.listen == (("127.0.0.1", 3129), ("127.0.0.1", 3128), ("::1", 80))
    assert plan.environment["https_proxy"] == "http://127.0.0.1:3129"
    assert plan.said == ("network: open to 127.0.0.1:3128, [::1]:80, acme.org, 10.0.0.1:80",)


@pytest.mark.parametrize(
    ("host", "port", "allowed"),
    [
        *(("acme.org", 443, True), ("acme.org", 80, True), ("acme.org", 8443, False)),
        *(("a.acme.org", 443, False), ("b.a.files.org", 443, True), ("files.org", 443, False)),
        *(("evilfiles.org", 443, False), ("own.net", 9000, True), ("own.net", 443, False)),
        *(("10.0.0.1", 80, True), ("10.0.0.1", 81, False), ("10.0.0.2", 80, False)),
    ],
)
def test_the_policy_takes_entries_at_their_word(host: str, port: int, allowed: bool) -> None:
    policy = Policy(read_entries(("acme.org", "*.files.org", "own.net:9000", "10.0.0.1:80")))
    found, _ = read_authority(f"{host}:{port}")
    if allowed:
        return policy.check_target(found, port)
    with pytest.raises(Refused, match="not in the allow-list"):
        policy.check_target(found, port)
    return None


addresses = st.one_of(
    st.ip_addresses(),
    *(st.ip_addresses(network=one) for one in ("64:ff9b::/96", "2002::/16", "::/96", "2001::/22")),
    *(st.ip_addresses(network=one) for one in ("::ffff:0:0/96", "192.0.0.0/23", "192.0.2.0/23")),
)


@given(addresses)
def test_an_address_that_is_open_is_global_to_the_standard_library_too(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if why_closed(address) is None:
        assert address.is_global
        assert not address.is_multicast


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::808:808"]
)
def test_public_addresses_are_open(address: str) -> None:
    assert why_closed(ipaddress.ip_address(address)) is None


@given(st.text(alphabet="abAB.:[]%019xX-_@/\\ \x00\u2460", max_size=30))
def test_an_authority_is_read_in_one_way_or_not_at_all(text: str) -> None:
    try:
        host, port = read_authority(text, 80)
    except ValueError:
        return
    assert read_authority(authority(host, port)) == (host, port)


lines = st.sampled_from(
    [
        *("Host: a.example", "host: a.example:80", "Host: b.example", "X: y", " folded", "X : y"),
        *("Content-Length: 3", "Content-Length: 0x3", "content-length: 4", "Content-Length: 3, 3"),
        *("Transfer-Encoding: chunked", "Transfer-Encoding: Chunked, gzip", "Connection: close"),
        *("Connection: host", "TE: trailers", "X: \u00e9", "X: a\rb", "Proxy-Authorization: x"),
        *("Connection: x", "", "Upgrade: websocket", "Transfer-Encoding: \x0bchunked"),
    ]
)
first_lines = st.sampled_from(
    [
        *("GET http://a.example/ HTTP/1.1", "POST http://a.example:80?q HTTP/1.0"),
        *("CONNECT a.example:443 HTTP/1.1", "GET / HTTP/1.1", "PUT http://A.Example./ HTTP/1.1"),
        *("GET http://a.example@b.example/ HTTP/1.1", "GET http://a.example/\tHTTP/1.1"),
    ]
)


@given(first_lines, st.lists(lines, max_size=6))
def test_a_forwarded_head_says_the_same_to_another_reader(first: str, headers: list[str]) -> None:
    head = ("\r\n".join([first, *headers]) + "\r\n\r\n").encode("latin-1")
    try:
        request = read_request(head)
    except BadHead:
        return
    if isinstance(request, Tunnel):
        assert (request.host, request.port) == ("a.example", 443)
        return
    assert isinstance(request, Forward)
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(request.head)
    read = reader.next_event()
    assert isinstance(read, h11.Request)
    given_headers = [(name, value) for name, value in read.headers if name in FRAMING]
    assert [value for name, value in given_headers if name == b"host"] == [b"a.example"]
    assert (request.host, request.port) == ("a.example", 80)
    framing = [value.lower() for name, value in given_headers if name != b"host"]
    expected = b"chunked" if request.body == "chunked" else str(request.body).encode()
    assert framing in ([expected], [] if request.body == 0 else None)
    assert reader.their_http_version == first[-3:].encode()


FRAMING = (b"host", b"content-length", b"transfer-encoding")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    with contextlib.suppress(BadHead):
        read_request(data + b"\r\n\r\n")

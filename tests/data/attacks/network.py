# SPDX-License-Identifier: Apache-2.0
"""Ways out by the network. argv: HOST:PORT... of listeners outside, then names of abstract sockets
after `--`. Each way that is open is printed as `REACHED ...`."""
import ctypes, os, socket, sys

SPLIT = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
ADDRESSES, ABSTRACT = sys.argv[1:SPLIT], sys.argv[SPLIT + 1 :]


def reach(what, work):
    try: work()
    except OSError as error: print("refused", what, error.strerror or error)
    else: print("REACHED", what)


def tcp(host, port, family=socket.AF_INET):
    with socket.socket(family) as one:
        one.settimeout(1)
        one.connect((host, int(port)))


def udp(host, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(1)
        one.connect((host, int(port)))
        one.send(b"x")
        one.recv(1)


def abstract(name):
    with socket.socket(socket.AF_UNIX) as one: one.connect("\0" + name)


def made(family, kind, protocol=0):
    with socket.socket(family, kind, protocol): pass


for address in ADDRESSES:
    host, _, port = address.rpartition(":")
    reach(f"tcp {address}", lambda: tcp(host, port))
    reach(f"udp {address}", lambda: udp(host, port))
reach("metadata", lambda: tcp("169.254.169.254", 80))
reach("internet", lambda: tcp("1.1.1.1", 53))
reach("internet udp", lambda: udp("1.1.1.1", 53))
reach("internet 6", lambda: tcp("2606:4700:4700::1111", 53, socket.AF_INET6))
reach("link-local 6", lambda: tcp("fe80::1", 53, socket.AF_INET6))
reach("names", lambda: socket.getaddrinfo("planloop.invalid", 80))
reach("names of the world", lambda: socket.getaddrinfo("example.com", 80))
for name in ABSTRACT: reach(f"abstract {name}", lambda: abstract(name))
for name, family, kind, protocol in (
    ("raw", socket.AF_INET, socket.SOCK_RAW, 1), ("raw 6", socket.AF_INET6, socket.SOCK_RAW, 58),
    ("packet", 17, socket.SOCK_RAW, 0), ("packet datagrams", 17, socket.SOCK_DGRAM, 0),
    ("vsock", 40, socket.SOCK_STREAM, 0), ("vsock datagrams", 40, socket.SOCK_DGRAM, 0),
    ("algorithms", 38, socket.SOCK_SEQPACKET, 0), ("bluetooth", 31, socket.SOCK_RAW, 1),
    ("netlink audit", 16, socket.SOCK_RAW, 9), ("netlink events", 16, socket.SOCK_DGRAM, 15),
    ("xdp", 44, socket.SOCK_RAW, 0), ("tipc", 30, socket.SOCK_RDM, 0), ("can", 29, socket.SOCK_RAW, 1),
    ("smc", 43, socket.SOCK_STREAM, 0), ("rds", 21, socket.SOCK_SEQPACKET, 0), ("qipcrtr", 42, socket.SOCK_DGRAM, 0),
    ("kcm", 41, socket.SOCK_DGRAM, 0), ("ppp", 24, socket.SOCK_STREAM, 0), ("key", 15, socket.SOCK_RAW, 2),
): reach(f"family {name}", lambda: made(family, kind, protocol))
interfaces = [name for _, name in socket.if_nameindex()]
print("interfaces", *interfaces)
for line in open("/proc/net/unix").read().splitlines()[1:]:
    if len(line.split()) > 7: print("unix", line.split()[-1])

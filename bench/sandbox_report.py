"""The tables of `sandbox.py`, and what was promised."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from targets import Target

Found = dict[str, dict[str, Any]]
BACKENDS = {"planloop bubblewrap": "bare bwrap", "planloop docker": "bare engine"}
"""Ours, and the floor of their cold start."""


def print_tables(found: Found) -> None:
    """Every subject on one line, then what only planloop does."""
    heads = ("cold", "warm p50", "p99", "16: /s", "64: /s", "idle MB", "over p90", "left")
    print(f"\n{'ms':32}" + "".join(f"{head:>10}" for head in heads))
    for name, one in found.items():
        cells = (
            _median(one["cold"]),
            _median(one["warm"]),
            quantile(one["warm"], 0.99),
            _median(one["at_16"]),
            one.get("at_64"),
            one.get("idle"),
            quantile(one["deadline"]["over"], 0.9),
            float(one["deadline"]["left"]),
        )
        print(f"{name:32}" + "".join(map(_cell, cells)))
    for name in (name for name in BACKENDS if name in found):
        _print_ours(name, found[name])


def _print_ours(name: str, one: dict[str, Any]) -> None:
    print(f"\n{name}")
    for size in ("small", "large"):
        shown = ", ".join(f"{what} {took:.1f}" for what, took in one[size].items())
        print(f"  snapshots, {size} workspace, ms: {shown}")
    bomb = one["bomb"]
    print(f"  bomb, ms past its deadline: p50 {_median(bomb['over']):.0f}", end="")
    print(f", p99 {quantile(bomb['over'], 0.99):.0f}; left {bomb['left']}")
    print(f"  planloop killed, ms to the last process: {_median(one['killed']):.1f}", end="")
    print(f", most {max(one['killed']):.1f}")


def targets(found: Found) -> Iterator[Target]:
    """What was promised of each backend that was measured with its floors and peers."""
    for name in (name for name in BACKENDS if name in found):
        if "host" in found:
            yield from _against_host(name, found)
        yield from _against_floors(name, found)
        yield from _against_peers(name, found)
        yield from _by_itself(name, found[name])


def _against_host(name: str, found: Found) -> Iterator[Target]:
    ours, host = found[name], found["host"]
    warm = _median(ours["warm"]) / _median(host["warm"])
    yield Target(f"{name}: warm shell call / host", warm, 1.5)
    tail = quantile(ours["warm"], 0.99) / quantile(host["warm"], 0.99)
    yield Target(f"{name}: its p99 / host's p99", tail, 3.0)
    crowd = _median(host["at_16"]) / _median(ours["at_16"])
    yield Target(f"{name}: the host's calls a second at 16 / its own", crowd, 1 / 0.7)


def _against_floors(name: str, found: Found) -> Iterator[Target]:
    ours, floor = found[name], BACKENDS[name]
    if "bare engine" in found:
        ratio = _median(ours["warm"]) / _median(found["bare engine"]["warm"])
        yield Target(f"{name}: warm shell call / bare engine exec", ratio, 1 / 20)
    if floor in found:
        cold, most = _median(ours["cold"]), 4.0 if floor == "bare bwrap" else 1.15
        base = _median(found[floor]["cold"])
        yield Target(f"{name}: cold start / {floor}", cold / base, most)


def _against_peers(name: str, found: Found) -> Iterator[Target]:
    for kind, most in (("docker", 1 / 20), ("bubblewrap", 1 / 4)):
        peers = [
            _median(one["warm"])
            for peer, one in found.items()
            if peer.endswith(kind) and not peer.startswith("planloop")
        ]
        if peers:
            ratio = _median(found[name]["warm"]) / min(peers)
            yield Target(f"{name}: warm shell call / best {kind} peer", ratio, most)


def _by_itself(name: str, one: dict[str, Any]) -> Iterator[Target]:
    docker = name.endswith("docker")
    over, bomb = one["deadline"], one["bomb"]
    yield Target(f"{name}: deadline to gone, p90", quantile(over["over"], 0.9), 25, " ms")
    yield Target(f"{name}: the same for a bomb, p99", quantile(bomb["over"], 0.99), 1000, " ms")
    left = over["left"] + bomb["left"]
    yield Target(f"{name}: processes left of {len(over['over'])} trees", left, 0, "")
    most = 1000 if docker else 100
    yield Target(f"{name}: killed to the last process, most", max(one["killed"]), most, " ms")
    yield Target(f"{name}: memory of an idle sandbox", one["idle"], 8, " MB")
    for size in ("small", "large"):
        ratio = one[size]["next"] / one[size]["floor"]
        yield Target(f"{name}: next snapshot, {size}, / walk and copy", ratio, 1.5)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that so large a share lies at or below."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def _cell(value: float | None) -> str:
    if value is None:
        return f"{'-':>10}"
    return f"{value:10.2f}" if value < 100 else f"{value:10.0f}"

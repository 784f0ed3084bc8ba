"""Limits and commands refuse what no sandbox could begin with."""

from __future__ import annotations

import re

import pytest

from planloop import Command, Limits


@pytest.mark.parametrize(
    ("field", "value", "least"),
    [
        ("memory_bytes", 31_999_999, "32,000,000"),
        ("processes", 7, "8"),
        ("disk_bytes", 63_999, "64,000"),
        ("inodes", 15, "16"),
        ("shown_bytes", 0, "1"),
        ("kept_bytes", -1, "1"),
    ],
)
def test_too_little_is_refused_by_name(field: str, value: int, least: str) -> None:
    text = re.escape(f"`{field}` is {value}; it must be at least {least}")
    with pytest.raises(ValueError, match=text):
        Limits(**{field: value})


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_a_time_is_above_zero(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"`timeout_s` is .*; it must be above 0"):
        Limits(timeout_s=seconds)
    with pytest.raises(ValueError, match=r"`timeout_s` is .*; it must be above 0"):
        Command(line="true", timeout_s=seconds)


def test_the_least_is_enough() -> None:
    Limits(memory_bytes=32_000_000, processes=8, disk_bytes=64_000, inodes=16)


def test_files_have_no_more_room_than_memory() -> None:
    assert Limits(memory_bytes=100_000_000).files_bytes == 100_000_000
    assert Limits(disk_bytes=100_000_000).files_bytes == 100_000_000

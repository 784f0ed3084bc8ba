"""Time spans as people write them: `1d2h`, `90m`, `45s`."""

import re

UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def parse(text):
    """Seconds in a span such as `1h30m`."""
    found = re.findall(r"(\d+)([hms])", text)
    if not found:
        raise ValueError(f"no time span: {text!r}")
    return sum(int(number) * UNITS[unit] for number, unit in found)


def show(seconds):
    """A span with as few parts as needed: 5400 is `1h30m`."""
    parts = []
    for unit, size in UNITS.items():
        count, seconds = divmod(seconds, size)
        parts.append(f"{count}{unit}")
    return "".join(parts)

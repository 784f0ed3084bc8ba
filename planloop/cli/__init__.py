"""The command line: `planloop VERB`. One file a verb, loaded when it is used."""

from __future__ import annotations


def main() -> None:
    """The console script. Ends the process with the verb's exit code."""
    import sys

    from planloop.cli.start import start

    sys.exit(start(sys.argv[1:]))

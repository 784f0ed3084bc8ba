"""`python -m planloop`: the console script where none is installed."""

from planloop.cli import main

main()

# SPDX-License-Identifier: Apache-2.0
"""Ends in odd ways. argv: CASE."""
import os, signal, sys


class Odd(BaseException):
    pass


def throw(error):
    raise error


CASES = {
    "message": lambda: sys.exit("a message"),
    "256": lambda: sys.exit(256),
    "none": lambda: sys.exit(None),
    "interrupt": lambda: throw(KeyboardInterrupt()),
    "generator": lambda: throw(GeneratorExit()),
    "odd": lambda: throw(Odd("x")),
    "at_once": lambda: (print("lost"), os._exit(0)),
    "killed": lambda: (print("x", flush=True), os.kill(os.getpid(), signal.SIGKILL)),
    "abort": os.abort,
    "stack": lambda: exec("def f(): f()\nsys.setrecursionlimit(10**6)\nf()", {"sys": sys}),
}
if sys.argv[1].isdigit() and sys.argv[1] != "256": sys.exit(int(sys.argv[1]))
CASES[sys.argv[1]]()

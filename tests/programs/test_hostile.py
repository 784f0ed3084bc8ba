"""Programs that attack what runs them: forged frames, floods, tampering, other processes."""

from __future__ import annotations

import tracemalloc

import pytest

from planloop.sandbox import Command
from tests.programs.rounds import Room, Shop, statuses

pytestmark = pytest.mark.anyio

PRELUDE = (
    "import json, os, socket, struct\n"
    "door = socket.socket(fileno=os.dup(3))\n"
    "def frame(data):\n"
    "    data = data if isinstance(data, bytes) else json.dumps(data).encode()\n"
    "    door.sendall(struct.pack('>I', len(data)) + data)\n"
    "def asked(tool, **more):\n"
    "    return {'op': 'call', 'call': 99, 'tool': tool, 'args': ['forged'], 'kwargs': {},\n"
    "            'line': 1, 'path': [1], **more}\n"
)
FORGED = {
    "a length of 4 GiB": "door.sendall(b'\\xff\\xff\\xff\\xff' + b'A' * 4096)",
    "a frame that is too long": "door.sendall(struct.pack('>I', 17 << 20) + b'A' * 100000)",
    "deep JSON": "frame(b'[' * 200000 + b']' * 200000)",
    "a deep object": "frame(b'{\"a\":' * 100000 + b'1' + b'}' * 100000)",
    "a huge integer": "frame(b'{\"op\":\"ended\",\"id\":' + b'9' * 100000 + b'}')",
    "NaN": 'frame(b\'{"op":"say","word":"done","value":NaN}\')',
    "a key twice": 'frame(b\'{"op":"out","op":"say","word":"note","value":"x"}\')',
    "no UTF-8": 'frame(b\'{"op":"\\xff\\xfe"}\')',
    "no object": "frame(b'[]')",
    "null": "frame(b'null')",
    "an unknown word": "frame({'op': 'say', 'word': 'pay', 'value': 1})",
    "an unknown op": "frame({'op': 'shutdown'})",
    "another statement's end": "frame({'op': 'ended', 'id': 10**6, 'ok': True})",
    "a call with more fields": "frame(asked('order', extra=1))",
    "a call without a path": "frame(asked('order', path=[]))",
    "a call with a wild path": "frame(asked('order', path=['x']))",
    "a call by a list": "frame({**asked('order'), 'tool': ['order']})",
    "a value tagged wrongly": "frame({'op': 'say', 'word': 'done', 'value': {'$bytes': 7}})",
    "a long note": "frame({'op': 'say', 'word': 'note', 'value': 'x' * 10**6})",
    "many notes": "for n in range(5000):\n    frame({'op': 'say', 'word': 'note', 'value': ''})",
    "ungranted calls without end": "for n in range(500):\n    frame(asked('pay', call=n))",
}


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.mark.parametrize("attack", FORGED)
async def test_a_forged_frame_ends_the_interpreter_and_nothing_else(
    boxed: Room, shop: Shop, attack: str
) -> None:
    rounds = await boxed.rounds(shop.tools())
    await rounds.send(f"kept = order('real')\n{PRELUDE}")
    waiting = "\nwhile True:\n    pass"  # what forged must not be saved by an honest end
    done = await rounds.send(f"def attack():\n    {_indented(FORGED[attack] + waiting)}\nattack()")
    error = done.failures[0].error
    assert error is not None
    assert error.type == "Forged", error
    assert shop.orders == ["real"]
    assert (await rounds.send("done(kept + '!')")).output == "<real>!"


def _indented(source: str) -> str:
    return source.replace("\n", "\n    ")


@pytest.mark.parametrize("tool", ["order", "pay", "check", "os.system"])
async def test_a_forged_call_runs_no_tool_that_the_statement_does_not_name(
    boxed: Room, shop: Shop, tool: str
) -> None:
    rounds = await boxed.rounds(shop.tools())
    await rounds.send(PRELUDE)
    await rounds.send(f"frame(asked({tool!r}))")
    assert not shop.orders
    assert not shop.attempts


async def test_a_forged_end_does_not_make_a_statement_end_well_twice(
    boxed: Room, shop: Shop
) -> None:
    rounds = await boxed.rounds(shop.tools())
    await rounds.send(PRELUDE)
    source = (
        "for n in range(60):\n    frame({'op': 'ended', 'id': n, 'ok': True, 'bound': []})\n"
        "after = order('after')"
    )
    done = await rounds.send(source)
    assert statuses(done) == ["failed", "skipped"]
    assert not shop.orders


async def test_a_flood_of_frames_takes_no_memory_of_the_host(boxed: Room, shop: Shop) -> None:
    rounds = await boxed.rounds(shop.tools())
    await rounds.send(PRELUDE)
    tracemalloc.start()
    try:
        await rounds.send(
            "while True:\n    frame({'op': 'out', 'stream': 'stdout', 'text': 'x' * 10**6})"
        )
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 64 << 20


TAMPER = """
import sys, os, builtins, threading, gc
def tamper():
    def trace(frame, event, arg):
        return trace
    sys.settrace(trace)
    threading.settrace(trace)
    builtins.print = lambda *a, **k: None
    builtins.exec = builtins.compile = builtins.eval = lambda *a, **k: None
    sys.stdout = sys.stderr = None
    frame = sys._getframe()
    while frame:
        for name, value in list(frame.f_globals.items()):
            if callable(value) and name.startswith(('send', 'write', 'report', '_emit')):
                frame.f_globals[name] = lambda *a, **k: None
        frame = frame.f_back
    for one in gc.get_objects():
        if isinstance(one, dict) and 'ok' in one:
            one['ok'] = True
    raise RuntimeError('must be reported as a failure')
tamper()
"""


async def test_tampering_with_the_runner_is_undone_and_told(boxed: Room, shop: Shop) -> None:
    rounds = await boxed.rounds(shop.tools())
    done = await rounds.send(f"kept = order('a')\n{TAMPER}")
    error = done.failures[0].error
    assert error is not None
    assert error.message == "must be reported as a failure"
    last = await rounds.send("print('still here')\ndone(kept)")
    assert last.statements[0].stdout is not None
    assert last.output == "<a>"


HOSTILE = """
import itertools
class R:
    def __repr__(self): raise SystemExit(0)
class L:
    def __repr__(self):
        while True: pass
class H:
    def __repr__(self): return 'A' * (64 << 20)
class N:
    def __repr__(self): return 7
class C:
    __class__ = property(lambda s: (_ for _ in ()).throw(RuntimeError('class')))
    def __getattribute__(self, n): raise RuntimeError('no ' + n)
    def __hash__(self): raise RuntimeError('hash')
    def __eq__(self, o): raise RuntimeError('eq')
    def __bool__(self): raise RuntimeError('bool')
    def __len__(self): raise RuntimeError('len')
class S(str):
    def encode(self, *a): raise RuntimeError('encode')
    def __str__(self): return self
    def replace(self, *a): return 'forged'
class D(dict):
    def items(self): return itertools.count()
class M(type):
    @property
    def __name__(cls): raise SystemExit(0)
class X(Exception, metaclass=M):
    def __str__(self): raise KeyboardInterrupt
    def __getattribute__(self, n): raise RuntimeError('no ' + n)
def deep():
    found = None
    for _ in range(100000): found = [found]
    return found
def cyclic():
    found = []
    found.append(found)
    return found
"""
VALUES = ["R()", "L()", "H()", "N()", "C()", "S('x')", "D()", "itertools.count()", "cyclic()",
          "deep()", "'\\ud800'", "float('nan')", "10**5000", "'\\0'", "X", "X()"]  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
async def test_values_that_fight_being_shown(boxed: Room, value: str) -> None:
    rounds = await boxed.rounds([])
    await rounds.send(HOSTILE)
    shown = await rounds.send(f"import math\nv = {value}\nv")
    assert shown.completed, shown.failures
    assert len(shown.statements[2].value or "") <= 10_000
    failed = await rounds.send("w = v\n[w, 1 / 0]")
    assert failed.failures[0].error is not None
    assert failed.failures[0].error.type == "ZeroDivisionError"
    await rounds.send("note(v)")
    assert (await rounds.send("import math\nmath.floor(1.5)")).statements[-1].value == "1"


async def test_an_error_that_fights_being_described(boxed: Room) -> None:
    rounds = await boxed.rounds([])
    await rounds.send(HOSTILE)
    done = await rounds.send("x = 1\nraise X()")
    assert done.failures[0].error is not None
    assert (await rounds.send("done(x)")).output == 1


LOOK_IN = r"""
import os
for pid in filter(str.isdigit, os.listdir('/proc')):
    try:
        args = open(f'/proc/{pid}/cmdline').read()
        if 'Makes the ' + 'package' not in args:
            continue
        found = True
        for name in os.listdir(f'/proc/{pid}/fd'):
            print('REACHED', os.readlink(f'/proc/{pid}/fd/{name}'))
    except OSError as error:
        print('refused', type(error).__name__)
    for number in range(3, 9):
        try:
            import ctypes
            pidfd = os.pidfd_open(int(pid))
            got = ctypes.CDLL(None, use_errno=True).syscall(438, pidfd, number, 0)
            print('REACHED' if got >= 0 else 'refused')
        except OSError:
            print('refused')
    try:
        open(f'/proc/{pid}/mem', 'rb')
        print('REACHED')
    except OSError:
        print('refused')
"""


async def test_a_command_beside_it_cannot_reach_its_channel(boxed: Room) -> None:
    await _look_in(boxed)


@pytest.mark.docker
async def test_a_command_beside_it_cannot_reach_its_channel_in_docker(contained: Room) -> None:
    await _look_in(contained)


async def _look_in(found: Room) -> None:
    rounds = await found.rounds([])
    await rounds.send("import math\nx = 1")
    seen = await found.sandbox.run(Command(argv=("python3", "-c", LOOK_IN)))
    assert "refused" in seen.stdout.text, seen
    assert "REACHED" not in seen.stdout.text


async def test_a_module_of_the_workspace_stands_in_for_none_of_ours(boxed: Room) -> None:
    rounds = await boxed.rounds([])
    for name in ("json", "socket", "struct", "ast", "planloop_inside", "sitecustomize"):
        await boxed.sandbox.write_file(f"{name}.py", b"raise SystemExit('taken')")
    assert (await rounds.send("import math\nmath.floor(2.5)")).statements[-1].value == "2"


async def test_it_goes_on_where_the_checkpoint_was_killed(boxed: Room, shop: Shop) -> None:
    rounds = await boxed.rounds(shop.tools())
    await rounds.send("import os, signal\nkept = order('a')")
    source = (
        "for pid in map(int, filter(str.isdigit, os.listdir('/proc'))):\n"
        "    if os.path.exists(f'/proc/{pid}/stat') and pid not in (1, os.getpid()):\n"
        "        try:\n            os.kill(pid, signal.SIGKILL)\n        except OSError:\n"
        "            pass\nos._exit(1)"
    )
    done = await rounds.send(f"if True:\n    {_indented(source)}")
    assert statuses(done) == ["failed"]
    assert (await rounds.send("done(kept + '!')")).output == "<a>!"
    assert shop.orders == ["a"]

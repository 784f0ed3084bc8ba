# ruff: noqa: E501
"""Hostile source is refused in bounded time and memory (the traps of the evaluator)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("hostile_plans.py")
MOST_CPU_S = 4.0
"""The worst takes about 2; a trap that is open takes minutes."""
MOST_HELD_UP_S = 1.0
"""The worst holds the event loop up for about 0.1; the machine may be busy."""
MOST_MEMORY_MB = 900
HARMLESS = {"percent with a map", "keys that collide a little", "a long flat list", "many names"}

# fmt: off
PLANS = {

    "flat list 1MB": "x = [" + "0,"*500_000 + "]",
    "60k stmts": "a=1\n"*16000,
    "deep parens": "x = " + "("*3000 + ")"*3000,
    "deep brackets 190": "x = " + "["*190 + "]"*190,
    "deep unary": "x = " + "-"*30000 + "1",
    "deep not": "x = " + "not "*10000 + "1",
    "long plus": "x = 1" + "+1"*20000,
    "deep lambda": "x = sorted([1], key=" + "lambda a: "*3000 + "1)",
    "deep attr": "x = a" + ".b"*20000,
    "deep fstring": "x = " + "f'{"*50 + "1" + "}'"*50,
    "big int literal": "x = " + "9"*60000,
    "hex literal": "x = 0x" + "f"*60000,
    "nul": "x = 1\x00",
    "surrogate": "x = '\ud800'",
    "pow": "x = 10**10**9",
    "pow2": "x = 2**10000\ny = x**10000",
    "mult chain": "x = 2**10000" + "\nx = x*x"*20,
    "shift": "x = 1 << 10**12",
    "str mult": "x = 'a' * 10**12",
    "list mult": "x = [0] * 10**12",
    "rlist": "x = 10**12 * [0]",
    "shared str": "a=[0]*10**6\nb=[a]*1000\nx=str(b)",
    "doubling": "a=[0]\n" + "a=[a,a]\n"*60 + "x=str(a)",
    "doubling eq": "a=[0]\nb=[0]\n" + "a=[a,a]\nb=[b,b]\n"*30 + "x=a==b",
    "doubling nested": "a=[0]\n" + "".join("a=[a,a]\n" for _ in range(18)) + "x=[[a for _ in range(400)] for _ in range(400)]",
    "nest names": "a=[0]\n" + "a=[a]\n"*900 + "x=str(a)",
    "fwidth": "x = f'{1:1000000000}'",
    "fwidth nested": "x = f'{1:{10**9}}'",
    "fprec": "x = f'{1.5:.1000000000f}'",
    "percent": "x = '%1000000000d' % 1",
    "percent star": "x = '%*d' % (10**9, 1)",
    "percent computed": "s = '%' + '1000000000d'\nx = s % 1",
    "center": "x = 'a'.center(10**10)",
    "zfill": "x = 'a'.zfill(10**10)",
    "replace": "a = 'a'*10**6\nx = a.replace('a', a)",
    "join": "a = 'a'*10**6\nx = a.join(['x']*10**6)",
    "join2": "a = 'a'*10**6\nx = ''.join([a]*1000)",
    "split": "a = 'a '*4*10**6\nx = a.split()",
    "splitlines": "a = '\\x0b'*9*10**6\nx = a.splitlines()",
    "list(str)": "x = list('a'*9*10**6)",
    "range": "x = list(range(10**12))",
    "sum range": "x = sum(range(10**12))",
    "range in float": "x = 0.5 in range(10**12)",
    "range in": "x = 'a' in range(10**12)",
    "range index": "x = range(10**12).index('a')",
    "range count": "x = range(10**12).count(0.5)",
    "range eq": "x = range(10**12) == range(10**12)",
    "max range": "x = max(range(10**9))",
    "sorted range": "x = sorted(range(10**9))",
    "set range": "x = set(range(10**9))",
    "any lazy": "x = any(0 for _ in range(10**9))",
    "map": "x = sum(map(abs, range(10**9)))",
    "zip": "x = list(zip(range(10**9), range(10**9)))",
    "min map": "x = min(map(abs, range(10**9)))",
    "comp": "x = [i for i in range(10**9)]",
    "comp2": "x = [1 for i in range(10**5) for j in range(10**5)]",
    "comp of none": "x = [1 for i in range(10**9) if 0]",
    "nested comp": "x = [[0]*1000 for i in range(10**5)]",
    "collide": "x = {k*(2**61-1) for k in range(60000)}",
    "collide tuple": "x = {(k*(2**61-1),) for k in range(60000)}",
    "collide dict": "x = {k*(2**61-1): 1 for k in range(60000)}",
    "collide dict()": "x = dict([(k*(2**61-1), 1) for k in range(60000)])",
    "collide floats": "x = {float(k*(2**61-1)) for k in range(60000)}",
    "collide union": "a = [{k*(2**61-1) for k in range(i*900,i*900+900)} for i in range(60)]\nx = a[0].union(" + ",".join(f"a[{i}]" for i in range(60)) + ")",
    "collide or": "a = [{k*(2**61-1) for k in range(i*900,i*900+900)} for i in range(60)]\nx = " + "|".join(f"a[{i}]" for i in range(60)),
    "sort equal lists": "a=[0]*10**6\nb=[0]*10**6\nx = sorted(range(10000), key=lambda i: [a,i] if i%2 else [b,i])",
    "min equal lists": "a=[0]*10**6\nb=[0]*10**6\nx = min(range(10000), key=lambda i: [a,i] if i%2 else [b,i])",
    "in equal lists": "a=[0]*10**6\nb=[0]*10**6\nx = [b in [a]*1000 for i in range(1000)]",
    "index lists": "a=[0]*10**6\nb=[[0]*10**6 + [1]]*1000\nx = b.index(a)",
    "count lists": "a=[0]*10**6\nb=[a]*100000\nx = [b.count([0]*10**6) for i in range(100)]",
    "dict lists eq": "a=[0]*10**6\nb={i: a for i in range(10000)}\nc={i: [0]*10**6 for i in range(2)}\nx = b == b",
    "str find": "a='a'*5*10**6\nx=[a.find('a'*2500000+'b') for _ in range(100)]",
    "str in": "a='a'*5*10**6\nx=['a'*2500000+'b' in a for _ in range(100)]",
    "str eq": "a='a'*5*10**6\nb='a'*5*10**6\nx=[a == b for _ in range(100000)]",
    "str count": "a='a'*5*10**6\nx=[a.count('a') for _ in range(100000)]",
    "str upper": "a='a'*5*10**6\nx=[len(a.upper()) for _ in range(100000)]",
    "str slices": "a='a'*5*10**6\nx=[a[1:] for _ in range(100000)]",
    "slice list": "a=[0]*10**6\nx=[a[1:] for _ in range(100000)]",
    "memory strings": "a='a'*5*10**6\nx=[a+str(i) for i in range(100000)]",
    "memory 2": "".join(f"a{i}='a'*9*10**6\n" for i in range(900)),
    "memory 4": "a = 'a'*9*10**6\n" + "".join(f"a{i}=a.upper()\n" for i in range(900)),
    "sum lists": "x=sum([[0]*100 for _ in range(10000)], [])",
    "add lists": "a=[0]*10**6\nx=[len(a+a) for _ in range(10000)]",
    "list in in": "a=list(range(100000))\nx=[ -1 in a for _ in range(100000)]",
    "tuple in": "a=tuple(range(100000))\nx=[ -1 in a for _ in range(100000)]",
    "values in": "a={i:i for i in range(100000)}\nx=[ -1 in a.values() for _ in range(100000)]",
    "round": "x = round(5, -10**9)",
    "int str": "x = int('9'*10**6)",
    "int str16": "x = int('f'*10**7, 16)",
    "int str many": "x = [int('9'*4000) for _ in range(100000)]",
    "str int many": "a = 10**4000\nx = [str(a) for _ in range(100000)]",
    "powmod": "a=2**16000+1\nx = pow(a,a,a)",
    "powmod2": "a=2**4000+1\nx = [pow(a,a,a) for _ in range(100000)]",
    "mul many": "a=2**8000\nx = [a*a for _ in range(100000)]",
    "div many": "a=2**16000\nb=2**8000+1\nx = [a//b for _ in range(100000)]",
    "float fmt": "x = [f'{1e308:.1000f}' for _ in range(100000)]",
    "repr nest": "a='a'*10**6\nx=[repr([a]*10) for _ in range(10000)]",
    "join many": "x=','.join(['a']*10**6)\ny=x.split(',')\nz=[len(x.split(',')) for _ in range(100)]",
    "fstr big": "a='a'*9*10**6\nx=f'{a}{a}{a}{a}'",
    "lambda inf": "x = max(range(10**7), key=lambda i: -i)",
    "filter": "x = next(filter(None, map(lambda i: 0, range(10**9))), 1)",
    "reversed": "x = list(reversed(range(10**9)))",
    "enumerate": "x = any(i < 0 for i, _ in enumerate(range(10**9)))",
    "starred": "x = [*range(10**9)]",
    "unpack": "a, *b = range(10**9)",
    "dictstar": "a = {i: i for i in range(30000)}\nx = [{**a} for _ in range(1000)]",
    "dict copy": "a = {i: i for i in range(30000)}\nx = [a.copy() for _ in range(10000)]",
    "list copy": "a = [0]*10**6\nx = [a.copy() for _ in range(10000)]",
    "set copy": "a = set(range(30000))\nx = [a.copy() for _ in range(10000)]",
    "list call": "a = [0]*10**6\nx = [list(a) for _ in range(10000)]",
    "tuple call": "a = [0]*10**6\nx = [tuple(a) for _ in range(10000)]",
    "str of str": "a = 'a'*9*10**6\nx = [str(a)+'' for _ in range(10**5)]",
    "fail values": "a = [['x'*10**6]*1000]*1000\nexpect(len(a) < 1, str(len(a)))",
    "encode": "a = 'a'*9*10**6\nx = [a.encode() for _ in range(1000)]",
    "hash tuple": "a = tuple(range(100000))\nd = {a: 1}\nx = [d.get(a) for _ in range(100000)]",
    "hash tuples nested": "a = (0,0)\n" + "a = (a,a)\n"*24 + "x = {a: 1}",
    "1000 long stmts": "x = sum(range(100000))\n"*1000,
    "done shared": "a=[0]*1000\nb=[a]*10000\ndone(b)",
    "walrus attr": "x = ().__class__.__bases__",
    "fstr attr": "x = f'{().__class__}'",
    "format": "x = '{0.__class__}'.format(1)",
    "getattr": "x = getattr(1, 'real')",
    "breakpoint": "breakpoint()",
    "a long flat list": "x = [" + "0," * 30_000 + "]\nnote(str(len(x)))",
    "many names": "".join(f"a{i} = a{i - 1}\n" if i else "a0 = 1\n" for i in range(900)),
    "percent with a map": "d = {'k': 'a' * 10**6}\nx = '%(k)s' % d",
    "keys that collide a little": "x = [k*(2**61-1) in {j*(2**61-1) for j in range(900)} for k in '']",
}
# fmt: on


@pytest.fixture(scope="module")
def endings() -> dict[str, dict[str, Any]]:
    """How each plan ended; one that took the process with it, and those after it, are missing."""
    sources = json.dumps(list(PLANS.values()))
    ran = subprocess.run(
        [sys.executable, SCRIPT], input=sources, capture_output=True, text=True, timeout=300
    )
    lines = ran.stdout.splitlines()
    return dict(zip(PLANS, map(json.loads, lines), strict=False))


@pytest.mark.parametrize("name", PLANS)
def test_a_hostile_plan_ends_soon_and_says_why(
    name: str, endings: dict[str, dict[str, Any]]
) -> None:
    assert name in endings, "it, or one before it, ended the process"
    found = endings[name]
    if name in HARMLESS:
        assert found["ended"] == "ok", found
    else:
        assert found["ended"] in ("LimitExceeded", "invalid", "program"), found
        assert found["text"]
    assert found["cpu_s"] < MOST_CPU_S
    assert found["memory_mb"] < MOST_MEMORY_MB
    assert found.get("held_up_s", 0) < MOST_HELD_UP_S


def test_a_limit_says_that_more_is_for_a_program(endings: dict[str, dict[str, Any]]) -> None:
    limited = [found for found in endings.values() if found["ended"] == "LimitExceeded"]
    assert len(limited) > 50
    assert all("more is for a program" in found["text"] for found in limited)

"""Which `python` checks only look at a result, and which let it into their own process."""

from __future__ import annotations

import pytest

from planloop.workspace import python_loads_in_process


@pytest.mark.parametrize(
    "source",
    [
        "assert open('n').read() == '7'",
        "import json, re\nassert re.compile('a').match(json.load(open('r.json'))['a'])",
        "from pathlib import Path\nimport os.path\nassert Path('a').exists()",
        "import xml.etree.ElementTree as t\nt.parse('a.xml')",
    ],
)
def test_what_only_looks_stays_outside(source: str) -> None:
    assert not python_loads_in_process(source, ["prog", "r.json", "src", "n"])


@pytest.mark.parametrize(
    "source",
    [
        "import adding",
        "import subprocess\nassert subprocess.run(['./prog']).returncode == 0",
        "import os\nos.system('./prog')",
        "from os import popen\npopen('./prog')",
        "import sys\nsys.path.insert(0, 'src')\nimport mymod",
        "import sys\nsys.path.insert(0, 'src')\nfrom mymod.a import b",
        "from . import x",
        "import importlib\nimportlib.import_module('a')",
        "import runpy\nrunpy.run_path('a.py')",
        "import pickle\npickle.load(open('d', 'rb'))",
        "import os\nos.execv('./prog', ['prog'])",
        "from os import execv\nexecv('./prog', ['prog'])",
        "import builtins\nbuiltins.exec(open('a.py').read())",
        "exec(open('a.py').read())",
        "eval(open('a').read())",
        "import doctest\ndoctest.testfile('a.txt')",
        "import unittest\nunittest.main('tests')",
        "import site\nsite.addsitedir('libs')",
        "import ctypes\nctypes.CDLL('./a.so')",
        "import yaml",
        "no python (",
        "(" * 5000,
    ],
)
def test_what_could_run_judged_code_is_in_process(source: str) -> None:
    assert python_loads_in_process(source, ["src"])


@pytest.mark.parametrize(
    "name",
    [
        "json.py",
        "json",
        "json.cpython-311-x86_64-linux-gnu.so",
        "json.abi3.so",
        "os.py",
        "sitecustomize.py",
    ],
)
def test_a_result_that_could_stand_in_for_a_module_is_in_process(name: str) -> None:
    assert python_loads_in_process("import json", [name])

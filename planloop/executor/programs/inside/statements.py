"""One statement: it runs, tells how it ended, and leaves nothing behind if it failed."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import datetime
import inspect
import threading
import types
from collections.abc import Coroutine
from typing import Any

from .checkpoints import Checkpoints
from .describing import describe
from .errors import Finished, Gone, PlanStopped, calls_behind
from .rewriting import Rewrite
from .runner import Runner
from .showing import shown_in_time

MOST_BOUND = 10_000
"""Names that are told to be bound anew."""
MOST_NAME = 200
IMMUTABLE = (
    type(None), bool, int, float, complex, str, bytes, range, frozenset, datetime.date,
    datetime.time, datetime.timedelta, types.FunctionType, types.BuiltinFunctionType,
    types.ModuleType, type,
)  # fmt: skip


_compile, _eval = compile, eval
"""As they were before the program could put others in their place."""


class Statement:
    """One statement as the host sent it."""

    def __init__(self, runner: Runner, checkpoints: Checkpoints, order: dict[str, Any]) -> None:
        self._runner = runner
        self._checkpoints = checkpoints
        self._order = order

    def run(self) -> None:
        """Run it, and tell how it ended.

        The frame `ended` holds: ok, error (see `describe`), unhandled (numbers of the failed calls
        behind the error), value (what a bare expression came to, shown), bound (names), finished
        (`done` or `give_up`), undone (whether nothing of it is left).
        """
        runner, mark = self._runner, self._mark()
        before = dict(runner.names)
        runner.flush()  # what is held would be sent by both
        checkpoint = self._checkpoints.take() if mark == "state" else None
        if isinstance(checkpoint, str):
            runner.channel.forget_answers()
            self._tell({"op": "back", "why": checkpoint})
            return
        told = self._attempt(before)
        if not told["ok"] and mark == "names":
            runner.names.clear()
            runner.names.update(before)
        if told["ok"] and checkpoint is not None:
            checkpoint.dismiss()
        goes_back = checkpoint is not None and not told["ok"]
        self._tell({**told, "op": "ended", "undone": mark != "lost", "goes_back": goes_back})
        if not told["ok"] and checkpoint is not None:
            checkpoint.give_way()

    def _tell(self, frame: dict[str, Any]) -> None:
        self._runner.channel.send({**frame, "id": self._order["id"]})

    def _mark(self) -> str:
        """How to go back: `none` needed, `names`, `state`, or `lost`: it cannot be done here."""
        wanted: str = self._order["mark"]
        names = self._runner.names
        if wanted == "names":
            settled = (names[name] for name in self._order["settled"] if name in names)
            if all(isinstance(value, IMMUTABLE) for value in settled):
                return "names"
            wanted = "state"
        threads = threading.active_count() > 1  # they do not fork
        if wanted == "state" and (threads or not self._checkpoints.may_be_taken):
            return "lost"
        return wanted

    def _attempt(self, before: dict[str, Any]) -> dict[str, Any]:
        runner = self._runner
        runner.begin_statement()
        told = self._outcome()
        runner.end_statement()
        if runner.stopped is not None:
            told = {"ok": False, "stopped": runner.stopped}
        missing = object()
        changed = (
            name
            for name, value in list(runner.names.items())
            if isinstance(name, str) and before.get(name, missing) is not value
        )
        bound = [one for one in changed if one not in runner.reserved and not one.startswith("__")]
        return {**told, "bound": [one for one in bound if len(one) < MOST_NAME][:MOST_BOUND]}

    def _outcome(self) -> dict[str, Any]:
        runner = self._runner
        try:
            value = self._execute()
            text = None if value is None else shown_in_time(value)
            return {"ok": True, "value": text, "finished": False}
        except Finished:
            return {"ok": True, "value": None, "finished": True}
        except PlanStopped as stop:
            return {"ok": False, "stopped": str(stop)}
        except Gone:
            raise
        except BaseException as error:
            hidden = runner.reserved
            behind: list[int] = []
            with contextlib.suppress(Exception):
                behind = calls_behind(error)
            return {
                "ok": False,
                "error": describe(error, runner.loops, hidden),
                "unhandled": [*behind, *runner.shadowed],
            }

    def _execute(self) -> Any:
        order, runner = self._order, self._runner
        tree: ast.AST = ast.parse(order["source"], filename=order["file"])
        ast.increment_lineno(tree, order["line"] - 1)
        tree = ast.fix_missing_locations(Rewrite(runner.tools).visit(tree))
        assert isinstance(tree, ast.Module)
        last, kind = tree.body[-1], "exec"
        if isinstance(last, ast.Expr):
            tree, kind = ast.copy_location(ast.Expression(last.value), last), "eval"
        code = _compile(
            tree, order["file"], kind, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
        )
        if code.co_flags & inspect.CO_COROUTINE:
            return in_loop(types.FunctionType(code, runner.names)())
        return _eval(code, runner.names)


def in_loop(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """A loop of its own for each statement: one that lived on could not be forked."""
    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(coroutine)
    finally:
        asyncio.set_event_loop(None)
        loop.close()

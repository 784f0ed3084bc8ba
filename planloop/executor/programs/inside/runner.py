"""The program: its names, its tools and words, and where their calls stand."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import inspect
import sys
import threading
import types
from collections.abc import Callable
from typing import Any, Tuple

from .channel import Channel, Written
from .errors import ExpectationFailed, Failures, Finished, PlanStopped, ToolFailed, calls_behind
from .loops import Loops
from .rewriting import WATCH
from .showing import shown_in_time
from .values import MissingKey, decode, encode

MOST_WORKERS = 32
MOST_SAID = 10_000
"""Characters of what `give_up` says."""
IN_THREADS = 1_000_000
"""Threads of the program's own come after all else, by their numbers."""
IN_TASKS = 900_000
"""So do calls that are awaited."""

Place = Tuple[int, ...]


class Paths(threading.local):
    """Where calls of this thread stand: a prefix, and how many calls came before."""

    def __init__(self) -> None:
        self.prefix: Place | None = None
        self.count = 0


class Tool:
    """A tool of the host as a function with its own signature and docstring."""

    def __init__(self, runner: Runner, name: str, stub: str) -> None:
        self._runner = runner
        self.__name__ = self.__qualname__ = name
        made: dict[str, Any] = {}
        with contextlib.suppress(Exception):  # types that do not exist here
            exec(compile(stub, "<tools>", "exec", dont_inherit=True), made)
            self.__signature__ = inspect.signature(made[name])
            self.__doc__ = made[name].__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._runner.call(self.__name__, args, kwargs)

    async def asynchronous(self, *args: Any, **kwargs: Any) -> Any:
        """The same for `await`: other coroutines go on meanwhile."""
        place = (IN_TASKS, *self._runner.reserve_place())
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._runner.pool(), lambda: self._runner.call(self.__name__, args, kwargs, place)
        )

    def __repr__(self) -> str:
        return f"<tool {self.__name__}>"


class Runner:
    """The program that lives here."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.streams = (Written(channel, "stdout"), Written(channel, "stderr"))
        sys.stdout, sys.stderr = self.streams
        self.module = types.ModuleType("__main__")
        self.names: dict[str, Any] = self.module.__dict__
        self.loops = Loops()
        self.stopped: str | None = None
        """Why the host ended the plan."""
        self.shadowed: list[int] = []
        """Failed calls of branches that ran beside the one whose failure was raised."""
        self._failures = Failures()
        self._paths = Paths()
        self._threads = 0
        self._pool: Any = None
        words = self._words()
        self.names.update(words, __builtins__=builtins)
        self.reserved = {*words, "__builtins__"}
        sys.modules["__main__"] = self.module

    def _words(self) -> dict[str, Any]:
        return {
            "note": self.note,
            "done": self.done,
            "give_up": self.give_up,
            "expect": self.expect,
            "check": self.check,
            "keep": lambda: None,
            "restart": lambda: None,
            "parallel": self.parallel,
            "MissingKey": MissingKey,
            "ToolFailed": ToolFailed,
            "ExpectationFailed": ExpectationFailed,
            WATCH: self.loops.watch,
        }

    @property
    def tools(self) -> set[str]:
        """Names of the tools."""
        return {name for name in self.reserved if isinstance(self.names.get(name), Tool)}

    def add_tools(self, stubs: dict[str, str]) -> None:
        for name, stub in stubs.items():
            self.names[name] = Tool(self, name, stub)
            self.reserved.add(name)

    def flush(self) -> None:
        """Send what the program has printed, whatever it made of `sys.stdout`."""
        for stream in self.streams:
            stream.flush()

    def begin_statement(self) -> None:
        self.loops.clear()
        self.shadowed.clear()
        self._paths.prefix, self._paths.count = (), 0
        self.channel.begin_statement()

    # -------------------------------------------------------- calls

    def reserve_place(self) -> Place:
        paths = self._paths
        if paths.prefix is None:
            self._threads += 1
            paths.prefix = (IN_THREADS, self._threads)
        paths.count += 1
        return (*paths.prefix, paths.count)

    def call(self, tool: str, args: Any, kwargs: dict[str, Any], place: Place | None = None) -> Any:
        """Call a tool of the host."""
        if self.stopped is not None:
            raise PlanStopped(self.stopped)
        frame = {
            "op": "call",
            "tool": tool,
            "args": [encode(item) for item in args],
            "kwargs": {name: encode(item) for name, item in kwargs.items()},
            "line": calling_line(),
            "path": list(place or self.reserve_place()),
        }
        answer = self.channel.ask(frame)
        if answer["op"] == "result":
            return decode(answer["value"])
        if answer["op"] == "stop":
            self.stopped = answer["why"]
            raise PlanStopped(answer["why"])
        raise self._failures.made(answer, decode(answer.get("value")))

    def pool(self) -> Any:
        from concurrent.futures import ThreadPoolExecutor

        if self._pool is None:
            self._pool = ThreadPoolExecutor(MOST_WORKERS)
        return self._pool

    def end_statement(self) -> None:
        """Send what was printed; let calls end, and our own threads, which do not fork."""
        self.flush()
        self.channel.end_statement()
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None

    # -------------------------------------------------------- words

    def note(self, text: Any = None) -> None:
        self.channel.send({"op": "say", "word": "note", "value": shown_in_time(text)})

    def done(self, answer: Any = None) -> None:
        self.channel.send({"op": "say", "word": "done", "value": encode(answer)})
        raise Finished

    def give_up(self, why: Any) -> None:
        self.channel.send({"op": "say", "word": "give_up", "value": str(why)[:MOST_SAID]})
        raise Finished

    def expect(self, cond: Any, why: Any = "the expectation was not met") -> None:
        if not cond:
            raise ExpectationFailed(str(why))

    def check(
        self,
        run: Any = None,
        file: Any = None,
        contains: Any = None,
        equals: Any = None,
        python: Any = None,
    ) -> None:
        given = {"run": run, "file": file, "contains": contains, "equals": equals, "python": python}
        self.call("check", (), {name: one for name, one in given.items() if one is not None})

    def parallel(self, *branches: Any) -> list[Any]:
        """Run branches at once; results in their order, or the first failure by order.

        Every branch comes here as a function: see `Rewrite`.
        """
        if len(branches) == 1 and not callable(branches[0]):
            branches = tuple(branches[0])
        at_once = Branches(branches, lambda number: self._enter_branch((*place, number)))
        place = self.reserve_place()
        at_once.run(lambda: self.stopped is not None)
        if self.stopped is not None:
            raise PlanStopped(self.stopped)
        if at_once.errors:
            for error in at_once.errors.values():
                self.shadowed += calls_behind(error)
            raise at_once.errors[min(at_once.errors)]
        return at_once.results

    def _enter_branch(self, prefix: Place) -> None:
        self._paths.prefix, self._paths.count = prefix, 0


class Branches:
    """Branches of `parallel`: begun in their order, as many at once as there are workers."""

    def __init__(self, branches: tuple[Any, ...], enter: Callable[[int], None]) -> None:
        self._branches = branches
        self._enter = enter
        self._next = iter(range(len(branches)))
        self._lock = threading.Lock()
        self.results: list[Any] = [None] * len(branches)
        self.errors: dict[int, BaseException] = {}

    def run(self, is_over: Callable[[], bool]) -> None:
        """Run all of them, or until it is over."""
        count = min(len(self._branches), MOST_WORKERS)
        threads = [threading.Thread(target=self._work, args=(is_over,)) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, is_over: Callable[[], bool]) -> None:
        while True:
            with self._lock:
                number = next(self._next, None)
            if number is None or is_over():
                return
            self._enter(number)
            branch = self._branches[number]
            try:
                self.results[number] = branch() if callable(branch) else branch
            except BaseException as error:
                self.errors[number] = error


def calling_line() -> int | None:
    """The line of the plan that is being run in this thread."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<plan"):
            return frame.f_lineno
        frame = frame.f_back
    return None

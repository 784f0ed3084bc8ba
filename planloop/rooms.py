"""The rooms of one run, opened in order, and closed whatever happens."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from planloop.budget import Account, Budget
from planloop.environment import Environment, World
from planloop.errors import UserError
from planloop.events import Event
from planloop.executor.ahead import HeadStart
from planloop.executor.calls import Surroundings
from planloop.executor.executor import Executor
from planloop.executor.files import Files
from planloop.executor.outputs import OUTPUT_OF, Outputs
from planloop.executor.programs.living import Definitions, Programs
from planloop.executor.running import thread_limiter
from planloop.feedback.approval import Approve, Approver
from planloop.feedback.checks import Checks, HostCheck
from planloop.feedback.collector import Collector
from planloop.feedback.output import OutputType
from planloop.feedback.proposals import Proposals
from planloop.goals import GOAL, LLM, Engine, Level, equipped
from planloop.language import RESERVED
from planloop.ledger import Ledger
from planloop.loop import Loop
from planloop.messages import Message, Model
from planloop.planner.planner import Planner
from planloop.planner.prompt import Prompt, build_prompt
from planloop.plugins import resolve_tool
from planloop.sandbox import Sandbox, SandboxSpec
from planloop.sandboxes import open_sandbox
from planloop.state import PinnedCheck, State
from planloop.task import Task
from planloop.tool import Tool, tool_table
from planloop.trace.journal import Journal
from planloop.trace.store import RunStore
from planloop.values import Value
from planloop.workspace import Workbench

if TYPE_CHECKING:
    from planloop.layers import Prepared


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
    """Everything that runs are made of, resolved: no names are left to look up."""

    model: Model
    executor: Model | None = None
    """Of goals and `llm` calls; None for the one that plans."""
    owns_executor: bool = False
    decomposes: bool = False
    """A goal or external call that fails again is done in parts."""
    price: str
    """The model's price as people read it."""
    owns_model: bool
    """It was made from a name here, and is closed when a run ends."""
    tools: tuple[Tool, ...]
    """Besides the environment's."""
    environment: Environment
    sandbox: SandboxSpec
    checks: tuple[HostCheck, ...] = ()
    deps: Any = None
    output_type: OutputType
    approve: Approve | None = None
    store: RunStore | None = None
    """None keeps traces in memory."""
    unsafe_local: bool = False
    style: str = ""
    templates: Path | None = None
    """A folder of the user's own with prompt templates."""


@dataclasses.dataclass
class Memory:
    """What follow-ups find: names, ledger, conversation, and copies of the files."""

    names: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    ledger: Ledger = dataclasses.field(default_factory=Ledger)
    history: tuple[Message, ...] = ()
    bench: Workbench | None = None
    left_out: tuple[str, ...] = ()
    prepared: Prepared | None = None
    definitions: Definitions = dataclasses.field(default_factory=Definitions)
    """Imports and definitions of programs."""
    outputs: Outputs = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.outputs = Outputs(self.ledger)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rooms:
    """One run, ready to go."""

    loop: Loop
    planner: Planner
    account: Account
    tools: Mapping[str, Tool]
    sandbox: Sandbox | None
    prompt: Prompt
    prelude: tuple[Event, ...]
    """What happened before the run began, for its trace."""
    executor: Executor
    head_start: HeadStart
    """Begins with plans while they are being written, as long as it is opened."""


@contextlib.asynccontextmanager
async def open_rooms(
    setup: Setup,
    memory: Memory,
    task: Task,
    budget: Budget,
    journal: Journal,
    *,
    run_id: str,
    said: str | None = None,
) -> AsyncIterator[Rooms]:
    """Open everything that a run needs.

    Args:
        said: what the user says next, if this run follows up another.

    Raises:
        UserError: something the caller can fix.
    """
    async with contextlib.AsyncExitStack() as stack:
        prelude = await _prepare(setup, memory, task, journal, run_id)
        if memory.prepared is not None:
            setup = dataclasses.replace(setup, sandbox=memory.prepared.spec)
        sandbox = await _open_workspace(setup, memory, run_id, stack)
        files = Files(sandbox, setup.environment, journal)
        if sandbox is not None and memory.bench is not None:
            memory.bench.attach(sandbox, lambda: files.version)
            stack.callback(memory.bench.detach)
        stack.push_async_callback(_shielded_close, setup.environment)
        world = World(deps=setup.deps, sandbox=sandbox, folder=task.folder)
        await setup.environment.setup(world)
        bench = memory.bench
        account = Account(budget)
        checks = Checks(
            account=account,
            bench=bench,
            open_clean=None if bench is None else lambda: _opened(setup, bench, run_id),
            host=setup.checks,
            environment=setup.environment,
            output_type=setup.output_type,
            deps=setup.deps,
        )
        stack.callback(checks.let_go)
        await checks.refuse_impossible(task.checks, sandbox)
        view = await setup.environment.observe()
        rooms = _assemble(setup, memory, task, account, journal, files, checks, view, said)
        stack.push_async_callback(rooms.executor.close)
        yield dataclasses.replace(rooms, prelude=prelude)


async def _prepare(
    setup: Setup, memory: Memory, task: Task, journal: Journal, run_id: str
) -> tuple[Event, ...]:
    """Copy the folder and set it up, unless this session has; returns what happened."""
    if memory.bench is not None:
        return ()
    wanted = bool(task.setup or task.packages)
    if setup.sandbox.kind == "none":
        if wanted:
            raise UserError(
                "`setup` and `packages` need a sandbox, and this run has none",
                hint="choose one with `sandbox:`, or leave them out",
            )
        return ()
    memory.bench, left_out = await Workbench.open(task.folder, task.workspace)
    memory.left_out = tuple(f"{one.path} ({one.why})" for one in left_out)
    from planloop import layers  # needs POSIX, as sandboxes do

    if not wanted:
        return layers.suggestion(memory.bench.original)
    wish = layers.Preparing(
        spec=setup.sandbox,
        setup=task.setup,
        packages=task.packages,
        files=memory.bench.original,
        workspace=task.workspace,
        environ=os.environ,
        run_id=run_id,
        scratch=memory.bench.scratch,
        tell=journal.emit,
    )
    memory.prepared = await layers.prepare(wish)
    newest = memory.prepared.layers[-1]
    await memory.bench.set_up(newest.files, newest.deleted)
    return memory.prepared.ended


async def _open_workspace(
    setup: Setup, memory: Memory, run_id: str, stack: contextlib.AsyncExitStack
) -> Sandbox | None:
    if setup.sandbox.kind == "none" or memory.bench is None:
        return None
    source = await memory.bench.result()
    sandbox = await stack.enter_async_context(_opened(setup, memory.bench, run_id))
    await sandbox.copy_in(source)
    return sandbox


@contextlib.asynccontextmanager
async def _opened(setup: Setup, bench: Workbench, run_id: str) -> AsyncIterator[Sandbox]:
    """A sandbox with an empty workspace, for the length of the block."""
    with bench.scratch("sandbox") as state_dir:
        sandbox = await open_sandbox(
            setup.sandbox, run_id=run_id, state_dir=state_dir, unsafe_local=setup.unsafe_local
        )
        assert sandbox is not None  # only kind `none` opens none, and that is decided above
        try:
            yield sandbox
        finally:
            with anyio.CancelScope(shield=True):
                await sandbox.close()


def _assemble(
    setup: Setup,
    memory: Memory,
    task: Task,
    account: Account,
    journal: Journal,
    files: Files,
    checks: Checks,
    view: Value,
    said: str | None,
) -> Rooms:
    tools = tool_table(_tools(setup, task), RESERVED | {OUTPUT_OF, GOAL, LLM})
    _refuse_unusable(tools, setup, files.sandbox)
    memory.outputs.keep_in(journal.log.blobs)
    # Feedback teaches it where there is something to read on in: no prompt is longer for it.
    callable_tools = {**tools, OUTPUT_OF: memory.outputs.tool} if files.sandbox else dict(tools)
    native = setup.model.profile.plans_in == "native"
    decided = bool(task.checks or setup.checks)
    proposals = Proposals(
        checks, memory.ledger, journal, decided=decided, files=files.sandbox is not None
    )
    shared = Surroundings(
        tools=callable_tools,
        ledger=memory.ledger,
        journal=journal,
        account=account,
        files=files,
        outputs=memory.outputs,
        deps=setup.deps,
        threads=thread_limiter(),
        propose=proposals.pin,
        network_open=setup.sandbox.network == "full" and files.sandbox is not None,
    )
    engine = Engine(
        model=setup.executor or setup.model,
        tools=callable_tools,
        shown=tools,
        environment=setup.environment,
        approver=Approver(setup.approve),
        decomposes=setup.decomposes,
        style=setup.style,
        templates=setup.templates,
    )
    shared, own = equipped(Level(engine, account, journal, files), shared)
    state = State(
        task=task,
        names=memory.names,
        pinned=tuple(PinnedCheck(check=check) for check in task.checks),
        environment_view=view,
        living=memory.definitions.names,
    )
    prompt = build_prompt(
        state,
        {**(callable_tools if native else tools), **own},
        setup.model.profile,
        may_propose=not decided and files.sandbox is not None,
        programs=files.sandbox is not None,
        output=setup.output_type.text,
        style=setup.style,
        overrides=setup.templates,
    )
    history = memory.history or prompt.messages
    executor = Executor(shared, Programs(files.sandbox, memory.definitions))
    planner = Planner(
        setup.model,
        dict(shared.tools),
        history,
        prompt.tools,
        account=account,
        journal=journal,
        programs=files.sandbox is not None,
        # An approval is of the whole plan, before anything of it runs.
        head_start=executor.head_start if setup.approve is None else None,
    )
    if said is not None:
        planner.hear(said, [check.label for check in task.checks])
    loop = Loop(
        planner=planner,
        approver=engine.approver,
        executor=executor,
        collector=Collector(checks.run, setup.environment, account, journal, files.services),
        account=account,
        state=state,
    )
    return Rooms(
        loop=loop,
        planner=planner,
        account=account,
        tools=tools,
        sandbox=files.sandbox,
        prompt=prompt,
        prelude=(),
        executor=executor,
        head_start=executor.head_start,
    )


def _tools(setup: Setup, task: Task) -> list[Tool]:
    """The tools of a run: the app's, and the world's, of which the task may name some."""
    world = {tool.name: tool for tool in setup.environment.tools()}
    if task.tools is None:
        return [*world.values(), *setup.tools]
    base = task.folder or Path.cwd()
    return [*(world.get(name) or resolve_tool(name, base) for name in task.tools), *setup.tools]


def _refuse_unusable(tools: Mapping[str, Tool], setup: Setup, sandbox: Sandbox | None) -> None:
    """Raise `UserError` for tools that cannot work in these surroundings."""
    for tool in tools.values():
        if tool.needs_sandbox and sandbox is None:
            raise UserError(
                f"tool `{tool.name}` needs a sandbox, and this run has none",
                hint="choose one with `sandbox=`, or leave the tool out",
            )
        undoable = sandbox is not None or setup.environment.restores
        if tool.effect.value == "workspace" and not undoable:
            raise UserError(
                f"tool `{tool.name}` has a `workspace` effect, and nothing here could undo it",
                hint="declare it `external`, or give the environment a `restore`",
            )


async def _shielded_close(environment: Environment) -> None:
    with anyio.CancelScope(shield=True), anyio.move_on_after(10):
        await environment.close()

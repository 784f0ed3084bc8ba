"""Tools: typed functions that a plan may call, and how their arguments are bound."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import math
import time
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar, overload

from planloop.errors import CallFailed, UserError
from planloop.sandbox import Command, Completed, Sandbox, Service, ServiceState
from planloop.values import Handle, Record, Value, canonical, digest, dump, identifier, identifiers

Deps = TypeVar("Deps")


class Effect(StrEnum):
    """Where a call lands."""

    PURE = "pure"
    """Its arguments only."""
    READS = "reads"
    """Looks at the workspace or the world."""
    WORKSPACE = "workspace"
    """Changes files in the sandbox; a snapshot undoes it."""
    EXTERNAL = "external"
    """Changes anything else. The default of a tool that declares nothing."""

    @property
    def is_effect(self) -> bool:
        """Whether a call changes something."""
        return self in (Effect.WORKSPACE, Effect.EXTERNAL)


@dataclasses.dataclass(frozen=True)
class Within:
    """A call of a run, as what goes on inside it is named."""

    serial: int
    """Its number in the ledger."""
    conversation: str
    """What a conversation with a model inside it is called: the same in every equal run."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Context(Generic[Deps]):
    """What a tool may ask its run for. A parameter annotated `Context[…]` is hidden from plans."""

    deps: Deps
    """The object that the app gave the agent."""
    sandbox: Sandbox | None
    """The run's sandbox; None where the agent has none."""
    idempotency_key: str
    """The same for every attempt at this call; for APIs that take one."""
    output: Callable[[str], None]
    """Show a piece of text in the live view while the call runs."""
    run: Callable[[Command], Awaitable[Completed]]
    """Run a command in the sandbox. Its output streams to the live view, and its outcome is
    recorded on the call; a timeout, a kill or a passed limit ends the call by itself."""
    names: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    """The run's names, read-only."""
    within: Within | None = None
    """Which call of the run this is."""
    spent: Callable[[float], None] = lambda _: None
    """Count seconds as sandbox time; `run` and `background` do so by themselves."""

    async def background(self, service: Service) -> ServiceState:
        """As `Sandbox.background`; what it waits for counts as sandbox time."""
        if self.sandbox is None:
            raise CallFailed("NoSandbox", "this run has no sandbox")
        began = time.monotonic()
        try:
            return await self.sandbox.background(service)
        finally:
            self.spent(time.monotonic() - began)


Resources = Sequence[str] | Callable[[dict[str, Value]], Iterable[str]]
"""Names of what a call touches, or a function of its arguments that says so."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoundCall:
    """A call whose arguments fit: ready to run, to hash and to record."""

    tool: Tool
    arguments: dict[str, Value]
    """After binding, defaults and coercion; canonical."""
    key: str
    """Equal for equal calls: the tool and its canonical arguments (semantics L2)."""
    resources: frozenset[str]
    declared: bool
    """Whether the tool itself declares its resources."""
    again: bool = False
    """The plan said `again=True`: do it even if an equal call was done before."""
    parameters: dict[str, Any] = dataclasses.field(repr=False)
    """What the function is called with."""


class ArgumentsInvalid(ValueError):
    """Arguments that do not fit a tool's signature or types; the text names which and why."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Tool:
    """A typed function with a docstring, sync or async. Made by `@tool`."""

    name: str
    description: str
    function: Callable[..., Any]
    effect: Effect = Effect.EXTERNAL
    resources: Resources | None = None
    timeout_s: float | None = None
    idempotent: bool = False
    """It may be repeated with the same idempotency key."""
    poll: bool = False
    """Calling it again with the same result is no sign of being stuck."""
    needs_sandbox: bool = False
    nests: ClassVar[bool] = False
    """What its calls do stands in the ledger itself, call by call."""
    asks_models: ClassVar[bool] = False
    """Its calls ask a model: they cost money, and a recording holds what was said in them."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, as if it had no decorator."""
        return self.function(*args, **kwargs)

    @functools.cached_property
    def _hints(self) -> dict[str, Any]:
        try:
            return typing.get_type_hints(_annotated(self.function), include_extras=True)
        except (NameError, TypeError, SyntaxError) as error:
            raise UserError(
                f"the types of tool `{self.name}` cannot be read: {error}",
                hint="define them at the top level of the tool's module",
            ) from None

    @functools.cached_property
    def context_parameter(self) -> str | None:
        """The parameter that gets the `Context`, if there is one."""
        for name, hint in self._hints.items():
            if name != "return" and (hint is Context or typing.get_origin(hint) is Context):
                return name
        return None

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        """The signature as plans see it: with annotations resolved, without the context."""
        found = inspect.signature(self.function)
        hidden = self.context_parameter
        parameters = [
            parameter.replace(annotation=self._hints.get(name, Any))
            for name, parameter in found.parameters.items()
            if name != hidden
        ]
        returns = self._hints.get("return", inspect.Signature.empty)
        return found.replace(parameters=parameters, return_annotation=returns)

    @functools.cached_property
    def _model(self) -> Any:
        import pydantic

        fields: dict[str, Any] = {}
        for index, parameter in enumerate(self.signature.parameters.values()):
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            # Own field names: a tool's parameter may be called `schema` or `_x`.
            alias = pydantic.Field(default, alias=parameter.name, validate_default=False)
            fields[f"field_{index}"] = (parameter.annotation, alias)
        config = pydantic.ConfigDict(
            extra="forbid", arbitrary_types_allowed=True, protected_namespaces=()
        )
        return pydantic.create_model(self.name, __config__=config, **fields)

    @functools.cached_property
    def parameters_schema(self) -> dict[str, Any]:
        """JSON schema of the arguments, as native tool declarations carry it."""
        schema: dict[str, Any] = self._model.model_json_schema(by_alias=True)
        schema.pop("title", None)
        for field in schema.get("properties", {}).values():
            field.pop("title", None)
        return schema

    @functools.cached_property
    def schema_hash(self) -> str:
        """Changes when the tool's name, parameters or effect change."""
        try:
            parameters: Value = self.parameters_schema
        except Exception:  # a parameter whose type has no JSON schema: its signature stands for it
            parameters = str(self.signature)
        return digest({"name": self.name, "parameters": parameters, "effect": self.effect.value})

    def stub(self, name: str | None = None) -> str:
        """The tool as a Python signature with its docstring, for the prompt."""
        from planloop.text import signature_text

        lines = self.description.strip().splitlines() or [""]
        body = "\n    ".join(line.rstrip() for line in lines)
        return f'def {name or self.name}{signature_text(self.signature)}:\n    """{body}"""'

    def bind(
        self, args: Sequence[Value], kwargs: Mapping[str, Value], *, again: bool = False
    ) -> BoundCall:
        """Fit arguments to the signature, coerce them by its types, make them canonical.

        Raises:
            ArgumentsInvalid: they do not fit.
        """
        import pydantic

        given = self._given(args, kwargs)
        try:
            model = self._model.model_validate(given)
        except pydantic.ValidationError as error:
            raise ArgumentsInvalid(_explain(self, error)) from None
        names = list(self.signature.parameters)
        parameters = {name: getattr(model, f"field_{i}") for i, name in enumerate(names)}
        arguments = Record((name, _canonical_argument(name, v)) for name, v in parameters.items())
        touched, declared = self.resources_of(arguments)
        return BoundCall(
            tool=self,
            arguments=arguments,
            key=f"{self.name}({canonical(arguments)})",
            resources=touched,
            declared=declared,
            again=again,
            parameters=parameters,
        )

    def _given(self, args: Sequence[Value], kwargs: Mapping[str, Value]) -> dict[str, Any]:
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentsInvalid(f"{identifier(self.name)}(): {error}") from None
        return {name: _unwrap(value) for name, value in bound.arguments.items()}

    def check_shape(self, positional: int, keywords: Iterable[str]) -> None:
        """Raise `ArgumentsInvalid` if so many positional and these keyword arguments do not fit."""
        try:
            self.signature.bind(*([None] * positional), **dict.fromkeys(keywords))
        except TypeError as error:
            raise ArgumentsInvalid(f"{identifier(self.name)}(): {error}") from None

    def check_argument(self, position: int | str, value: Value) -> None:
        """Raise `ArgumentsInvalid` if this one value, known before the run, cannot be right."""
        import pydantic

        names = list(self.signature.parameters)
        name = names[position] if isinstance(position, int) else position
        adapter: Any = pydantic.TypeAdapter(
            self.signature.parameters[name].annotation,
            config=None
            if _has_own_config(self.signature.parameters[name].annotation)
            else pydantic.ConfigDict(arbitrary_types_allowed=True),
        )
        try:
            adapter.validate_python(value)
        except pydantic.ValidationError as error:
            raise ArgumentsInvalid(_explain(self, error, name)) from None

    def resources_of(self, arguments: dict[str, Value]) -> tuple[frozenset[str], bool]:
        """The resources that a call touches, and whether the tool declared them (semantics O1)."""
        if self.effect is Effect.PURE:
            return frozenset(), True
        if self.resources is not None:
            names = self.resources(arguments) if callable(self.resources) else self.resources
            return frozenset(names), True
        in_sandbox = self.needs_sandbox or self.effect is Effect.WORKSPACE
        return frozenset({"workspace" if in_sandbox else "world"}), False


def _annotated(function: Callable[..., Any]) -> Any:
    """What carries the annotations of a callable that may be an object or a partial."""
    if isinstance(function, functools.partial):
        return _annotated(function.func)
    return function if inspect.isroutine(function) else type(function).__call__


def _has_own_config(annotation: Any) -> bool:
    return isinstance(annotation, type) and hasattr(annotation, "model_fields")


def _unwrap(value: Value) -> Any:
    if isinstance(value, Handle):
        return value.object
    if isinstance(value, list):
        return [_unwrap(item) for item in value]
    if isinstance(value, dict):
        return Record((key, _unwrap(item)) for key, item in value.items())
    return value


def _canonical_argument(name: str, value: Any) -> Value:
    try:
        plain = dump(value)
        _refuse_nan(plain)
        canonical(plain)
    except (ValueError, TypeError) as error:
        raise ArgumentsInvalid(f"argument `{name}`: {error}") from None
    return plain


def _refuse_nan(value: Value) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} cannot be an argument")
    if isinstance(value, dict):
        for item in value.values():
            _refuse_nan(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_nan(item)


def _explain(tool: Tool, error: Any, name: str | None = None) -> str:
    parts = []
    for problem in error.errors(include_url=False)[:3]:
        where = ".".join(str(step) for step in problem["loc"])
        where = f"{name}.{where}" if name and where else (name or where)
        got = repr(problem.get("input"))
        got = got if len(got) <= 80 else got[:77] + "…"
        parts.append(f"argument `{where}`: {problem['msg']}, got {got}")
    return f"{identifier(tool.name)}(): " + "; ".join(parts)


_F = TypeVar("_F", bound=Callable[..., Any])


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...


@overload
def tool(
    *,
    name: str | None = ...,
    effect: Effect | str = ...,
    resources: Resources | None = ...,
    timeout_s: float | None = ...,
    idempotent: bool = ...,
    poll: bool = ...,
    needs_sandbox: bool = ...,
) -> Callable[[Callable[..., Any]], Tool]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    effect: Effect | str = Effect.EXTERNAL,
    resources: Resources | None = None,
    timeout_s: float | None = None,
    idempotent: bool = False,
    poll: bool = False,
    needs_sandbox: bool = False,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a typed function, sync or async, a tool that plans may call.

    Args:
        function: what a call runs.
        name: how plans call it; the function's own name by default.
        effect: where a call lands (`pure`, `reads`, `workspace`, `external`). A tool that
            declares none is `external`: recorded before it runs, never repeated.
        resources: what a call touches: names, or a function of its arguments. Calls that
            touch different things may run at once.
        timeout_s: seconds that one call may take.
        idempotent: an interrupted call may be repeated with the same idempotency key.
        poll: equal calls with equal results are no sign of being stuck.
        needs_sandbox: it uses `Context.sandbox`.

    Raises:
        UserError: the function takes `*args` or `**kwargs`, or the effect has no such name.
    """
    if function is None:

        def decorate(found: Callable[..., Any]) -> Tool:
            return _make(found, name, effect, resources, timeout_s, idempotent, poll, needs_sandbox)

        return decorate
    return _make(function, name, effect, resources, timeout_s, idempotent, poll, needs_sandbox)


def _make(
    function: Callable[..., Any],
    name: str | None,
    effect: Effect | str,
    resources: Resources | None,
    timeout_s: float | None,
    idempotent: bool,
    poll: bool,
    needs_sandbox: bool,
) -> Tool:
    if isinstance(function, Tool):
        return function
    label = name or str(getattr(function, "__name__", type(function).__name__))
    for parameter in inspect.signature(function).parameters.values():
        by_name = (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if parameter.kind not in by_name:
            raise UserError(
                f"tool `{label}` takes `{parameter}`; plans need named parameters",
                hint="give each argument a name and a type",
            )
        if parameter.name == "again":
            raise UserError(
                f"tool `{label}` has a parameter `again`, which the plan language uses itself",
                hint="rename the parameter",
            )
    try:
        kind = Effect(effect)
    except ValueError:
        known = ", ".join(f"`{known.value}`" for known in Effect)
        raise UserError(f"tool `{label}`: no effect `{effect}`; expected one of {known}") from None
    return Tool(
        name=label,
        description=inspect.getdoc(function) or "",
        function=function,
        effect=kind,
        resources=resources,
        timeout_s=timeout_s,
        idempotent=idempotent,
        poll=poll,
        needs_sandbox=needs_sandbox,
    )


def tool_table(tools: Iterable[Tool], reserved: frozenset[str]) -> dict[str, Tool]:
    """Tools by the name that plans use for them.

    Raises:
        UserError: two tools have one name, or one clashes with a word of the plan language.
    """
    tools = list(tools)
    seen: dict[str, Tool] = {}
    for found in tools:
        if seen.get(found.name, found) is not found:
            raise UserError(
                f"two tools are called `{found.name}`",
                hint="leave one out (the environment brings its own), or give one another `name=`",
            )
        seen[found.name] = found
    table = {spelled: seen[name] for spelled, name in identifiers(seen).items()}
    for spelled, found in table.items():
        if spelled in reserved:
            raise UserError(
                f"tool `{found.name}` clashes with `{spelled}`, a word of the plan language",
                hint="give it another `name=`",
            )
    return table


def json_arguments(text: str) -> dict[str, Any]:
    """Strict JSON arguments of a native tool call.

    Raises:
        ValueError: it is no JSON object, has duplicate keys, NaN or infinities.
    """
    import jiter

    if not text.strip():
        return {}
    found = jiter.from_json(text.encode(), catch_duplicate_keys=True, allow_inf_nan=False)
    if not isinstance(found, dict):
        raise ValueError(f"expected a JSON object, got {json.dumps(found)[:80]}")  # noqa: TRY004
    return found

"""What a run, its calls and its checks look like as lines; `run` and `show` share them."""

from __future__ import annotations

from collections.abc import Sequence

from planloop.cli.lines import (
    Line,
    Style,
    counted,
    duration,
    joined,
    last_lines,
    limits_text,
    line,
    money,
    quoted,
)
from planloop.cli.written import written_arguments
from planloop.events import SetupEnded
from planloop.observation import Failure, Observation, Output, Status
from planloop.sandbox import ServiceState
from planloop.state import CheckResult, RunStatus, StatementResult
from planloop.text import bounded_repr, one_line
from planloop.trace.fold import CallView, Refusal, RoundView, RunView
from planloop.values import Value, encode

_NOTES_SHOWN = 5
_NAMES_SHOWN = 6
_OUTPUT_SHOWN = 10
"""Lines of a failed call's output."""


def setup_lines(event: SetupEnded) -> list[Line]:
    """What made the sandbox ready, on a line, and what of it could not be kept."""
    count = counted(len(event.commands), "command") if event.commands else "an environment"
    how = "cached" if event.cached else f"{duration(event.duration_s)}, network {event.network}"
    lines = [_fact(event.what, f"{count} · {how}")]
    lines += [
        line(("warning: ", "warn"), f"{event.what}: {one_line(note, 200)}")
        for note in event.notes[:_NOTES_SHOWN]
    ]
    if len(event.notes) > _NOTES_SHOWN:
        lines.append(line(f"  … and {len(event.notes) - _NOTES_SHOWN} more"))
    return lines


def service_lines(services: Sequence[ServiceState]) -> list[Line]:
    """What runs in the background, a line for each service, and why one does not."""
    lines = []
    for one in services:
        first, *rest = one.detail.splitlines() or [""]
        mark: tuple[str, Style] = ("  service  ", "good" if one.alive else "bad")
        lines.append(line(mark, f"{one.name}: {one_line(first, 120)} · {one_line(one.what, 80)}"))
        if not one.alive:
            lines += quoted(last_lines("\n".join(rest), _OUTPUT_SHOWN)) if rest else []
    return lines


def services_text(services: Sequence[ServiceState]) -> str:
    """The same, as a few words."""
    words = (one.name if one.alive else f"{one.name} (ended)" for one in services)
    return f"services: {', '.join(words)}"


def heading(view: RunView, why: str = "") -> list[Line]:
    """What is known before the first model call. `why` says what led to the model."""
    lines = [line(("run ", "bold"), (view.run_id, "bold"), f" · {one_line(view.task)}")]
    price = "price unknown" if view.price == "unknown" else view.price
    lines.append(_fact("model", joined([view.model, price, why])))
    if view.executor:
        lines.append(_fact("executor", view.executor))
    if view.follows:
        lines.append(_fact("follows", view.follows))
    sandbox = view.sandbox
    if sandbox == "unsafe-local":
        lines.append(line("  sandbox    ", ("NONE: unsafe-local, on the bare host", "bad")))
    else:
        lines.append(_fact("sandbox", joined([sandbox, one_line(view.sandbox_because, 300)])))
    lines += [_fact("network", _network(one)) for one in view.unenforced if _network(one)]
    if limits := [one for one in view.unenforced if not _network(one)]:
        lines.append(_fact("unenforced", limits_text(limits)))
    if left_out := [one for one in view.left_out if not one.startswith(".planloop")]:
        lines.append(_fact("left out", _some(left_out)))
    lines += [_fact("check", one_line(pinned.label)) for pinned in view.checks]
    return lines


def _network(sentence: str) -> str:
    """What is said of the network, which is no limit that fails: it was asked for."""
    head, colon, rest = sentence.partition(": ")
    return rest if colon and head == "network" else ""


def _fact(name: str, text: str) -> Line:
    return line((f"  {name:<11}", "dim"), text)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(one_line(name, 60) for name in names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def plan_line(found: RoundView) -> Line:
    """The heading of a round."""
    forms = {"flow": "a plan", "program": "a program", "answer": "an answer in prose"}
    modes = {"first": "", "rest": "the rest of it", "whole": "the whole again"}
    what = joined([forms[found.form], modes[found.mode]], ", ")
    return line((f"round {found.number}", "bold"), f" · {what}")


def refusal_line(refusal: Refusal) -> Line:
    """A reply that was no plan."""
    place = f"line {refusal.line}, column {refusal.column}: " if refusal.line else ""
    return line(("  no plan", "warn"), f"  {place}{one_line(refusal.message, 200)}")


def scope_line(scope: str) -> Line:
    """A comment of the plan, which names what follows."""
    return line((f"  # {one_line(scope)}", "hint"))


def goal_line(serial: int, view: RunView, width: int = 60) -> Line:
    """A call that goes on by steps of its own, before it has ended."""
    call = next((one for one in calls_of(view) if one.serial == serial), None)
    text = one_line(str(call.arguments.get("text", call.tool)), width) if call else f"call {serial}"
    return line(("  goal        ", "hint"), text)


def calls_of(view: RunView) -> list[CallView]:
    """Every call of a run that did not only take its result from another."""
    views = (view, *view.nested.values())
    rounds = (found for one in views for found in one.rounds)
    return [call for found in rounds for call in found.calls if not call.served]


def parts_lines(parts: Sequence[str]) -> list[Line]:
    """What a call that kept failing is done in."""
    head = line(
        ("  in parts    ", "warn"), f"it failed again: {counted(len(parts), 'goal')} instead"
    )
    numbered = (f"{number}. {one_line(part, 100)}" for number, part in enumerate(parts, 1))
    return [head, *(line((f"    {one}", "dim")) for one in numbered)]


def call_text(call: CallView, source: str, width: int = 60) -> str:
    """A call as its plan wrote it, with values; `source` is the plan's."""
    arguments = written_arguments(call, source)
    shown = [f"{name}={bounded_repr(value, width)}" for name, value in arguments.items()]
    if shown:
        shown[0] = shown[0].partition("=")[2]  # the first says by itself what it is
    return one_line(f"{call.tool}({', '.join(shown)})", width)


def call_line(call: CallView, source: str, width: int = 60) -> Line:
    """A call and how it ended."""
    seen = call.observation
    status = "served" if call.served else seen.status.value if seen else "unfinished"
    facts = [] if seen is None or call.served else [_exit_text(seen), _time_text(seen)]
    return line(
        "  ",
        (f"{status:<12}", _status_style(status)),
        call_text(call, source, width),
        (f"  {joined(facts, ', ')}", "dim"),
    )


def _exit_text(seen: Observation) -> str:
    return f"exit {seen.exit_code}" if seen.exit_code else ""


def _time_text(seen: Observation) -> str:
    """Empty for a call that was cut off: nobody measured it."""
    return duration(seen.duration_s) if seen.duration_s else ""


def _status_style(status: str) -> Style:
    if status in ("ok", "served"):
        return "good"
    return "warn" if status in ("skipped", "unfinished") else "bad"


def call_details(call: CallView, rows: int = _OUTPUT_SHOWN) -> list[Line]:
    """The host's notes; of a failed call also the end of its output, or its error."""
    seen = call.observation
    if seen is None or call.served:
        return []
    if seen.ok:
        told = one_line("; ".join(seen.notes), 400)
        return [line((f"{'':6}note: {told}", "dim"))] if told else []
    lines = [line((f"{'':6}note: {one_line(note, 200)}", "dim")) for note in seen.notes]
    output = _together(seen.stdout, seen.stderr)
    if output:
        return [*lines, *quoted(last_lines(output, rows), indent=6)]
    if seen.error is not None:
        lines += quoted(f"{seen.error.type}: {seen.error.message}"[:2_000], indent=6)
    return lines


def statement_lines(result: StatementResult, calls: Sequence[CallView]) -> list[Line]:
    """A statement whose end no call tells, and what it printed; none if one tells it."""
    status = result.status
    printed = _printed_lines(result)
    if any(_tells(call, result) for call in calls) or (status is Status.OK and not _ran(result)):
        return printed
    text = one_line(result.text, 60)
    took = f"  {duration(result.duration_s)}" if result.duration_s else ""
    head = line("  ", (f"{status.value:<12}", _status_style(status.value)), text, (took, "dim"))
    if status is Status.OK:
        return [head, *printed]
    if result.error is None or status is Status.SKIPPED:
        return [head]
    error = f"line {result.line}: {result.error.type}: {result.error.message}"
    return [head, *quoted(error[:2_000], indent=6), *printed]


def _ran(result: StatementResult) -> bool:
    """Whether it ran in the interpreter; what a flow's statement does is told by its calls."""
    return result.duration_s > 0


def _printed_lines(result: StatementResult) -> list[Line]:
    """The end of what a program's statement printed."""
    output = _together(result.stdout, result.stderr)
    return quoted(last_lines(output, _OUTPUT_SHOWN), indent=6) if output else []


def _together(*streams: Output | None) -> str:
    """What was written, one stream below the other; empty if nothing was."""
    texts = (one.text.rstrip("\n") for one in streams if one is not None)
    return "\n".join(text for text in texts if text.strip())


def _tells(call: CallView, result: StatementResult) -> bool:
    """Whether a call of a statement says how that ended."""
    if not call.place or call.place[0] != result.index or call.observation is None:
        return False
    if not _ran(result):
        return not call.observation.ok
    # A program may have handled the failure of a call, and failed by something else.
    return result.status is Status.OK or call.observation.error == _untold(result.error)


def _untold(error: Failure | None) -> Failure | None:
    """A statement's error as the call that raised it has it."""
    return None if error is None else Failure(type=error.type, message=error.message)


def check_lines(found: CheckResult) -> list[Line]:
    """How a check came out, and what must be known about it."""
    word: tuple[str, Style] = ("passed", "good") if found.passed else ("FAILED", "bad")
    lines = [line("  check ", word, f"  {one_line(found.label)}")]
    if found.passes_untouched:
        lines.append(line(f"{'':6}it passes on the untouched files too: it proves nothing"))
    if found.restored:
        lines.append(line(f"{'':6}put back for the check (pins): {_some(found.restored)}"))
    if found.removed:
        lines.append(line(f"{'':6}not seen by the check (pins): {_some(found.removed)}"))
    if found.detail and not found.passed:
        lines += quoted(last_lines(found.detail, _OUTPUT_SHOWN), indent=6)
    return lines


def verdict_lines(view: RunView) -> list[Line]:
    """`success · 1 check passed · 2 rounds, 7 calls, 1.8 s, $0.00`, and what that does not prove.

    The status is the run's own; nothing here can make it better.
    """
    if view.status is None:
        return [line(("unfinished", "warn"), " · no last word: the process was ended")]
    words, meanings = qualifiers(view)
    told_apart = view.status is RunStatus.ERROR or view.reason == view.status.value
    reason = "" if told_apart else joined([one_line(view.reason, 300), *words], ", ")
    facts = joined([reason, usage_text(view)])
    verdict = line((view.status.value, _ENDINGS.get(view.status, "bad")), f" · {facts}")
    error = [line(("error: ", "bad"), view.reason)] if view.status is RunStatus.ERROR else []
    return [*error, verdict, *(line((f"  {meaning}", "warn")) for meaning in meanings)]


_ENDINGS: dict[RunStatus, Style] = {RunStatus.SUCCESS: "good", RunStatus.ANSWERED: "warn"}


def qualifiers(view: RunView) -> tuple[list[str], list[str]]:
    """What a passing verdict does not prove: in a word each, and what the words mean."""
    if view.status is not RunStatus.SUCCESS:
        return [], []
    words, meanings = [], []
    total = len(view.verdict)
    if proposed := sum(found.proposed for found in view.verdict):
        words.append(f"{_of_all(proposed, total)}proposed by the planner")
    if by_host := sum(found.by == "host" for found in view.verdict):
        words.append(f"{_of_all(by_host, total)}decided by the host")
        meanings.append("host: the app or its environment decided, not a check in a clean sandbox")
    if any(found.in_process for found in view.verdict):
        words.append("in-process")
        meanings.append("in-process: the judged code runs inside the check and could forge it")
    return words, meanings


def _of_all(count: int, total: int) -> str:
    return "" if count == total else f"{count} of {total} "


def usage_text(view: RunView) -> str:
    """What the run used, in one line."""
    used = view.usage
    return ", ".join(
        (
            counted(used.rounds, "round"),
            counted(used.calls, "call"),
            duration(used.wall_s),
            money(used.cost_usd),
        )
    )


def budget_text(view: RunView, elapsed_s: float) -> str:
    """What is used of what may be."""
    used, limits = view.usage, view.budget
    tokens = used.input_tokens + used.output_tokens
    parts = [
        _of(f"round {used.rounds}", limits.rounds and str(limits.rounds)),
        _of(counted(used.calls, "call"), limits.calls and str(limits.calls)),
        _of(money(used.cost_usd), limits.cost_usd and money(limits.cost_usd)),
        _of(duration(elapsed_s), limits.wall_s and duration(limits.wall_s)),
        _of(f"{tokens} tokens", limits.tokens and str(limits.tokens)),
    ]
    return " · ".join(parts)


def _of(used: str, limit: str | int | float | None) -> str:
    return f"{used} of {limit}" if limit else used


def next_steps(view: RunView) -> list[Line]:
    """What can follow a run that is over."""
    steps = [f"planloop show {view.run_id}"]
    if view.changed_files:
        steps.insert(0, f"planloop apply {view.run_id}")
    parts: list[str | tuple[str, Style]] = ["next: "]
    for index, step in enumerate(steps):
        parts += [" · " if index else "", (step, "hint")]
    return [line(*parts)]


def output_text(output: Value) -> str:
    """What `done` was given: a text as it is, anything else as JSON."""
    if isinstance(output, str):
        return output.rstrip("\n")
    import json

    return json.dumps(encode(output), indent=2, ensure_ascii=False)

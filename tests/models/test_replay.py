"""Replays: the documented format, recording and playing."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planloop.errors import InfrastructureError, UserError
from planloop.messages import Message, Profile, Reply, Request, TokenUsage, ToolCall
from planloop.models import FunctionModel, Recorder, ReplayModel
from planloop.models.replay_format import exchange_line, header_line, parse


def said(role: Any, text: str, stable: str | None = None) -> Message:
    return Message(role=role, text=text, stable=stable)


def written(folder: Path, *lines: object) -> Path:
    path = folder / "run.jsonl"
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


def play(model: Any, *conversations: tuple[str, list[Message]]) -> list[Reply]:
    async def main() -> list[Reply]:
        return [
            await model.complete(Request(messages=tuple(messages), conversation=name))
            for name, messages in conversations
        ]

    return anyio.run(main)


def test_replies_come_in_order_within_each_conversation(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"reply": {"text": "main 1"}},
        {"conversation": "goal 1", "reply": "goal 1"},
        {"conversation": "main", "reply": {"text": "main 2"}},
    )
    model = ReplayModel.load(path)
    replies = play(model, ("main", []), ("main", []), ("goal 1", []))
    assert [one.text for one in replies] == ["main 1", "main 2", "goal 1"]
    assert model.unused() == []
    assert model.differences == []


def test_a_reply_has_all_that_was_recorded_and_costs_nothing(tmp_path: Path) -> None:
    call = {"id": "c1", "name": "search", "arguments": {"q": "é"}}
    path = written(
        tmp_path,
        {"planloop_replay": 1, "name": "big-model", "plans_in": "native"},
        {
            "reply": {"tool_calls": [call], "reasoning": "because"},
            "usage": {"input_tokens": 10, "output_tokens": 2},
        },
        {"reply": {"text": "cut", "finish": "length"}},
    )
    model = ReplayModel.load(path)
    first, second = play(model, ("main", []), ("main", []))
    assert first == Reply(
        text="",
        tool_calls=(ToolCall("c1", "search", '{"q": "é"}'),),
        finish="tool_calls",
        reasoning="because",
        tokens=TokenUsage(input_tokens=10, output_tokens=2),
        cost_usd=0.0,
    )
    assert second.finish == "length"
    assert (model.name, model.profile.plans_in) == ("big-model", "native")
    assert model.profile.price_known


def test_text_is_streamed_line_by_line(tmp_path: Path) -> None:
    model = ReplayModel.load(written(tmp_path, {"reply": "a\nb\nc"}))
    pieces: list[str] = []
    anyio.run(model.complete, Request(messages=()), pieces.append)
    assert pieces == ["a\n", "b\n", "c"]


def test_a_request_that_differs_is_reported_once_with_its_first_difference(tmp_path: Path) -> None:
    recorded = [
        {"role": "system", "text": "rules"},
        {"role": "user", "text": "one\n  two\nthree"},
    ]
    model = ReplayModel.load(written(tmp_path, {"request": recorded, "reply": "ok"}))
    (reply,) = play(model, ("main", [said("system", "rules"), said("user", "one\n    two\nthree")]))
    assert reply.text == "ok"
    assert len(model.differences) == 1
    difference = model.differences[0]
    assert "request 1 of conversation `main`" in difference
    assert "message 2 (user)" in difference
    assert "\n-  two\n" in difference
    assert "\n+    two\n" in difference


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([said("system", "b")], "was of role `user`, now `system`"),
        ([], "message 1 is missing: b"),
        ([said("user", "b"), said("user", "more")], "message 2 is new: more"),
    ],
)
def test_what_differs_is_told(tmp_path: Path, messages: list[Message], told: str) -> None:
    path = written(tmp_path, {"request": [{"role": "user", "text": "b"}], "reply": "ok"})
    model = ReplayModel.load(path)
    play(model, ("main", messages))
    assert told in model.differences[0]


def test_a_difference_is_short_however_long_the_messages_are(tmp_path: Path) -> None:
    long = "\n".join(f"line {number} " + "x" * 500 for number in range(20_000))
    path = written(tmp_path, {"request": [{"role": "user", "text": long}], "reply": "ok"})
    model = ReplayModel.load(path)
    play(model, ("main", [said("user", long.replace("line 9", "LINE 9"))]))
    assert len(model.differences[0]) < 5_000


def test_call_outputs_and_durations_are_not_compared(tmp_path: Path) -> None:
    path = written(tmp_path, {"request": [{"role": "user", "text": "took - s"}], "reply": "ok"})
    model = ReplayModel.load(path)
    play(model, ("main", [said("user", "took 3.2 s", stable="took - s")]))
    assert model.differences == []


def test_a_request_that_differs_is_an_error_in_strict_mode(tmp_path: Path) -> None:
    path = written(tmp_path, {"request": [{"role": "user", "text": "a"}], "reply": "ok"})
    model = ReplayModel.load(path, strict=True)
    with pytest.raises(UserError) as caught:
        play(model, ("main", [said("user", "b")]))
    assert caught.value.where == f"{path}, line 1"
    assert "differs" in caught.value.what


def test_running_out_of_replies_names_the_conversation_and_how_many_there_were(
    tmp_path: Path,
) -> None:
    model = ReplayModel.load(written(tmp_path, {"reply": "1"}, {"reply": "2"}))
    play(model, ("main", []), ("main", []))
    with pytest.raises(UserError, match="conversation `main`: the replay holds 2"):
        play(model, ("main", []))
    with pytest.raises(UserError, match="conversation `goal`: the replay holds 0"):
        play(model, ("goal", []))


@pytest.mark.parametrize("strict", [True, False])
def test_unused_replies_are_listed_and_are_an_error_in_strict_mode(
    tmp_path: Path, strict: bool
) -> None:
    path = written(
        tmp_path,
        {"reply": "first"},
        {"conversation": "goal", "reply": "of a goal"},
        {"reply": "never asked for"},
    )
    model = ReplayModel.load(path, strict=strict)
    play(model, ("main", []))
    unused = model.unused()
    assert [text.partition(":")[0] for text in unused] == ["line 2", "line 3"]
    assert "of a goal" in unused[0]
    if strict:
        with pytest.raises(UserError, match="2 recorded replies"):
            model.finish()
    else:
        model.finish()


BAD = [
    ("{", "not JSON"),
    ("[" * 100_000, "line 2"),
    ("7", "not a JSON object"),
    ('{"reply": 7}', "`reply` is not a JSON object"),
    ('{"conversation": "main"}', "`reply` is missing"),
    ('{"reply": "x", "replay": 1}', "no field `replay`"),
    ('{"reply": {"text": 1}}', "`text`"),
    ('{"reply": {"txt": "x"}}', "no field `txt`"),
    ('{"reply": {"finish": "done"}}', "`finish` is 'done'"),
    ('{"reply": {"tool_calls": [{"id": "1"}]}}', "`name`"),
    ('{"reply": {"tool_calls": [{"id": "1", "name": "x", "arguments": 3}]}}', "`arguments`"),
    ('{"reply": {"tool_calls": {}}}', "`tool_calls`"),
    ('{"reply": "x", "request": "y"}', "`request`"),
    ('{"reply": "x", "request": [{"role": "user"}]}', "`text`"),
    ('{"reply": "x", "request": [{"role": "boss", "text": ""}]}', "`role` is 'boss'"),
    ('{"reply": "x", "usage": {"input_tokens": -1}}', "`input_tokens` is -1"),
    ('{"reply": "x", "usage": {"tokens": 1}}', "no field `tokens`"),
    ('{"reply": "x", "conversation": 1}', "`conversation`"),
    ('{"planloop_replay": 1}', "first line"),
]


@pytest.mark.parametrize(("line", "told"), BAD, ids=[line[:40] for line, _ in BAD])
def test_a_bad_line_is_named(tmp_path: Path, line: str, told: str) -> None:
    path = written(tmp_path, {"reply": "fine"}, line)
    with pytest.raises(UserError) as caught:
        ReplayModel.load(path)
    assert caught.value.where == f"{path}, line 2"
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ({"planloop_replay": 2}, "this planloop reads 1"),
        ({"planloop_replay": True}, "True"),
        ({"planloop_replay": 1, "plans_in": "prose"}, "`plans_in` is 'prose'"),
        ({"planloop_replay": 1, "model": "x"}, "no field `model`"),
    ],
)
def test_a_bad_header_is_named(tmp_path: Path, header: object, told: str) -> None:
    with pytest.raises(UserError, match="line 1") as caught:
        ReplayModel.load(written(tmp_path, header))
    assert told in str(caught.value)


def test_what_is_no_readable_file_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path / "missing.jsonl", tmp_path, pipe):
        with pytest.raises(UserError, match=path.name):
            ReplayModel.load(path)


def test_a_file_that_is_not_utf_8_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(b'{"reply": "a"}\n{"reply": "\xff"}\n')
    with pytest.raises(UserError, match=r"line 2.*UTF-8"):
        ReplayModel.load(path)


@given(st.text())
def test_no_text_crashes_the_parser(text: str) -> None:
    with contextlib.suppress(UserError):
        parse(text, "x")


TEXT = st.text(max_size=40)
CALLS = st.lists(st.builds(ToolCall, TEXT, TEXT, TEXT), max_size=3).map(tuple)
COUNT = st.none() | st.integers(0, 10**9)
REPLIES = st.builds(
    Reply,
    text=TEXT,
    tool_calls=CALLS,
    finish=st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
    reasoning=st.none() | TEXT,
    tokens=st.builds(TokenUsage, input_tokens=COUNT, output_tokens=COUNT, cached_tokens=COUNT),
    cost_usd=st.just(0.0),
)
ROUND = st.tuples(TEXT, st.none() | TEXT, REPLIES)


@given(st.dictionaries(st.sampled_from(["main", "goal 1", "llm"]), st.lists(ROUND, max_size=4)))
def test_a_recorded_run_replayed_is_itself(
    rounds: dict[str, list[tuple[str, str | None, Reply]]],
) -> None:
    async def run(model: Any) -> list[Reply]:
        replies = []
        for conversation, its_rounds in rounds.items():
            messages: tuple[Message, ...] = (said("system", "rules of " + conversation),)
            for text, stable, _ in its_rounds:
                messages += (said("user", text, stable),)
                reply = await model.complete(Request(messages=messages, conversation=conversation))
                messages += (said("assistant", reply.text),)
                replies.append(reply)
        return replies

    script = [reply for its_rounds in rounds.values() for _, _, reply in its_rounds]
    source = iter(script)

    async def next_reply(_: Request) -> Reply:
        return next(source)

    recorder = Recorder(FunctionModel(next_reply, name="source"))
    assert anyio.run(run, recorder) == script
    lines = [header_line(recorder.name, recorder.profile)]
    lines += [exchange_line(one) for one in recorder.exchanges]
    header, exchanges = parse("\n".join(lines), "memory")
    replay = ReplayModel(exchanges, profile=header.profile, strict=True)
    assert anyio.run(run, replay) == script
    assert (replay.differences, replay.unused(), header.name) == ([], [], "source")
    replay.finish()


def test_only_new_messages_are_recorded_and_no_reply_twice() -> None:
    recorder = Recorder(FunctionModel(lambda _: "reply"))
    first = [said("system", "s"), said("user", "u1")]
    second = [*first, said("assistant", "reply"), said("user", "u2 3.1 s", stable="u2")]
    play(recorder, ("main", first), ("main", second))
    texts = [[one.text for one in exchange.request or ()] for exchange in recorder.exchanges]
    assert texts == [["s", "u1"], ["u2"]]


def test_a_conversation_that_starts_over_is_recorded_whole() -> None:
    recorder = Recorder(FunctionModel(lambda _: "reply"))
    play(recorder, ("main", [said("user", "a"), said("user", "b")]), ("main", [said("user", "c")]))
    assert [one.text for one in recorder.exchanges[1].request or ()] == ["c"]


def test_a_recording_that_was_continued_by_another_process_matches_the_whole_run(
    tmp_path: Path,
) -> None:
    path = tmp_path / "run.jsonl"
    first = [said("user", "a")]
    second = [*first, said("assistant", "reply"), said("user", "b")]

    def part(messages: list[Message]) -> None:
        recorder = Recorder(FunctionModel(lambda _: "reply"), path)
        play(recorder, ("main", messages))
        anyio.run(recorder.close)

    part(first)
    part(second)
    model = ReplayModel.load(path, strict=True)
    play(model, ("main", first), ("main", second))
    model.finish()


def test_a_failed_request_is_not_recorded() -> None:
    answers = iter([UserError("no"), "yes"])

    def answer(_: Request) -> str:
        one = next(answers)
        if isinstance(one, UserError):
            raise one
        return one

    recorder = Recorder(FunctionModel(answer))
    with pytest.raises(UserError):
        play(recorder, ("main", [said("user", "a")]))
    play(recorder, ("main", [said("user", "a")]))
    assert [len(one.request or ()) for one in recorder.exchanges] == [1]


def test_every_exchange_is_in_the_private_file_when_its_reply_is_returned(tmp_path: Path) -> None:
    path = tmp_path / "replay.jsonl"
    profile = Profile(plans_in="native", context_tokens=1234, input_usd_per_million=5.0)
    recorder = Recorder(FunctionModel(lambda _: "grüße", "m", profile), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    play(recorder, ("main", [said("user", "a")]))
    model = ReplayModel.load(path)
    assert (model.name, model.profile.plans_in, model.profile.context_tokens) == (
        "m",
        "native",
        1234,
    )
    assert model.profile.input_usd_per_million == 0.0
    assert play(model, ("main", [said("user", "a")]))[0].text == "grüße"
    anyio.run(recorder.close)
    anyio.run(recorder.close)


def test_a_recording_never_follows_a_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(InfrastructureError, match="link"):
        Recorder(FunctionModel(lambda _: "x"), tmp_path / "link")
    assert target.read_text() == "mine"


def test_a_recording_that_cannot_be_written_is_no_silent_loss() -> None:
    with pytest.raises(InfrastructureError, match="/dev/full"):
        Recorder(FunctionModel(lambda _: "x"), "/dev/full")


def test_the_documents_example_is_in_the_format() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "replay.md").read_text(encoding="utf-8")
    example = page.split("```jsonl\n")[1].split("\n```\n")[0]
    header, exchanges = parse(example, "docs/replay.md")
    assert header.name
    assert len(exchanges) >= 2

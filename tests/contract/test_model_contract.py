"""What every Model must do, asked of the scripted one and of the real adapter over the stand-in."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest

from runner.adapters.anthropic import AnthropicModel
from runner.adapters.anthropic_places import Provider
from runner.adapters.scripted import ScriptedModel
from runner.ports import Message, Model, PermanentError, Question, Reply, Tool, TransientError
from schemas.run import Usage
from tests.standins.anthropic_api import AnthropicApi, Say, use
from tests.standins.anthropic_clouds import ALONE, GONE, BedrockApi, VertexApi
from tests.standins.loopback import Fail

LIST = Tool(
    "NOTES_LIST_ITEMS", "notes", "List the items of notes", {"type": "object", "properties": {}, "required": []}, "read"
)
SIGNED = {"type": "thinking", "thinking": "Let me see.", "signature": "c2lnbmVk=="}
FUTURE = {"type": "future_block", "z": [1.0, None], "a": {"at": "2026-01-01"}}

Line = Reply | Exception
Make = Callable[[Sequence[Line] | None], Model]


def reply(*content: dict[str, Any], stop_reason: str = "end_turn") -> Reply:
    return Reply(content, stop_reason, Usage(input_tokens=20, output_tokens=10), "scripted")


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def goal(words: str) -> Message:
    return Message("user", (text(words),))


def answered(*ids: str) -> Message:
    return Message("user", tuple({"type": "tool_result", "tool_use_id": i, "content": f"result of {i}"} for i in ids))


def move_of(line: Line) -> Say | Fail:
    match line:
        case Reply(content=content, stop_reason=stop_reason):
            return Say(list(content), stop_reason)
        case TransientError(retry_after=wait):
            return Fail(529, str(line), {} if wait is None else {"retry-after": f"{wait:g}"})
        case _:
            return Fail(400, str(line))


@pytest.fixture(scope="module")
def apis() -> Iterator[dict[Provider, AnthropicApi]]:
    made: dict[Provider, AnthropicApi] = {"anthropic": AnthropicApi(), "bedrock": BedrockApi(), "vertex": VertexApi()}
    with ExitStack() as stack:
        yield {provider: stack.enter_context(api) for provider, api in made.items()}


@pytest.fixture(params=["scripted", "anthropic", "bedrock", "vertex"])
async def make(
    request: pytest.FixtureRequest,
    apis: dict[Provider, AnthropicApi],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Make]:
    """A maker of models that follow a script; without one they call NOTES_LIST_ITEMS while they may."""
    if request.param == "scripted":
        yield ScriptedModel
        return
    api = apis[request.param]
    base_url = api.url
    for name in GONE:
        monkeypatch.delenv(name, raising=False)
    if isinstance(api, BedrockApi | VertexApi):
        base_url = api.base_url
        for name, value in {**ALONE, **api.variables}.items():
            monkeypatch.setenv(name, value)
    if isinstance(api, VertexApi):
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(api.credentials_in(tmp_path)))
    async with AsyncExitStack() as stack:

        def real(script: Sequence[Line] | None) -> Model:
            api.script.clear()
            api.script.extend(
                map(move_of, script or [reply(use("NOTES_LIST_ITEMS", {}, "t1"), stop_reason="tool_use")])
            )
            model = AnthropicModel(api.key, base_url, "any-model", provider=request.param)
            stack.push_async_callback(model.close)
            return model

        yield real


async def test_a_text_answer_ends_the_turn(make: Make) -> None:
    said = await make([reply(text("Good morning."))]).ask(Question("Be brief.", (goal("Greet me."),)))

    assert (said.text, said.uses, said.stop_reason) == ("Good morning.", (), "end_turn")


async def test_a_tool_use_makes_the_round_trip(make: Make) -> None:
    model = make([reply(use("NOTES_LIST_ITEMS", {"a": 1}, "t1"), stop_reason="tool_use"), reply(text("Two notes."))])

    first = await model.ask(Question("", (goal("Count my notes."),), (LIST,)))
    history = (goal("Count my notes."), Message("assistant", first.content), answered("t1"))
    second = await model.ask(Question("", history, (LIST,)))

    assert first.stop_reason == "tool_use"
    assert first.uses == ({"type": "tool_use", "id": "t1", "name": "NOTES_LIST_ITEMS", "input": {"a": 1}},)
    assert second.text == "Two notes."


async def test_several_calls_in_one_reply_keep_their_order(make: Make) -> None:
    calls = [use("NOTES_LIST_ITEMS", {"n": n}, f"t{n}") for n in (3, 1, 2)]

    said = await make([reply(text("Looking."), *calls, stop_reason="tool_use")]).ask(
        Question("", (goal("Look."),), (LIST,))
    )

    assert [call["input"]["n"] for call in said.uses] == [3, 1, 2]


async def test_what_the_model_said_goes_back_verbatim_even_blocks_nobody_knows(make: Make) -> None:
    content = (SIGNED, FUTURE, use("NOTES_LIST_ITEMS", {"z": 1, "a": {"f": 1.0, "n": None}}, "t1"))
    model = make([reply(*content, stop_reason="tool_use"), reply(text("Done."))])

    first = await model.ask(Question("", (goal("Go."),), (LIST,)))
    history = (goal("Go."), Message("assistant", first.content), answered("t1"))
    second = await model.ask(Question("", history, (LIST,)))

    assert repr(first.content) == repr(content)  # the order of keys and 1.0 beside 1 count, too
    assert second.text == "Done."


async def test_no_call_is_made_when_none_is_allowed(make: Make) -> None:
    said = await make(None).ask(Question("", (goal("Look at my notes."),), (LIST,), may_call=False))

    assert said.uses == ()
    assert said.text


async def test_a_call_is_made_when_it_is_allowed(make: Make) -> None:
    said = await make(None).ask(Question("", (goal("Look at my notes."),), (LIST,)))

    assert [call["name"] for call in said.uses] == ["NOTES_LIST_ITEMS"]


async def test_a_permanent_error_is_ours(make: Make) -> None:
    with pytest.raises(PermanentError, match="no such thing"):
        await make([PermanentError("no such thing")]).ask(Question("", (goal("Go."),)))


async def test_a_transient_error_is_ours_and_the_same_question_may_be_asked_again(make: Make) -> None:
    model = make([TransientError("busy", retry_after=3), reply(text("Back."))])

    with pytest.raises(TransientError, match="busy") as caught:
        await model.ask(Question("", (goal("Go."),)))

    assert caught.value.retry_after == 3
    assert (await model.ask(Question("", (goal("Go."),)))).text == "Back."


async def test_usage_adds_up_over_a_run(make: Make) -> None:
    model = make([reply(text("One.")), reply(text("Two."))])

    first = await model.ask(Question("", (goal("Count."),)))
    second = await model.ask(Question("", (goal("Count."), Message("assistant", first.content), goal("Go on."))))
    total = first.usage + second.usage

    assert first.usage.total > first.usage.output_tokens  # part of the prompt may be in the cache
    assert total.output_tokens == first.usage.output_tokens + second.usage.output_tokens == 20
    assert total.total == first.usage.total + second.usage.total

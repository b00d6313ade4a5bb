"""Arguments no tool can take, tools no request can name, and answers too late, too large or no text at all."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from runner.adapters.composio import ComposioToolkits
from runner.adapters.composio_tools import fault, read_result, unlisted
from runner.ports import PermanentError, Tool, ToolCall, TransientError
from tests.standins.composio_api import Act, ComposioApi, Ran, folder
from tests.standins.loopback import Garble

KEY = "ak_stand-in-0123456789"
WRITE = ToolCall("t1", "NOTES_WRITE_ITEM", "notes", "write", {"name": "a", "text": "x"}, effect_id="run-1/1")
LIST = ToolCall("t2", "NOTES_LIST_ITEMS", "notes", "read", {}, effect_id="run-1/2")

Adapter = Callable[..., ComposioToolkits]


@pytest.fixture
def api() -> Iterator[ComposioApi]:
    with ComposioApi(folder("notes"), key=KEY) as standin:
        yield standin


@pytest.fixture
async def adapter(api: ComposioApi) -> AsyncIterator[Adapter]:
    async with AsyncExitStack() as stack:

        def make(deadline: float = 60) -> ComposioToolkits:
            toolkits = ComposioToolkits(KEY, api.url, "default", deadline=deadline)
            stack.push_async_callback(toolkits.close)
            return toolkits

        yield make


def nested(depth: int, leaf: Any = "x") -> Any:
    value: Any = leaf
    for level in range(depth):
        value = [value] if level % 2 else {"below": value}
    return value


def schema(*names: str, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}, **more}


def executed(api: ComposioApi) -> int:
    return sum(request.path.endswith("/execute") for request in api.requests)


@pytest.mark.parametrize("depth", [101, 500, 5_000, 100_000])
async def test_arguments_nested_too_deeply_are_refused_and_never_sent(
    depth: int, api: ComposioApi, adapter: Adapter
) -> None:
    result = await adapter().call(replace(WRITE, arguments={"name": "a", "text": nested(depth)}))

    assert (result.state, "100 levels" in result.content) == ("refused", True)
    assert api.requests == []


async def test_arguments_as_deep_as_people_write_them_are_sent(api: ComposioApi, adapter: Adapter) -> None:
    api.acts["NOTES_KEEP"] = Act("NOTES_KEEP", "notes", lambda _, arguments: arguments, parameters=schema("text"))

    result = await adapter().call(replace(WRITE, tool="NOTES_KEEP", arguments={"text": nested(98)}))

    assert json.loads(result.content) == {"text": nested(98)}


@pytest.mark.parametrize("key", ["half \ud800", "\udfff"])
async def test_a_tool_with_a_key_that_no_request_can_hold_is_not_offered_and_not_called(
    key: str, api: ComposioApi, adapter: Adapter
) -> None:
    api.acts["NOTES_ODD"] = Act("NOTES_ODD", "notes", parameters=schema(key, "text"))
    toolkits = adapter()

    assert "NOTES_ODD" not in {tool.name for tool in await toolkits.tools(("notes",), None)}

    for one in (toolkits, adapter()):
        result = await one.call(replace(WRITE, tool="NOTES_ODD", arguments={"text": "x"}))
        assert (result.state, "no tool NOTES_ODD" in result.content) == ("refused", True)
    assert (executed(api), api.ran.total()) == (0, 0)


async def test_a_tool_whose_schema_is_too_deep_is_not_offered_and_the_others_are(
    api: ComposioApi, adapter: Adapter
) -> None:
    deep = schema("text")
    deep["properties"]["text"] = nested(300, {"type": "string"})
    api.acts["NOTES_DEEP"] = Act("NOTES_DEEP", "notes", parameters=deep)

    assert len(await adapter().tools(("notes",), None)) == 4


async def test_a_tool_with_a_name_that_no_request_can_hold_is_not_offered(api: ComposioApi, adapter: Adapter) -> None:
    api.acts["NOTES_\ud800"] = Act("NOTES_\ud800", "notes")

    assert len(await adapter().tools(("notes",), None)) == 4


async def test_half_a_character_in_a_description_costs_no_tool(api: ComposioApi, adapter: Adapter) -> None:
    api.acts["NOTES_SAY"] = Act("NOTES_SAY", "notes", description="Says \ud800 aloud")

    said = {tool.name: tool.description for tool in await adapter().tools(("notes",), None)}

    assert said["NOTES_SAY"] == "Says ? aloud"


async def test_a_toolkit_of_which_nothing_can_be_offered_is_a_permanent_error(adapter: Adapter) -> None:
    with ComposioApi([Act("ODD_\ud800", "odd")], key=KEY) as api:
        toolkits = ComposioToolkits(KEY, api.url, "default")
        with pytest.raises(PermanentError, match="odd, or it has no tools that can be offered"):
            await toolkits.tools(("odd",), None)
        await toolkits.close()


async def test_an_argument_that_was_never_listed_is_refused_by_name_and_never_sent(
    api: ComposioApi, adapter: Adapter
) -> None:
    toolkits = adapter()
    await toolkits.tools(("notes",), None)

    result = await toolkits.call(replace(WRITE, arguments={"name": "a", "text": "x", "only_if": "empty"}))

    assert result.state == "refused"
    assert "not sent: NOTES_WRITE_ITEM takes no only_if; it takes name, text" in result.content
    assert (executed(api), api.ran.total()) == (0, 0)


async def test_an_argument_that_was_listed_elsewhere_since_is_sent(api: ComposioApi, adapter: Adapter) -> None:
    stale = adapter()
    await stale.tools(("notes",), None)
    api.acts["NOTES_WRITE_ITEM"] = replace(
        api.acts["NOTES_WRITE_ITEM"], parameters=schema("name", "text", "$mode", required=["name", "text"])
    )
    tools = {tool.name: tool for tool in await adapter().tools(("notes",), None)}
    (alias,) = set(tools["NOTES_WRITE_ITEM"].input_schema["properties"]) - {"name", "text"}

    result = await stale.call(replace(WRITE, arguments={"name": "a", "text": "x", alias: "append"}))

    assert result.state == "done"
    assert api.calls == [("default", "NOTES_WRITE_ITEM", {"name": "a", "text": "x", "$mode": "append"})]


async def test_an_argument_that_is_gone_since_is_refused_and_never_sent(api: ComposioApi, adapter: Adapter) -> None:
    toolkits = adapter()
    await toolkits.tools(("notes",), None)
    api.acts["NOTES_WRITE_ITEM"] = replace(api.acts["NOTES_WRITE_ITEM"], parameters=schema("name"))
    api.forget_sessions()

    result = await toolkits.call(WRITE)

    assert (result.state, "takes no text" in result.content) == ("refused", True)
    assert api.ran.total() == 0


async def test_a_missing_argument_is_refused_by_composio_and_nothing_ran(api: ComposioApi, adapter: Adapter) -> None:
    result = await adapter().call(replace(WRITE, arguments={"name": "a"}))

    assert (result.state, "missing" in result.content) == ("refused", True)
    assert api.ran.total() == 0


@pytest.mark.parametrize(
    ("more", "free"),
    [
        ({}, False),
        ({"additionalProperties": False}, False),
        ({"additionalProperties": True}, True),
        ({"additionalProperties": {"type": "string"}}, True),
        ({"patternProperties": {"^x": {}}}, True),
        ({"properties": {}}, True),
    ],
)
def test_a_schema_says_whether_it_takes_more_than_it_names(more: dict[str, Any], free: bool) -> None:
    tool = Tool("NOTES_KEEP", "notes", "", {**schema("text"), **more})

    assert unlisted({"text": "x"} if not free else {}, tool) == ""
    assert (unlisted({"xtra": "y"}, tool) == "") == free


@pytest.mark.parametrize("value", [{}, [], "x", None, {"a": [1, {"b": "ü"}]}, nested(99), [nested(50)] * 50])
def test_what_a_request_can_hold_has_no_fault(value: Any) -> None:
    assert fault(value) == ""


async def test_an_answer_after_the_deadline_changes_nothing(api: ComposioApi, adapter: Adapter) -> None:
    began, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def slow(standin: ComposioApi, arguments: dict[str, Any]) -> Any:
        began.set()
        assert may_end.wait(60)
        standin.items["notes"]["a"] = arguments["text"]
        ended.set()
        return {"written": "a"}

    api.acts["NOTES_WRITE_ITEM"] = replace(api.acts["NOTES_WRITE_ITEM"], run=slow)
    toolkits = adapter(deadline=2)
    await toolkits.tools(("notes",), None)

    with pytest.raises(TransientError, match="within 2 seconds") as caught:
        await toolkits.call(WRITE)
    may_end.set()
    assert await asyncio.to_thread(ended.wait, 60)

    assert began.is_set()
    assert caught.value.sent
    assert json.loads((await adapter().call(LIST)).content) == {"toolkit": "notes", "items": ["a"]}
    assert (executed(api), api.ran["NOTES_WRITE_ITEM"]) == (2, 1)


@pytest.mark.parametrize("megabytes", [1, 3, 50])
async def test_a_large_answer_is_whole_and_of_one_execution(megabytes: int, api: ComposioApi, adapter: Adapter) -> None:
    text = "0123456789abcdef" * (megabytes * 65_536)
    api.acts["NOTES_READ_ITEM"] = Act("NOTES_READ_ITEM", "notes", lambda *_: {"text": text}, parameters=schema("name"))

    result = await adapter().call(replace(LIST, tool="NOTES_READ_ITEM", arguments={"name": "a"}))

    assert result.state == "done"
    assert len(result.content) == len(text) + len('{"text": ""}')
    assert (executed(api), api.ran["NOTES_READ_ITEM"]) == (1, 1)


@pytest.mark.parametrize(
    "body",
    [bytes(range(256)), b'{"result_type": "completed", "data": {"text": "\xff\xfe"}}', b"\x1f\x8b\x08\x00", b""],
    ids=["binary", "not UTF-8", "packed", "empty"],
)
async def test_an_answer_that_is_no_text_leaves_a_write_unknown_after_one_execution(
    body: bytes, api: ComposioApi, adapter: Adapter
) -> None:
    api.next["NOTES_WRITE_ITEM"] = [Ran(Garble(body))]

    with pytest.raises(TransientError) as caught:
        await adapter().call(WRITE)

    assert caught.value.sent
    assert (executed(api), api.ran["NOTES_WRITE_ITEM"]) == (1, 1)


@pytest.mark.parametrize("text", ["\x00\x01", "half \ud800", "\ufffd\u2028"])
async def test_odd_characters_in_an_answer_are_still_an_answer(text: str, api: ComposioApi, adapter: Adapter) -> None:
    api.acts["NOTES_READ_ITEM"] = Act("NOTES_READ_ITEM", "notes", lambda *_: {"text": text}, parameters=schema("name"))

    result = await adapter().call(replace(LIST, tool="NOTES_READ_ITEM", arguments={"name": "a"}))

    assert (result.state, json.loads(result.content)) == ("done", {"text": text})
    assert api.ran["NOTES_READ_ITEM"] == 1


def test_an_answer_too_deep_to_show_is_known_to_be_done() -> None:
    body = {"result_type": "completed", "data": nested(50_000), "error": None}

    assert read_result("t1", body).state == "done"

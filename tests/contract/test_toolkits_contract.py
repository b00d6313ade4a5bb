"""What every Toolkits must do, asked of the scripted ones and of the real adapter over the stand-in."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.adapters.composio import ComposioToolkits
from runner.adapters.scripted import ScriptedToolkits
from runner.ports import Effect, PermanentError, ToolCall, Toolkits
from tests.standins.composio_api import ComposioApi, folder


class World(ABC):
    """A place with the toolkits `notes` and `mail`, adapters to it, and a count of what was really done."""

    @abstractmethod
    def adapter(self) -> Toolkits: ...

    @abstractmethod
    def count(self, tool: str) -> int: ...

    @abstractmethod
    def disconnect(self, toolkit: str) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...


class Folders(World):
    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace

    def adapter(self) -> Toolkits:
        return ScriptedToolkits(self._workspace)

    def count(self, tool: str) -> int:
        journal = self._workspace / "journal.jsonl"
        return sum(json.loads(line)["tool"] == tool for line in journal.read_text().splitlines())

    def disconnect(self, toolkit: str) -> None:
        (self._workspace / toolkit).mkdir()
        (self._workspace / toolkit / ".unconnected").touch()

    async def close(self) -> None:
        """Folders hold nothing open."""


class Composio(World):
    def __init__(self, api: ComposioApi) -> None:
        self._api = api
        self._adapters: list[ComposioToolkits] = []

    def adapter(self) -> Toolkits:
        self._adapters.append(ComposioToolkits(self._api.key, self._api.url, "default"))
        return self._adapters[-1]

    def count(self, tool: str) -> int:
        return self._api.ran[tool]

    def disconnect(self, toolkit: str) -> None:
        self._api.connected = {("default", each) for each in ("notes", "mail") if each != toolkit}

    async def close(self) -> None:
        for adapter in self._adapters:
            await adapter.close()


@pytest.fixture
def api() -> Iterator[ComposioApi]:
    with ComposioApi([*folder("notes"), *folder("mail")], page=3) as standin:
        yield standin


@pytest.fixture(params=["scripted", "composio"])
async def world(request: pytest.FixtureRequest, tmp_path: Path, api: ComposioApi) -> AsyncIterator[World]:
    place = Folders(tmp_path) if request.param == "scripted" else Composio(api)
    yield place
    await place.close()


def call(tool: str, effect: Effect = "read", toolkit: str = "notes", **arguments: Any) -> ToolCall:
    return ToolCall("t1", tool, toolkit, effect, arguments, effect_id="run-1/1")


async def test_tools_come_in_the_same_order_every_time_and_in_every_process(world: World) -> None:
    first, again = world.adapter(), world.adapter()

    listed = await first.tools(("notes", "mail"), None)

    assert await first.tools(("notes", "mail"), None) == listed
    assert await again.tools(("notes", "mail"), None) == listed
    assert {tool.toolkit for tool in listed} == {"notes", "mail"}
    assert len({tool.name for tool in listed}) == len(listed) == 8


async def test_tools_are_fit_for_the_model(world: World) -> None:
    for tool in await world.adapter().tools(("notes",), None):
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", tool.name)
        assert tool.description
        assert tool.input_schema["type"] == "object"
        assert isinstance(tool.input_schema["properties"], dict)


async def test_tools_say_what_calling_them_does(world: World) -> None:
    effects = {tool.name: tool.effect for tool in await world.adapter().tools(("notes",), None)}

    assert effects == {
        "NOTES_LIST_ITEMS": "read",
        "NOTES_READ_ITEM": "read",
        "NOTES_WRITE_ITEM": "write",
        "NOTES_DELETE_ITEM": "destructive",
    }


async def test_no_toolkit_means_no_tool(world: World) -> None:
    assert await world.adapter().tools((), None) == ()


async def test_a_read_is_done(world: World) -> None:
    adapter = world.adapter()
    await adapter.tools(("notes",), None)

    result = await adapter.call(call("NOTES_LIST_ITEMS"))

    assert (result.call_id, result.state) == ("t1", "done")
    assert json.loads(result.content) == {"toolkit": "notes", "items": []}


async def test_a_refusal_is_a_result_that_says_why(world: World) -> None:
    result = await world.adapter().call(call("NOTES_READ_ITEM", name="missing"))

    assert result.state == "refused"
    assert "missing" in result.content


async def test_a_tool_that_is_not_there_is_a_refusal(world: World) -> None:
    result = await world.adapter().call(call("NOTES_PAINT_ITEM", name="a"))

    assert (result.state, "NOTES_PAINT_ITEM" in result.content) == ("refused", True)


async def test_a_write_really_happens_exactly_once(world: World) -> None:
    adapter = world.adapter()

    written = await adapter.call(call("NOTES_WRITE_ITEM", "write", name="a", text="Hello."))
    read = await adapter.call(call("NOTES_READ_ITEM", name="a"))

    assert written.state == "done"
    assert read.content.count("Hello.") == 1
    assert world.count("NOTES_WRITE_ITEM") == 1


async def test_what_is_deleted_is_gone(world: World) -> None:
    adapter = world.adapter()
    await adapter.call(call("NOTES_WRITE_ITEM", "write", name="a", text="Hello."))

    deleted = await adapter.call(call("NOTES_DELETE_ITEM", "destructive", name="a"))

    assert deleted.state == "done"
    assert (await adapter.call(call("NOTES_READ_ITEM", name="a"))).state == "refused"


async def test_a_call_works_in_a_process_that_never_listed(world: World) -> None:
    await world.adapter().call(call("NOTES_WRITE_ITEM", "write", name="a", text="Hello."))

    result = await world.adapter().call(call("NOTES_READ_ITEM", name="a"))

    assert (result.state, "Hello." in result.content) == ("done", True)


async def test_an_unknown_toolkit_is_a_permanent_error(world: World) -> None:
    adapter = world.adapter()

    with pytest.raises(PermanentError, match="No Such"):
        await adapter.tools(("No Such",), None)
    with pytest.raises(PermanentError, match="No Such"):
        await adapter.call(call("NO_SUCH_TOOL", toolkit="No Such"))


async def test_what_is_connected_is_not_missing(world: World) -> None:
    assert await world.adapter().missing(("notes", "mail"), None) == ()
    assert await world.adapter().missing((), None) == ()


async def test_what_is_not_connected_is_missing_and_nothing_else(world: World) -> None:
    adapter = world.adapter()
    assert await adapter.missing(("notes", "mail"), None) == ()
    world.disconnect("mail")

    assert [each.toolkit for each in await adapter.missing(("notes", "mail"), None)] == ["mail"]
    assert await adapter.missing(("notes",), None) == ()

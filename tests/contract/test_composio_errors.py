"""What only Composio can do to us, and what we send it; over the stand-in that counts every execution."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.adapters.composio import ComposioToolkits
from runner.adapters.composio_tools import Answer, aliased, legal, read_result, restore, verdict
from runner.ports import PermanentError, ToolCall, TransientError
from tests.contract.test_anthropic_errors import everything_said_by
from tests.standins.composio_api import Act, ComposioApi, Ran, Result, folder
from tests.standins.loopback import Drop, Fail, Garble, Hang

KEY = "ak_canary-5f2c9b7e41"
WRITE = ToolCall("t1", "NOTES_WRITE_ITEM", "notes", "write", {"name": "a", "text": "x"}, effect_id="run-1/1")
LIST = ToolCall("t2", "NOTES_LIST_ITEMS", "notes", "read", {}, effect_id="run-1/2")

Adapter = Callable[..., ComposioToolkits]


@pytest.fixture
def api() -> Iterator[ComposioApi]:
    with ComposioApi(folder("notes"), key=KEY) as standin:
        yield standin


@pytest.fixture
async def adapter(api: ComposioApi) -> AsyncIterator[Adapter]:
    """A maker of adapters, each a process of its own as far as memory goes."""
    async with AsyncExitStack() as stack:

        def make(url: str = "", key: str = KEY, deadline: float = 30) -> ComposioToolkits:
            toolkits = ComposioToolkits(key, url or api.url, "default", deadline=deadline)
            stack.push_async_callback(toolkits.close)
            return toolkits

        yield make


async def test_a_session_offers_the_toolkits_and_nothing_else(api: ComposioApi, adapter: Adapter) -> None:
    await adapter().tools(("notes",), "ada")

    assert api.requests[0].body == {
        "user_id": "ada",
        "toolkits": {"enable": ["notes"]},
        "preload": {"tools": "all"},
        "manage_connections": {"enable": False},
        "instant": False,
        "workbench": {"enable": False},
        "search": {"enable": False},
        "execute": {"enable_multi_execute": False},
    }
    assert [request.path.rpartition("/")[2] for request in api.requests] == ["session", "tools"]


async def test_a_task_acts_as_the_user_it_names(api: ComposioApi, adapter: Adapter) -> None:
    toolkits = adapter()
    await toolkits.call(WRITE)
    await toolkits.call(ToolCall("t1", "NOTES_LIST_ITEMS", "notes", "read", {}, "run-1/2", run_as="ada"))

    assert [user for user, _, _ in api.calls] == ["default", "ada"]


@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_a_call_rejected_at_the_gate_is_refused_and_never_ran(
    status: int, api: ComposioApi, adapter: Adapter
) -> None:
    api.next["NOTES_WRITE_ITEM"] = [Fail(status, "name is too long")]

    result = await adapter().call(WRITE)

    assert (result.state, "name is too long" in result.content) == ("refused", True)
    assert api.ran.total() == 0


@pytest.mark.parametrize("text", ["half \ud800", {"\udfff": "a key"}, [float("inf")], float("nan")], ids=range(4))
async def test_arguments_that_cannot_be_sent_are_refused_before_anything_is(
    text: Any, api: ComposioApi, adapter: Adapter
) -> None:
    result = await adapter().call(replace(WRITE, arguments={"name": "a", "text": text}))

    assert (result.state, "not sent" in result.content) == ("refused", True)
    assert api.requests == []


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_may_not_is_a_permanent_error_naming_the_setting(
    status: int, api: ComposioApi, adapter: Adapter
) -> None:
    api.next["NOTES_WRITE_ITEM"] = [Fail(status)]

    with pytest.raises(PermanentError, match="COMPOSIO_API_KEY"):
        await adapter().call(WRITE)


async def test_a_rate_limit_sent_nothing_and_says_how_long(api: ComposioApi, adapter: Adapter) -> None:
    api.next["NOTES_WRITE_ITEM"] = [Fail(429, headers={"retry-after": "12"})]

    with pytest.raises(TransientError) as caught:
        await adapter().call(WRITE)

    assert (caught.value.sent, caught.value.retry_after) == (False, 12)


@pytest.mark.parametrize(
    "lost",
    [Fail(500), Fail(502), Fail(408), Fail(409), Drop(), Drop(0), Garble(b"<html>"), Garble(b"{}"), Hang()],
    ids=str,
)
async def test_an_answer_lost_after_a_write_is_unknown_and_never_sent_again(
    lost: Fail | Drop | Garble | Hang, api: ComposioApi, adapter: Adapter
) -> None:
    toolkits = adapter(deadline=patience(lost))
    await toolkits.tools(("notes",), None)
    api.next["NOTES_WRITE_ITEM"] = [Ran(lost)]

    with pytest.raises(TransientError) as caught:
        await toolkits.call(WRITE)

    assert caught.value.sent
    assert api.ran["NOTES_WRITE_ITEM"] == 1


@pytest.mark.parametrize("step", ["create", "tools"])
@pytest.mark.parametrize("lost", [Fail(500), Drop(), Garble(b"<html>"), Garble(b"{}"), Hang()], ids=str)
async def test_trouble_before_the_call_is_known_to_have_done_nothing(
    lost: Fail | Drop | Garble | Hang, step: str, api: ComposioApi, adapter: Adapter
) -> None:
    api.next[step] = [lost]

    with pytest.raises(TransientError) as caught:
        await adapter(deadline=patience(lost)).call(WRITE)

    assert (caught.value.sent, api.ran.total()) == (False, 0)
    assert (await adapter().call(WRITE)).state == "done"


async def test_nobody_listening_means_nothing_was_sent(api: ComposioApi, adapter: Adapter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    gone = adapter(f"http://127.0.0.1:{port}")

    with pytest.raises(TransientError, match="cannot reach") as caught:
        await gone.call(WRITE)

    assert not caught.value.sent


async def test_a_server_that_vanished_after_the_listing_was_sent_nothing() -> None:
    with ComposioApi(folder("notes"), key=KEY) as api:
        toolkits = ComposioToolkits(KEY, api.url, "default")
        await toolkits.tools(("notes",), None)
    with pytest.raises(TransientError) as caught:
        await toolkits.call(WRITE)
    await toolkits.close()

    assert (caught.value.sent, api.ran.total()) == (False, 0)


async def test_an_unconnected_toolkit_is_named_with_the_remedy(adapter: Adapter) -> None:
    with ComposioApi(folder("notes"), key=KEY, connected=set()) as api:
        with pytest.raises(PermanentError, match=r"notes is not connected for 'default': connect it"):
            await adapter(api.url).call(WRITE)

        assert api.ran.total() == 0


@pytest.mark.parametrize(
    ("error", "link"),
    [
        ({"redirect_url": "https://connect.example/lk_1"}, " (https://connect.example/lk_1)"),
        ({"suggested_fix": "Connect it: https://connect.example/link/lk_2."}, " (https://connect.example/link/lk_2)"),
        ({"suggested_fix": "x" * 300 + " https://app.example/connect/lk_3"}, " (https://app.example/connect/lk_3)"),
        ({"redirect_url": f"https://connect.example/?key={KEY}"}, ""),
        ({"redirect_url": "javascript:alert(1)"}, ""),
        ({"redirect_url": 7}, ""),
        ({}, ""),
    ],
)
def test_an_unconnected_toolkit_keeps_the_link_that_composio_gives(error: dict[str, Any], link: str) -> None:
    body = {"error": {"slug": "ToolRouterV2_NoActiveConnection", "message": "No active connection found", **error}}

    problem = verdict(Answer(400, {}, body), "notes", "ada", KEY, sent=True)

    assert isinstance(problem, PermanentError)
    assert str(problem).endswith(f"connect it in Composio for that user, then run again{link}")


def patience(lost: object) -> float:
    """Short only for silence: a busy machine must not look like a lost answer."""
    return 1 if isinstance(lost, Hang) else 30


def failed(error: str, **data: Any) -> dict[str, Any]:
    return {"result_type": "failed", "error": error, "data": data, "log_id": "log_1"}


@pytest.mark.parametrize(
    "error",
    [
        "Request timed out",
        "HTTP 503",
        "status code: 502",
        "500 Server Error: Internal",
        "Bad Gateway",
        "read ETIMEDOUT",
        "timeout of 60000ms exceeded",
        "socket hang up",
    ],
)
def test_a_provider_that_broke_off_may_have_acted(error: str) -> None:
    with pytest.raises(TransientError) as caught:
        read_result("t1", failed(error))

    assert caught.value.sent


def test_a_status_in_the_data_counts_too() -> None:
    with pytest.raises(TransientError):
        read_result("t1", failed("it broke", status_code=503))


@pytest.mark.parametrize(
    "error", ["No message 500 in this box", "404 Not Found", "timeout must be at most 60", "amount over 5000"]
)
def test_any_other_failure_is_the_tools_no(error: str) -> None:
    assert read_result("t1", failed(error)).state == "refused"


@pytest.mark.parametrize(
    ("body", "state", "words"),
    [
        ({"result_type": "completed", "data": {"a": "ü"}, "error": None}, "done", '{"a": "ü"}'),
        ({"data": {"a": 1}, "error": None}, "done", '{"a": 1}'),
        ({"data": {}, "error": "no"}, "refused", "no"),
        ({"result_type": "blocked", "reason": {"type": "request_blocked"}, "message": "m"}, "refused", "blocked"),
        ({"result_type": "blocked", "reason": {"type": "response_blocked"}, "message": "m"}, "done", "withheld"),
        ({"result_type": "input_required", "input_requests": {}}, "refused", "approve"),
    ],
)
def test_every_kind_of_answer_is_one_of_our_states(body: dict[str, Any], state: str, words: str) -> None:
    result = read_result("t1", body)

    assert (result.call_id, result.state) == ("t1", state)
    assert words in result.content


@pytest.mark.parametrize("body", [{}, [], None, {"result_type": "new"}, {"data": None}])
def test_an_answer_that_says_nothing_leaves_the_outcome_unknown(body: Any) -> None:
    with pytest.raises(TransientError) as caught:
        read_result("t1", body)

    assert caught.value.sent


async def test_a_blocked_call_never_ran(api: ComposioApi, adapter: Adapter) -> None:
    api.next["NOTES_WRITE_ITEM"] = [Result({"result_type": "blocked", "reason": {"type": "request_blocked"}})]

    assert ((await adapter().call(WRITE)).state, api.ran.total()) == ("refused", 0)


async def test_a_session_deleted_meanwhile_is_replaced_and_the_call_runs_once(
    api: ComposioApi, adapter: Adapter
) -> None:
    toolkits = adapter()
    await toolkits.tools(("notes",), None)
    api.forget_sessions()

    assert (await toolkits.call(WRITE)).state == "done"
    api.forget_sessions()
    assert len(await toolkits.tools(("notes",), None)) == 4
    assert api.ran["NOTES_WRITE_ITEM"] == 1


async def test_one_session_serves_every_call_of_a_process(api: ComposioApi, adapter: Adapter) -> None:
    toolkits = adapter()
    await asyncio.gather(*(toolkits.tools(("notes",), None) for _ in range(5)))
    await asyncio.gather(*(toolkits.call(LIST) for _ in range(5)))

    created = [r for r in api.requests if (r.method, r.path) == ("POST", "/api/v3.1/tool_router/session")]
    assert len(created) == 1
    assert api.ran["NOTES_LIST_ITEMS"] == 5


async def test_what_the_model_cannot_spell_is_spelt_for_it_and_restored_in_another_process(adapter: Adapter) -> None:
    person = {"type": "object", "properties": {"user$id": {"type": "string"}}, "required": ["user$id"]}
    parameters = {
        "type": "object",
        "properties": {"$filter": {"type": "string"}, "people": {"type": "array", "items": person}, "ok": {}},
        "required": ["$filter"],
        "anyOf": [{"required": ["ok"]}],
    }
    slug = "NOTES_" + "VERY_" * 15 + "LONG"
    with ComposioApi([Act(slug, "notes", lambda _, arguments: arguments, parameters=parameters)], key=KEY) as api:
        (tool,) = await adapter(api.url).tools(("notes",), None)
        names = list(tool.input_schema["properties"])
        inner = next(iter(tool.input_schema["properties"]["people"]["items"]["properties"]))
        arguments = {names[0]: "a", names[1]: [{inner: "b"}]}

        result = await adapter(api.url).call(ToolCall("t1", tool.name, "notes", "write", arguments, "run-1/1"))

        assert json.loads(result.content) == {"$filter": "a", "people": [{"user$id": "b"}]}
        assert api.calls[0][1] == slug
    assert len(tool.name) <= 64
    assert tool.input_schema["required"] == [names[0]]
    assert "anyOf" not in tool.input_schema


Tree = dict[str, Any]
TREES = st.recursive(
    st.dictionaries(st.text(max_size=80), st.none(), max_size=3),
    lambda below: st.dictionaries(st.text(max_size=80), st.none() | below, max_size=3),
    max_leaves=8,
)


def schema_of(tree: Tree | None) -> dict[str, Any]:
    if not tree:
        return {"type": "string"}
    return {"type": "object", "properties": {k: schema_of(v) for k, v in tree.items()}, "required": list(tree)}


def example_of(schema: dict[str, Any]) -> Any:
    return {k: example_of(v) for k, v in schema["properties"].items()} if "properties" in schema else "x"


@settings(deadline=None)
@given(TREES)
def test_aliases_are_legal_lose_nothing_and_need_only_the_schema(tree: Tree) -> None:
    schema, originals = schema_of(tree), dict[str, str]()
    shown = aliased(schema, originals)

    assert restore(example_of(shown), originals) == example_of(schema)
    assert aliased(schema, {}) == shown
    assert shown.get("required", []) == list(shown.get("properties", {}))
    assert all(re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", key) for key in shown.get("properties", {}))


@settings(deadline=None)
@given(st.text())
def test_every_tool_gets_a_legal_name_and_a_legal_one_is_kept(slug: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", legal(slug))
    assert legal(legal(slug)) == legal(slug)


@pytest.mark.parametrize(
    ("key", "url", "remedy"),
    [
        ("", "http://127.0.0.1:9", "set COMPOSIO_API_KEY"),
        (f"{KEY}\n{KEY}", "http://127.0.0.1:9", "set COMPOSIO_API_KEY"),
        (KEY, "http://composio.invalid", "base URL"),
        (KEY, "nonsense", "base URL"),
    ],
)
async def test_a_setting_that_cannot_work_is_named(key: str, url: str, remedy: str, adapter: Adapter) -> None:
    with pytest.raises(PermanentError, match=remedy) as caught:
        await adapter(url, key).call(WRITE)

    assert KEY not in everything_said_by(caught.value)


async def test_the_key_is_in_no_error(api: ComposioApi, adapter: Adapter) -> None:
    quoting = [Fail(status, f"your key {KEY} is odd") for status in (401, 402, 403, 429, 500)]
    api.next["NOTES_WRITE_ITEM"] = [*quoting, Garble(KEY.encode()), Drop(), Hang()]
    api.next["create"] = [Fail(400, f"your key {KEY} is odd"), Garble(b"{}")]
    toolkits, errors = adapter(), list[BaseException]()
    for toolkit in [toolkits] * 9 + [adapter(deadline=1), adapter(key=f"{KEY}-wrong")]:
        with pytest.raises((PermanentError, TransientError)) as caught:
            await toolkit.call(WRITE)
        errors.append(caught.value)
    api.next["NOTES_WRITE_ITEM"] = [Fail(400, f"your key {KEY} is odd")]
    refused = await toolkits.call(WRITE)

    assert len(errors) == 11
    assert not [error for error in errors if KEY in everything_said_by(error)]
    assert KEY not in refused.content + repr(toolkits)

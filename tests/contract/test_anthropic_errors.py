"""What only the Messages API can do to us, and what we send it; over the strict stand-in."""

import asyncio
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from runner.adapters.anthropic import AnthropicModel, request_for
from runner.adapters.anthropic_places import Caching, Provider, caching_for
from runner.adapters.anthropic_reply import read_reply, verdict
from runner.ports import Message, PermanentError, Question, Tool, TransientError
from tests.standins.anthropic_api import AnthropicApi, Say, use
from tests.standins.loopback import Drop, Fail, Garble, Hang

KEY = "sk-ant-canary-5f2c9b7e41"
LIST = Tool("LIST", "notes", "List", {"type": "object", "properties": {}}, "read")
HELLO = Question("Be brief.", (Message("user", ({"type": "text", "text": "Hello."},)),))


@pytest.fixture
def api() -> Iterator[AnthropicApi]:
    with AnthropicApi(key=KEY) as standin:
        yield standin


@pytest.fixture
async def model(api: AnthropicApi) -> AsyncIterator[AnthropicModel]:
    adapter = AnthropicModel(KEY, api.url, "some-model")
    yield adapter
    await adapter.close()


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def told(message: str = "why", code: str | None = None) -> dict[str, Any]:
    return {"type": "error", "error": {"type": "x", "message": message, "details": {"error_code": code}}}


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 412, 413, 422, 431, 501])
def test_what_trying_again_cannot_mend_is_permanent(status: int) -> None:
    assert isinstance(verdict(status, {}, told(), "m", "host"), PermanentError)


@pytest.mark.parametrize("status", [408, 409, 429, 499, 500, 502, 503, 504, 529])
def test_what_may_pass_is_transient_unless_the_vendor_says_it_will_not(status: int) -> None:
    problem = verdict(status, {}, told(), "m", "host")

    assert isinstance(problem, TransientError)
    assert not problem.sent  # an error answer is not billed
    assert isinstance(verdict(status, {"x-should-retry": "false"}, told(), "m", "host"), PermanentError)


@pytest.mark.parametrize("code", ["enforced_spend_limit_reached", "contract_spend_limit_reached"])
def test_a_spend_limit_is_no_rate_limit(code: str) -> None:
    problem = verdict(429, {"retry-after": "5"}, told(code=code), "m", "host")

    assert isinstance(problem, PermanentError)
    assert "spend limit" in str(problem)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after": "86400"}, 86400.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_the_vendors_wish_to_wait_is_kept_in_seconds(headers: dict[str, str], seconds: float | None) -> None:
    problem = verdict(429, headers, told(), "m", "host")

    assert isinstance(problem, TransientError)
    assert problem.retry_after == seconds


def test_a_date_to_wait_for_becomes_seconds() -> None:
    problem = verdict(503, {"retry-after": formatdate(time.time() + 100, usegmt=True)}, told(), "m", "host")

    assert isinstance(problem, TransientError)
    assert problem.retry_after == pytest.approx(100, abs=5)


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(401, "ANTHROPIC_API_KEY"), (403, "ANTHROPIC_API_KEY"), (404, "'some-model'"), (402, "billing"), (413, "long")],
)
async def test_a_permanent_error_says_what_to_mend(
    status: int, remedy: str, api: AnthropicApi, model: AnthropicModel
) -> None:
    api.script.append(Fail(status))

    with pytest.raises(PermanentError, match=remedy):
        await model.ask(HELLO)


async def test_one_question_is_one_request_whatever_comes_back(api: AnthropicApi, model: AnthropicModel) -> None:
    api.script.append(Fail(529, "overloaded", {"retry-after": "0.01"}))

    with pytest.raises(TransientError, match=r"529.*overloaded.*req_0001") as caught:
        await model.ask(HELLO)

    assert len(api.requests) == 1
    assert not caught.value.sent


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>busy</html>",
        b"null",
        b"[]",
        b'{"id": "x"}',
        b'{"content": "text", "stop_reason": "end_turn"}',
        b'{"content": [], "stop_reason": null}',
        b'{"content": ["text"], "stop_reason": "end_turn"}',
        b'{"content": [{"text": "typeless"}], "stop_reason": "end_turn"}',
        b'{"content": [{"type": "tool_use", "id": "t", "name": "X"}], "stop_reason": "tool_use"}',
        b'{"content": ' + b"[" * 100_000,
        b"\xff\xfe",
    ],
    ids=range(12),
)
async def test_an_answer_that_is_no_message_is_transient(body: bytes, api: AnthropicApi, model: AnthropicModel) -> None:
    api.script.append(Garble(body))

    with pytest.raises(TransientError, match="no message") as caught:
        await model.ask(HELLO)

    assert caught.value.sent  # somebody thought about it, and will want to be paid


async def test_an_answer_cut_short_is_transient_and_the_next_one_is_heard(
    api: AnthropicApi, model: AnthropicModel
) -> None:
    api.script.extend([Drop(), Drop(0), "Still here."])

    for _ in range(2):
        with pytest.raises(TransientError, match="lost") as caught:
            await model.ask(HELLO)
        assert caught.value.sent

    assert (await model.ask(HELLO)).text == "Still here."


async def test_silence_ends_at_the_timeout(api: AnthropicApi) -> None:
    api.script.append(Hang())
    model = AnthropicModel(KEY, api.url, "some-model", timeout=0.2)

    with pytest.raises(TransientError, match=r"within 0\.2 seconds") as caught:
        await model.ask(HELLO)
    await model.close()

    assert caught.value.sent


async def test_nobody_listening_is_transient(closed_port: int) -> None:
    model = AnthropicModel(KEY, f"http://127.0.0.1:{closed_port}", "some-model")

    with pytest.raises(TransientError, match=f"127.0.0.1:{closed_port}") as caught:
        await model.ask(HELLO)
    await model.close()

    assert not caught.value.sent


async def test_a_refusal_comes_with_the_vendors_explanation(api: AnthropicApi, model: AnthropicModel) -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "Not this."}
    api.script.append(Say([], "refusal", stop_details=details))

    said = await model.ask(HELLO)

    assert (said.stop_reason, said.explanation) == ("refusal", "cyber: Not this.")


async def test_a_server_that_counts_nothing_is_understood(api: AnthropicApi, model: AnthropicModel) -> None:
    api.script.append(Say([{"type": "text", "text": "Hi."}], without=("usage", "id", "model", "stop_details")))

    said = await model.ask(HELLO)

    assert (said.text, said.usage.total, said.model) == ("Hi.", 0, "some-model")


def test_usage_that_is_null_counts_as_none() -> None:
    said = {"content": [], "stop_reason": "end_turn", "usage": {"input_tokens": 3, "cache_read_input_tokens": None}}

    assert read_reply(said, "m").usage.total == 3


async def test_a_compatible_server_gets_only_what_every_server_knows(api: AnthropicApi, model: AnthropicModel) -> None:
    await model.ask(Question("", HELLO.messages, (LIST,), max_tokens=30_000))

    assert set(api.bodies[0]) == {"model", "max_tokens", "messages", "tools"}
    assert set(api.bodies[0]["tools"][0]) == {"name", "description", "input_schema"}


async def test_the_task_may_name_another_model(api: AnthropicApi, model: AnthropicModel) -> None:
    said = await model.ask(Question("", HELLO.messages, model="other-model"))

    assert (api.bodies[0]["model"], said.model) == ("other-model", "other-model")


@pytest.mark.parametrize(
    ("provider", "base_url", "cache", "asked"),
    [
        ("anthropic", None, None, "automatic"),
        ("anthropic", None, False, "off"),
        ("anthropic", "http://127.0.0.1:9", None, "off"),
        ("anthropic", "http://127.0.0.1:9", True, "blocks"),
        ("bedrock", None, None, "blocks"),
        ("bedrock", "http://127.0.0.1:9", False, "off"),
        ("vertex", None, None, "blocks"),
    ],
)
def test_each_place_is_asked_to_cache_in_the_way_it_knows(
    provider: Provider, base_url: str | None, cache: bool | None, asked: Caching
) -> None:
    assert caching_for(provider, base_url, cache=cache) == asked


def test_anthropics_own_endpoint_gets_one_marker_on_the_request() -> None:
    assert request_for(HELLO, "m", caching="automatic")["cache_control"] == {"type": "ephemeral"}
    assert "cache_control" not in repr(request_for(HELLO, "m", caching="off"))


def test_marked_blocks_leave_what_the_model_said_alone() -> None:
    said = Message("assistant", ({"type": "text", "text": "Hm."},))
    talk = (*HELLO.messages, said, *HELLO.messages, said, *HELLO.messages)

    body = request_for(Question("Be brief.", talk, (LIST,)), "m", caching="blocks")

    marked = ["cache_control" in turn["content"][-1] for turn in body["messages"]]
    assert marked == [False, False, True, False, True]
    assert "cache_control" in body["system"][-1]
    assert repr(body).count("cache_control") == 3
    assert "cache_control" not in repr(talk)  # the question is asked again after a failure
    assert "cache_control" in request_for(Question("", talk, (LIST,)), "m", caching="blocks")["tools"][-1]


def test_a_last_question_keeps_its_tools_and_forbids_their_use() -> None:
    last = Question("", HELLO.messages, (LIST,), may_call=False)

    assert request_for(last, "m", caching="automatic")["tool_choice"] == {"type": "none"}
    assert len(request_for(last, "m", caching="automatic")["tools"]) == 1
    assert "tool_choice" not in request_for(HELLO, "m", caching="automatic")


@pytest.mark.parametrize("caching", ["automatic", "blocks"])
def test_a_growing_conversation_is_read_from_the_cache(caching: Caching, api: AnthropicApi) -> None:
    def usage(turns: int) -> dict[str, int]:
        talk: list[Message] = [*HELLO.messages]
        for n in range(turns):
            content = [{"type": "text", "text": f"Answer {n}." * 20}]
            api.remember(content)
            talk += [Message("assistant", tuple(content)), *HELLO.messages]
        body = request_for(Question("Be brief. " * 50, tuple(talk), (LIST,)), "m", caching=caching)
        headers = {"x-api-key": KEY, "anthropic-version": "2026-10-21"}
        return httpx.post(f"{api.url}/v1/messages", json=body, headers=headers, trust_env=False).json()["usage"]

    first, second = usage(0), usage(1)

    assert first["cache_creation_input_tokens"] > 100
    assert second["cache_read_input_tokens"] == first["cache_creation_input_tokens"]
    assert 0 < second["cache_creation_input_tokens"] < first["cache_creation_input_tokens"]


@pytest.mark.parametrize(
    ("talk", "complaint"),
    [
        ([("assistant", [{"type": "text", "text": "Hi."}])], "alternate"),
        ([("user", [{"type": "text", "text": " "}])], "non-empty"),
        ([("user", [{"type": "text", "text": "a"}]), ("assistant", [{"type": "text", "text": "b"}])], "byte for byte"),
        ([("user", [{"type": "tool_result", "tool_use_id": "t9", "content": "x"}])], "exactly one"),
    ],
)
async def test_the_stand_in_rejects_what_the_vendor_would(
    talk: list[Any], complaint: str, api: AnthropicApi, model: AnthropicModel
) -> None:
    with pytest.raises(PermanentError, match=complaint):
        await model.ask(Question("", tuple(Message(role, tuple(content)) for role, content in talk)))


@pytest.mark.parametrize("results", [[], ["t1"], ["t1", "t2", "t2"], ["t1", "t2", "t3"]])
async def test_the_stand_in_wants_every_call_answered_once(
    results: list[str], api: AnthropicApi, model: AnthropicModel
) -> None:
    api.script.append(Say([use("LIST", {}, "t1"), use("LIST", {}, "t2")]))
    said = await model.ask(Question("", HELLO.messages, (LIST,)))
    answers = tuple({"type": "tool_result", "tool_use_id": i, "content": "x"} for i in results)
    answer = Message("user", (*answers, {"type": "text", "text": "Go on."}))

    with pytest.raises(PermanentError, match="exactly one"):
        await model.ask(Question("", (*HELLO.messages, Message("assistant", said.content), answer), (LIST,)))


async def test_questions_asked_at_once_share_one_client(api: AnthropicApi, model: AnthropicModel) -> None:
    replies = await asyncio.gather(*(model.ask(HELLO) for _ in range(5)))

    assert [reply.text for reply in replies] == ["Done."] * 5
    clients = await asyncio.gather(*(model._client() for _ in range(5)))
    assert len(set(map(id, clients))) == 1


def test_the_vendor_is_not_loaded_before_the_first_question() -> None:
    program = (
        "import sys; from runner.adapters.anthropic import AnthropicModel as A;"
        "from runner.adapters.composio import ComposioToolkits as C; A('k', None, 'm'); C('k', None, 'u');"
        "sys.exit(bool({'anthropic', 'composio_client', 'httpx'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("key", "url", "remedy"),
    [
        ("", None, "set ANTHROPIC_API_KEY"),
        (f"{KEY}\n{KEY}", "http://127.0.0.1:9", "set it again"),
        (f"{KEY}\u2028{KEY}", "http://127.0.0.1:9", "set it again"),
        (KEY, "localhost:8080", "http://"),
    ],
)
async def test_a_setting_that_cannot_work_is_named(key: str, url: str | None, remedy: str) -> None:
    with pytest.raises(PermanentError, match=remedy) as caught:
        await AnthropicModel(key, url, "m").ask(HELLO)

    assert KEY not in everything_said_by(caught.value)


async def test_a_server_of_ones_own_needs_no_key() -> None:
    with AnthropicApi(["Hi."], key="none") as api:
        model = AnthropicModel("", api.url, "local")
        assert (await model.ask(HELLO)).text == "Hi."
        await model.close()


async def test_the_key_is_in_no_error(api: AnthropicApi, closed_port: int) -> None:
    quoting = [Fail(status, f"your key {KEY} (sk-ant-can...e41) is odd") for status in (400, 401, 403, 404, 429, 500)]
    api.script.extend([*quoting, Garble(KEY.encode()), Drop(), Hang()])
    adapters = [
        AnthropicModel(KEY, api.url, "m"),
        AnthropicModel(KEY, api.url, "m", timeout=0.5),
        AnthropicModel(KEY, f"http://127.0.0.1:{closed_port}", "m"),
        AnthropicModel(f"{KEY}-wrong", api.url, "m"),
    ]
    errors: list[BaseException] = []
    for adapter in [adapters[0]] * 8 + adapters[1:]:
        with pytest.raises((PermanentError, TransientError)) as caught:
            await adapter.ask(HELLO)
        errors.append(caught.value)
    for adapter in adapters:
        await adapter.close()

    assert len(errors) == 11
    assert not [error for error in errors if "sk-ant-can" in everything_said_by(error)]
    assert KEY not in repr(adapters)


def everything_said_by(error: BaseException) -> str:
    """The error and all that stands behind it, as a log or Temporal could ever print it."""
    said: list[str] = []
    behind: BaseException | None = error
    while behind is not None:
        said += [str(behind), repr(behind), repr(vars(behind))]
        behind = behind.__cause__ or behind.__context__
    return "\n".join([*said, *traceback.format_exception(error)])


async def test_a_long_error_that_quotes_the_key_does_not_show_half_of_it() -> None:
    key = "local-secret-0123456789abcdef"
    for before in range(920, 1001, 8):
        with AnthropicApi([Fail(400, "x" * before + key + " tail")], key=key) as api:
            model = AnthropicModel(api.key, api.url, "m")
            with pytest.raises(PermanentError) as caught:
                await model.ask(Question("rules", (Message("user", ({"type": "text", "text": "hi"},)),)))
            await model.close()
            assert key[:8] not in str(caught.value)


@pytest.mark.parametrize("value", ["\ud800", float("inf")])
def test_an_answer_that_cannot_be_sent_back_is_asked_for_again(value: object) -> None:
    said = {"content": [{"type": "text", "text": value}], "stop_reason": "end_turn"}
    with pytest.raises(ValueError, match="half a character"):
        read_reply(said, "m")

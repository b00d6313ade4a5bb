"""The model behind the Messages API: Anthropic's own, or any server that speaks it.

Refuses to retry, to stream and to interpret: Temporal retries, the agent decides, and what the model
said is handed on exactly as it came over the wire. No message of an error holds the key.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from runner.adapters.answers import as_object, is_sendable, retry_after
from runner.ports import Block, PermanentError, Question, Reply, TransientError
from schemas.run import Usage

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

OWN_ENDPOINT = "https://api.anthropic.com"
TIMEOUT = 300.0
"""Seconds one question may take. Explicit, because the SDK's own default is refused for long answers."""

_AGAIN = frozenset({408, 409, 429, 499})
_SPENT = frozenset({"enforced_spend_limit_reached", "contract_spend_limit_reached"})
_LIKE_A_KEY = re.compile(r"\bsk-[A-Za-z0-9_*.-]{4,}")


class AnthropicModel:
    """A `Model` over the Messages API. `base_url=None` is Anthropic's own endpoint; no `/v1` in it.

    `default_model` answers questions that name none. `timeout` is in seconds.
    """

    def __init__(self, api_key: str, base_url: str | None, default_model: str, *, timeout: float = TIMEOUT) -> None:
        self._key = api_key.strip()
        self._base_url = base_url
        self._default_model = default_model
        self._timeout = timeout
        self._made: AsyncAnthropic | None = None
        self._making = asyncio.Lock()

    async def ask(self, question: Question) -> Reply:
        """Answer one question. Raises PermanentError or TransientError; see `verdict`."""
        client = await self._client()
        model = question.model or self._default_model
        body = request_for(question, model, cached=self._base_url is None)
        # The raw response, not the SDK's types: those reorder keys, and what the model said goes back
        # to it unchanged.
        create = cast("Any", client.messages.with_raw_response.create)
        sdk = _sdk()
        # Raised below, outside of `except`: the vendor's exception holds the request, and so the key.
        problem: PermanentError | TransientError
        try:
            async with asyncio.timeout(self._timeout):
                response = (await create(**body)).http_response
            return read_reply(response.json(), model)
        except sdk.APIStatusError as error:
            problem = verdict(error.status_code, error.response.headers, error.body, model, self._at)
        except (sdk.APITimeoutError, TimeoutError):
            problem = TransientError(f"no answer from {self._at} within {self._timeout:g} seconds")
        except sdk.APIConnectionError as error:
            problem = TransientError(f"cannot reach {self._at} ({type(error.__cause__).__name__})")
        except (ValueError, RecursionError) as error:
            problem = TransientError(f"{self._at} answered with something that is no message: {error}")
        # Redacted before it is shortened: half a key would no longer look like one.
        problem.args = (_unspoken(str(problem), self._key)[:1000],)
        raise problem

    async def close(self) -> None:
        """Close the connections. A later question opens them again."""
        made, self._made = self._made, None
        if made is not None:
            await made.close()

    async def _client(self) -> "AsyncAnthropic":
        async with self._making:
            if self._made is None:
                self._made = await asyncio.to_thread(self._make)
            return self._made

    def _make(self) -> "AsyncAnthropic":
        """Import and construct, in a thread: seconds of CPU that would stall every other activity."""
        if not self._key and self._base_url is None:
            raise PermanentError("there is no key for the model: set ANTHROPIC_API_KEY")
        # An odd character would end up in the text of an HTTP library's exception, key and all.
        if not re.fullmatch(r"[\x21-\x7e]*", self._key):
            raise PermanentError("ANTHROPIC_API_KEY holds a space or a character no key has: set it again")
        url = self._base_url or OWN_ENDPOINT
        if not re.match(r"https?://[^/]", url):
            raise PermanentError("the model's base URL must start with http:// or https:// and a host name")
        try:
            sdk = _sdk()
        except ImportError as missing:
            raise PermanentError("the package `anthropic` is missing: install goalfile[worker]") from missing
        client = sdk.AsyncAnthropic(
            # A server of one's own often wants no key, but the SDK insists on one.
            api_key=self._key or "none",
            base_url=url,
            max_retries=0,
            timeout=sdk.Timeout(self._timeout, connect=min(5.0, self._timeout)),
        )
        _ = client.messages  # this property imports most of the SDK
        return client

    @property
    def _at(self) -> str:
        return urlsplit(self._base_url or OWN_ENDPOINT).netloc.rpartition("@")[2]


def request_for(question: Question, model: str, *, cached: bool) -> dict[str, Any]:
    """The body of one request, and nothing in it that a server might not know.

    `cached` asks for the API's automatic prompt cache. Tools stay when no call is allowed: taking them
    away would throw the cache away.
    """
    if not model:
        raise PermanentError("no model is named: set `model` in the task or a default in the server config")
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": question.max_tokens,
        "messages": [{"role": turn.role, "content": list(turn.content)} for turn in question.messages],
    }
    if question.system:
        body["system"] = question.system
    if question.tools:
        body["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}
            for tool in question.tools
        ]
        if not question.may_call:
            body["tool_choice"] = {"type": "none"}
    if cached:
        body["cache_control"] = {"type": "ephemeral"}
    return body


def read_reply(said: Any, model: str) -> Reply:
    """The answer's JSON as a Reply, its blocks untouched. Raises ValueError with what is wrong."""
    if not isinstance(said, dict):
        raise ValueError("it is not an object")  # noqa: TRY004  its caller tells one kind of bad answer
    answer = cast("dict[str, Any]", said)
    if not is_sendable(answer):
        raise ValueError("it holds half a character or a number without end")
    content, stop_reason = answer.get("content"), answer.get("stop_reason")
    if not isinstance(content, list):
        raise ValueError("`content` is not a list")  # noqa: TRY004
    if not isinstance(stop_reason, str):
        raise ValueError("`stop_reason` is not text")  # noqa: TRY004
    blocks = tuple(_block(item) for item in cast("list[Any]", content))
    usage = as_object(answer.get("usage"))
    named = answer.get("model")
    return Reply(
        content=blocks,
        stop_reason=stop_reason,
        usage=Usage(
            input_tokens=_count(usage.get("input_tokens")),
            output_tokens=_count(usage.get("output_tokens")),
            cache_read_tokens=_count(usage.get("cache_read_input_tokens")),
            cache_write_tokens=_count(usage.get("cache_creation_input_tokens")),
        ),
        model=named if isinstance(named, str) else model,
        explanation=_explanation(as_object(answer.get("stop_details"))),
    )


def verdict(status: int, headers: Mapping[str, str], body: Any, model: str, at: str) -> PermanentError | TransientError:
    """What an error status means for us. `at` is the host, `body` the vendor's JSON or text."""
    told = as_object(as_object(body).get("error"))
    code = as_object(told.get("details")).get("error_code")
    said = f": {told.get('message') or body or ''}"
    if request := headers.get("request-id"):
        said += f" (request {request})"
    match status:
        case 401:  # without the vendor's text: some servers quote the key they refuse
            return PermanentError(f"{at} refused the key: set ANTHROPIC_API_KEY to one that is valid there")
        case 402:
            return PermanentError(f"{at} wants to be paid: settle the billing of this account{said}")
        case 403:
            return PermanentError(
                f"{at} does not let this key use {model!r}: set ANTHROPIC_API_KEY to one of a workspace that may{said}"
            )
        case 404:
            return PermanentError(
                f"{at} knows no model {model!r}: correct `model` in the task, or the default model or base URL"
                f" in the server config{said}"
            )
        case 413:
            return PermanentError(f"the conversation is too long for {at}: allow fewer tools or turns{said}")
        case 429 if code in _SPENT:
            return PermanentError(f"the spend limit of this account is reached: raise it, or wait{said}")
        case _ if (status in _AGAIN or (status >= 500 and status != 501)) and (
            headers.get("x-should-retry") != "false"
        ):
            return TransientError(f"{at} answered {status}{said}", retry_after=retry_after(headers))
        case _:
            return PermanentError(f"{at} rejected the request with {status}{said}")


def _sdk() -> Any:
    import anthropic  # noqa: PLC0415  two seconds of CPU, paid at the first question and in a thread

    return anthropic


def _block(item: Any) -> Block:
    block = as_object(item)
    if not isinstance(block.get("type"), str):
        raise ValueError("a content block has no type")  # noqa: TRY004
    if block["type"] == "tool_use" and not (
        isinstance(block.get("id"), str) and isinstance(block.get("name"), str) and isinstance(block.get("input"), dict)
    ):
        raise ValueError("a tool_use block lacks its id, name or input")
    return block


def _count(value: Any) -> int:
    """A number of tokens; servers that merely speak the API may leave it out or say null."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _explanation(details: dict[str, Any]) -> str:
    return ": ".join(str(details[key]) for key in ("category", "explanation") if details.get(key))


def _unspoken(text: str, key: str) -> str:
    """The text without the key, whole or abridged by a vendor."""
    if len(key) >= 8:
        text = text.replace(key, "[key]").replace(json.dumps(key)[1:-1], "[key]")
    return _LIKE_A_KEY.sub("[key]", text)

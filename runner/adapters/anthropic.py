"""The model behind the Messages API: Anthropic's own, a cloud's, or any server that speaks it.

Refuses to retry, to stream and to interpret: Temporal retries, the agent decides, and what the model
said is handed on exactly as it came over the wire. No message of an error holds a credential, and no
question or answer gets into a trace.
"""

import asyncio
import re
from typing import Any
from urllib.parse import urlsplit

from runner.adapters.anthropic_places import PLACES, Caching, Entry, Provider, caching_for
from runner.adapters.anthropic_reply import read_reply, unspoken, verdict
from runner.ports import PermanentError, Question, Reply, TransientError

TIMEOUT = 300.0
"""Seconds one question may take. Explicit, because the SDK's own default is refused for long answers."""

_MARK = {"type": "ephemeral"}
_NEVER_LEFT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout"})
"""The HTTP library's names for failures before a byte of the question was sent."""


class AnthropicModel:
    """A `Model` over the Messages API. `base_url=None` is the provider's own endpoint.

    `provider` says whose: Anthropic's (or, with a base URL without `/v1`, a server that speaks its API), or a
    cloud's, which finds its region and credentials in its own way and never sees `api_key`.
    `default_model` answers questions that name none. `timeout` is in seconds. `cache` asks for the prompt
    cache or forbids it; None does what is right for the place. `spans` is an OpenTelemetry tracer provider
    to report each question to: model, tokens and timing, never content.
    """

    def __init__(
        self,
        api_key: str,
        base_url: str | None,
        default_model: str,
        *,
        provider: Provider = "anthropic",
        timeout: float = TIMEOUT,
        cache: bool | None = None,
        spans: object | None = None,
    ) -> None:
        self._key = api_key.strip()
        self._base_url = base_url
        self._default_model = default_model
        self._place = PLACES[provider]
        self._timeout = timeout
        self._caching: Caching = caching_for(provider, base_url, cache=cache)
        self._spans = spans
        self._made: Any = None
        self._making = asyncio.Lock()

    async def ask(self, question: Question) -> Reply:
        """Answer one question. Raises PermanentError or TransientError; see `verdict`.

        A TransientError with `sent=False` was not billed: an error answer, or a question that never left.
        """
        client = await self._client()
        model = question.model or self._default_model
        body = request_for(question, model, caching=self._caching)
        at = urlsplit(str(client.base_url)).netloc.rpartition("@")[2]
        # The raw response, not the SDK's types: those reorder keys, and what the model said goes back
        # to it unchanged.
        create = client.messages.with_raw_response.create
        sdk = _sdk()
        # Raised below, outside of `except`: the vendor's exception holds the request, and so the key.
        problem: PermanentError | TransientError
        try:
            async with asyncio.timeout(self._timeout):
                response = (await create(**body)).http_response
        except sdk.APIStatusError as error:
            problem = verdict(error.status_code, error.response.headers, error.body, model, at, place=self._place)
        except (sdk.APIConnectionError, TimeoutError) as error:
            problem = self._silence(error, at)
        except Exception as error:
            found = self._place.trouble(error)
            if found is None:
                raise
            problem = found
        else:
            try:
                return read_reply(response.json(), model)
            except (ValueError, RecursionError) as error:
                problem = TransientError(f"{at} answered with something that is no message: {error}")
        # Redacted before it is shortened: half a key would no longer look like one.
        problem.args = (unspoken(str(problem), *self._secrets(client))[:1000],)
        raise problem

    async def close(self) -> None:
        """Close the connections. A later question opens them again."""
        made, self._made = self._made, None
        if made is not None:
            await made.close()

    def _silence(self, error: Exception, at: str) -> TransientError:
        """No answer: `sent` unless the connection provably never stood."""
        cause = type(error.__cause__).__name__
        if cause in _NEVER_LEFT:
            return TransientError(f"cannot reach {at} ({cause})", sent=False)
        if isinstance(error, _sdk().APITimeoutError | TimeoutError):
            return TransientError(f"no answer from {at} within {self._timeout:g} seconds")
        return TransientError(f"the connection to {at} was lost ({cause})")

    async def _client(self) -> Any:
        async with self._making:
            if self._made is None:
                self._made = await asyncio.to_thread(self._make)
            return self._made

    def _make(self) -> Any:
        """Import and construct, in a thread: seconds of CPU that would stall every other activity."""
        if self._base_url is not None and not re.match(r"https?://[^/]", self._base_url):
            raise PermanentError("the model's base URL must start with http:// or https:// and a host name")
        client = self._place.make(Entry(self._key, self._base_url, self._timeout, self._spans))
        _ = client.messages  # this property imports most of the SDK
        return client

    def _secrets(self, client: Any) -> list[str]:
        """Every credential that we know of, a cloud's included."""
        known = (
            self._key,
            getattr(client, "api_key", None),
            getattr(getattr(client, "credentials", None), "token", None),
        )
        return [secret for secret in known if isinstance(secret, str)]


def request_for(question: Question, model: str, *, caching: Caching) -> dict[str, Any]:
    """The body of one request, and nothing in it that a server might not know.

    Tools stay when no call is allowed: taking them away would throw the cache away.
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
    if caching == "automatic":
        body["cache_control"] = _MARK
    elif caching == "blocks":
        _mark(body)
    return body


def _mark(body: dict[str, Any]) -> None:
    """Three breakpoints at most: what never changes, the user's last turn, and the one before.

    The one before is where the last request wrote to the cache. Without it a turn of more than twenty
    blocks would be out of the cache's sight. What the model said is left as it was.
    """
    if "system" in body:
        body["system"] = [{"type": "text", "text": body["system"], "cache_control": _MARK}]
    elif "tools" in body:
        body["tools"][-1]["cache_control"] = _MARK
    for turn in [turn for turn in body["messages"] if turn["role"] == "user"][-2:]:
        if turn["content"]:
            turn["content"][-1] = {**turn["content"][-1], "cache_control": _MARK}


def _sdk() -> Any:
    import anthropic  # noqa: PLC0415  two seconds of CPU, paid at the first question and in a thread

    return anthropic

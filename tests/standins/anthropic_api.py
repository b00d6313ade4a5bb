"""A stand-in for the Messages API on a loopback port: strict where the vendor is, scripted where it thinks.

    with AnthropicApi(["Hello."]) as api:
        model = AnthropicModel(api.key, api.url, "any-model")

The script is a list of moves, one per request; after its end every answer is `api.otherwise`. A move is
- `"text"` or `Say(blocks, stop_reason, ...)`: a reply (`use(name, input, id)` makes a tool_use block);
- `Fail(status, message, headers, code)`: an error in the vendor's shape;
- `Garble(body)`: that body under a 200; `Hang()`: no answer while the stand-in lives;
- `Drop(first)`: that many bytes of the answer, then the connection is cut.
`api.script.append(...)` adds moves later, `api.requests` holds every request, `api.remember(content)` lets
a test begin in the middle of a conversation.

It answers 400, as the vendor would, unless roles alternate from a user on, every tool_use is answered in
the one user message after it, assistant content comes back byte for byte, and at most four cache
breakpoints are set. Tokens are counted in quarters of JSON characters; the cache works by prefix.
"""

import json
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.standins.loopback import Answer, Drop, Fail, Garble, Hang, Loopback, Request

Block = dict[str, Any]


@dataclass(frozen=True)
class Say:
    """A reply. Without `stop_reason`: `tool_use` when a block is one, else `end_turn`."""

    content: list[Block]
    stop_reason: str | None = None
    output_tokens: int = 10
    stop_details: Block | None = None
    without: tuple[str, ...] = ()
    """Top-level or usage fields to leave out, as servers do that merely speak the API."""


def use(name: str, arguments: dict[str, Any], id: str) -> Block:  # noqa: A002  the vendor's word
    return {"type": "tool_use", "id": id, "name": name, "input": arguments}


_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_KNOWN = frozenset(
    {
        "max_tokens",
        "messages",
        "model",
        "cache_control",
        "container",
        "metadata",
        "output_config",
        "service_tier",
        "stop_sequences",
        "stream",
        "system",
        "thinking",
        "tool_choice",
        "tools",
    }
)


class AnthropicApi(Loopback):
    """The stand-in; its module says how to use it. `cache_minimum` is in tokens."""

    known = _KNOWN

    def __init__(
        self,
        script: Iterable[str | Say | Fail | Garble | Hang | Drop] = (),
        *,
        key: str = "sk-ant-stand-in-0123456789",
        otherwise: str | Say = "Done.",
        cache_minimum: int = 0,
    ) -> None:
        super().__init__()
        self.key = key
        self.script = deque(script)
        self.otherwise = otherwise
        self._minimum = cache_minimum
        self._cache: set[str] = set()
        self._said: set[str] = set()
        self._paused: set[str] = set()

    def remember(self, content: list[Block]) -> None:
        """Take this for something the model said earlier."""
        self._said.add(json.dumps(content))

    @property
    def bodies(self) -> list[Any]:
        """The body of every request, in order."""
        return [request.body for request in self.requests]

    def gate(self, request: Request) -> Fail | None:
        """Why the request gets no further than the door: a wrong path, no key, no version."""
        if (request.method, request.path) != ("POST", "/v1/messages"):
            return Fail(404, "Not found")
        given = {request.headers.get("x-api-key"), request.headers.get("authorization", "").removeprefix("Bearer ")}
        if self.key not in given:
            return Fail(401, "invalid x-api-key")
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", request.headers.get("anthropic-version", "")):
            return Fail(400, "anthropic-version: header is required")
        return None

    def message(self, request: Request) -> Any:
        """The message in the request, in the shape of the Messages API."""
        return request.body

    def answer(self, request: Request) -> Answer:
        if closed := self.gate(request):
            return self._fail(closed)
        body = self.message(request)
        if not isinstance(body, dict):
            return self._fail(Fail(400, "the body is not valid JSON"))
        if problem := self._problem(body):
            return self._fail(Fail(400, problem))
        move = self.script.popleft() if self.script else self.otherwise
        if isinstance(move, Fail):
            return self._fail(move)
        return move if isinstance(move, Garble | Hang | Drop) else self._say(move, body)

    def _fail(self, failure: Fail) -> Answer:
        kind = _KINDS.get(failure.status, "api_error" if failure.status >= 500 else "invalid_request_error")
        error: Block = {"type": kind, "message": failure.message}
        if failure.code:
            error["details"] = {"error_code": failure.code}
        number = f"req_{len(self.requests):04d}"
        headers = {"request-id": number, **failure.headers}
        return failure.status, headers, {"type": "error", "error": error, "request_id": number}

    def _say(self, move: str | Say, body: dict[str, Any]) -> Answer:
        say = Say([{"type": "text", "text": move}]) if isinstance(move, str) else move
        calls = any(block.get("type") == "tool_use" for block in say.content)
        if calls and body.get("tool_choice") == {"type": "none"}:
            say, calls = Say([{"type": "text", "text": "I may not call a tool now."}]), False
        self.remember(say.content)
        reason = say.stop_reason or ("tool_use" if calls else "end_turn")
        if reason == "pause_turn":
            self._paused.add(json.dumps(say.content))
        usage = {**self._count(body), "output_tokens": say.output_tokens}
        message = {
            "id": f"msg_{len(self.requests):04d}",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": say.content,
            "stop_reason": reason,
            "stop_sequence": None,
            "stop_details": say.stop_details,
            "usage": {name: count for name, count in usage.items() if name not in say.without},
        }
        headers = {"request-id": f"req_{len(self.requests):04d}"}
        return 200, headers, {name: value for name, value in message.items() if name not in say.without}

    def _count(self, body: dict[str, Any]) -> dict[str, int]:
        """Tokens by prefix: up to the last breakpoint they are read from the cache or written to it."""
        pieces, marks = _pieces(body)
        ends = [sum(len(piece) for piece in pieces[: i + 1]) // 4 for i in range(len(pieces))]
        prefixes = [body["model"] + "\0".join(pieces[: i + 1]) for i in range(len(pieces))]
        last = max(marks, default=-1)
        if last < 0 or ends[last] < self._minimum:
            return {"input_tokens": ends[-1], "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
        hits = (i for i in range(last, max(-1, last - 20), -1) if prefixes[i] in self._cache)
        hit = next(hits, None)
        read = 0 if hit is None else ends[hit]
        self._cache.update(prefixes[mark] for mark in marks)
        return {
            "input_tokens": ends[-1] - ends[last],
            "cache_creation_input_tokens": ends[last] - read,
            "cache_read_input_tokens": read,
        }

    def _problem(self, body: dict[str, Any]) -> str | None:
        """What the vendor would answer 400 for, in its manner, or None."""
        if extra := set(body) - self.known:
            return f"{min(extra)}: Extra inputs are not permitted"
        if not isinstance(body.get("model"), str) or not body["model"]:
            return "model: Field required"
        if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] < 1:
            return "max_tokens: Field required"
        if len(_pieces(body)[1]) > 4:
            return "A maximum of 4 blocks with cache_control may be provided."
        return _tools_problem(body) or self._messages_problem(body.get("messages"))

    def _messages_problem(self, messages: Any) -> str | None:
        if not isinstance(messages, list) or not messages:
            return "messages: at least one message is required"
        seen: set[str] = set()
        open_ids: list[str] = []
        for i, message in enumerate(messages):
            role, content = message.get("role"), message.get("content")
            if role != ("user", "assistant")[i % 2]:
                return f"messages.{i}: roles must alternate between user and assistant, beginning with user"
            if not content:
                return f"messages.{i}: all messages must have non-empty content"
            blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
            if any(b.get("type") == "text" and not str(b.get("text") or "").strip() for b in blocks):
                return f"messages.{i}: text content blocks must be non-empty"
            results = [b.get("tool_use_id") for b in blocks if b.get("type") == "tool_result"]
            if role == "assistant":
                if json.dumps(content) not in self._said:
                    return f"messages.{i}: this content is not what the model said, byte for byte"
                open_ids = [b["id"] for b in blocks if b.get("type") == "tool_use"]
                if results or seen & set(open_ids) or len(set(open_ids)) < len(open_ids):
                    return f"messages.{i}: `tool_use` ids must be unique"
                seen.update(open_ids)
            elif sorted(map(str, results)) != sorted(open_ids):
                return (
                    f"messages.{i}: each `tool_use` must have exactly one `tool_result` in the next message; "
                    f"got {results} for {open_ids}"
                )
            elif any(b.get("type") == "tool_result" for b in blocks[len(results) :]):
                return f"messages.{i}: `tool_result` blocks must come first"
        if messages[-1]["role"] == "assistant" and json.dumps(messages[-1]["content"]) not in self._paused:
            return "the conversation must end with a user message: prefill is not supported"
        return None


def _tools_problem(body: dict[str, Any]) -> str | None:
    tools = body.get("tools", [])
    if "tool_choice" in body and (not tools or body["tool_choice"].get("type") not in {"auto", "none"}):
        return "tool_choice: only `auto` and `none` are supported, and only with tools"
    if len({tool.get("name") for tool in tools}) < len(tools):
        return "tools: Tool names must be unique."
    for i, tool in enumerate(tools):
        schema = tool.get("input_schema")
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", str(tool.get("name"))):
            return f"tools.{i}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"
        if not isinstance(schema, dict) or schema.get("type") != "object":
            return f"tools.{i}.input_schema.type: Input should be 'object'"
        if {"oneOf", "allOf", "anyOf"} & set(schema):
            return f"tools.{i}.input_schema does not support oneOf, allOf, or anyOf at the top level"
        if any(not re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", key) for key in _property_keys(schema)):
            return f"tools.{i}.input_schema.properties: Property keys should match '^[a-zA-Z0-9_.-]{{1,64}}$'"
    return None


def _property_keys(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [key for one in schema for key in _property_keys(one)]
    if not isinstance(schema, dict):
        return []
    properties = schema.get("properties")
    below = [one for word, one in schema.items() if word not in {"properties", "enum", "default", "examples"}]
    if isinstance(properties, dict):
        return [*properties, *_property_keys([*properties.values(), *below])]
    return _property_keys(below)


def _pieces(body: dict[str, Any]) -> tuple[list[str], list[int]]:
    """The prompt as a list of pieces in cache order, and the places of its breakpoints."""
    system = body.get("system", [])
    parts: list[Any] = [*body.get("tools", []), *([{"text": system}] if isinstance(system, str) else system)]
    for message in body.get("messages") or []:
        content = message.get("content") if isinstance(message, dict) else message
        parts += content if isinstance(content, list) else [content]
    marks = [i for i, part in enumerate(parts) if isinstance(part, dict) and "cache_control" in part]
    if "cache_control" in body and len(parts) - 1 not in marks:
        marks.append(len(parts) - 1)
    plain = [
        {word: part[word] for word in part if word != "cache_control"} if isinstance(part, dict) else part
        for part in parts
    ]
    return [json.dumps(part) for part in plain], marks

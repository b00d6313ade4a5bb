"""Composio's tools in our words: names and keys the model may use, effects, and what came of a call.

Pure. Everything here follows from what Composio says alone, so that a worker which never listed a tool
restores what another one showed the model.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from runner.adapters.answers import as_object, retry_after
from runner.ports import Effect, PermanentError, Tool, ToolResult, TransientError

_LOST = re.compile(  # a failed tool whose provider may yet have acted
    r"(status(?: code)?|https?|error(?: code)?|code)\W{0,3}5\d\d\b|\b5\d\d (server|internal|bad|service|gateway)"
    r"|internal server error|bad gateway|service unavailable|gateway time-?out|timed[ -]?out|deadline exceeded"
    r"|(read|request|connection) timeout|timeout (of|after|exceeded|error)|etimedout|econnreset|socket hang up"
    r"|connection (was )?(reset|aborted|closed)",
    re.IGNORECASE,
)
_UNCONNECTED = frozenset({"ToolRouterV2_NoActiveConnection", "ActionExecute_ConnectedAccountNotFound"})
_UNCONNECTED_TEXT = re.compile(r"no (active connection|connected account)s? found", re.IGNORECASE)


@dataclass(frozen=True)
class Listed:
    """A tool as the model sees it, and what it is called at Composio."""

    tool: Tool
    slug: str
    originals: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What came over HTTP: `body` is JSON, or the text of an error that is none."""

    status: int
    headers: Mapping[str, str]
    body: Any


def legal(name: str) -> str:
    """The name itself, or an alias the Messages API takes. The same everywhere: it needs only the name."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        return name
    mark = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)[:55]}_{mark}"


def aliased(schema: dict[str, Any], originals: dict[str, str]) -> dict[str, Any]:
    """The schema with legal property keys at every depth; `originals` learns alias -> key."""

    def key(name: str) -> str:
        if re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", name):
            return name
        originals[legal(name)] = name
        return legal(name)

    def walk(node: Any) -> Any:
        if not isinstance(node, dict):
            return node
        return {word: part(word, value) for word, value in cast("dict[str, Any]", node).items()}

    def part(word: str, value: Any) -> Any:
        if word == "properties" and isinstance(value, dict):
            return {key(name): walk(one) for name, one in cast("dict[str, Any]", value).items()}
        if word in {"$defs", "definitions"} and isinstance(value, dict):
            return {name: walk(one) for name, one in cast("dict[str, Any]", value).items()}
        if word == "required" and isinstance(value, list):
            return [key(name) if isinstance(name, str) else name for name in cast("list[Any]", value)]
        if word in {"anyOf", "oneOf", "allOf", "prefixItems", "items"} and isinstance(value, list):
            return [walk(one) for one in cast("list[Any]", value)]
        if word in {"items", "additionalProperties", "not", "if", "then", "else"}:
            return walk(value)
        return value

    return walk(schema)


def restore(arguments: Any, originals: Mapping[str, str]) -> Any:
    """The model's arguments with the tool's own keys, at every depth."""
    if isinstance(arguments, dict):
        given = cast("dict[str, Any]", arguments)
        return {originals.get(name, name): restore(value, originals) for name, value in given.items()}
    if isinstance(arguments, list):
        return [restore(value, originals) for value in cast("list[Any]", arguments)]
    return arguments


def effect_of(tags: Any) -> Effect:
    """What a tool's hints say about calling it; where they contradict each other, the worse one."""
    hints = {str(tag) for tag in cast("list[Any]", tags)} if isinstance(tags, list) else set[str]()
    if "destructiveHint" in hints:
        return "destructive"
    if "readOnlyHint" in hints and not hints & {"createHint", "updateHint"}:
        return "read"
    return "idempotent" if "idempotentHint" in hints else "write"


def read_result(call_id: str, body: Any) -> ToolResult:
    """What a 2xx answer says came of a call. Raises TransientError when it does not say."""
    answer = as_object(body)
    error, data = answer.get("error"), answer.get("data")
    kind = answer.get("result_type")
    if kind is None and isinstance(data, dict):  # older servers leave it out
        kind = "failed" if error else "completed"
    match kind:
        case "completed":
            return ToolResult(call_id, "done", json.dumps(data, ensure_ascii=False))
        case "failed":
            status = as_object(data).get("status_code")
            said = str(error or json.dumps(data, ensure_ascii=False))
            if (isinstance(status, int) and status >= 500) or _LOST.search(said):
                raise TransientError(f"the tool's provider failed, it may have acted: {said[:1000]}", sent=True)
            return ToolResult(call_id, "refused", said)
        case "blocked" if as_object(answer.get("reason")).get("type") == "request_blocked":
            return ToolResult(call_id, "refused", f"blocked in Composio: {answer.get('message') or ''}")
        case "blocked":
            said = f"The call was made, but Composio withheld its answer: {answer.get('message') or ''}"
            return ToolResult(call_id, "done", said)
        case "input_required":
            return ToolResult(call_id, "refused", "not run: a person must approve this call in Composio first")
        case _:
            raise TransientError(f"Composio did not say what came of the call ({kind!r})", sent=True)


def verdict(answer: Answer, what: str, user: str, key: str, *, sent: bool) -> PermanentError | TransientError | str:
    """An error, or the words of a refusal at the gate: nothing ran, other arguments might.

    `what` names the toolkits, `sent` says whether the request could reach a tool, and `key` is what no
    error may hold.
    """
    error = as_object(as_object(answer.body).get("error"))
    said = f"{error.get('message') or answer.body or ''} {error.get('suggested_fix') or ''}".strip()
    said = (said.replace(key, "[key]") if len(key) >= 8 else said)[:1000]
    if error.get("slug") in _UNCONNECTED or _UNCONNECTED_TEXT.search(said):
        link = error.get("redirect_url")
        return PermanentError(
            f"{what} is not connected for {user!r}: connect it in Composio for that user, then run again"
            + (f" ({link})" if link else "")
        )
    wait = retry_after(answer.headers)
    match answer.status:
        case 401:  # without the vendor's text, which may quote the key
            return PermanentError("Composio refused the key: set COMPOSIO_API_KEY to a valid project key")
        case 403:
            return PermanentError(f"COMPOSIO_API_KEY may not do this; use a key that may: {said}")
        case 402:
            return PermanentError(f"Composio wants to be paid: settle the account's billing: {said}")
        case 429:
            return TransientError(f"Composio is rate-limited: {said}", retry_after=wait, sent=False)
        case 400 | 404 | 413 | 422:
            return said or f"Composio refused the call with {answer.status}"
        case status:
            return TransientError(f"Composio answered {status}: {said}", retry_after=wait, sent=sent)


def listed_tool(item: dict[str, Any], toolkits: tuple[str, ...]) -> Listed | None:
    """One listed tool, or None when it is of no toolkit that was asked for (Composio's own)."""
    slug, theirs = str(item.get("slug") or ""), str(as_object(item.get("toolkit")).get("slug") or "")
    toolkit = next((name for name in toolkits if name.lower() == theirs.lower()), None)
    if not slug or toolkit is None:
        return None
    originals: dict[str, str] = {}
    schema = aliased(as_object(item.get("input_parameters")), originals)
    # The Messages API wants a plain object at the top.
    schema = {word: schema[word] for word in schema if word not in {"anyOf", "oneOf", "allOf"}}
    tool = Tool(
        name=legal(slug),
        toolkit=toolkit,
        description=str(item.get("description") or item.get("name") or slug),
        input_schema={**schema, "type": "object", "properties": as_object(schema.get("properties"))},
        effect=effect_of(item.get("tags")),
    )
    return Listed(tool, slug, originals)

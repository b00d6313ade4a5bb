"""Composio's tools in our words: names and keys the model may use, and what came of a call.

Pure. Everything here follows from what Composio says alone, so that a worker which never listed a tool
restores what another one showed the model. Refuses to offer a tool that no request could name, and to pass on
arguments that no request could hold.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from runner.adapters.answers import as_object, is_sendable, retry_after
from runner.adapters.composio_effects import effect_of
from runner.ports import PermanentError, Tool, ToolResult, TransientError

_LOST = re.compile(  # a failed tool whose provider may yet have acted
    r"(status(?: code)?|https?|error(?: code)?|code)\W{0,3}5\d\d\b|\b5\d\d (server|internal|bad|service|gateway)"
    r"|internal server error|bad gateway|service unavailable|gateway time-?out|timed[ -]?out|deadline exceeded"
    r"|(read|request|connection) timeout|timeout (of|after|exceeded|error)|etimedout|econnreset|socket hang up"
    r"|connection (was )?(reset|aborted|closed)",
    re.IGNORECASE,
)
_UNCONNECTED = frozenset({"ToolRouterV2_NoActiveConnection", "ActionExecute_ConnectedAccountNotFound"})
_LINK = re.compile(r"https?://[^\s\"'<>]*(?:connect|/link)[^\s\"'<>]*", re.IGNORECASE)
_DEPTH = 100  # levels of nesting: what people and tools write has ten, and Python's own limits begin near 250
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


def fault(arguments: Any) -> str:
    """Why no request can hold these arguments; empty if one can. Nothing was sent then."""
    if not _is_shallow(arguments):
        return f"not sent: the arguments are nested more than {_DEPTH} levels deep"
    if not is_sendable(arguments):
        return "not sent: in the arguments, text must be whole Unicode and numbers finite"
    return ""


def unlisted(arguments: Mapping[str, Any], tool: Tool) -> str:
    """Why these are no arguments of the tool as it is listed; empty if they may be.

    A provider that ignores what it does not know would do more than was meant: delete all, not some.
    """
    schema = tool.input_schema
    known = as_object(schema.get("properties"))
    free = schema.get("additionalProperties", False) is not False or bool(schema.get("patternProperties"))
    strangers = sorted(set(arguments) - set(known))
    if not strangers or not known or free:
        return ""
    return f"not sent: {tool.name} takes no {', '.join(strangers)}; it takes {', '.join(sorted(known))}"


def _is_shallow(value: Any) -> bool:
    """Level by level, for what is too deep to recurse into."""
    level: list[Any] = [value]
    for _ in range(_DEPTH):
        below: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                below += cast("dict[str, Any]", node).values()
            elif isinstance(node, list):
                below += cast("list[Any]", node)
        if not below:
            return True
        level = below
    return False


def read_result(call_id: str, body: Any) -> ToolResult:
    """What a 2xx answer says came of a call. Raises TransientError when it does not say."""
    answer = as_object(body)
    error, data = answer.get("error"), answer.get("data")
    kind = answer.get("result_type")
    if kind is None and isinstance(data, dict):  # older servers leave it out
        kind = "failed" if error else "completed"
    match kind:
        case "completed":
            return ToolResult(call_id, "done", _shown(data))
        case "failed":
            status = as_object(data).get("status_code")
            said = str(error or _shown(data))
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


def _shown(data: Any) -> str:
    try:
        return json.dumps(data, ensure_ascii=False)
    except RecursionError:  # the call was made: whatever it answered, that is known
        return "The answer is nested too deeply to be shown."


def verdict(answer: Answer, what: str, user: str, key: str, *, sent: bool) -> PermanentError | TransientError | str:
    """An error, or the words of a refusal at the gate: nothing ran, other arguments might.

    `what` names the toolkits, `sent` says whether the request could reach a tool, and `key` is what no
    error may hold.
    """
    error = as_object(as_object(answer.body).get("error"))
    said = f"{error.get('message') or answer.body or ''} {error.get('suggested_fix') or ''}".strip()
    said = (said.replace(key, "[key]") if len(key) >= 8 else said)[:1000]
    if error.get("slug") in _UNCONNECTED or _UNCONNECTED_TEXT.search(said):
        link = connect_link(error.get("redirect_url"), key) or connect_link(next(iter(_LINK.findall(said)), ""), key)
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


def connect_link(value: Any, key: str) -> str:
    """A link that a person may be sent to, or nothing: a web address, and without the key in it."""
    if not isinstance(value, str) or not re.fullmatch(r"https?://[\x21-\x7e]{1,2000}", value):
        return ""
    return "" if key and key in value else value.rstrip(".,;)")


def is_connected(item: dict[str, Any]) -> bool:
    """Whether a toolkit, as a session lists it, needs nothing more: no account at all, or an active one."""
    account = as_object(item.get("connected_account"))
    return item.get("is_no_auth") is True or str(account.get("status")).upper() == "ACTIVE"


def listed_tool(item: dict[str, Any], toolkits: tuple[str, ...]) -> Listed | None:
    """One listed tool, or None: of no toolkit that was asked for (Composio's own), or no request can name it."""
    slug, theirs = str(item.get("slug") or ""), str(as_object(item.get("toolkit")).get("slug") or "")
    toolkit = next((name for name in toolkits if name.lower() == theirs.lower()), None)
    parameters = as_object(item.get("input_parameters"))
    if not slug or toolkit is None or fault([slug, parameters]):
        return None
    originals: dict[str, str] = {}
    schema = aliased(parameters, originals)
    # The Messages API wants a plain object at the top.
    schema = {word: schema[word] for word in schema if word not in {"anyOf", "oneOf", "allOf"}}
    tool = Tool(
        name=legal(slug),
        toolkit=toolkit,
        description=str(item.get("description") or item.get("name") or slug).encode(errors="replace").decode(),
        input_schema={**schema, "type": "object", "properties": as_object(schema.get("properties"))},
        effect=effect_of(slug, item.get("tags")),
    )
    return Listed(tool, slug, originals)

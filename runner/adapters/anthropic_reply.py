"""What comes back from the Messages API, read without trust: a reply, or what a refusal means for us.

Pure. Hands the model's blocks on exactly as they came over the wire, and lets no credential through in
the text of an error, whole or abridged.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from runner.adapters.answers import as_object, is_sendable, retry_after
from runner.adapters.anthropic_places import PLACES, Place
from runner.ports import Block, PermanentError, Reply, TransientError
from schemas.run import Usage

_AGAIN = frozenset({408, 409, 429, 499})
_SPENT = frozenset({"enforced_spend_limit_reached", "contract_spend_limit_reached"})
_LIKE_A_KEY = re.compile(
    r"\bsk-[A-Za-z0-9_*.-]{4,}"
    # AWS quotes the request it was to check a signature of, session token and all; Google quotes tokens.
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\bABSK[\w+/=-]{8,}|\bbedrock-api-key-\S+|\bya29\.\S+|\beyJ[\w-]{8,}[\w.-]*"
    r"|(?i:x-amz-security-token\W+|signature=|credential=|bearer\s+)[^\s,;\"']+"
)


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


def verdict(
    status: int, headers: Mapping[str, str], body: Any, model: str, at: str, *, place: Place = PLACES["anthropic"]
) -> PermanentError | TransientError:
    """What an error status means for us. `at` is the host, `body` the vendor's JSON or text.

    A question that was answered with an error is not billed, so it counts as not sent.
    """
    told = as_object(_only(body).get("error"))
    code = as_object(told.get("details")).get("error_code")
    said = f": {told.get('message') or _only(body).get('message') or body or ''}"
    if request := headers.get("request-id") or headers.get("x-amzn-requestid"):
        said += f" (request {request})"
    match status:
        case 401:  # without the vendor's text: some servers quote the key they refuse
            return PermanentError(f"{at} refused the {place.credential}: {place.let_in}")
        case 402:
            return PermanentError(f"{at} wants to be paid: settle the billing of this account{said}")
        case 403:
            return PermanentError(f"{at} does not let this {place.credential} use {model!r}: {place.allow}{said}")
        case 404:
            return PermanentError(f"{at} knows no model {model!r}: {place.name_it}{said}")
        case 413:
            return PermanentError(f"the conversation is too long for {at}: allow fewer tools or turns{said}")
        case 429 if code in _SPENT:
            return PermanentError(f"the spend limit of this account is reached: raise it, or wait{said}")
        case _ if (status in _AGAIN or (status >= 500 and status != 501)) and (
            headers.get("x-should-retry") != "false"
        ):
            return TransientError(f"{at} answered {status}{said}", retry_after=retry_after(headers), sent=False)
        case _:
            return PermanentError(f"{at} rejected the request with {status}{said}")


def unspoken(text: str, *keys: str) -> str:
    """The text without these keys or anything that looks like one, whole or abridged by a vendor."""
    for key in keys:
        if len(key) >= 8:
            text = text.replace(key, "[key]").replace(json.dumps(key)[1:-1], "[key]")
    return _LIKE_A_KEY.sub("[key]", text)


def _only(body: Any) -> dict[str, Any]:
    """The error's object; Vertex may send it as the one item of a list."""
    return as_object(cast("list[Any]", body)[0] if isinstance(body, list) and body else body)


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

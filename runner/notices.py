"""What people are told about a run: which channels, how often, and in which words. Pure.

A notice reads the same everywhere: plain text. What a model, a tool or a vendor wrote in it is data: it
can neither hide a part of itself, nor notify a whole room, nor pose as a link to somewhere else.
"""

import json
import re
import unicodedata
from datetime import UTC, datetime
from typing import Any

from schemas.run import Notice, NoticeKind, Outcome, Waiting
from schemas.task import Notify
from schemas.wire import AD_HOC

TITLE = 120
"""Most characters of a title."""
_REASON, _TEXT, _ARGUMENTS = 500, 2000, 1500

_ENDINGS: dict[Outcome, NoticeKind] = {
    "succeeded": "run.succeeded",
    "failed": "run.failed",
    "stopped": "run.stopped",
    "cancelled": "run.cancelled",
}
_TOLD_AT = (1, 5, 10, 20, 50)
_THEN_EVERY = 100

_VARYING = (
    r"https?://\S+",
    r"\b(?:request|trace|log|correlation|run)[ _-]?id\b['\"]?\s*[:=]?\s*\S+",
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
    r"\b(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*, \d{1,2} [a-z]{3} \d{4} \d\d:\d\d:\d\d(?: gmt| [+-]\d{4})?",
    r"\b\d{4}-\d\d-\d\d(?:[t ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:z|[+-]\d\d:?\d\d)?)?\b",
    r"\b(?:0x)?(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{6,}\b",  # hexadecimal
    r"\b[a-z]{2,8}_(?-i:(?=[a-z0-9]*[A-Z0-9])[A-Za-z0-9]{6,}\b)",  # req_011CSHoEeqs5C35K2UUq
    r"(?<![^\W_])(?=[a-z]*\d)(?=\d*[a-z])[a-z0-9]{10,}(?![^\W_])",
    r"\d+(?:[.,:]\d+)*",
)
_VARIES = re.compile("|".join(_VARYING), re.IGNORECASE)

_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # they are letters, and nobody sees them
_HIDDEN_KINDS = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_LIVE = re.compile(r"(?<![A-Za-z0-9._%+-])@(?=\S)|<(?=[!@#&/A-Za-z])|\](?=[(\[])")
"""What begins a mention (not an address such as ada@example.com), a tag, or the target of a link."""


def whom_to_tell(
    notify: tuple[Notify, ...], status: Outcome, in_a_row: int, before: int
) -> tuple[tuple[str, NoticeKind], ...]:
    """The channels to tell how a run ended, each once, with what to tell them.

    `in_a_row` counts equal failures, this run included; `before` is that number of the previous run. An
    equal failure is told at 1, 5, 10, 20, 50, 100 and every 100 after; the first success after one is
    told as `run.recovered` to all who hear of failures.
    """
    hears: dict[str, set[str]] = {}
    for each in notify:
        hears.setdefault(each.to, set()).add(each.when)
    return tuple((to, kind) for to, when in hears.items() if (kind := _kind(when, status, in_a_row, before)))


def _kind(when: set[str], status: Outcome, in_a_row: int, before: int) -> NoticeKind | None:
    if status == "cancelled":
        return _ENDINGS[status] if "always" in when else None
    of_failures = bool(when & {"always", "failure"})
    if status == "succeeded":
        if of_failures and before > 0:
            return "run.recovered"
        return _ENDINGS[status] if when & {"always", "success"} else None
    told = in_a_row <= 1 or in_a_row in _TOLD_AT or in_a_row % _THEN_EVERY == 0
    return _ENDINGS[status] if of_failures and told else None


def same_failure(reason_a: str, reason_b: str) -> bool:
    """Whether two reasons say the same, but for numbers, ids, times and addresses."""
    return _lasting(reason_a) == _lasting(reason_b)


def _lasting(reason: str) -> str:
    return " ".join(_VARIES.sub("#", reason).split()).casefold()


def title(notice: Notice) -> str:
    """One line of at most 120 characters."""
    task, reason = _in_a_line(notice.task) or AD_HOC, _in_a_line(notice.reason)
    why = f": {reason}" if reason else ""
    repeated = notice.in_a_row > 1
    match notice.type:
        case "run.succeeded":
            text = f"✓ {task} succeeded"
        case "run.recovered":
            text = f"✓ {task} works again"
        case "run.failed" | "run.stopped" if repeated:
            text = f"✗ {task} still failing, {notice.in_a_row} in a row{why}"
        case "run.failed":
            text = f"✗ {task} failed{why}"
        case "run.stopped":
            text = f"✗ {task} stopped{why}"
        case "run.cancelled":
            text = f"✗ {task} cancelled{why}"
        case "run.waiting":
            what = ", ".join(dict.fromkeys(_in_a_line(each.tool or each.toolkit) for each in notice.waiting)) or reason
            text = f"! {task} waits for you: {what}"
        case "schedule.paused":
            text = f"! {task} is paused{why}"
    return text if len(text) <= TITLE else f"{text[: TITLE - 1]}…"


def body(notice: Notice) -> str:
    """Plain text, what matters first: some channels cut off what is too long for them."""
    parts = [_clipped(_prose(notice.reason), _REASON)]
    if notice.in_a_row > 1 and notice.type in ("run.failed", "run.stopped"):
        parts.append(f"still failing, {notice.in_a_row} in a row")
    if notice.unknown:
        tools = ", ".join(_in_a_line(tool) for tool in notice.unknown)
        parts.append(f"Nobody knows whether these took effect; look before you run it again: {tools}")
    parts += [_awaited(each) for each in notice.waiting]
    if notice.link:
        parts.append(_visible(notice.link))
    if summary := notice.summary.strip():
        parts.append(_clipped(_prose(summary), _TEXT))
    if notice.output is not None:
        parts.append(_clipped(_json(notice.output), _TEXT))
    if notice.cost_usd is not None:
        parts.append(f"cost: ${notice.cost_usd:.4f}")
    return "\n\n".join(part for part in parts if part)


def _awaited(waiting: Waiting) -> str:
    """One thing that a person is to do, with exactly what they would allow."""
    name = _in_a_line(waiting.tool or waiting.toolkit)
    asked = {
        "approval": f"Asks to call {name}",
        "unknown": f"Nobody knows whether {name} took effect; to approve is to have it called again",
        "connection": f"Needs {name} to be connected",
    }[waiting.kind]
    lines = [asked + (f": {why}" if (why := _clipped(_in_a_line(waiting.why), _REASON)) else "")]
    if waiting.kind != "connection":
        lines.append(_clipped(_json(waiting.arguments), _ARGUMENTS))
    if waiting.link:
        lines.append(_visible(waiting.link))
    lines.append(f"until {waiting.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC")
    return "\n".join(lines)


def payload(notice: Notice) -> dict[str, Any]:
    """What a webhook is sent, in the shape that Standard Webhooks recommends: `{type, timestamp, data}`.

    `data` is the notice in JSON, nothing clipped, and its title.
    """
    data = notice.model_dump(mode="json", exclude={"id", "type", "at"})
    return {"type": notice.type, "timestamp": _iso(notice.at), "data": {"title": title(notice), **data}}


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _prose(text: str) -> str:
    """A foreign text that shows all of itself and does nothing: a space takes the life out of what is live."""
    return _LIVE.sub(lambda found: f"{found[0]} ", _visible(text.replace("\r\n", "\n")))


def _in_a_line(text: str) -> str:
    return _prose(" ".join(text.split()))


def _json(value: Any) -> str:
    """JSON of exactly this value, harmless in the same way: what is live is escaped, and means the same."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return _LIVE.sub(lambda found: f"\\u{ord(found[0]):04x}", _visible(text))


def _visible(text: str) -> str:
    """The text with what steers or hides escaped: controls, directions, and letters without a shape."""
    return "".join(c if c in "\n\t" or not _is_hidden(c) else _escaped(c) for c in text)


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN_KINDS or character in _BLANK


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()  # as JSON does it
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def _clipped(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most} more characters)"

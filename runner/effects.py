"""What a call does to the world, who must allow it, and what may be said about one whose end nobody saw.

Only a call that provably never happened may be tried again. An unknown outcome is said to be
unknown, never guessed.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from runner.ports import Effect, Tool, ToolCall, ToolResult
from schemas.task import Tools

REPEATABLE: frozenset[Effect] = frozenset({"read", "idempotent"})
"""Effects that Temporal may retry and that may run side by side."""


def fingerprint(tool: str, arguments: Mapping[str, Any]) -> str:
    """The same for the same tool with the same arguments, however their keys are ordered."""
    said = json.dumps(arguments, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(f"{tool}\n{said}".encode(errors="replace")).hexdigest()[:16]


def effect_id(seed: str, turn: int, index: int, again: int = 0) -> str:
    """The identity of one intended call: the same over replay, retry and reset; never the model's.

    It names the place in the run and not the arguments: after a reset the model may word the same
    intention anew, and that is no second intention.
    """
    return f"{effects_of(seed)}{turn}-{index}{f'-{again}' if again else ''}"


def effects_of(seed: str) -> str:
    """What the ids of all effects of one run begin with."""
    return f"{hashlib.sha256(seed.encode()).hexdigest()[:20]}-"


def offered(tools: Iterable[Tool], rule: Tools) -> tuple[Tool, ...]:
    """The tools that a task admits, by its globs; deny beats allow."""
    admitted = (*rule.allow, *rule.ask)
    return tuple(t for t in tools if _any(t.name, admitted) and not _any(t.name, rule.deny))


def needs_approval(tool: Tool, rule: Tools) -> bool:
    """Destructive tools and those that the task says to ask about."""
    return tool.effect == "destructive" or _any(tool.name, rule.ask)


def _any(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(name.upper(), glob.upper()) for glob in globs)


def is_approved(call: ToolCall) -> bool:
    """Whether a person allowed this call, with exactly these arguments."""
    return call.approved == fingerprint(call.tool, call.arguments)


def lost(call: ToolCall, why: str) -> ToolResult:
    """The result of a call whose worker or time was lost: a write's outcome is unknown."""
    if call.effect in REPEATABLE:
        return ToolResult(call.id, "refused", f"The call failed: {why}. Nothing was changed by it.")
    return ToolResult(call.id, "unknown", why)


def for_model(result: ToolResult, call: ToolCall, tools: Iterable[Tool]) -> str:
    """What the model is told about a result. An unknown one names the tools to verify with."""
    if result.state == "unknown":
        reads = [t.name for t in tools if t.effect == "read" and t.toolkit == call.toolkit]
        return json.dumps(
            {
                "status": "outcome_unknown",
                "why": result.content,
                "do_not_repeat": True,
                "how_to_verify": reads or "no tool of this toolkit reads",
            }
        )
    if result.state == "not_run":
        return f"Not carried out, provably: {result.content}. You may call it again."
    return result.content


def clip(text: str, limit: int = 20_000, kept: str = "") -> str:
    """At most `limit` characters: head and tail, and how much is missing between them. `kept` says where it is.

    Half a character (a lone surrogate) becomes `?`: history could not store it, and an effect that
    happened would be reported as lost.
    """
    text = text.encode(errors="replace").decode()
    if len(text) <= limit:
        return text
    half = (limit - 80 - len(kept)) // 2
    left_out = len(text) - 2 * half
    where = f"; {kept}" if kept else ""
    return f"{text[:half]}\n[... {left_out:,} of {len(text):,} characters left out{where} ...]\n{text[-half:]}"

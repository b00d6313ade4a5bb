"""What one run has wanted and what it has made: so that nothing is made twice and no loop goes on.

It outlives a reset, for it is filled again from Temporal (`runner.making`), and a new chapter. Pure.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from runner.effects import clip, fingerprint, for_model
from runner.ports import Tool, ToolCall, ToolResult

SAME_CALL_TOLD = 3
SAME_CALL_STOPS = 5

MADE_ALREADY = "Denied: this very call was already made in this run. It is not made twice."


@dataclass(frozen=True)
class Ledger:
    """The calls of one run, by the fingerprint of tool and arguments."""

    seen: dict[str, int] = field(default_factory=dict[str, int])
    """How often each was wanted."""
    settled: dict[str, str] = field(default_factory=dict[str, str])
    """Writes that took effect or may have, and calls that a person denied: they are not made again."""
    writes: tuple[str, ...] = ()
    """A line for each write made, with its outcome."""
    unknown: tuple[str, ...] = ()
    """Tools whose call may or may not have taken effect."""

    def wanted(self, call: ToolCall) -> "Ledger":
        """The model asks for it, once more."""
        print_ = fingerprint(call.tool, call.arguments)
        return replace(self, seen={**self.seen, print_: self.seen.get(print_, 0) + 1})

    def is_looping(self, call: ToolCall) -> bool:
        """Whether it was asked for so often that the run must end."""
        return self.seen.get(fingerprint(call.tool, call.arguments), 0) >= SAME_CALL_STOPS

    def is_settled(self, call: ToolCall) -> bool:
        """Whether it took effect or may have."""
        return self.settled.get(fingerprint(call.tool, call.arguments)) in ("done", "unknown", "running")

    def refusal(self, call: ToolCall, tools: Iterable[Tool]) -> str:
        """Why it is not made, in words for the model; nothing if it may be."""
        print_ = fingerprint(call.tool, call.arguments)
        times = self.seen.get(print_, 0)
        match self.settled.get(print_):
            case "done" | "running":
                return MADE_ALREADY
            case "unknown":
                return for_model(ToolResult(call.id, "unknown", "made before in this run"), call, tools)
            case "denied":
                return "Denied: a person was asked about this very call in this run and did not allow it."
            case _ if times >= SAME_CALL_TOLD:
                return f"This very call was asked for {times} times; its answer will not change. Do something else."
            case _:
                return ""

    def wrote(self, tool: str, arguments: Mapping[str, Any], state: str, print_: str = "") -> "Ledger":
        """A write came to this, or a person denied it."""
        settled, print_ = self.settled, print_ or fingerprint(tool, arguments)
        if settled.get(print_) == state:
            return self  # a run that was set back hears of it twice
        if state in ("done", "unknown", "running", "denied"):
            settled = {**settled, print_: state}
        said = clip(json.dumps(arguments, ensure_ascii=False, default=str), 300)
        unknown = (*self.unknown, tool) if state in ("unknown", "running") else self.unknown
        return replace(self, settled=settled, writes=(*self.writes, f"{tool} {said}: {state}"), unknown=unknown)

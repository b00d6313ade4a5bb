"""What a run may still use: its limits, and dollars set aside before each question is asked.

A question is only asked if its own cost and that of a last report fit into what is left, as far as a
size in characters foretells tokens. What it really cost is settled after it. Pure.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from runner.ports import Message, Tool
from schemas.duration import format_duration
from schemas.prices import Price
from schemas.run import Usage
from schemas.task import Limits

ANSWER_TOKENS = 8192
"""The longest answer that a question asks for, in tokens."""
SHORT_ANSWER_TOKENS = 1024
"""The shortest one that is worth asking for; also that of a last report, if dollars are short."""
CHARACTERS_A_TOKEN = 3
"""Fewer than there are on average (about 4), so that too much is set aside rather than too little."""


@dataclass(frozen=True)
class Prompt:
    """How large the next question is: tokens that the model has read before, and characters that are new."""

    known_tokens: int
    new_characters: int
    cached: bool
    """Whether the last answer said that its provider keeps what was read."""

    def cost(self, price: Price, answer_tokens: int) -> float:
        """Dollars to set aside for it."""
        new = self.new_characters // CHARACTERS_A_TOKEN
        if self.cached:
            usage = Usage(cache_read_tokens=self.known_tokens, cache_write_tokens=new, output_tokens=answer_tokens)
        else:
            usage = Usage(input_tokens=self.known_tokens + new, output_tokens=answer_tokens)
        return price.cost(usage)


def reached(limits: Limits, turns: int, usage: Usage, elapsed: timedelta) -> str:
    """The limit that a run has reached, other than dollars, or nothing."""
    if turns >= limits.turns:
        return f"limit reached: {limits.turns} turns"
    if limits.tokens is not None and usage.total >= limits.tokens:
        return f"limit reached: {limits.tokens:,} tokens"
    if elapsed >= limits.timeout:
        return f"limit reached: {format_duration(limits.timeout)}"
    return ""


def affordable(prompt: Prompt, price: Price, left: float) -> int:
    """The longest answer, in tokens, that these dollars pay for besides a last report; 0 if none is."""
    report = prompt.cost(price, SHORT_ANSWER_TOKENS)
    for tokens in (ANSWER_TOKENS, ANSWER_TOKENS // 2, ANSWER_TOKENS // 4, SHORT_ANSWER_TOKENS):
        if prompt.cost(price, tokens) + report <= left:
            return tokens
    return 0


def tries(prompt: Prompt, price: Price, left: float, tokens: int) -> int:
    """How often a question with such an answer may be billed out of these dollars: once, if it is asked at all."""
    one = prompt.cost(price, tokens)
    return max(1, int(left / one)) if one else 1000


def characters(system: str, tools: Iterable[Tool], messages: Iterable[Message]) -> int:
    """The size of what is told first."""
    schemas = sum(len(tool.name) + len(tool.description) + len(json.dumps(tool.input_schema)) for tool in tools)
    return len(system) + schemas + sum(len(json.dumps(block)) for message in messages for block in message.content)

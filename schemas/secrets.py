"""Text in a task file that looks like a secret: a task file is read by everybody who reads the repository.

Knows the marks that vendors put on their own tokens and webhook addresses; it guesses nothing from
how random a text looks, so that an ordinary goal is never refused.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

_MARKS: dict[str, str] = {
    "a Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    "a Slack webhook": r"\bhooks\.slack\.com/(?:services|workflows|triggers)/\w",
    "a Discord webhook": r"\bdiscord(?:app)?\.com/api/webhooks/\d",
    "a GitHub token": r"\b(?:gh[opsur]_[A-Za-z0-9]{20,}|github_pat_\w{20,})",
    "an API key": r"\bsk-[A-Za-z0-9_-]{16,}",
    "a webhook secret": r"\bwhsec_[A-Za-z0-9+/=]{16,}",
    "an AWS key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a key of Goalfile": r"\bgf_[a-z0-9][a-z0-9-]{0,30}_[A-Za-z0-9_-]{43,}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
}
_KINDS = tuple(_MARKS)
# Without one of these there is no mark: looking for them takes a hundredth of the time.
_TOKENS = ("xox", "hooks.slack", "discord", "ghp_", "gho_", "ghs_", "ghu_", "ghr_", "github_pat_", "sk-", "whsec_")
_HINTS = (*_TOKENS, "AKIA", "ASIA", "gf_", "-----BEGIN")
_ANY = re.compile("|".join(f"({mark})" for mark in _MARKS.values()))


class Secret(NamedTuple):
    """What a text seems to hold, and where; the secret itself is not repeated."""

    what: str
    start: int
    end: int


def secrets_in(text: str) -> Iterator[Secret]:
    """Everything in a text that looks like a secret, in order."""
    for hint in _HINTS:
        if hint in text:
            break
    else:
        return
    for found in _ANY.finditer(text):
        yield Secret(_KINDS[(found.lastindex or 1) - 1], *found.span())


def secret_in(text: str) -> str:
    """What kind of secret a text seems to hold, or nothing."""
    return next((secret.what for secret in secrets_in(text)), "")


def texts_in(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every text within plain data with its path, keys included."""
    if isinstance(data, dict):
        for key, value in cast("dict[str, Any]", data).items():
            yield path, key
            yield from texts_in(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(cast("list[Any]", data)):
            yield from texts_in(value, (*path, index))
    elif isinstance(data, str):
        yield path, data

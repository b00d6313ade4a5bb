"""Values in a task file that look like a secret: a task file is read by everybody who reads the repository.

Knows the marks that vendors put on their own tokens and webhook addresses; it guesses nothing from
how random a text looks, so that an ordinary goal is never refused.
"""

import re
from collections.abc import Iterator
from typing import Any, cast

_MARKS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("a Slack token", re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}")),
    ("a Slack webhook", re.compile(r"\bhooks\.slack\.com/(services|workflows|triggers)/\w")),
    ("a Discord webhook", re.compile(r"\bdiscord(app)?\.com/api/webhooks/\d")),
    ("a GitHub token", re.compile(r"\b(gh[opsur]_[A-Za-z0-9]{20,}|github_pat_\w{20,})")),
    ("an API key", re.compile(r"\bsk-[A-Za-z0-9_-]{16,}")),
    ("a webhook secret", re.compile(r"\bwhsec_[A-Za-z0-9+/=]{16,}")),
    ("an AWS key", re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
)


def secrets_in(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Where a value looks like a secret, and what it looks like. The value itself is not returned."""
    if isinstance(data, dict):
        for key, value in cast("dict[str, Any]", data).items():
            yield from secrets_in(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(cast("list[Any]", data)):
            yield from secrets_in(value, (*path, index))
    elif isinstance(data, str) and (what := secret_in(data)):
        yield path, what


def secret_in(text: str) -> str:
    """What kind of secret a text seems to hold, or nothing."""
    return next((what for what, mark in _MARKS if mark.search(text)), "")

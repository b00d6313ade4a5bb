"""Logs without secrets: the values that a process holds, however they are written, and what looks like one.

The last line of defence, not the first: no message of ours holds a secret. It covers what goes through
Python's logging; not a print, and not a library that writes to the terminal by itself.
"""

import base64
import json
import logging
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from schemas.secrets import secrets_in

HIDDEN = "[secret]"

_SHORTEST = 4  # characters; what is shorter is no secret, and hiding it would blot out every line
_DISGUISED = 8  # characters; what is shorter is hidden only as it is

_REST = re.compile(r"""[^\s"'`<>,;(){}\[\]\\|]*""")  # a mark may be only the beginning of the secret
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_PERCENT = re.compile(r"%[0-9A-F]{2}")


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret replaced by `[secret]`.

    Hidden are these secrets of four characters or more; from eight on also within base64, quoted for
    a URL, or escaped as in JSON or a repr; and whatever `secrets_in` finds by its look.
    """
    return _hide(text, _forms(secrets))


class Redacting(logging.Formatter):
    """A formatter around another one: whatever the other writes, traceback and stack included, is redacted."""

    def __init__(self, inner: logging.Formatter, secrets: Iterable[str]) -> None:
        super().__init__()
        self._inner, self._forms = inner, _forms(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """One record as text without secrets. Never raises: logging would print the arguments as they are."""
        try:
            text = self._inner.format(record)
        except Exception as error:  # noqa: BLE001 - an argument's own __str__ may raise anything
            text = f"{record.levelname} {record.name}: {record.msg!s} (not formatted: {type(error).__name__})"
        return _hide(text, self._forms)

    def also(self, secrets: Iterable[str]) -> None:
        """Hide these from now on as well."""
        self._forms = tuple(sorted({*self._forms, *_forms(secrets)}))


def quiet_secrets(secrets: Iterable[str | None]) -> None:
    """Keep these out of every log of this process. Call it when logging is set up: it knows only what is there.

    Called again it adds. None is let pass, so that an optional key can be handed over as it is.
    """
    held = [secret for secret in secrets if secret]
    if not logging.root.handlers:  # or the first careless `logging.error` would add one that is not ours
        plain = logging.StreamHandler()
        plain.setLevel(logging.WARNING)
        logging.root.addHandler(plain)
    for handler in _handlers():
        if isinstance(handler.formatter, Redacting):
            handler.formatter.also(held)
        else:
            handler.setFormatter(Redacting(handler.formatter or logging.Formatter(), held))


def _handlers() -> Iterator[logging.Handler]:
    """Every handler there is: libraries such as uvicorn have their own beside the root's."""
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    found = {handler for logger in loggers if isinstance(logger, logging.Logger) for handler in logger.handlers}
    yield from found
    if logging.lastResort and logging.lastResort not in found:
        yield logging.lastResort  # what writes where nobody has set up anything


def _forms(secrets: Iterable[str]) -> tuple[str, ...]:
    """Everything that these secrets may look like in a text."""
    return tuple(sorted({form for secret in secrets for form in _forms_of(secret) if len(form) >= _SHORTEST}))


def _forms_of(secret: str) -> Iterator[str]:
    if not secret.strip():
        return
    yield secret
    yield secret.strip()
    if len(secret) < _DISGUISED:
        return
    yield from (line.strip() for line in secret.splitlines() if len(line.strip()) >= 2 * _DISGUISED)
    for quoted in (
        quote(secret, errors="replace"),
        quote(secret, "", errors="replace"),
        quote_plus(secret, errors="replace"),
    ):
        yield quoted
        yield _PERCENT.sub(lambda hexed: hexed[0].lower(), quoted)
    raw = secret.encode(errors="replace")
    yield repr(raw)[2:-1]
    for escaped in (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]):
        yield escaped
        yield json.dumps(escaped, ensure_ascii=False)[1:-1]  # a text in a text
    yield from _within_base64(raw)


def _within_base64(secret: bytes) -> Iterator[str]:
    """The characters that stand for this alone, wherever in encoded bytes it begins: `user:secret` is one place."""
    yield base64.b64encode(secret).decode().rstrip("=")
    yield base64.urlsafe_b64encode(secret).decode().rstrip("=")
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + secret).decode()
        whole = encoded[(before * 8 + 5) // 6 : (before + len(secret)) * 8 // 6]
        yield whole
        yield whole.translate(str.maketrans("+/", "-_"))


def _hide(text: str, forms: Iterable[str]) -> str:
    """Replace what overlaps in one piece, so that no end of a secret is left over."""
    spans = [*_places(text, forms), *_marked(text)]
    if not spans:
        return text
    shown: list[str] = []
    at = 0
    for start, end in sorted(spans):
        if start >= at:
            shown += (text[at:start], HIDDEN)
        at = max(at, end)
    return "".join((*shown, text[at:]))


def _places(text: str, forms: Iterable[str]) -> Iterator[tuple[int, int]]:
    for form in forms:
        start = text.find(form)
        while start >= 0:
            yield start, start + len(form)
            start = text.find(form, start + 1)


def _marked(text: str) -> Iterator[tuple[int, int]]:
    for found in secrets_in(text):
        if whole := _PRIVATE_KEY.match(text, found.start):
            yield whole.span()
        else:
            rest = _REST.match(text, found.end)
            yield found.start, rest.end() if rest else found.end

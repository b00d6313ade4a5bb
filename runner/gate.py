"""One gateway, asked by one command: where it is, who asks, and what its refusals mean.

The token goes to that address and nowhere else: no redirection is followed, and nothing is sent in the clear to
another machine. Whatever comes back is foreign: bounded in size and time, and told in one line that drives no terminal.
"""

import asyncio
import ipaddress
import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import httpx
from pydantic import BaseModel, ValidationError

from runner.exits import Failed
from runner.show import in_a_line, one_line

M = TypeVar("M", bound=BaseModel)

WITHIN = 15.0
"""Seconds in which a gateway must go on with an answer."""
MOST_BYTES = 32 * 1024 * 1024
"""Of one answer."""
TRIES = 3
"""How often is asked what may be asked again: what is read, and what counts once however often it is said."""

_PAUSES = (0.3, 1.0)  # seconds between the tries
_CONNECT = 5.0
_JSON = {"Content-Type": "application/json"}
_KIND = "urn:goalfile:problem:"
_NOT_NOW = frozenset({502, 503, 504})
_HERS = frozenset({400, 404, 409, 410, 413, 415, 422})  # what whoever asks can change: no such run, say
_OLDER = frozenset({"not-found", "method-not-allowed"})


class SaidNo(Failed):
    """The gateway answered, and will not. `word` is its stable name for why; empty if it is not in our words."""

    def __init__(self, message: str, code: int, status: int, word: str, detail: str) -> None:
        super().__init__(message, code)
        self.status, self.word, self.detail = status, word, detail


class Unheard(Failed):
    """No gateway answered, or not to the end."""


class Gate:
    """A gateway, while its `async with` block lasts."""

    def __init__(self, address: str, token: str | None, within: float = WITHIN) -> None:
        """Raises Failed: 2 if the token cannot go there."""
        self._address, self.shown = address.rstrip("/"), shown(address)
        headers = sign(address, token)
        try:
            self._client = httpx.AsyncClient(
                auth=_signing(headers) if headers else None,  # wins over a name and password in the address
                timeout=httpx.Timeout(within, connect=min(_CONNECT, within)),
                follow_redirects=False,
                trust_env=not is_plain_and_here(address),  # a proxy has no business between us and this machine
            )
        except OSError as error:  # a certificate file that is not there
            raise Failed(f"what SSL_CERT_FILE or SSL_CERT_DIR names cannot be read: {error.strerror}", 2) from error
        self._within = within

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def ask(
        self,
        kind: type[M],
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        tries: int = TRIES,
        seconds: float = 0,
    ) -> M:
        """One answer. `seconds` is how long it may think beyond the usual. Raises Failed: SaidNo, Unheard."""
        for again in range(tries - 1, -1, -1):
            try:
                raw = await self._once(method, path, query or {}, body, headers or {}, self._within + seconds)
            except (SaidNo, Unheard) as error:
                in_doubt = isinstance(error, Unheard) or (method != "GET" and error.status in _NOT_NOW)
                if not again or not in_doubt:
                    raise
                await asyncio.sleep(_PAUSES[-again])
            else:
                return self.read(kind, raw)
        raise AssertionError  # the last try returned or raised

    @asynccontextmanager
    async def stream(self, path: str, headers: Mapping[str, str], within: float) -> AsyncGenerator[httpx.Response]:
        """An answer that goes on: signs of life at least every `within` seconds. Raises as `ask`, also inside."""
        timeout = httpx.Timeout(self._within, read=within, connect=min(_CONNECT, self._within))
        with self._unheard():
            async with self._client.stream("GET", f"{self._address}{path}", headers=headers, timeout=timeout) as answer:
                if not answer.is_success:
                    raise self._no(answer, await self._body(answer))
                yield answer

    def read(self, kind: type[M], raw: bytes | str) -> M:
        """What an answer says. Raises Failed if it is none of a gateway."""
        try:
            return kind.model_validate_json(raw)
        except ValidationError as error:
            raise self.no_gateway() from error

    def no_gateway(self) -> Failed:
        """What is said of answers that make no sense."""
        return Failed(f"what answers at {self.shown} is no gateway of Goalfile, or one of another version", 3)

    async def _once(  # noqa: PLR0917 - of `ask`, in its order
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int],
        body: object,
        headers: Mapping[str, str],
        at_most: float,
    ) -> bytes:
        timeout = httpx.Timeout(self._within, read=at_most, connect=min(_CONNECT, self._within))
        with self._unheard():
            async with (
                asyncio.timeout(at_most + self._within),
                self._client.stream(
                    method,
                    f"{self._address}{path}",
                    params=query,
                    content=None if body is None else json.dumps(body),  # in ASCII: also what is half a character
                    headers={"Accept": "application/json", **({} if body is None else _JSON), **headers},
                    timeout=timeout,
                ) as answer,
            ):
                raw = await self._body(answer)
                if not answer.is_success:
                    raise self._no(answer, raw)
                return raw

    async def _body(self, answer: httpx.Response) -> bytes:
        raw = bytearray()
        async for part in answer.aiter_bytes():
            raw += part
            if len(raw) > MOST_BYTES:
                raise Failed(f"what answers at {self.shown} says more than {MOST_BYTES // 1024**2} MiB at once", 3)
        return bytes(raw)

    def _unheard(self) -> "_Unheard":
        return _Unheard(self.shown)

    def _no(self, answer: httpx.Response, raw: bytes) -> SaidNo:
        status = answer.status_code
        word, detail = _problem(raw)
        there = f"the gateway at {self.shown}"
        match status:
            case 401:
                code, said = 4, f"{there} does not allow it: set GOALFILE_TOKEN to a token that may"
            case 403:
                code, said = 4, f"{there} does not allow it: {detail or 'your token may not do this'}"
            case _ if answer.has_redirect_location:
                code, said = 3, f"{there} sends elsewhere ({status}): set GOALFILE_SERVER to its own address"
            case _ if word in _OLDER:
                code, said = 3, f"{there} does not know this request: it is of another version than this command"
            case _ if word and status in _HERS:
                code, said = 1, detail or f"{there} refused: {status}"
            case _ if detail:
                code, said = 3, f"{there} says: {detail}"
            case _:
                code, said = 3, f"{there} answered {status}"
        return SaidNo(said, code, status, word, detail)


class _Unheard:
    """Turns every way in which HTTP fails into one line."""

    def __init__(self, at: str) -> None:
        self._at = at

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, httpx.HTTPError | httpx.InvalidURL | httpx.StreamError | TimeoutError):
            why = in_a_line(str(error)) or ("it takes too long" if _is_late(error) else type(error).__name__)
            raise Unheard(f"no gateway answers at {self._at}: {why}", 3) from error


def _is_late(error: BaseException) -> bool:
    return isinstance(error, httpx.TimeoutException | TimeoutError)


def _problem(raw: bytes) -> tuple[str, str]:
    """The word and the detail of a problem, as far as these bytes are one."""
    try:
        said: Any = json.loads(raw)
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(said, dict):
        return "", ""
    problem = cast("dict[str, Any]", said)
    kind, detail, link = (problem.get(name) for name in ("type", "detail", "connect_url"))
    word = kind.removeprefix(_KIND) if isinstance(kind, str) and kind.startswith(_KIND) else ""
    words = [each for each in (detail, link) if isinstance(each, str) and each]
    told = words[0] if words[1:] and words[1] in words[0] else ": ".join(words)
    return word, one_line(in_a_line(told), 1_000)


def shown(address: str) -> str:
    """An address for people: a password in it is nobody's to read."""
    return one_line(re.sub(r"//[^/@]*@", "//…@", address), 200)


def sign(address: str, token: str | None) -> dict[str, str]:
    """The header that says who asks. Raises Failed: 2 if the token is none, or others could read it on its way."""
    token = (token or "").strip()
    if not re.fullmatch(r"[\x21-\x7e]*", token):
        raise Failed("GOALFILE_TOKEN is no token: it holds characters that no header takes", 2)
    if token and re.match(r"(?i)\s*http:", address) and not is_plain_and_here(address):
        raise Failed(f"GOALFILE_TOKEN is not sent to {shown(address)}, where others could read it: use https://", 2)
    return {"Authorization": f"Bearer {token}"} if token else {}


def _signing(headers: Mapping[str, str]) -> Any:
    def signed(request: httpx.Request) -> httpx.Request:
        request.headers.update(headers)
        return request

    return signed


def is_plain_and_here(address: str) -> bool:
    """Whether it is http:// and names this machine, by a name that cannot be another one's."""
    try:
        url = httpx.URL(address)
        return url.scheme == "http" and (url.host == "localhost" or ipaddress.ip_address(url.host).is_loopback)
    except (httpx.InvalidURL, ValueError):
        return False

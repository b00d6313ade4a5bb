"""Every way in which the gateway says no, as `application/problem+json` (RFC 9457).

A problem says what happened and what to do next, in our words. It never carries a traceback, an address
or what another server said; those go to the log.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from math import ceil
from typing import Any, ClassVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

LOG = logging.getLogger("gateway")
MEDIA_TYPE = "application/problem+json"
_LONGEST = 2_000  # characters of a detail: some echo what was sent


class Fault(BaseModel):
    """One thing that is wrong with a request: where (a JSON pointer or a parameter), and what.

    Of a body that is read as a task file is, `code` is the stable word of `goalfile validate`; `line` and `column`
    are told where the body is as it was sent.
    """

    pointer: str
    detail: str
    code: str | None = None
    line: int | None = None
    column: int | None = None


class Unconnected(BaseModel):
    """A toolkit that is not connected for the run's user, and where to connect it; empty: at Composio."""

    toolkit: str
    connect_url: str


class Problem(BaseModel):
    """The body of every error response."""

    type: str = Field(description="A stable name of this kind of problem")
    title: str
    status: int
    detail: str
    instance: str = Field("", description="The path that was asked for")
    errors: list[Fault] = Field(default_factory=list[Fault])
    names: list[str] = Field(default_factory=list[str], description="Names that exist and look alike")
    connect_url: str = Field("", description="Where to connect the first of `unconnected`")
    unconnected: list[Unconnected] = Field(default_factory=list[Unconnected])


def _schema() -> dict[str, Any]:
    """Problem's JSON Schema in one piece: a reference inside it would point nowhere in OpenAPI."""
    schema = Problem.model_json_schema()
    parts = schema.pop("$defs")
    schema["properties"]["errors"]["items"] = parts["Fault"]
    schema["properties"]["unconnected"]["items"] = parts["Unconnected"]
    return schema


RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "What went wrong, and what to do next",
        "content": {MEDIA_TYPE: {"schema": _schema()}},
    }
}
"""For the OpenAPI document: what every route may answer instead."""


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, no failure of ours
    """The gateway will not, or cannot now. The message is for the caller and says what to do next."""

    status: ClassVar[int] = 500
    word: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong here"
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, detail: str, *, errors: Sequence[Fault] = (), names: Sequence[str] = ()) -> None:
        super().__init__(detail)
        self.errors, self.names = list(errors), list(names)

    def head(self) -> Mapping[str, str]:
        """Headers that go with it."""
        return self.headers

    def more(self) -> dict[str, Any]:
        """What else the problem says."""
        return {}


class Unproven(Refusal):
    """Nobody knows who asks. Why is told to nobody: it would help whoever guesses."""

    status, word, title = 401, "unproven", "Say who you are"
    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": "Bearer"}

    def __init__(self) -> None:
        super().__init__("Send `Authorization: Bearer ...` with an API key, or a token that is valid now.")


class NoKeys(Refusal):
    """Who asks cannot be found out right now."""

    status, word, title = 503, "no-keys", "Tokens cannot be checked right now"
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "5"}


class NotAllowed(Refusal):
    """Whoever asks may not do this."""

    status, word, title = 403, "not-allowed", "You may not do this"
    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}


class RunNotFound(Refusal):
    """No run of ours has this id."""

    status, word, title = 404, "unknown-run", "No such run"


class TaskNotFound(Refusal):
    """No task of this name is known to the server."""

    status, word, title = 404, "unknown-task", "No such task"


class RunGoesOn(Refusal):
    """The run has not ended, so it cannot be tried again."""

    status, word, title = 409, "run-goes-on", "The run has not ended"


class NothingWaits(Refusal):
    """Nothing waits for this word, or not any more."""

    status, word, title = 409, "nothing-waits", "Nothing waits for this"


class OtherRequest(Refusal):
    """The idempotency key stands for another request."""

    status, word, title = 422, "key-used", "The Idempotency-Key was used for another request"


class BadQuery(Refusal):
    """A parameter of a list cannot be what it says."""

    status, word, title = 400, "bad-query", "The list cannot be asked for so"


class BadEventId(Refusal):
    """A stream does not go on from there."""

    status, word, title = 400, "bad-event-id", "The Last-Event-ID cannot be used"


class BadCursor(Refusal):
    """A list does not go on from there."""

    status, word, title = 400, "bad-cursor", "The cursor cannot be used"


class RunEnded(Refusal):
    """The run cannot be cancelled any more."""

    status, word, title = 409, "run-ended", "The run has ended"


class TaskUnreadable(Refusal):
    """The task was stored by another version of Goalfile."""

    status, word, title = 409, "unreadable-task", "The task cannot be read"


class OffInFile(Refusal):
    """A task runs, or does not run, as its file says, whatever anybody says here."""

    status, word, title = 409, "off-in-file", "The task's file decides this"


class NotKept(Refusal):
    """A change was made and did not keep."""

    status, word, title = 503, "not-kept", "The change did not keep"
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "2"}


class BadInputs(Refusal):
    """An input is unknown, missing or not what the task says."""

    status, word, title = 422, "bad-inputs", "The inputs do not fit the task"


class BadGoal(Refusal):
    """A goal without a file does not read as a task file does."""

    status, word, title = 422, "invalid-request", "The request is not valid"


class NotConnected(Refusal):
    """A toolkit of the task is not connected for its user; the run was not started."""

    status, word, title = 409, "not-connected", "A toolkit is not connected"

    def __init__(self, detail: str, unconnected: Sequence[Unconnected]) -> None:
        super().__init__(detail)
        self.unconnected = tuple(unconnected)

    def more(self) -> dict[str, Any]:
        """The links, and the first of them by itself."""
        first = next((each.connect_url for each in self.unconnected if each.connect_url), "")
        links = [each.model_dump() for each in self.unconnected]
        return {**({"connect_url": first} if first else {}), "unconnected": links}


class Busy(Refusal):
    """More is asked for at once than can be had. What was asked was not begun."""

    status, word, title = 503, "busy", "Too much at once"
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "1"}


class TooMuch(Refusal):
    """A principal asks for more than its share. What was asked was not begun."""

    status, word, title = 429, "too-much", "More than your share"

    def __init__(self, detail: str, wait: float) -> None:
        """`wait` is in seconds: when to ask again."""
        super().__init__(detail)
        self._wait = wait

    def head(self) -> Mapping[str, str]:
        """When to ask again."""
        return {"Retry-After": str(max(1, ceil(self._wait)))}


class TemporalRefused(Refusal):
    """Temporal answered, and said no."""

    status, word, title = 502, "temporal-refused", "Temporal refused the call"


class Unreachable(Refusal):
    """Temporal does not answer, or is not prepared for us."""

    status, word, title = 503, "temporal-unreachable", "Temporal cannot be used right now"
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "5"}


def problem_response(
    path: str,
    status: int,
    word: str,
    title: str,
    detail: str,
    *,
    errors: Sequence[Fault] = (),
    names: Sequence[str] = (),
    more: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """One problem as a response. ASCII on the wire, so that even half a surrogate pair can be named."""
    said: dict[str, Any] = {
        "type": f"urn:goalfile:problem:{word}",
        "title": title,
        "status": status,
        "detail": detail if len(detail) <= _LONGEST else f"{detail[:_LONGEST]}...",
        "instance": path[:_LONGEST],
    }
    if errors:
        said["errors"] = [error.model_dump(exclude_none=True) for error in errors]
    if names:
        said["names"] = list(names)
    said |= more or {}
    kept = {**(headers or {}), "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(json.dumps(said), status, media_type=MEDIA_TYPE, headers=kept)


def install_problems(app: FastAPI) -> None:
    """Make every error of this app a problem."""
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _crashed)


def refusal_response(path: str, refusal: Refusal) -> Response:
    """A refusal as a response."""
    return problem_response(
        path,
        refusal.status,
        refusal.word,
        refusal.title,
        str(refusal),
        errors=refusal.errors,
        names=refusal.names,
        more=refusal.more(),
        headers=refusal.head(),
    )


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101 - narrows the type; the registration above proves it
    return refusal_response(request.url.path, error)


_HTTP_DETAILS = {
    400: "The body could not be read as JSON.",
    404: "There is nothing at this path; /openapi.json lists what there is.",
    405: "This path does not take that method; the Allow header lists the ones it takes.",
}


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    status = HTTPStatus(error.status_code)
    detail = _HTTP_DETAILS.get(status, str(error.detail))
    word = status.phrase.lower().replace(" ", "-")
    headers = dict(error.headers or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted({headers.get("Allow", ""), *_methods(request)} - {""}))
    return problem_response(request.url.path, status, word, status.phrase, detail, headers=headers)


def _methods(request: Request) -> set[str]:
    """Every method of this path; the router itself names only those of the first route that fits."""
    paths: Mapping[str, Mapping[str, Any]] = request.app.openapi()["paths"]
    fitting = (said for path, said in paths.items() if compile_path(path)[0].match(request.scope["path"]))
    return {method.upper() for said in fitting for method in said}


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    faults = [_fault(found) for found in error.errors()[:20]]
    detail = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults)
    return problem_response(request.url.path, 422, "invalid-request", "The request is not valid", detail, errors=faults)


def _fault(found: Mapping[str, Any]) -> Fault:
    place, *keys = [str(part) for part in found["loc"]] or ["body"]
    escaped = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)
    pointer = f"#{escaped}" if place == "body" else f"{place}{escaped}"
    said = str(found["msg"]).removeprefix("Value error, ")
    if found["type"] == "extra_forbidden":
        said = f"unknown key `{keys[-1][:80]}`" if keys else "unknown key"
    if found["type"] == "json_invalid":
        pointer, said = "#", f"this is not JSON: {found['ctx']['error']}"
    return Fault(pointer=pointer[:200], detail=said[:500])


async def _crashed(request: Request, _error: Exception) -> Response:
    # Starlette raises the error again after this answer, so the traceback is in the log already.
    detail = "An error in the gateway itself; its log has the details. Asking again may help."
    return problem_response(request.url.path, 500, "internal", Refusal.title, detail)

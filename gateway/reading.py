"""The routes that read: a file that somebody is writing, and the schemas that an editor completes it from.

Nothing is kept and nothing is started. The answers are those of `goalfile validate --online --json` and
`goalfile schema --server`: the same reader, the same words, and what this server has. One file is read by itself:
the `_defaults.yaml` above it is on somebody's disk.
"""

import asyncio
import functools
import hashlib
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator
from starlette.exceptions import HTTPException

from gateway.adhoc import QUICK, is_yaml
from gateway.api import Named, OfTasks
from gateway.catalog import Names
from gateway.problems import RESPONSES
from schemas.catalog import Catalog
from schemas.config import load_config
from schemas.export import config_schema, defaults_schema, schema_text, task_schema
from schemas.load import has_errors, load_defaults, load_task
from schemas.problem import Problem
from schemas.value import Value

Kind = Literal["task", "defaults", "config"]


class Verdict(Value):
    """What is to be said of one file. A warning leaves it valid."""

    valid: bool
    problems: tuple[Problem, ...]


class SchemaText(Response):
    """A JSON Schema as it stands in a file."""

    media_type = "application/schema+json"


def _below(path: str) -> str:
    if not path.isprintable() or any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError("write the file's path below the tasks folder, such as team/report.yaml")
    return path


FilePath = Annotated[
    str,
    Query(max_length=300, description="The file's path below the tasks folder; it is told with each problem"),
    AfterValidator(_below),
]

router = APIRouter(prefix="/v1", tags=["tasks"], responses=RESPONSES)
_BODY = {"schema": {"type": "string", "examples": ["goal: Say hello to whoever reads this.\n"]}}
_VALIDATED = {"requestBody": {"required": True, "content": {"application/yaml": _BODY, "text/yaml": _BODY}}}
_SERVED: dict[int | str, dict[str, Any]] = {
    200: {"content": {SchemaText.media_type: {"schema": {"type": "object"}}}},
    304: {"description": "It is what If-None-Match names"},
}


@router.post("/validate", operation_id="files_validate", openapi_extra=_VALIDATED)
async def validate(
    _: OfTasks, request: Request, names: Named, path: FilePath = "task.yaml", kind: Kind = "task"
) -> Verdict:
    """Read a task file, a `_defaults.yaml` or a configuration, and say everything that is wrong with it."""
    if not is_yaml(request.headers.get("content-type", "")):
        raise HTTPException(415, "Send the file's text, with the header `Content-Type: application/yaml`.")
    raw, catalog = await request.body(), await names.catalog()
    if len(raw) < QUICK:
        return verdict(raw, path, kind, catalog)
    return await asyncio.to_thread(verdict, raw, path, kind, catalog)


def verdict(raw: bytes, path: str, kind: Kind, catalog: Catalog) -> Verdict:
    """What a server with this catalog has to say of a file."""
    folder = path.rpartition("/")[0]
    match kind:
        case "task":
            problems = load_task(raw, path, (), catalog, folder).problems
        case "defaults":
            problems = load_defaults(raw, path, catalog, folder).problems
        case "config":
            problems = load_config(raw, path).problems
    return Verdict(valid=not has_errors(problems), problems=problems)


@router.get("/schemas/task.json", operation_id="schemas_task", response_class=SchemaText, responses=_SERVED)
async def task_json(_: OfTasks, request: Request, names: Named) -> Response:
    """The JSON Schema of a task file, which offers what this server has."""
    return await _served(request, "task", names)


@router.get("/schemas/defaults.json", operation_id="schemas_defaults", response_class=SchemaText, responses=_SERVED)
async def defaults_json(_: OfTasks, request: Request, names: Named) -> Response:
    """The JSON Schema of `_defaults.yaml`, which offers what this server has."""
    return await _served(request, "defaults", names)


@router.get("/schemas/config.json", operation_id="schemas_config", response_class=SchemaText, responses=_SERVED)
async def config_json(_: OfTasks, request: Request, names: Named) -> Response:
    """The JSON Schema of `goalfile.config.yaml`."""
    return await _served(request, "config", names)


async def _served(request: Request, kind: Kind, names: Names) -> Response:
    catalog = Catalog() if kind == "config" else await names.catalog()
    text, tag = _schema(kind, catalog.toolkits or (), catalog.channels)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}  # it may be kept, and is asked for again
    named = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    if tag in named or named == ["*"]:
        return Response(status_code=304, headers=headers)
    return SchemaText(text, headers=headers)


@functools.lru_cache(maxsize=6)
def _schema(kind: Kind, toolkits: tuple[str, ...], channels: tuple[str, ...]) -> tuple[bytes, str]:
    """A schema's text and its tag. Making one takes longer than all else here, and what it offers seldom changes."""
    match kind:
        case "task":
            made = task_schema(toolkits=toolkits, channels=channels)
        case "defaults":
            made = defaults_schema(toolkits=toolkits, channels=channels)
        case "config":
            made = config_schema()
    text = schema_text(made).encode()
    return text, f'"{hashlib.sha256(text).hexdigest()[:32]}"'

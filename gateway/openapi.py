"""The API as a document, OpenAPI 3.1: what the routes say of themselves, and what each of them needs.

It is committed as `openapi.json`, so that a change of the API is seen in a review. `python -m gateway.openapi` writes
the file, `--check` only compares. Nothing is said here that a route does not say: the scope is read from `needs`.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, NoReturn, cast

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext, iter_route_contexts

from gateway.problems import MEDIA_TYPE, Problem

FILE = Path(__file__).with_name("openapi.json")

TAGS: Mapping[str, str] = {
    "runs": "Start runs, follow them, stop them.",
    "approvals": "What waits for a person, and what the person decides.",
    "tasks": "What there is to run, and when it runs.",
    "metrics": "How much work there is, and how the gateway does.",
    "health": "Whether it is up. Whoever asks gets an answer.",
}
"""In the order in which a reader meets them."""

BEARER = "bearer"
_SCHEMES = {
    BEARER: {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of your identity provider, or an API key. A gateway without authentication serves its"
        " own machine only, and asks nobody for one.",
    }
}
PROBLEM = "ProblemDetails"
"""The shape of what went wrong, as RFC 9457 calls it. What is wrong with a file is a `Problem`, too."""

EVENT = "x-itemSchema"
"""What each event of a stream is: the word is OpenAPI 3.2's, and unknown to what reads 3.1."""

_UNSAID = "Successful Response"  # what FastAPI says of any
_SHAPES = "#/components/schemas/"


def scope_of(route: RouteContext) -> str | None:
    """The scope that a route needs; None if it needs none."""
    dependant: Dependant | None = getattr(route, "dependant", None)
    calls = (getattr(each.call, "scope", None) for each in _all(dependant)) if dependant else ()
    return next((scope for scope in calls if isinstance(scope, str)), None)


def need(scope: str | None) -> str:
    """What is said of an operation's scope, as the last paragraph of its description."""
    return f"Needs the scope `{scope}`." if scope else "Needs no scope, and no token."


def completed(app: FastAPI, document: dict[str, Any]) -> dict[str, Any]:
    """A generated document with scopes, tags and one shape of problems."""
    shapes = document.setdefault("components", {}).setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template=f"{_SHAPES}{{model}}")
    shapes |= {**problem.pop("$defs", {}), PROBLEM: problem}
    for route in iter_route_contexts(app.routes):
        for method in route.methods or ():
            operation = document["paths"].get(route.path_format, {}).get(method.lower())
            if operation:
                _complete(operation, scope_of(route))
    used = {tag for operation in operations(document) for tag in operation[2].get("tags", ())}
    document["components"] = {"schemas": dict(sorted(shapes.items())), "securitySchemes": _SCHEMES}
    document["tags"] = [{"name": name, "description": said} for name, said in TAGS.items() if name in used]
    return document


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every operation of a document: method, path, what is said of it."""
    for path, methods in cast("Mapping[str, Mapping[str, dict[str, Any]]]", document["paths"]).items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _complete(operation: dict[str, Any], scope: str | None) -> None:
    text = operation.get("description", "")
    operation["summary"] = re.split(r"(?<=\.)\s", text, maxsplit=1)[0].removesuffix(".") or operation["summary"]
    operation["security"] = [{BEARER: [scope]}] if scope else []
    operation["description"] = f"{text}\n\n{need(scope)}".strip()
    for status, answer in operation["responses"].items():
        if answer["description"] == _UNSAID:
            answer["description"] = HTTPStatus(int(status)).phrase
        for form, said in answer.get("content", {}).items():
            if form == MEDIA_TYPE:
                said["schema"] = {"$ref": f"{_SHAPES}{PROBLEM}"}
            if "itemSchema" in said:
                said[EVENT] = said.pop("itemSchema")


def _all(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for each in dependant.dependencies:
        yield from _all(each)


def install(app: FastAPI) -> None:
    """Serve the completed document at `/openapi.json`."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        document = generated()  # the same one, until there is another route
        return document if "tags" in document else completed(app, document)

    app.openapi = openapi


def document_text() -> str:
    """The document as it stands in the file."""
    from gateway.app import create_app  # noqa: PLC0415 - the app installs this module

    async def nowhere() -> NoReturn:
        raise OSError("a document needs no Temporal")

    return json.dumps(create_app(nowhere).openapi(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the file beside this module, or with `--check` say whether it is out of date."""
    text = document_text()
    old = not FILE.exists() or FILE.read_text() != text
    if old and "--check" not in arguments:
        FILE.write_text(text)
        sys.stderr.write(f"wrote {FILE.name}\n")
    elif old:
        sys.stderr.write(f"out of date: {FILE.name}; renew with `make schemas`\n")
    return 1 if old and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

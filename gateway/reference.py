"""The API reference as a page, for a person who writes a program against it: `GET /docs`.

Made of the OpenAPI document alone, so it cannot say anything else. Server-rendered like the other page: no script,
nothing from another host, no form that would send something. What a route says of itself is text, never markup.
"""

import asyncio
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from gateway.curl import Node, curl
from gateway.dashboard import HERE, POLICY
from gateway.openapi import BEARER, EVENT, PROBLEM, need, operations

_LIMITS = {
    "minimum": "{} or more",
    "maximum": "up to {}",
    "minLength": "{} or more characters",
    "maxLength": "up to {} characters",
    "minItems": "{} or more of them",
    "maxItems": "up to {} of them",
}

_WORDS = {"array": "list", "string": "text", "boolean": "true or false", "integer": "whole number"}
_NULL = {"type": "null"}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Part:
    """A parameter, or a field of a body: what it is called, what it holds, what it is for."""

    name: str
    kind: Markup
    said: Markup
    bounds: Markup
    required: bool = False
    place: str = ""
    """Where a parameter is: `path`, `query` or `header`."""


@dataclass(frozen=True)
class Answer:
    """What may come back."""

    status: str
    said: Markup
    kinds: Sequence[tuple[str, Markup]]
    """Content type and shape of each form that it has."""


@dataclass(frozen=True)
class Operation:
    """One thing that can be asked."""

    id: str
    method: str
    path: str
    scope: str
    said: Sequence[Markup]
    parts: Sequence[Part]
    bodies: Sequence[tuple[str, Markup]]
    fields: Sequence[Part]
    answers: Sequence[Answer]
    example: str


@dataclass(frozen=True)
class Shape:
    """An object that bodies and answers are made of."""

    name: str
    kind: Markup
    said: Sequence[Markup]
    parts: Sequence[Part]


def prose(text: str) -> list[Markup]:
    """Paragraphs of a docstring: `backticks` are code, the rest is text."""
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text)]
    return [Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(part)))) for part in paragraphs if part]  # noqa: S704 - escaped before


def inline(text: str) -> Markup:
    """The same in one piece."""
    return Markup(" ").join(prose(text))


def kind(node: Node) -> Markup:
    """What a schema holds, in words: `list of Step`, `number or null`. A shape is a link to it."""
    if reference := node.get("$ref"):
        name = reference.rpartition("/")[2]
        return Markup('<a href="#shape-{0}">{0}</a>').format(name)
    if branches := node.get("anyOf") or node.get("oneOf"):
        return Markup(" or ").join(dict.fromkeys(kind(branch) for branch in branches))
    if "const" in node:
        return Markup("<code>{}</code>").format(json.dumps(node["const"]))
    if values := node.get("enum"):
        return Markup(" or ").join(Markup("<code>{}</code>").format(value) for value in values)
    types: str | Sequence[str] | None = node.get("type")
    if types == "array":
        return Markup("list of {}").format(kind(node.get("items", {})))
    if types == "object" and node.get("additionalProperties"):
        inner: Node | bool = node["additionalProperties"]
        return Markup("object") if isinstance(inner, bool) else Markup("object, each {}").format(kind(inner))
    if types == "string" and "format" in node:
        return escape({"date-time": "time", "uri": "address"}.get(node["format"], "text"))
    words = [types] if isinstance(types, str) else types or ["anything"]
    return escape(" or ".join(_WORDS.get(word, word) for word in words))


def limits(node: Node) -> Markup:
    """What else holds of a value: its bounds, and what it is when left out."""
    bounded = (node, *node.get("anyOf", ()))
    bounds = [
        words.format(f"{int(each[word]):,}") for each in bounded for word, words in _LIMITS.items() if word in each
    ]
    default = node.get("default")
    without = (
        Markup("<code>{}</code> if left out").format(json.dumps(default))
        if default not in (None, "", [], {})
        else Markup()
    )
    return Markup("; ").join(filter(None, [escape(", ".join(bounds)), without]))


def part(name: str, node: Node, said: str = "", *, required: bool = False, place: str = "") -> Part:
    """One row of a table."""
    about = inline(said or node.get("description", ""))
    branches = node.get("anyOf", ())
    if place and _NULL in branches:  # nobody writes null into an address
        node = {**node, "anyOf": [branch for branch in branches if branch != _NULL]}
    return Part(name, kind(node), about, limits(node), required, place)


def fields(node: Node) -> list[Part]:
    """The fields of an object."""
    required = node.get("required", ())
    return [part(name, inner, required=name in required) for name, inner in node.get("properties", {}).items()]


def operation(method: str, path: str, said: Node, shapes: Mapping[str, Node]) -> Operation:
    """One operation as the page shows it."""
    scope = next((scopes[0] for each in said.get("security", ()) if (scopes := each.get(BEARER))), "")
    answers = [
        Answer("otherwise" if status == "default" else status, inline(each.get("description", "")), _forms(each))
        for status, each in said["responses"].items()
    ]
    return Operation(
        id=said["operationId"],
        method=method,
        path=path,
        scope=scope,
        said=prose(said.get("description", "").removesuffix(need(scope or None))),
        parts=[
            part(
                each["name"],
                each["schema"],
                each.get("description", ""),
                required=each.get("required", False),
                place=each["in"],
            )
            for each in said.get("parameters", ())
        ],
        bodies=_forms(said.get("requestBody", {})),
        fields=_fields_of_body(said, shapes),
        answers=sorted(answers, key=lambda answer: answer.status),
        example=curl(method, path, said, shapes),
    )


def _forms(said: Node) -> list[tuple[str, Markup]]:
    """Content types, and what is in each."""
    return [
        (form, _streamed(node[EVENT]) if EVENT in node else kind(node["schema"]))
        for form, node in said.get("content", {}).items()
    ]


def _streamed(event: Node) -> Markup:
    data: Node = event["properties"]["data"]
    return Markup("events, each {}").format(kind(data.get("contentSchema", data)))


def _fields_of_body(said: Node, shapes: Mapping[str, Node]) -> list[Part]:
    node = said.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    for branch in (node, *node.get("anyOf", ())):
        if found := shapes.get(branch.get("$ref", "").rpartition("/")[2]):
            return fields(found)
    return fields(node)


def groups(document: Node) -> Iterator[tuple[str, str, list[Operation]]]:
    """Operations by tag, in the order of the document's tags: name, what it is about, operations."""
    shapes = document["components"]["schemas"]
    for tag in document["tags"]:
        found = [operation(*each, shapes) for each in operations(document) if tag["name"] in each[2].get("tags", ())]
        yield tag["name"], tag["description"], found


def render(document: Node) -> str:
    """The page of a document."""
    shapes = [
        Shape(name, kind(node), prose(node.get("description", "")), fields(node))
        for name, node in document["components"]["schemas"].items()
    ]
    templates = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined)
    said: dict[str, Iterable[Any] | str] = {
        "groups": list(groups(document)),
        "shapes": shapes,
        "problem": PROBLEM,
        "token": document["components"]["securitySchemes"][BEARER]["description"],
    }
    return templates.get_template("reference.html").render(said)


class Reference:
    """The page, made when it is first asked for."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._html = ""

    async def html(self) -> str:
        """It, for everybody the same."""
        self._html = self._html or await asyncio.to_thread(render, self._app.openapi())
        return self._html


@router.get("/docs")
async def reference(request: Request) -> Response:
    """The API reference."""
    made: Reference = request.app.state.reference
    return HTMLResponse(await made.html(), headers={"Content-Security-Policy": POLICY})


def install(app: FastAPI) -> None:
    """Add the page."""
    app.state.reference = Reference(app)
    app.include_router(router)

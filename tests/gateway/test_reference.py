"""The API reference as a reader meets it: complete, reachable by keyboard, with examples that work."""

import re
import shlex
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from string import Template
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.client import Client

from gateway import openapi, reference
from gateway.app import create_app
from gateway.openapi import operations
from gateway.principals import needs
from gateway.problems import RESPONSES
from gateway.reference import HERE, groups, prose, render
from schemas.task import Task
from tests.gateway.conftest import House, http_to


async def nowhere() -> Client:
    raise OSError("nowhere")


DOCUMENT = create_app(nowhere).openapi()
EXAMPLES = {each.id: each.example for _, _, found in groups(DOCUMENT) for each in found}


class Page(HTMLParser):
    """What a browser makes of it: elements in their order, and the text."""

    VOID = frozenset({"meta", "link", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements, self.open, self.said = list[tuple[str, dict[str, str | None]]](), list[str](), ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said += data

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


PAGE = Page(render(DOCUMENT))


async def test_it_loads_nothing_from_elsewhere_and_runs_no_script() -> None:
    async with http_to(create_app(nowhere)) as http:
        answer = await http.get("/docs")
    assert answer.status_code == 200  # without Temporal, too
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'")
    assert "unsafe" not in policy
    page = Page(answer.text)
    assert page.all("script", "img", "iframe", "form", "style") == []
    assert [link["href"] for link in page.all("link")] == ["/static/page.css"]
    for _, attributes in page.elements:
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("href") or "#").startswith(("#", "/"))


def test_every_operation_is_there_with_its_scope_and_under_its_tag() -> None:
    articles = {each["id"] for each in PAGE.all("article")}
    text = " ".join(PAGE.said.split())
    for method, path, said in operations(DOCUMENT):
        assert said["operationId"] in articles
        [scope] = [each["bearer"][0] for each in said["security"]] or [""]
        assert f"{method} {path} {'scope ' + scope if scope else 'no token needed'}" in text
    assert {f"shape-{name}" for name in DOCUMENT["components"]["schemas"]} <= articles
    for tag in DOCUMENT["tags"]:
        assert f"{tag['name']} {tag['description']}" in text


def test_every_link_within_the_page_leads_somewhere_and_nothing_has_two_places() -> None:
    places = Counter(attributes["id"] for _, attributes in PAGE.elements if "id" in attributes)
    assert max(places.values()) == 1
    for link in PAGE.all("a"):
        href = link["href"] or ""
        assert href.lstrip("#") in places or not href.startswith("#"), href
    for _, attributes in PAGE.elements:
        assert (attributes.get("aria-labelledby") or "begin") in places


def test_a_keyboard_reaches_all_of_it() -> None:
    focusable = [(tag, each) for tag, each in PAGE.elements if tag == "a" or each.get("tabindex") == "0"]
    assert focusable[0][1]["href"] == "#content"  # past the contents, at once
    assert ("main", "content") in [(tag, each.get("id")) for tag, each in PAGE.elements]
    # What may be wider than the page is scrolled by keys only if it can have the focus.
    assert all(each.get("tabindex") == "0" for each in PAGE.all("pre"))
    assert not any(int(each["tabindex"] or 0) > 0 for _, each in PAGE.elements if "tabindex" in each)


def test_headings_make_an_outline_without_gaps() -> None:
    levels = [int(tag[1]) for tag, _ in PAGE.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ink", ["ink", "quiet", "good", "bad", "live", "pending"])
@pytest.mark.parametrize("ground", ["ground", "raised"])
def test_text_stands_out_in_the_light_and_in_the_dark(ink: str, ground: str, mode: int) -> None:
    style = (HERE / "static" / "page.css").read_text()
    colours = {name: pair for name, *pair in re.findall(r"--(\w+): light-dark\((#\w{6}), (#\w{6})\)", style)}
    one, other = sorted((_luminance(colours[ink][mode]), _luminance(colours[ground][mode])))
    assert (other + 0.05) / (one + 0.05) >= 4.5


def test_every_colour_is_one_that_knows_the_dark() -> None:
    style = (HERE / "static" / "page.css").read_text()
    assert re.findall(r"#[0-9a-f]{3,8}\b", style.partition("}")[2]) == []


def test_prose_is_paragraphs_with_code() -> None:
    assert prose("One `a < b`\nline.\n\nAnd <i>more</i>.") == [
        "One <code>a &lt; b</code> line.",
        "And &lt;i&gt;more&lt;/i&gt;.",
    ]


@settings(max_examples=20, deadline=None)
@given(said=st.text(st.characters(codec="utf-8"), min_size=1))
def test_what_a_route_says_is_text_and_never_markup(said: str) -> None:
    def page(text: str) -> Page:
        app = FastAPI()
        described: dict[int | str, dict[str, Any]] = {200: {"description": text}}
        app.add_api_route(
            "/x",
            lambda: None,
            operation_id="x_get",
            tags=["runs"],
            description=text,
            responses=described | RESPONSES,
            dependencies=[needs("runs:read")],
        )
        openapi.install(app)
        return Page(render(app.openapi()))

    def tags(of: Page) -> list[str]:
        return [tag for tag, _ in of.elements if tag not in {"p", "code"}]

    assert tags(page(f"{said}<script>alert(1)</script>")) == tags(page("plain"))


def asked(example: str, names: dict[str, str]) -> tuple[str, str, dict[str, str], bytes | None]:
    """A request as `curl` would send it: method, path, headers, body."""
    words = shlex.split(Template(example.replace("\\\n", "")).substitute(names))
    assert words.pop(0) == "curl"
    method, path, headers, body = "", "", dict[str, str](), None
    while words:
        match words.pop(0):
            case "--request":
                method = words.pop(0)
            case "--header":
                name, _, value = words.pop(0).partition(": ")
                headers[name] = value
            case "--data":
                body = words.pop(0).encode()
            case "--data-binary":
                assert words.pop(0) == "@task.yaml"
                body = b"goal: Say hello.\n"
            case "--no-buffer":
                pass
            case address:
                path = address.removeprefix("http://here")
    return method or ("GET" if body is None else "POST"), path, headers, body


ALL_THE_SAME = {
    "approvals_decide": {404},  # nothing waits for a person here
    "runs_recheck": {409},
    "tasks_pause": {409},  # this task has no cron
    "tasks_resume": {409},
}
"""Examples that are understood, and refused for what there is."""


@pytest.mark.temporal
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("name", EXAMPLES)
async def test_an_example_can_be_copied(house: House, name: str) -> None:
    example = EXAMPLES[name]
    task = Task(goal="wait" if name == "runs_cancel" else "say hello", name=f"t-{uuid4().hex[:8]}")
    await house.keep(task)
    run_id = (await house.http.post(f"/v1/tasks/{task.name}/runs")).json()["id"]
    if name != "runs_cancel":
        await house.client.get_workflow_handle(run_id).result()
    open_names = set(re.findall(r"\$([A-Z_]+)", example)) - {"GOALFILE_URL", "GOALFILE_TOKEN"}
    said = dict.fromkeys(open_names | {"GOALFILE_TOKEN"}, "unknown")
    said |= {"GOALFILE_URL": "http://here", "NAME": task.name, "RUN_ID": run_id}
    method, path, headers, body = asked(example, said)
    answer = await house.http.request(method, path, headers=headers, content=body)
    assert answer.status_code < 300 or answer.status_code in ALL_THE_SAME.get(name, ()), answer.text


async def test_it_is_made_once_and_says_what_the_document_says() -> None:
    app = create_app(nowhere)
    async with http_to(app) as http:
        first, again = await http.get("/docs"), await http.get("/docs")
    assert first.text == again.text == render(app.openapi())
    made: reference.Reference = app.state.reference
    assert await made.html() is await made.html()

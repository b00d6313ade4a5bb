"""The task file's JSON Schema, made from the types: one file for editors, CI and our own reader.

Draft-07, in the shape that editors complete well: no `null` branches, references written out, a message
with every pattern. `python -m schemas.export` writes the schema files, `--check` only compares.
"""

import copy
import json
import re
import sys
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from schemas import spelling
from schemas.config import Config
from schemas.duration import format_duration
from schemas.slots import known_zones
from schemas.spelling import Fragment
from schemas.task import Task
from schemas.value import Value

DRAFT = "http://json-schema.org/draft-07/schema#"
NOT_IN_DEFAULTS = ("goal", "cron", "inputs", "output", "name")
"""Fields that are each task's own."""
MEANT = {
    "schedule": "cron",
    "trigger": "cron",
    "on": "cron",
    "every": "cron",
    "prompt": "goal",
    "instructions": "goal",
    "task": "goal",
    "toolkits": "toolkit",
    "tool": "toolkit",
    "apps": "toolkit",
    "tz": "timezone",
    "time_zone": "timezone",
    "timeout": "limits.timeout",
    "max_turns": "limits.turns",
    "max_tokens": "limits.tokens",
    "budget": "limits.cost_usd",
    "disabled": "enabled: false",
    "suspend": "enabled: false",
    "paused": "enabled: false",
    "concurrency": "overlap",
    "user": "run_as",
    "user_id": "run_as",
    "params": "inputs",
    "parameters": "inputs",
    "input": "inputs",
    "outputs": "output",
    "notifications": "notify",
    "alerts": "notify",
    "permissions": "tools",
    "retry": "retries",
    "tags": "labels",
    "id": "name",
    "title": "description",
}
"""What people write and what they mean by it, where the letters do not tell."""
GOAL_MISSING = "`goal` is missing: add a line such as `goal: Summarise yesterday's merged pull requests in acme/web`"


def task_schema(*, toolkits: Iterable[str] = (), channels: Iterable[str] = ()) -> Fragment:
    """The schema of a task file. What a server has is offered for completion, and restricts nothing."""
    every_input = {"doNotSuggest": True, "additionalProperties": spelling.WITHOUT_DEFAULT}
    made = _polished(_generated(Task), _offer(tuple(toolkits), tuple(channels)))
    properties = made["properties"]
    return {
        "$schema": DRAFT,
        "title": "Goalfile task",
        "description": "A goal in prose, the toolkits it may use, when it runs and within which limits.",
        **_closed(properties),
        "allOf": [
            {"required": ["goal"], "errorMessage": GOAL_MISSING},
            {
                "if": {"required": ["cron"]},
                "then": {"properties": {"inputs": every_input}},
            },
        ],
        "definitions": {"jsonSchema": _polished(spelling.JSON_SCHEMA)},
    }


def defaults_schema(*, toolkits: Iterable[str] = (), channels: Iterable[str] = ()) -> Fragment:
    """The schema of `_defaults.yaml`: any field but those that are each task's own."""
    task = task_schema(toolkits=toolkits, channels=channels)
    properties = {name: node for name, node in task["properties"].items() if name in Task.model_fields}
    refused = {name: f"`{name}` is each task's own: write it there" for name in NOT_IN_DEFAULTS}
    properties = {name: node for name, node in properties.items() if name not in refused}
    return {
        "$schema": DRAFT,
        "title": "Goalfile defaults",
        "description": "What the tasks of this folder and of those below it have unless they say otherwise.",
        **_closed(properties, **refused),
    }


def config_schema() -> Fragment:
    """The schema of `goalfile.config.yaml`."""
    made = _polished(_generated(Config))
    return {"$schema": DRAFT, "title": "Goalfile configuration", **made}


def _generated(model: type[Value]) -> Fragment:
    made = model.model_json_schema()
    definitions = made.pop("$defs", {})

    def written_out(node: Fragment) -> Fragment:
        return (
            {**copy.deepcopy(definitions[reference.rpartition("/")[2]]), **node}
            if (reference := node.pop("$ref", ""))
            else node
        )

    return _walked(_walked(made, written_out), _said_once)


def _said_once(node: Fragment) -> Fragment:
    """An editor tells the wrong type and the wrong value apart, and would say both of the same value."""
    if "markdownEnumDescriptions" in node or "const" in node or node.get("enum") == [True, False]:
        node.pop("type", None)
    if "const" in node:
        node.pop("default", None)
    return node


def _polished(node: Fragment, *more: Callable[[Fragment], Fragment]) -> Fragment:
    for change in (_without_null, _without_noise, _described, _referred, _closed_object, *more):
        node = _walked(node, change)
    return node


def _walked(node: Any, change: Callable[[Fragment], Fragment]) -> Any:
    """Change every schema of a schema, parents first. Names of properties are no keywords."""
    if isinstance(node, list):
        return [_walked(item, change) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    changed = change(dict(cast("Fragment", node)))
    for word, value in changed.items():
        if word in ("properties", "definitions"):
            changed[word] = {name: _walked(inner, change) for name, inner in value.items()}
        elif word not in ("default", "enum", "const", "examples", "defaultSnippets", "markdownEnumDescriptions"):
            changed[word] = _walked(value, change)
    return changed


def _without_null(node: Fragment) -> Fragment:
    """An editor would insert `jitter: null`; in a file, what is not wanted is left out."""
    branches = node.get("anyOf", [])
    if {"type": "null"} in branches:
        [rest] = [branch for branch in branches if branch != {"type": "null"}]
        del node["anyOf"]
        return {**rest, **node}
    return node


def _without_noise(node: Fragment) -> Fragment:
    if not str(node.get("title")).startswith("a "):  # ours, by which an editor offers it: pydantic's begin otherwise
        node.pop("title", None)
    default = node.get("default")
    if isinstance(default, dict | list | tuple) or default in (None, ""):
        node.pop("default", None)
    elif node.get("errorMessage", "").startswith("a duration"):
        node["default"] = _shortest(default)
    return node


def _described(node: Fragment) -> Fragment:
    """Editors show backticks of a plain `description` as they are, and no default."""
    if said := node.get("description"):
        default = f" Without it: `{json.dumps(node['default']).strip(chr(34))}`." if "default" in node else ""
        node["markdownDescription"] = f"{said}{default}"
    return node


def _shortest(iso: str) -> str:
    """Pydantic writes defaults as ISO 8601; people write `30m`."""
    number, unit = int(iso.strip("PTDHMS")), iso[-1].lower()
    return format_duration(timedelta(**{{"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}[unit]: number}))


def _referred(node: Fragment) -> Fragment:
    return {"$ref": "#/definitions/jsonSchema"} if node == spelling.A_SCHEMA else node


def _closed_object(node: Fragment) -> Fragment:
    if node.get("type") == "object" and "properties" in node and "additionalProperties" not in node:
        return {**node, **_closed_words(node["properties"])}
    return node


def _closed(properties: Fragment, **refused: str) -> Fragment:
    names = [_not(word, f"unknown key: did you mean `{field}`?", field) for word, field in MEANT.items()]
    names += [_not(name, message, "") for name, message in refused.items()]
    known = {word: {"doNotSuggest": True} for word in (*MEANT, *refused)}  # told once, by name
    closed = {"type": "object", **_closed_words(properties)}
    return {**closed, "propertyNames": {"allOf": names}, "properties": {**known, **properties}}


def _closed_words(properties: Fragment) -> Fragment:
    keys = ", ".join(name for name, node in properties.items() if not node.get("doNotSuggest"))
    return {"additionalProperties": False, "errorMessage": f"the keys here are {keys}"}


def _not(word: str, message: str, fix: str) -> Fragment:
    """A name that is never right; editors underline it, and offer the field that was meant."""
    if fix in Task.model_fields:
        return {"if": {"const": word}, "then": {"enum": [fix], "errorMessage": message}}
    return {"if": {"const": word}, "then": {"pattern": "^$", "errorMessage": message}}


def _offer(toolkits: tuple[str, ...], channels: tuple[str, ...]) -> Callable[[Fragment], Fragment]:
    offers = {"toolkit": sorted(toolkits), "channel": sorted(channels), "timezone": [*known_zones()]}

    def change(node: Fragment) -> Fragment:
        kind = node.get("$comment", "")
        if names := offers.get(kind):
            node["defaultSnippets"] = spelling.offered(*names)
        if kind == "timezone":
            node["pattern"] = f"^({'|'.join(map(re.escape, known_zones()))})$"
        return node

    return change


def schema_text(schema: Fragment) -> str:
    """A schema as it stands in a file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


FILES: dict[str, Callable[[], Fragment]] = {
    "task.schema.json": task_schema,
    "defaults.schema.json": defaults_schema,
    "config.schema.json": config_schema,
}


def main(arguments: list[str]) -> int:
    """Write the files beside this module, or with `--check` say which of them are out of date."""
    old: list[str] = []
    for name, make in FILES.items():
        path, text = Path(__file__).with_name(name), schema_text(make())
        if not path.exists() or path.read_text() != text:
            old.append(name)
            if "--check" not in arguments:
                path.write_text(text)
    said = ", ".join(old) or "nothing"
    sys.stderr.write(
        f"out of date: {said}; renew with `make schemas`\n" if "--check" in arguments else f"wrote {said}\n"
    )
    return 1 if old and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

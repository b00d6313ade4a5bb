"""A file's data held against its JSON Schema: every difference, where it is and what to write instead.

The library finds the differences, by the same schema that editors complete from; the words come from
the schema where it has its own. What a schema cannot say is `schemas.checks`'.
"""

import difflib
import functools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, cast

from jsonschema_rs import Draft7Validator, ValidationError

from schemas.document import Document, Path
from schemas.problem import Problem, clipped

_SAID = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping of keys to values",
    "null": "nothing",
}
_INPUT = ["properties", "inputs", "additionalProperties", "properties"]


@dataclass(frozen=True)
class Difference:
    """One place where data is not what its schema says, in words."""

    path: Path
    code: str
    message: str
    label: str = ""
    help: str = ""
    at_key: bool = False
    """True if the key is at fault, not its value."""
    keyword: str = ""
    """The keyword of JSON Schema that objects."""

    def problem(self, document: Document) -> Problem:
        """The problem that this is in a file."""
        span = document.place(self.path, key=self.at_key)
        return Problem(
            code=self.code, message=self.message, file=document.file, span=span, label=self.label, help=self.help
        )


class Shape:
    """One schema, ready to hold data against."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = schema
        self._validator = Draft7Validator(schema)

    def differences(self, data: dict[str, Any]) -> tuple[Difference, ...]:
        """Every difference, each place once; none if the schema takes the data."""
        found: dict[tuple[Path, bool, str], Difference] = {}
        for error in self._validator.iter_errors(data):
            for difference in self._differences(error):
                found.setdefault((difference.path, difference.at_key, difference.message), difference)
        return tuple(found.values())

    def _differences(self, error: ValidationError) -> Iterator[Difference]:
        path, node = tuple(error.instance_path), self._node(error.schema_path[:-1])
        name, kind = said_path(path), cast("Any", error.kind)
        in_schema = "jsonSchema" in error.schema_path[:2] or list(error.schema_path[:4]) == _INPUT
        if kind.name == "anyOf":
            yield from self._alternatives(error, kind.context)
        elif kind.name == "additionalProperties":
            known = [word for word, inner in node["properties"].items() if not inner.get("doNotSuggest")]
            for key in kind.unexpected:
                yield _unknown((*path, key), known, "bad-schema" if in_schema else "unknown-key")
        elif kind.name == "required":
            yield self._missing(path, kind.property, node)
        elif kind.name == "propertyNames":
            yield self._misnamed(path, kind.value, never=error.schema_path[1] == "allOf")
        else:
            code = "bad-schema" if in_schema else "bad-name" if path == ("name",) else "invalid-value"
            label, help_ = _remedy(kind, node, error.instance)
            yield Difference(path, code, _cannot(name, error.instance), label, help_, keyword=kind.name)

    def _alternatives(
        self, error: ValidationError, branches: Sequence[Sequence[ValidationError]]
    ) -> Iterator[Difference]:
        """What is wrong with the alternative that was meant: the one whose type fits."""
        path, expected = tuple(error.instance_path), list[str]()
        for branch in branches:
            wrong = [cast("Any", each.kind) for each in branch if tuple(each.instance_path) == path]
            types = [kind.types for kind in wrong if kind.name == "type"]
            if not types:
                for each in branch:
                    yield from self._differences(each)
                return
            expected += types[0]
        label = f"write {_one_of([_SAID[word] for word in dict.fromkeys(expected)])}"
        own = self._node(error.schema_path[:-1]).get("errorMessage", label)
        yield Difference(path, "invalid-value", _cannot(said_path(path), error.instance), own, keyword="type")

    def _misnamed(self, path: Path, inner: ValidationError, *, never: bool) -> Difference:
        """A key that cannot be: `never` for those that the schema knows by name, each with what was meant."""
        key, wrong = str(inner.instance), self._node(inner.schema_path[:-1])
        remedy = str(wrong["errorMessage"])
        if never:
            label = remedy.removeprefix("unknown key: ")
            return Difference((*path, key), "unknown-key", f"unknown key `{clipped(key)}`", label, at_key=True)
        message = f"`{clipped(key)}` cannot be a key of `{said_path(path)}`"
        return Difference((*path, key), "invalid-value", message, remedy, at_key=True)

    def _missing(self, path: Path, key: str, node: dict[str, Any]) -> Difference:
        own = str(node.get("errorMessage", ""))
        if not path and key == "goal":
            remedy = own.partition(": ")[2]
            return Difference(path, "missing-goal", "`goal` is missing", "only `goal` is required", remedy)
        name = said_path((*path, key))
        if key == "default":
            message = f"input `{path[-1]}` has no default, and nobody is there at night to give one"
            help_ = "give it a `default`, or remove `cron`"
            return Difference(path, "input-without-default", message, help=help_, at_key=True)
        label = own if own and "type" not in node else f"add `{key}: …`"  # of a branch: its own word
        return Difference(path, "missing-key", f"`{name}` is missing", label, keyword="required")

    def _node(self, path: Sequence[str | int]) -> dict[str, Any]:
        node: Any = self.schema
        for step in path:
            node = node[step]
        return node


@functools.cache
def shape(kind: Literal["task", "defaults", "config"]) -> Shape:
    """The shape of one kind of file: the schema beside this module."""
    return Shape(json.loads(files("schemas").joinpath(f"{kind}.schema.json").read_text()))


def said_path(path: Path) -> str:
    """A path as people write it: `notify[0].to`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{clipped(step)}" for step in path).removeprefix(".")


def closest(word: str, known: Sequence[str], cutoff: float = 0.7) -> str:
    """The known word that was probably meant, or nothing."""
    return next(iter(difflib.get_close_matches(word[:60].lower(), known, n=1, cutoff=cutoff)), "")


def _unknown(path: Path, known: Sequence[str], code: str) -> Difference:
    meant = closest(str(path[-1]), known)
    label = f"did you mean `{meant}`?" if meant else ""
    most_used = known if len(known) <= 24 else [*known[:12], "…"]
    help_ = "" if meant else f"known keys: {', '.join(most_used)}"
    message = f"unknown key `{said_path(path)}`"
    return Difference(path, code, message, label, help_, at_key=True, keyword="additionalProperties")


def _cannot(name: str, value: Any) -> str:
    if value is None:
        return f"`{name}` is empty"
    if isinstance(value, dict | list):
        return f"`{name}` cannot be {'this list' if isinstance(value, list) else 'this mapping'}"
    return f"`{name}` cannot be `{_written(value)}`"


def _written(value: Any) -> str:
    return clipped(value.strip().partition("\n")[0]) if isinstance(value, str) else json.dumps(value)


def _remedy(kind: Any, node: dict[str, Any], value: Any) -> tuple[str, str]:
    """What to write instead, and what else helps."""
    own = str(node.get("errorMessage", ""))
    if value is None:
        return "write a value, or remove the line", ""
    match kind.name:
        case "type":
            return _other_type(kind.types, node, value), ""
        case "enum" | "const":
            words = [_written(word) for word in node.get("enum", [node.get("const")])]
            own = own or f"write {_one_of(words)}"
            meant = closest(value, words, 0.6) if isinstance(value, str) else ""
            return (f"did you mean `{meant}`?", own) if meant and meant != value else (own, "")
        case "maxLength":
            return f"write at most {kind.limit:,} characters; these are {len(value):,}", ""
        case "maxProperties":
            return f"write at most {kind.limit} entries; these are {len(value)}", ""
        case "minItems":
            return "write at least one, or remove the line", ""
        case "uniqueItems":
            return "write each only once", ""
        case "minimum" | "exclusiveMinimum" if not own:
            return f"write a number {'from' if kind.name == 'minimum' else 'above'} {kind.limit}", ""
        case _:
            return own, ""


def _other_type(types: Sequence[str], node: dict[str, Any], value: Any) -> str:
    quotable = types == ["string"] and isinstance(value, bool | int | float)
    if quotable and re.search(node.get("pattern", ""), _written(value)):
        return f'write text, in quotes: "{_written(value)}"'
    return str(node.get("errorMessage") or f"write {_one_of([_SAID[word] for word in types])}")


def _one_of(words: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))

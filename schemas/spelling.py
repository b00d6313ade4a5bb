"""How each kind of value is spelt in a task file: JSON Schema that says what to write instead.

These fragments annotate the fields of `schemas.task`; from there they reach the exported schema, by
which editors and `schemas.load` judge the same file with the same words. They are never checked when
a stored value is decoded.
"""

from typing import Any

from schemas.cron import SHORTCUTS, cron_pattern

Fragment = dict[str, Any]
NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_SLUG_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
_DURATION = r"(?=[0-9])([0-9]{1,2}w)?([0-9]{1,3}d)?([0-9]{1,4}h)?([0-9]{1,5}m)?([0-9]{1,7}s)?$"
_LABEL = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_DNS = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"


def text(pattern: str, remedy: str, **more: Any) -> Fragment:
    """Text of a pattern; `remedy` is what an editor and the terminal say about any other."""
    return {"type": "string", "pattern": pattern, "patternErrorMessage": remedy, **more}


def whole(minimum: int, maximum: int | None = None) -> Fragment:
    """A whole number within bounds, both included."""
    return {"type": "integer", "minimum": minimum, **({} if maximum is None else {"maximum": maximum})}


def duration(at_least: int) -> Fragment:
    """A length of time of at least 0, 1 or 10 seconds."""
    short = {0: "", 1: r"(?!(0+[wdhms])*$)", 10: r"(?!(0+[wdhm])*(0*[0-9]s)?$)"}
    remedy = "a duration is a number and a unit, such as 90s, 10m, 24h or 3d"
    remedy += f"; at least {at_least}s" if at_least else ""
    return text(f"^{short[at_least]}{_DURATION}", remedy)


def choice(**values: str) -> Fragment:
    """One of a few words, each with what it means."""
    return {"type": "string", "enum": list(values), "markdownEnumDescriptions": list(values.values())}


def one_or_many(item: Fragment, *, at_least: int = 0) -> Fragment:
    """One value or a list of them. The text stands first: editors then insert it in the same line."""
    many: Fragment = {"type": "array", "items": item, **({"minItems": at_least} if at_least else {})}
    return {"anyOf": [item, many]}


TOOLKIT = text(
    r"^[a-z0-9_][a-z0-9_-]{0,62}$",  # Composio's slugs may begin with `_`: a name cannot begin with its digit
    "a toolkit is named in lower case, such as gmail",
    examples=["gmail", "github", "googlecalendar", "linear", "notion", "slack", "stripe"],
)
CHANNEL = text(_SLUG_PATTERN, "name a channel of the server's configuration, such as eng-slack; never an address")
GLOB = text(r"^\S{1,200}$", "a pattern over tool names, such as GMAIL_SEND_* or *_DELETE_*")
RUN_AS = text(r"^\S{1,200}$", "the Composio user whose connections are used, without spaces")
MODEL = text(r"^\S{1,200}$", "a model's id, such as claude-sonnet-5-5", examples=["claude-sonnet-5-5"])
NAME = text(NAME_PATTERN, "a name has 1 to 63 of a-z, 0-9 and -, and neither begins nor ends with -")
CRON = text(
    cron_pattern(),
    "cron needs five fields: minute (0-59) hour (0-23) day (1-31) month (1-12) weekday (0-7 or mon-sun), with day or"
    f' weekday `*`, for example "0 9 * * 1-5"; or one of {" ".join(SHORTCUTS)}',
    defaultSnippets=[
        {"label": label, "description": what, "body": f'"{label}"'}
        for label, what in (
            ("0 9 * * 1-5", "every weekday at 9:00"),
            ("*/15 * * * *", "every 15 minutes"),
            ("0 8 1 * *", "on the 1st of every month at 8:00"),
            ("@daily", "every day at 0:00"),
        )
    ],
)
TIMEZONE: Fragment = {
    "type": "string",  # `schemas.export` adds the names that there are
    "errorMessage": "a time zone is an IANA name in exact case, such as Europe/Berlin, or UTC",
}
LABELS: Fragment = {
    "type": "object",
    "maxProperties": 16,
    "propertyNames": text(
        rf"^(?=.{{1,317}}$)({_DNS}(\.{_DNS})*/)?{_LABEL}$",
        "a label's key has letters, digits, - _ and . (as in Kubernetes), 63 at most",
    ),
    "additionalProperties": text(
        rf"^({_LABEL})?$", "a label's value has letters, digits, - _ and . (as in Kubernetes), 63 at most"
    ),
}
GOAL = text(r"\S", "say what you want done, and when it is done", minLength=1, maxLength=20_000)
DESCRIPTION = text(r"\S", "say it in a line, or leave `description` out", maxLength=500)

_TYPES = ["string", "integer", "number", "boolean", "array", "object", "null"]
A_SCHEMA: Fragment = {"title": "a JSON Schema"}
"""Stands for JSON_SCHEMA, which holds itself: `schemas.export` puts a reference in its place."""
_MANY: Fragment = {"type": "array", "minItems": 1, "items": A_SCHEMA}
_BY_NAME: Fragment = {"type": "object", "additionalProperties": A_SCHEMA}
_COUNT: Fragment = {"type": "integer", "minimum": 0}
_NUMBER: Fragment = {"type": "number"}
_FLAG: Fragment = {"type": "boolean"}
_TEXT: Fragment = {"type": "string"}
JSON_SCHEMA: Fragment = {
    "type": "object",
    "properties": {
        "type": {"anyOf": [{"enum": _TYPES}, {"type": "array", "minItems": 1, "items": {"enum": _TYPES}}]},
        "description": _TEXT,
        "default": {},
        "enum": {"type": "array", "minItems": 1},
        "properties": _BY_NAME,
        "required": {"type": "array", "items": _TEXT, "uniqueItems": True},
        "items": A_SCHEMA,
        "additionalProperties": {"anyOf": [_FLAG, A_SCHEMA]},
        **dict.fromkeys(("title", "format", "pattern", "$comment", "$id", "$schema", "$anchor"), _TEXT),
        **dict.fromkeys(("contentEncoding", "contentMediaType"), _TEXT),
        **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _NUMBER),
        "multipleOf": {"type": "number", "exclusiveMinimum": 0},
        **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), _COUNT),
        **dict.fromkeys(("minProperties", "maxProperties", "minContains", "maxContains"), _COUNT),
        **dict.fromkeys(("uniqueItems", "deprecated", "readOnly", "writeOnly"), _FLAG),
        **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _MANY),
        **dict.fromkeys(("$defs", "definitions", "patternProperties", "dependentSchemas"), _BY_NAME),
        **dict.fromkeys(("not", "if", "then", "else", "contains", "propertyNames"), A_SCHEMA),
        "dependentRequired": {"type": "object", "additionalProperties": {"type": "array", "items": _TEXT}},
        "const": {},
        "examples": {"type": "array"},
        "$ref": text("^#", "a `$ref` points into the same schema, such as #/$defs/item"),
    },
    "additionalProperties": False,
    "errorMessage": "this is no keyword of JSON Schema; those most used are: type, description, default, enum,"
    " properties, required, items, minimum, maximum, minLength, maxLength, pattern, format",
}
"""JSON Schema (draft 2020-12) as far as its keywords go. Stricter than the standard, which ignores what it does
not know: a misspelt `minimum` would hold nobody to anything."""

_IS_SCHEMA: Fragment = {
    "type": "object",
    "anyOf": [{"required": [word]} for word in ("type", "enum", "default", "$ref")],
}
INPUTS: Fragment = {
    "type": "object",
    "propertyNames": text(
        "^[A-Za-z_][A-Za-z0-9_-]{0,62}$", "an input is named with letters, digits, _ and -, 63 at most"
    ),
    "additionalProperties": {
        "type": ["string", "number", "boolean", "array", "object"],
        "errorMessage": "write a default, or a JSON Schema such as {type: string}",
        "if": _IS_SCHEMA,
        "then": A_SCHEMA,
    },
}
WITHOUT_DEFAULT: Fragment = {"if": _IS_SCHEMA, "then": {"required": ["default"]}}
OUTPUT: Fragment = {
    "type": "object",
    "allOf": [A_SCHEMA],
    "required": ["type"],
    "properties": {"type": {"const": "object", "errorMessage": "an output is an object: write `type: object`"}},
    "additionalProperties": True,
}

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
    return {"type": "string", "pattern": pattern, "errorMessage": remedy, **more}


def whole(minimum: int, maximum: int | None = None) -> Fragment:
    """A whole number within bounds, both included."""
    if maximum is None:
        return {"type": "integer", "minimum": minimum, "errorMessage": f"write a whole number of at least {minimum}"}
    remedy = f"write a whole number from {minimum} to {maximum}"
    return {"type": "integer", "minimum": minimum, "maximum": maximum, "errorMessage": remedy}


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
    """One value or a list of them. No `anyOf`: an editor would merge the messages of both, and offer both."""
    many: Fragment = {"items": item, **({"minItems": at_least} if at_least else {})}
    return {**item, "type": ["string", "array"], "if": {"type": "array"}, "then": many}


def offered(*values: str) -> list[Fragment]:
    """Values that an editor offers. `examples` would do, but are shown one by one in every hover."""
    return [{"label": value, "body": value} for value in values]


TOOLKIT = text(
    r"^[a-z0-9_][a-z0-9_-]{0,62}$",  # Composio's slugs may begin with `_`: a name cannot begin with its digit
    "a toolkit is named in lower case, such as gmail",
    **{"$comment": "toolkit"},  # for `schemas.export`, which knows the names that there are
    description="Toolkits whose tools may be used.",
    defaultSnippets=offered("gmail", "github", "googlecalendar", "linear", "notion", "slack", "stripe"),
)
DOLLARS: Fragment = {
    "type": "number",
    "exclusiveMinimum": 0,
    "maximum": 1_000_000,
    "errorMessage": "write a number above 0, such as 2.5",
}
CHANNEL = text(
    _SLUG_PATTERN,
    "name a channel of the server's configuration, such as eng-slack; never an address",
    **{"$comment": "channel"},
)
WITH_WHEN = "a channel, and when"
"""What an editor calls the longer way to name a channel."""
GLOB = text(r"^\S{1,200}$", "a pattern over tool names, such as GMAIL_SEND_* or *_DELETE_*")
RUN_AS = text(r"^\S{1,200}$", "the Composio user whose connections are used, without spaces")
MODEL = text(r"^\S{1,200}$", "a model's id, such as claude-sonnet-5-5", examples=["claude-sonnet-5-5"])
NAME = text(NAME_PATTERN, "a name has 1 to 63 of a-z, 0-9 and -, and neither begins nor ends with -")
CRON = text(
    cron_pattern(),
    "cron needs five fields in quotes: minute (0-59) hour (0-23) day (1-31) month (1-12) weekday (0-7 or mon-sun), with"
    f' day or weekday `*`, for example "0 9 * * 1-5"; or one of {" ".join(SHORTCUTS)}',
    description="minute hour day month weekday",
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
    "$comment": "timezone",
    "type": "string",
    "errorMessage": "a time zone is an IANA name in exact case, such as Europe/Berlin, or UTC",
}
LABELS: Fragment = {
    "type": "object",
    "errorMessage": "write a key and a value, such as `team: ops`",
    "maxProperties": 16,
    "propertyNames": text(
        rf"^(?=.{{1,317}}$)({_DNS}(\.{_DNS})*/)?{_LABEL}$",
        "a label's key has letters, digits, - _ and . (as in Kubernetes), 63 at most",
    ),
    "additionalProperties": text(
        rf"^({_LABEL})?$", "a label's value has letters, digits, - _ and . (as in Kubernetes), 63 at most"
    ),
}
GOAL = text(r"\S", "say what you want done, and when it is done", maxLength=20_000)
DESCRIPTION = text(r"\S", "say it in a line, or leave `description` out", maxLength=500)

REFERENCE_PATTERN = r"\$\{([A-Z_][A-Z0-9_]*)\}"
"""The name of an environment variable, in the place of a secret."""
_HOST = r"(https://[A-Za-z0-9\[][^\s/@?#]*|http://(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?)"
ADDRESS = text(
    rf"^{_HOST}(/[^\s?#]*)?$", "write an https:// address, such as https://goals.acme.example (http:// on this machine)"
)
SECRET = text(f"^{REFERENCE_PATTERN}$", "write the name of the environment variable that holds it, such as ${OPS_URL}")
WEBHOOK_PATTERN = rf"^({REFERENCE_PATTERN}|{_HOST}([/?][^\s#]*)?)$"
WEBHOOK = text(WEBHOOK_PATTERN, "write an https:// address, or the environment variable that holds it: ${OPS_WEBHOOK}")
PRIVATE_HOST = text(
    r"^([A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f.:]+(/[0-9]{1,3})?)$",
    "write a host, such as hooks.acme.internal, or a network, such as 10.1.0.0/16",
)
KEY_ID = text(_SLUG_PATTERN, "a key's id is a short name, such as 2026-11; never the key itself")
_PRICE: Fragment = {
    "type": "number",
    "minimum": 0,
    "maximum": 1_000_000,
    "errorMessage": "write dollars per million tokens, such as 2.5",
}
PRICES: Fragment = {
    "type": "object",
    "errorMessage": "write a model's id and its price: {input: 2, output: 10}",
    "propertyNames": MODEL,
    "additionalProperties": {
        "title": "a price",
        "type": "object",
        "required": ["input", "output"],
        "properties": {
            **dict.fromkeys(("input", "output", "cache_read", "cache_write"), _PRICE),
            "source": text(r"\S", "say where the price is from and when it was read, or leave `source` out"),
        },
    },
}
ONE_KIND: Fragment = {
    "if": {"required": ["webhook"]},
    "then": {
        "required": ["secret"],
        "errorMessage": "a webhook is signed: add `secret: ${NAME}`",
        "properties": {
            "apprise": {"not": {}, "errorMessage": "a channel is an `apprise` or a `webhook`, not both: remove one"}
        },
    },
    "else": {
        "required": ["apprise"],
        "errorMessage": "write `apprise: ${NAME}`, or `webhook: …` and `secret: ${NAME}`",
        "if": {"required": ["apprise"]},
        "then": {"properties": {"secret": {"not": {}, "errorMessage": "only a webhook is signed: remove `secret`"}}},
    },
}
"""A channel is one of two kinds."""

_TYPES = ["string", "integer", "number", "boolean", "array", "object", "null"]
_TYPE: Fragment = {"type": "string", "enum": _TYPES, "errorMessage": f"write one of {', '.join(_TYPES)}"}
A_SCHEMA: Fragment = {"title": "a JSON Schema"}
"""Stands for JSON_SCHEMA, which holds itself: `schemas.export` puts a reference in its place."""
_MANY: Fragment = {"type": "array", "minItems": 1, "items": A_SCHEMA}
_BY_NAME: Fragment = {"type": "object", "additionalProperties": A_SCHEMA}
_COUNT: Fragment = {"type": "integer", "minimum": 0}
_NUMBER: Fragment = {"type": "number"}
_FLAG: Fragment = {"type": "boolean"}
_TEXT: Fragment = {"type": "string"}
_ANYTHING: Fragment = {"anyOf": [{}]}  # an editor inserts the key of `{}` without its colon
JSON_SCHEMA: Fragment = {
    "type": "object",
    "properties": {
        "type": {
            "defaultSnippets": offered(*_TYPES[:-1], '"null"'),
            "if": {"type": "array"},
            "then": {"minItems": 1, "items": _TYPE},
            "else": _TYPE,
        },
        "description": _TEXT,
        "default": _ANYTHING,
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
        "const": _ANYTHING,
        "examples": {"type": "array"},
        "$ref": text("^#", "a `$ref` points into the same schema, such as #/$defs/item"),
    },
    "additionalProperties": False,
    "errorMessage": "write JSON Schema, whose most used words are: type, description, default, enum,"
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
    "errorMessage": "write an input and its default, such as `days: 14`",
    "propertyNames": text(
        "^[A-Za-z_][A-Za-z0-9_-]{0,62}$", "an input is named with letters, digits, _ and -, 63 at most"
    ),
    "additionalProperties": {
        "type": ["string", "number", "boolean", "array", "object"],
        "errorMessage": "write a default, or a JSON Schema such as {type: string}",
        "properties": {word: JSON_SCHEMA["properties"][word] for word in ("type", "default", "enum")},  # to be offered
        "if": _IS_SCHEMA,
        "then": A_SCHEMA,
    },
}
WITHOUT_DEFAULT: Fragment = {
    "if": _IS_SCHEMA,
    "then": {
        "required": ["default"],
        "errorMessage": "with `cron`, an input needs a `default`: nobody is there at night to give it",
    },
}
OUTPUT: Fragment = {
    "allOf": [A_SCHEMA],
    "required": ["type"],
    "errorMessage": "an output is an object: write `type: object`",
    "properties": {"type": {"const": "object", "errorMessage": "an output is an object: write `type: object`"}},
    "additionalProperties": True,
}

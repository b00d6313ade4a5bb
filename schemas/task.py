"""A task: one goal in prose, the toolkits it may use, when it runs and within which limits.

These types only hold a task. They refuse little on purpose (see `schemas.value`): how its values are
spelt in a file stands beside each field for `schemas.export`, and is judged by `schemas.load`.
"""

from datetime import timedelta
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, JsonValue, WithJsonSchema

from schemas import spelling
from schemas.duration import Duration
from schemas.spelling import choice, duration, one_or_many, whole
from schemas.value import Value


def _one_or_many(value: Any) -> Any:
    """`toolkit: gmail` is short for `toolkit: [gmail]`."""
    if isinstance(value, list):
        return tuple(cast("list[Any]", value))
    return (value,) if isinstance(value, str | dict) else value


def _whole(value: Any) -> Any:
    """JSON knows one kind of number: 5.0 is the whole number 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _said(description: str, **schema: Any) -> Any:
    return Field(description=description, json_schema_extra=schema)


Texts = Annotated[tuple[str, ...], BeforeValidator(_one_or_many)]
Whole = Annotated[int, BeforeValidator(_whole)]


class Notify(Value):
    """Who hears about a run, and when."""

    to: Annotated[str, _said("A channel of the server's configuration.", **spelling.CHANNEL)]
    when: Annotated[
        Literal["always", "success", "failure"],
        _said(
            "After which outcomes.",
            **choice(always="After every run.", success="If it succeeded.", failure="If it did not succeed."),
        ),
    ] = "always"


class _Channels:
    """`notify: ops` is short for `notify: [{to: ops}]`."""

    @staticmethod
    def read(value: Any) -> Any:
        many = _one_or_many(value)
        if not isinstance(many, tuple):
            return many
        items = cast("tuple[Any, ...]", many)
        return tuple({"to": item} if isinstance(item, str) else item for item in items)

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> spelling.Fragment:
        many = handler(core)
        remedy = "write a channel, or a list of channels and {to, when}"
        item = {"anyOf": [spelling.CHANNEL, {**many["items"], "title": spelling.WITH_WHEN}]}
        return {**spelling.one_or_many(spelling.CHANNEL), "then": {"items": item}, "errorMessage": remedy}


Globs = Annotated[Texts, WithJsonSchema(one_or_many(spelling.GLOB))]


class Tools(Value):
    """Which tools of the toolkits may be used. Patterns over tool names; deny beats ask beats allow."""

    allow: Annotated[Globs, _said("Tools it may use: `GMAIL_*`.")] = ("*",)
    ask: Annotated[Globs, _said("Tools that a person approves, each call by itself.")] = ()
    deny: Annotated[Globs, _said("Tools it never gets, whatever else is said.")] = ()


class Approval(Value):
    """How long a run waits for a person, and what happens when nobody answers. Never an approval."""

    timeout: Annotated[Duration, _said("How long to wait.", **duration(1))] = timedelta(hours=24)
    otherwise: Annotated[
        Literal["deny", "fail"],
        _said(
            "When nobody answered.",
            **choice(deny="The call is not made; the run goes on.", fail="The run ends as failed."),
        ),
    ] = "deny"


class Limits(Value):
    """What a run may use. Reaching a limit stops the run with what it has; it is no error."""

    turns: Annotated[Whole, _said("Turns of the model.", **whole(1, 500))] = 30
    timeout: Annotated[Duration, _said("Time from start to end; waiting for a person is free.", **duration(1))] = (
        timedelta(minutes=30)
    )
    tokens: Annotated[
        Whole | None, _said("Tokens read and written, over all turns.", examples=[400_000], **whole(1000))
    ] = None
    cost_usd: Annotated[
        float | None,
        _said("Dollars, over all turns.", examples=[2.5], **spelling.DOLLARS),
    ] = None


class Task(Value):
    """One task file, with every default filled in."""

    goal: Annotated[
        str,
        _said(
            "What you want, in prose, and when it is done. `{{ inputs.NAME }}`, `{{ run.id }}`,"
            " `{{ run.scheduled_at }}`, `{{ run.previous_at }}` and `{{ task.name }}` are filled in.",
            **spelling.GOAL,
        ),
    ]
    toolkit: Annotated[
        Texts, WithJsonSchema(one_or_many(spelling.TOOLKIT)), _said("Toolkits whose tools may be used.")
    ] = ()
    cron: Annotated[
        Texts,
        WithJsonSchema(one_or_many(spelling.CRON, at_least=1)),
        _said("When it runs: minute hour day month weekday, or a list of these. Without it, only when asked."),
    ] = ()
    notify: Annotated[
        tuple[Notify, ...],
        BeforeValidator(_Channels.read),
        _Channels(),
        _said("Who hears about a run: a channel, or a list of channels and {to, when}."),
    ] = ()
    description: Annotated[str | None, _said("One line for lists.", **spelling.DESCRIPTION)] = None
    enabled: Annotated[
        bool,
        _said(
            "false pauses the schedule. A pause made by a person stays either way.",
            enum=[True, False],
            errorMessage="write true or false, without quotes",
        ),
    ] = True
    timezone: Annotated[
        str, _said("The clock that `cron` goes by, in exact case: Europe/Berlin.", **spelling.TIMEZONE)
    ] = "UTC"
    jitter: Annotated[
        Duration | None,
        _said("Spreads starts: each is late by a random time up to this.", examples=["5m"], **duration(1)),
    ] = None
    overlap: Annotated[
        Literal["skip", "queue", "cancel", "allow"],
        _said(
            "What happens when the previous run is still going.",
            **choice(
                skip="The new run is skipped.",
                queue="One run waits until the previous one has ended.",
                cancel="The previous run is cancelled.",
                allow="Both run side by side.",
            ),
        ),
    ] = "skip"
    catchup: Annotated[Duration, _said("How late a missed run may still start.", **duration(10))] = timedelta(
        minutes=10
    )
    run_as: Annotated[str | None, _said("The Composio user whose connections are used.", **spelling.RUN_AS)] = None
    tools: Tools = Tools()
    approval: Approval = Approval()
    on_unknown: Annotated[
        Literal["verify", "ask", "stop"],
        _said(
            "What happens when nobody knows whether a call took effect.",
            **choice(
                verify="The model looks it up with tools that read.",
                ask="A person is asked.",
                stop="The run ends as stopped.",
            ),
        ),
    ] = "verify"
    limits: Limits = Limits()
    model: Annotated[str | None, _said("The model that thinks; the server's default without it.", **spelling.MODEL)] = (
        None
    )
    inputs: Annotated[
        dict[str, JsonValue],
        WithJsonSchema(spelling.INPUTS),
        _said("What a run may be given. `days: 14` is a default; a JSON Schema says more; no default = required."),
    ] = Field(default_factory=dict[str, JsonValue])
    output: Annotated[
        dict[str, JsonValue] | None,
        WithJsonSchema(spelling.OUTPUT),
        _said("JSON Schema of the run's structured result."),
    ] = None
    memory: Annotated[
        Literal["none", "last", "notes"],
        _said(
            "What the next run is given of this one.",
            **choice(none="Nothing.", last="The last result.", notes="A note that the model keeps, up to 8 KiB."),
        ),
    ] = "none"
    retries: Annotated[Whole, _said("Runs that may follow a failed one. Each repeats the effects.", **whole(0, 5))] = 0
    labels: Annotated[dict[str, str], WithJsonSchema(spelling.LABELS), _said("Key and value, to filter by.")] = Field(
        default_factory=dict[str, str]
    )
    name: Annotated[
        str, _said("Keeps schedule and history when the file is renamed; the file's name without it.", **spelling.NAME)
    ] = ""
    version: Annotated[Literal[1], BeforeValidator(_whole), _said("Of this format.")] = 1

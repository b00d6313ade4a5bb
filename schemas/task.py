"""A task: one goal in prose, the toolkits it may use, when it runs and within which limits.

These types only hold a task. They refuse little on purpose (see `schemas.value`); what a person may
write in a file is decided by `schemas.load`.
"""

from datetime import timedelta
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field, JsonValue

from schemas.duration import Duration
from schemas.value import Value

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
SLUG_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"


def _one_or_many(value: Any) -> Any:
    """`toolkit: gmail` is short for `toolkit: [gmail]`."""
    if isinstance(value, list):
        return tuple(cast("list[Any]", value))
    return (value,) if isinstance(value, str | dict) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_one_or_many)]


class Notify(Value):
    """Who hears about a run, and when."""

    to: str
    when: Literal["always", "success", "failure"] = "always"


def _channels(value: Any) -> Any:
    many = _one_or_many(value)
    if not isinstance(many, tuple):
        return many
    items = cast("tuple[Any, ...]", many)
    return tuple({"to": item} if isinstance(item, str) else item for item in items)


class Tools(Value):
    """Globs over tool names; deny beats ask beats allow."""

    allow: Texts = ("*",)
    ask: Texts = ()
    deny: Texts = ()


class Approval(Value):
    """How long a run waits for a person, and what happens when nobody answers. Never an approval."""

    timeout: Duration = timedelta(hours=24)
    otherwise: Literal["deny", "fail"] = "deny"


class Limits(Value):
    """What a run may use. Reaching a limit stops the run with what it has; it is no error."""

    turns: int = 30
    timeout: Duration = timedelta(minutes=30)
    tokens: int | None = None
    cost_usd: float | None = None


class Task(Value):
    """One task file, with every default filled in."""

    goal: str
    toolkit: Texts = ()
    cron: Texts = ()
    notify: Annotated[tuple[Notify, ...], BeforeValidator(_channels)] = ()
    description: str | None = None
    enabled: bool = True
    timezone: str = "UTC"
    jitter: Duration | None = None
    overlap: Literal["skip", "queue", "cancel", "allow"] = "skip"
    catchup: Duration = timedelta(minutes=10)
    run_as: str | None = None
    tools: Tools = Tools()
    approval: Approval = Approval()
    on_unknown: Literal["verify", "ask", "stop"] = "verify"
    limits: Limits = Limits()
    model: str | None = None
    inputs: dict[str, JsonValue] = Field(default_factory=dict)
    output: dict[str, JsonValue] | None = None
    memory: Literal["none", "last", "notes"] = "none"
    retries: int = 0
    labels: dict[str, str] = Field(default_factory=dict)
    name: str = ""
    version: Literal[1] = 1

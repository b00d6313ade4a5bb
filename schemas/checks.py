"""What a JSON Schema cannot say about a task file: whether its values make sense, alone and together.

Each check looks at one thing and notes what is wrong with it, and what to write instead. Pure: what a
server has is handed in.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from schemas.catalog import Catalog, Maxima
from schemas.cron import CronError, parse_cron
from schemas.document import MAX_PROBLEMS, Document, Path
from schemas.duration import format_duration, parse_duration
from schemas.inputs import PLACEHOLDER, RUN_NAMES, input_schema, required_inputs, schema_fault, value_fault
from schemas.prices import PRICES
from schemas.problem import Problem, Span, clipped
from schemas.secrets import secret_in, secrets_in, texts_in
from schemas.shape import closest
from schemas.slots import TimezoneError, check_timezone
from schemas.task import Limits


@dataclass(frozen=True)
class Said:
    """One file's own values, the fields among them whose shape is wrong, and the file to point into."""

    document: Document
    data: dict[str, Any]
    bad: frozenset[str] = frozenset()

    def problem(self, code: str, message: str, path: Path, remedy: str = "", **more: Any) -> Problem:
        """A problem at the place of a value; `span` in `more` is a better place, `key=True` its key."""
        key = more.pop("key", False)
        span = more.pop("span", None) or self.document.place(path, key=key)
        return Problem(code=code, message=message, file=self.document.file, span=span, help=remedy, **more)

    def inputs(self) -> dict[str, Any]:
        """The inputs; none if something is wrong with them."""
        return {} if "inputs" in self.bad else self.data.get("inputs", {})

    def each(self, field: str) -> Iterator[tuple[Path, str]]:
        """The texts of a field that holds one or many, each with its path."""
        value = None if field in self.bad else self.data.get(field)
        if isinstance(value, str):
            yield (field,), value
        elif isinstance(value, list):
            for index, item in enumerate(cast("list[Any]", value)):
                if isinstance(item, str):
                    yield (field, index), item


def secrets(document: Document) -> Iterator[Problem]:
    """Secrets anywhere in the file, comments and keys included. Their own text is never repeated."""
    remedy = "take it out and revoke it; secrets live in the server's configuration"
    for secret in itertools.islice(secrets_in(document.text), MAX_PROBLEMS):
        before = document.text[: secret.start]
        line, column = before.count("\n") + 1, secret.start - before.rfind("\n")
        span = Span(line=line, column=column, end_line=line, end_column=column + secret.end - secret.start)
        message = f"line {line} holds {secret.what}"
        yield Problem(code="secret-in-file", message=message, file=document.file, span=span, help=remedy)
    if "\\" in document.text:  # only an escape can hide one from the search above
        for path, text in texts_in(document.data):
            if (what := secret_in(text)) and not secret_in(document.text):
                span = document.place(path)
                message = f"line {span.line} holds {what}"
                yield Problem(code="secret-in-file", message=message, file=document.file, span=span, help=remedy)


def cron(said: Said) -> Iterator[Problem]:
    """Cron that no calendar can follow, or that people read in two ways."""
    for path, text in said.each("cron"):
        try:
            parse_cron(text)
        except CronError as error:
            place = said.document.place(path)
            if place.line == place.end_line and error.end > error.start:
                start = place.column + said.document.quoted(path) + error.start
                place = place.model_copy(update={"column": start, "end_column": start + error.end - error.start})
            yield said.problem(error.code, error.message, path, error.help, span=place)


def timezone(said: Said) -> Iterator[Problem]:
    """A zone that the clocks of nobody follow."""
    for path, name in said.each("timezone"):
        try:
            check_timezone(name)
        except TimezoneError as error:
            yield said.problem("bad-timezone", error.message, path, label=error.help)


def schemas(said: Said) -> Iterator[Problem]:
    """JSON Schemas in `inputs` and `output` that nothing can be held against, and defaults that do not fit theirs."""
    output = None if "output" in said.bad else said.data.get("output")
    for name, value in said.inputs().items():
        schema = input_schema(value)
        if fault := schema_fault(schema) if schema is value else "":
            message, remedy = f"input `{name}` has no usable schema: {fault}", "mend it, or write a plain default"
            yield said.problem("bad-schema", message, ("inputs", name), remedy)
        elif schema is value and "default" in schema and (fault := value_fault(schema["default"], schema)):
            path: Path = ("inputs", name, "default")
            message = f"the default of input `{name}` does not fit it: {fault}"
            yield said.problem("invalid-value", message, path, "give a default that fits, or change the schema")
    if output is not None and (fault := schema_fault(output)):
        remedy = "write a JSON Schema such as {type: object, properties: {…}}"
        yield said.problem("bad-schema", f"`output` is no usable schema: {fault}", ("output",), remedy)


def placeholders(said: Said) -> Iterator[Problem]:
    """Placeholders that nothing fills, and inputs that nothing uses."""
    if {"goal", "inputs"} & said.bad or "goal" not in said.data:
        return
    goal, inputs = str(said.data["goal"]), said.inputs()
    options = [*(f"inputs.{name}" for name in inputs), *RUN_NAMES]
    names = dict.fromkeys(found[1] for found in PLACEHOLDER.finditer(goal))
    for name in names:
        if name not in options:
            meant = closest(name, options, 0.6)
            label = f"did you mean `{{{{ {meant} }}}}`?" if meant else ""
            message = f"nothing is named `{{{{ {clipped(name)} }}}}`"
            remedy = f"a placeholder is one name and no logic: {', '.join(options[:20])}"
            span = said.document.find(name, ("goal",))
            yield said.problem("unknown-placeholder", message, ("goal",), remedy, label=label, span=span)
    for name in inputs:
        if f"inputs.{name}" not in names:
            message, remedy = (
                f"input `{name}` is not used",
                f"put `{{{{ inputs.{name} }}}}` into the goal, or remove it",
            )
            yield said.problem("unused-input", message, ("inputs", name), remedy, key=True, severity="warning")


def night(said: Said) -> Iterator[Problem]:
    """Inputs that only a person could give, in a task that starts by itself."""
    for name in required_inputs(said.inputs()) if said.data.get("cron") else ():
        message = f"input `{name}` has no default, and nobody is there at night to give one"
        remedy = "give it a `default`, or remove `cron`"
        yield said.problem("input-without-default", message, ("inputs", name), remedy, key=True)


def known(said: Said, catalog: Catalog, folder: str) -> Iterator[Problem]:
    """Names that the server does not know: `folder` is the file's, below the tasks folder."""
    for path, name in said.each("toolkit"):
        if catalog.toolkits is not None and name not in catalog.toolkits:
            yield _unknown(said, "toolkit", path, name, catalog.toolkits)
    notified = [*said.each("notify")]
    listed = said.data.get("notify")
    for index, item in enumerate(cast("list[Any]", listed) if isinstance(listed, list) else ()):
        if isinstance(item, dict) and "notify" not in said.bad:
            notified.append((("notify", index, "to"), str(cast("dict[str, Any]", item)["to"])))
    for path, name in notified:
        if name not in catalog.channels:
            yield _unknown(said, "channel", path, name, catalog.channels)
    allowed = catalog.users_of(folder)
    for path, user in said.each("run_as"):
        if allowed is None or user in allowed:
            continue
        message = f"tasks in `{folder or '.'}` may not run as `{user}`"
        remedy = f"use one of {', '.join(allowed)}" if allowed else "leave `run_as` out, or allow it on the server"
        yield said.problem("run-as-not-allowed", message, path, remedy)


def _unknown(said: Said, what: str, path: Path, name: str, there_are: tuple[str, ...]) -> Problem:
    meant = closest(name, there_are, 0.6)
    label = f"did you mean `{meant}`?" if meant else ""
    remedy = f"it has {', '.join(sorted(there_are)[:20]) or 'none'}"
    return said.problem(f"unknown-{what}", f"the server has no {what} `{name}`", path, remedy, label=label)


@dataclass(frozen=True)
class Clash:
    """Values of all layers that do not go together, or not with what the server allows: `path` is to be changed."""

    code: str
    path: Path
    message: str
    help: str
    label: str = ""


def together(data: dict[str, Any], catalog: Catalog | None = None) -> Iterator[Clash]:
    """What a task says and inherits, taken together; what is misshapen in it is told elsewhere."""
    if data.get("memory") == "last" and data.get("overlap") == "allow":
        message = "`memory: last` needs runs one after the other, and `overlap: allow` lets them run side by side"
        yield Clash("contradiction", ("overlap",), message, "write `overlap: queue`, or `memory: notes`")
    said = data.get("limits", {})
    limits = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
    yield from _unpriced(data.get("model"), limits, catalog)
    if catalog is not None and catalog.limits is not None:
        yield from _above(limits, catalog.limits)


def _unpriced(named: Any, limits: dict[str, Any], catalog: Catalog | None) -> Iterator[Clash]:
    """A limit of dollars on a model of which nobody knows what it costs: it could only be guessed at."""
    priced = PRICES if catalog is None or catalog.priced is None else catalog.priced
    model = named if named is not None else catalog.default_model if catalog is not None else ""
    if limits.get("cost_usd") is None or not isinstance(model, str) or not model or model in priced:
        return
    whose = "" if named else ", the server's default model,"
    message = f"the price of `{clipped(model)}`{whose} is not known, so `limits.cost_usd` cannot be held"
    meant = closest(model, tuple(priced), 0.8) if named else ""
    label = f"did you mean `{meant}`?" if meant else ""
    remedy = "name the price in goalfile.config.yaml under model.prices, or take cost_usd out"
    yield Clash("unknown-price", ("model",) if named else ("limits", "cost_usd"), message, remedy, label)


def _above(limits: dict[str, Any], most: Maxima) -> Iterator[Clash]:
    """Limits above the server's: never cut down in silence, for a run that stops early has said nothing of it."""
    default = Limits()
    for name in Maxima.model_fields:
        there, maximum = name in limits, getattr(most, name)
        value = _limit(limits[name], maximum) if there else getattr(default, name)
        if maximum is None or (there and value is None) or (value is not None and value <= maximum):
            continue
        allowed = _as_written(maximum)
        path: Path = ("limits", name)
        if there:
            message = f"`limits.{name}` is {_as_written(value)}, and the server allows {allowed}"
            yield Clash("above-maximum", path, message, f"write `{name}: {allowed}` or less")
        else:
            without = "no limit" if value is None else _as_written(value)
            message = f"`limits.{name}` is left out, which means {without}, and the server allows {allowed}"
            remedy = f"write `limits: {{{name}: {allowed}}}` or less, here or in the folder's _defaults.yaml"
            yield Clash("above-maximum", path, message, remedy)


def _limit(written: Any, maximum: Any) -> Any:
    """A limit as it is compared with its maximum; None if it is not of that kind."""
    if not isinstance(maximum, timedelta):
        return written if isinstance(written, int | float) and not isinstance(written, bool) else None
    try:
        return parse_duration(written) if isinstance(written, str) else None
    except ValueError:
        return None


def _as_written(limit: Any) -> str:
    return format_duration(limit) if isinstance(limit, timedelta) else f"{limit:.15g}"

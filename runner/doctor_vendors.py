"""A doctor's look at what lies outside: the model, Composio and its connections, the channels.

It looks by what is free. Only who says so has the model asked for a token, or people told something.
No key goes anywhere but where a run would send it, and no redirect is followed with one.
"""

import asyncio
import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

import httpx

from runner.connections import connections
from runner.equipment import base_url, default_model
from runner.findings import Finding, failed, ok, place, warning
from runner.ports import Message, Model, Notifier, PermanentError, Question, TransientError
from runner.reach import missing_connections
from runner.settings import Settings
from schemas.config import Channel, Config, MissingSecret, resolved
from schemas.prices import price_of
from schemas.run import Notice
from schemas.task import Task

Provider = Literal["anthropic", "bedrock", "vertex"]
_ANTHROPIC = "https://api.anthropic.com"
_COMPOSIO = "https://backend.composio.dev"
_HTTP = httpx.Timeout(8.0, connect=5.0)
_PAGES = 20
_MOST = 5
"""Names that a line tells before it only counts."""


@dataclass(frozen=True)
class Mind:
    """Where runs think, and how it is let in."""

    provider: Provider
    model: str
    base_url: str | None = None
    """None is the provider's own."""
    key: str = field(default="", repr=False)

    @property
    def scripted(self) -> bool:
        """True if there is nothing to think with but a script."""
        return self.provider == "anthropic" and not (self.key or self.base_url)


def mind_of(settings: Settings, config: Config) -> Mind:
    """What settings and configuration come to."""
    return Mind(
        provider=config.model.provider,
        model=default_model(settings, config),
        base_url=base_url(settings, config),
        key=(settings.anthropic_key or "").strip(),
    )


async def model(mind: Mind) -> Finding:
    """Whether the model is there, by a request that costs nothing."""
    check = "model"
    if mind.scripted:
        said = "there is no key, so the thinking is scripted, and so are the tools"
        return warning(check, said, "set ANTHROPIC_API_KEY, or a base URL of a server that speaks its API")
    if mind.provider != "anthropic":
        return warning(check, f"{mind.model} at {mind.provider}: not checked, for that is not free", "check it: --ask")
    at, base = place(mind.base_url or _ANTHROPIC), (mind.base_url or _ANTHROPIC).rstrip("/")
    if not mind.key.isprintable() or not mind.key.isascii() or " " in mind.key:
        return failed(check, "the key holds a character that no key has", "set ANTHROPIC_API_KEY again")
    headers = {"anthropic-version": "2023-06-01", **({"x-api-key": mind.key} if mind.key else {})}
    try:
        async with httpx.AsyncClient(timeout=_HTTP, follow_redirects=False) as client:
            answer = await client.get(f"{base}/v1/models/{quote(mind.model, safe='')}", headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return failed(check, f"cannot reach {at} ({type(error).__name__})", "see ANTHROPIC_BASE_URL and the network")
    return model_finding(answer.status_code, mind.model, at, own=mind.base_url is None)


def model_finding(status: int, name: str, at: str, *, own: bool) -> Finding:
    """What a server's HTTP status to "do you have this model?" comes to; `own` is Anthropic's endpoint."""
    check = "model"
    if status == 200:
        return ok(check, f"{name} at {at}")
    if status in (401, 403):
        return failed(check, f"{at} refuses the key ({status})", "set ANTHROPIC_API_KEY to one that holds")
    if status == 404 and own:
        return failed(check, f"{at} has no model `{name}`", "set GOALFILE_MODEL, or `model.default`")
    if status in (404, 405, 501):  # a server that merely speaks the API need not list its models
        return ok(check, f"{at} answers, and does not tell whether it has {name}; --ask finds out")
    if status == 429:
        return warning(check, f"{at} is asked too often just now (429)", "look again in a minute")
    return failed(check, f"{at} answered {status}", "see ANTHROPIC_BASE_URL, or the vendor's status page")


async def ask(mind: Mind, thinking: Model) -> Finding:
    """Whether the model answers: one token of it."""
    check = "model answers"
    words = Message("user", ({"type": "text", "text": "Say ok."},))
    try:
        reply = await thinking.ask(Question("", (words,), model=mind.model, max_tokens=1))
    except PermanentError as error:
        return failed(check, str(error))
    except TransientError as error:
        return failed(check, str(error), "try again in a minute")
    return ok(check, f"{reply.model or mind.model}, {reply.usage.total} tokens")


def price(mind: Mind, config: Config) -> Finding:
    """Whether anybody knows what the default model costs."""
    check = "price"
    found = price_of(mind.model, config.model.prices)
    if found is None:
        remedy = "name it under `model.prices` in goalfile.config.yaml"
        return warning(check, f"nobody knows what {mind.model} costs, so `limits.cost_usd` cannot be kept", remedy)
    source = f" ({found.source})" if found.source else ""
    return ok(check, f"{mind.model}: ${found.input:g} in, ${found.output:g} out per million tokens{source}")


async def composio(settings: Settings, tasks: Sequence[Task]) -> list[Finding]:
    """Whether Composio lets us in, has the toolkits that the tasks name, and who is connected to them."""
    used = sorted({name for task in tasks for name in task.toolkit})
    if not settings.composio_key:
        said = "there is no key, so toolkits are scripted"
        return [warning("composio", said, "set COMPOSIO_API_KEY")]
    at = place(settings.composio_base_url or _COMPOSIO)
    try:
        known = await _toolkits(settings)
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        remedy = "set COMPOSIO_API_KEY to a project's key" if status in (401, 403) else "see COMPOSIO_BASE_URL"
        return [failed("composio", f"{at} answered {status}", remedy)]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        said = f"{at} did not answer as it should ({type(error).__name__})"
        return [failed("composio", said, "see COMPOSIO_BASE_URL and the network")]
    found = [ok("composio", f"{at} lets us in"), toolkits_finding(used, known)]
    connected, why = await asyncio.to_thread(connections, settings, tasks)
    return [*found, *connections_findings(tasks, connected, why, settings.run_as)]


async def _toolkits(settings: Settings) -> set[str]:
    """The slugs of every toolkit that the project may use."""
    query = {"limit": "1000", "type": "all", "include_deprecated": "true"}
    found: set[str] = set()
    async with httpx.AsyncClient(
        base_url=settings.composio_base_url or _COMPOSIO,
        headers={"x-api-key": settings.composio_key or ""},
        timeout=_HTTP,
        follow_redirects=False,
    ) as client:
        for _ in range(_PAGES):
            page = (await client.get("/api/v3.1/toolkits", params=query)).raise_for_status().json()
            found |= {str(each["slug"]).lower() for each in page["items"]}
            if not page.get("next_cursor"):
                return found
            query["cursor"] = str(page["next_cursor"])
    raise ValueError("the list does not end")


def toolkits_finding(used: Collection[str], known: Collection[str]) -> Finding:
    """Whether the toolkits that tasks name are there."""
    check = "toolkits"
    if not used:
        return ok(check, "no task names one")
    if unknown := [name for name in used if name not in known]:
        close = difflib.get_close_matches(unknown[0], known, n=1)
        remedy = f"did you mean `{close[0]}`?" if close else "look them up with `goalfile validate --online`"
        return failed(check, f"Composio does not know {_some(unknown)}", remedy)
    return ok(check, f"{len(used)} used, all known")


def connections_findings(
    tasks: Iterable[Task], connected: Mapping[str, frozenset[str]] | None, why: str, default_user: str
) -> list[Finding]:
    """Who still has to connect what, by user; nothing if no task names a toolkit."""
    check = "connections"
    wanted: dict[str, set[str]] = {}
    for task in tasks:
        if task.toolkit:
            missing = missing_connections(task, connected, default_user) or ()
            wanted.setdefault(task.run_as or default_user, set()).update(missing)
    if connected is None:
        return [warning(check, f"not checked: {why}")] if why else []
    open_ = {user: sorted(names) for user, names in sorted(wanted.items()) if names}
    remedy = "connect them in Composio; until then runs wait for it"
    found = [failed(check, f"`{user}` is not connected to {_some(names)}", remedy) for user, names in open_.items()]
    return found or ([ok(check, f"{_some(sorted(wanted))}: all connected")] if wanted else [])


def channels(config: Config, environ: Mapping[str, str]) -> list[Finding]:
    """Whether each channel of the configuration has all that it names."""
    found = [_channel(name, each, environ) for name, each in config.channels.items()]
    good = [each.check for each in found if each.state == "ok"]
    whole = ok("channels", f"{len(good)} configured" if good else "none configured")
    return [*([whole] if good or not found else []), *(each for each in found if each.state != "ok")]


def _channel(name: str, channel: Channel, environ: Mapping[str, str]) -> Finding:
    check = f"channel {name}"
    try:
        for text in (channel.apprise, channel.webhook, channel.secret):
            resolved(text, environ)
    except MissingSecret as error:
        said, _, remedy = str(error).partition(": ")
        return failed(check, said, remedy)
    return ok(check, "")


async def send(channel: str, notifier: Notifier, notice: Notice, seconds: float) -> Finding:
    """Whether a channel takes a notice: really sends it."""
    check = f"channel {channel}"
    try:
        async with asyncio.timeout(seconds):
            await notifier.send(channel, notice)
    except (PermanentError, TransientError) as error:
        return failed(check, f"it did not take the test notice: {error}")
    except TimeoutError:
        return failed(check, f"it did not take the test notice within {seconds:g} seconds")
    return ok(check, "took the test notice; look whether it came")


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST
    return ", ".join(names[:_MOST]) + (f" and {more} more" if more > 0 else "")

"""`goalfile doctor`: looks at everything that a run needs, all at once, and says what to do about the rest.

Each look has its own time limit, and whatever one of them meets, the others are told. It changes nothing,
and sends nothing to anybody who was not meant to be asked.
"""

import asyncio
import sys
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

from runner import doctor_server, doctor_vendors
from runner.catalog import find_config
from runner.doctor_vendors import Mind, mind_of
from runner.files import SourceUnavailable, read_file, scan
from runner.findings import Finding, failed, ok, password, warning
from runner.settings import Settings
from runner.wanted import read_wanted
from schemas.catalog import Catalog
from schemas.config import Config, MissingSecret, load_config, references, resolved
from schemas.load import has_errors
from schemas.run import Notice
from schemas.sealing import Keyring, configured_keys
from schemas.task import Task

_SERVER, _VENDOR, _SEND = 20.0, 30.0, 60.0
"""Seconds for one look, and for one notice."""
_SENDS = 4
"""Channels that are told at once."""


async def examine(settings: Settings, root: Path, *, ask: bool = False, send: bool = False) -> tuple[Finding, ...]:
    """Everything found, in a fixed order, without a secret. Never raises for what it finds.

    `ask` asks the model for a token, `send` sends a test notice to every channel.
    """
    environ = settings.environ
    about_config, given = _config(settings, root)
    config = given or Config()
    about_keys, keys = _encryption(config, environ)
    about_tasks, tasks = _tasks(root, given.catalog() if given else None)
    mind = mind_of(settings, config)
    looks = [
        _within("temporal", _SERVER, doctor_server.temporal(settings, keys)),
        _within("model", _VENDOR, _only(doctor_vendors.model(mind))),
        *([_within("model answers", _VENDOR, _only(_ask(mind)))] if ask and not mind.scripted else []),
        _within("composio", _VENDOR, doctor_vendors.composio(settings, tasks)),
        *([_within("channels", _SEND * (1 + len(config.channels) // _SENDS), _send(config, environ))] if send else []),
        _within("gateway", _SERVER, _only(doctor_server.gateway(settings))),
    ]
    outside = [found for group in await asyncio.gather(*looks) for found in group]
    said = [
        ok("goalfile", f"{version('goalfile')}, Python {sys.version.split()[0]}"),
        about_config,
        about_tasks,
        about_keys,
        *([] if mind.scripted else [doctor_vendors.price(mind, config)]),
        *doctor_vendors.channels(config, environ),
        *outside,
    ]
    secrets = tuple(_secrets(settings, config))
    return tuple(each.without(secrets) for each in said)


async def _within(check: str, seconds: float, look: Awaitable[Sequence[Finding]]) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(seconds):
            return await look
    except TimeoutError:
        return [failed(check, f"no answer within {seconds:g} seconds", "look at the network, and try again")]
    except Exception as error:  # noqa: BLE001 - whatever one look meets, the others are told
        # Its words are not: they are a stranger's, and may repeat what was sent.
        return [failed(check, f"the look at it failed ({type(error).__name__})", "please report this")]


async def _only(look: Awaitable[Finding]) -> list[Finding]:
    return [await look]


def _config(settings: Settings, root: Path) -> tuple[Finding, Config | None]:
    """The server's configuration, or None where there is none, or none that can be read."""
    check, path = "configuration", find_config(settings, root)
    if path is None:
        return ok(check, "no goalfile.config.yaml beside the tasks or above, so all is at its default"), None
    try:
        loaded = load_config(read_file(path), str(path))
    except OSError as error:
        return failed(check, f"{path}: {error.strerror}", "make it readable, or set GOALFILE_CONFIG"), None
    if loaded.config is None:
        return failed(check, "; ".join(each.concise() for each in loaded.problems)), None
    return ok(check, str(path)), loaded.config


def _tasks(root: Path, catalog: Catalog | None) -> tuple[Finding, tuple[Task, ...]]:
    try:
        seen = scan(root)
    except SourceUnavailable as error:
        return warning("tasks", str(error), "name the folder: goalfile doctor FOLDER"), ()
    wanted = read_wanted(seen.files, catalog)
    tasks = tuple(request.task for request in wanted.requests.values())
    problems = (*seen.problems, *wanted.problems)
    if has_errors(problems):
        number = len({each.file for each in problems if each.severity == "error"})
        said = f"{number} {'file is' if number == 1 else 'files are'} wrong"
        return failed("tasks", said, f"see `goalfile validate {root}`"), tasks
    return ok("tasks", f"{len(tasks)} in {root}, all valid"), tasks


def _encryption(config: Config, environ: Mapping[str, str]) -> tuple[Finding, Keyring | None]:
    check = "encryption"
    try:
        keys = configured_keys(config, environ)
    except ValueError as error:
        return failed(check, str(error)), None
    if keys is None:
        return ok(check, "no keys are configured: what runs read and write is kept on Temporal as it is"), None
    first, *others = (name for name, _ in keys.keys)
    return ok(check, f"with key `{first}`{f'; {len(others)} more to decrypt with' if others else ''}"), keys


async def _ask(mind: Mind) -> Finding:
    from runner.adapters.anthropic import AnthropicModel  # noqa: PLC0415 - only what is used is loaded

    thinking = AnthropicModel(mind.key, mind.base_url, mind.model, provider=mind.provider, timeout=_VENDOR - 5)
    try:
        return await doctor_vendors.ask(mind, thinking)
    finally:
        await thinking.close()


async def _send(config: Config, environ: Mapping[str, str]) -> list[Finding]:
    """Tell every channel that has all it names; the others are told without being tried."""
    from runner.adapters.notify import Channel, Channels  # noqa: PLC0415 - only what is used is loaded

    ready: dict[str, Channel] = {}
    for name, each in config.channels.items():
        with suppress(MissingSecret):
            apprise, webhook, secret = (resolved(text, environ) for text in (each.apprise, each.webhook, each.secret))
            ready[name] = Channel(apprise, webhook, secret)
    notice = Notice(
        id=f"doctor-{uuid4().hex}",
        type="run.succeeded",
        at=datetime.now(UTC),
        task="doctor",
        run="doctor",
        summary="This is a test of `goalfile doctor --send`. Nothing happened, and nothing is to be done.",
    )
    notifier, limit = Channels(ready, config.private_hosts), asyncio.Semaphore(_SENDS)

    async def one(name: str) -> Finding:
        async with limit:
            return await doctor_vendors.send(name, notifier, notice, _SEND)

    return list(await asyncio.gather(*map(one, ready)))


def _secrets(settings: Settings, config: Config) -> Iterator[str]:
    """Whatever this process knows that nobody may read."""
    named = (settings.anthropic_key, settings.composio_key, settings.token)
    referred = (settings.environ.get(name) for name in references(config))
    # Temporal's own: TEMPORAL_API_KEY, a key in TEMPORAL_TLS_..., headers.
    server = (value for name, value in settings.temporal.items() if any(w in name for w in ("KEY", "META", "AUTH")))
    places = (settings.gateway, settings.anthropic_base_url, settings.composio_base_url, config.model.base_url)
    yield from (each for each in (*named, *referred, *server, *map(password, places)) if each)

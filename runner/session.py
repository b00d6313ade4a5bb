"""What every command does first: read the settings, and connect if it needs the server.

It turns each failure of a server into one line and an exit code. Imports nothing heavy until it is needed.
"""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.exits import Failed

if TYPE_CHECKING:
    from datetime import timedelta

    from temporalio.client import Client

    from runner.settings import Settings
    from runner.telemetry import Reporting
    from runner.ways import Way
    from schemas.config import Config

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print data as JSON.")


def settings_now() -> "Settings":
    """What the environment says, read once. Raises Failed that names what is wrong in it."""
    from runner.settings import read_settings  # noqa: PLC0415

    try:
        settings = read_settings()
    except ValueError as error:
        raise Failed(str(error), 2) from error
    click.get_current_context().color = settings.color
    return settings


def looking_back(text: str) -> "timedelta":
    """How far `--since` looks back. Raises a usage error that says what to write instead."""
    from datetime import UTC, datetime  # noqa: PLC0415

    from schemas.duration import parse_duration  # noqa: PLC0415

    try:
        span = parse_duration(text)
        _ = datetime.now(UTC) - span
    except OverflowError:
        raise click.UsageError(f"--since: {text} ago no calendar had begun") from None
    except ValueError as error:
        raise click.UsageError(f"--since: {error}") from error
    return span


def config_now(settings: "Settings", root: Path = Path("tasks")) -> "Config":
    """The server's configuration: beside the tasks folder or above it, or the one that is named; or an empty one."""
    from runner.catalog import configuration  # noqa: PLC0415
    from schemas.config import Config  # noqa: PLC0415

    return configuration(settings, root) or Config()


def with_server(
    do: "Callable[[Client, Settings], Coroutine[Any, Any, None]]",
    root: Path = Path("tasks"),
    reporting: "Reporting | None" = None,
    *,
    needs_keys: bool = True,
) -> None:
    """Connect and do it, with every failure of the server as one line.

    Without `needs_keys` a configuration that is wrong, or lacks a secret, is no reason not to.
    """
    import asyncio  # noqa: PLC0415

    from temporalio.service import RPCError, RPCStatusCode  # noqa: PLC0415

    from runner.server import Unreachable, connect  # noqa: PLC0415
    from schemas.sealing import CannotOpen, configured_keys  # noqa: PLC0415

    settings = settings_now()
    try:
        keys = configured_keys(config_now(settings, root), settings.environ)
    except (ValueError, Failed) as error:
        if needs_keys:
            raise error if isinstance(error, Failed) else Failed(str(error), 2) from None
        keys = None

    async def all_of_it() -> None:
        try:
            await do(await connect(settings, keys=keys, reporting=reporting), settings)
        except Unreachable as error:
            raise Failed(str(error), 3) from error
        except CannotOpen as error:
            raise Failed(str(error), 2) from error
        except RPCError as error:
            code = 4 if error.status == RPCStatusCode.PERMISSION_DENIED else 3
            raise Failed(f"the Temporal server refused or did not answer: {error.message}", code) from error

    asyncio.run(all_of_it())


def with_way(do: "Callable[[Way], Coroutine[Any, Any, None]]", *, needs_keys: bool = True) -> None:
    """Do what a person does with runs: at the gateway that GOALFILE_SERVER names, else at Temporal.

    The variable wins over every TEMPORAL_* one. That a `goalfile dev` runs nearby is no reason to ask its gateway.
    """
    settings = settings_now()
    if not settings.server:
        with_server(lambda client, settings: _near(client, settings, do), needs_keys=needs_keys)
        return
    import asyncio  # noqa: PLC0415

    from runner.afar import Afar  # noqa: PLC0415
    from runner.gate import Gate  # noqa: PLC0415

    async def all_of_it(server: str) -> None:
        async with Gate(server, settings.token) as gate:
            await do(Afar(gate))

    asyncio.run(all_of_it(settings.server))


def _near(
    client: "Client", settings: "Settings", do: "Callable[[Way], Coroutine[Any, Any, None]]"
) -> "Coroutine[Any, Any, None]":
    from runner.near import Near  # noqa: PLC0415

    return do(Near(client, settings))

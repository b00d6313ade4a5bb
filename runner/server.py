"""Reaching the Temporal server: one way to connect, for every command.

Refuses to guess: an unreachable server is one clear error that names the address, never a hang.
"""

import asyncio
from collections.abc import Sequence

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError

from runner.codec import data_converter
from runner.settings import Settings
from runner.telemetry import Reporting
from schemas import wire
from schemas.sealing import Keyring


class Unreachable(Exception):  # noqa: N818 - it reads as a state of the server
    """The Temporal server does not answer, or refuses us."""


async def connect(
    settings: Settings, seconds: float = 5.0, keys: Keyring | None = None, reporting: Reporting | None = None
) -> Client:
    """A client for the server that TEMPORAL_* variables, a profile or a running `dev` name.

    With `keys` what it writes is encrypted. What has no key here raises CannotOpen when it is read.
    """
    try:
        config = ClientConfig.load_client_connect_config(override_env_vars=settings.temporal)
    except (RuntimeError, ValueError, OSError) as error:
        raise Unreachable(f"the Temporal profile cannot be read: {error}; see TEMPORAL_CONFIG_FILE") from error
    address = config.setdefault("target_host", "localhost:7233")
    try:
        told = reporting.options if reporting else {}
        return await asyncio.wait_for(Client.connect(**config, data_converter=data_converter(keys), **told), seconds)
    except (RuntimeError, RPCError, TimeoutError, OSError) as error:
        raise Unreachable(
            f"no Temporal server answers at {address}; start one with `goalfile dev`, or set TEMPORAL_ADDRESS"
        ) from error


async def register_search_attributes(client: Client, names: Sequence[str] = wire.SEARCH_ATTRIBUTES) -> None:
    """Make the namespace know our search attributes; asking again changes nothing."""
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            namespace=client.namespace,
            search_attributes=dict.fromkeys(names, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD),
        )
    )

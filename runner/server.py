"""Reaching the Temporal server: one way to connect, for every command.

Refuses to guess: an unreachable server is one clear error that names the address, never a hang.
"""

import asyncio
from collections.abc import Sequence

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError

from runner.settings import Settings
from schemas import wire


class Unreachable(Exception):  # noqa: N818 - it reads as a state of the server
    """The Temporal server does not answer, or refuses us."""


async def connect(settings: Settings, seconds: float = 5.0) -> Client:
    """A client for the server that TEMPORAL_* variables, a profile or a running `dev` name."""
    config = ClientConfig.load_client_connect_config(override_env_vars=settings.temporal)
    address = config.get("target_host", "localhost:7233")
    try:
        return await asyncio.wait_for(Client.connect(**config, data_converter=pydantic_data_converter), seconds)
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

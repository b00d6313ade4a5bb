"""One connection to Temporal, made when first needed, and what its errors mean to a caller.

It knows nothing of runs or tasks. What Temporal said in its own words goes to the log, never to a caller.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.client import Client
from temporalio.envconfig import ClientConnectConfig
from temporalio.service import RetryConfig, RPCError, RPCStatusCode

from gateway.codec import data_converter
from gateway.problems import TemporalRefused, Unreachable
from schemas.sealing import CannotOpen, Keyring

LOG = logging.getLogger("gateway")
Connect = Callable[[], Awaitable[Client]]

PATIENCE = 5.0
"""Seconds that one answer may take in all."""

CALL = timedelta(seconds=4)
"""How long one try of one call may take."""

SIDE_BY_SIDE = 16
"""Schedules that one answer looks at side by side."""

UNREADABLE = (ValueError, RuntimeError, KeyError, AttributeError, CannotOpen)
"""How the SDK says that a payload is not as expected; the last but one, that there is none; the last, no key."""

_NOT_NOW = "Temporal does not answer; try again shortly."
_SILENT = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.CANCELLED,  # the SDK's word for its own deadline
        RPCStatusCode.RESOURCE_EXHAUSTED,
    }
)


def connector(config: ClientConnectConfig, keys: Keyring | None = None) -> Connect:
    """How to connect with these settings. Left alone, the SDK would retry behind a caller for ten seconds."""
    retries = RetryConfig(max_retries=4, max_elapsed_time_millis=2_000)

    async def connect() -> Client:
        return await Client.connect(**config, data_converter=data_converter(keys), retry_config=retries)

    return connect


class Connection:
    """A client that connects on first use, and tries again after a failure. The SDK itself reconnects."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    @asynccontextmanager
    async def ask(self, doubt: str = "", patience: float = PATIENCE) -> AsyncGenerator[Client]:
        """A client for one answer, of at most so many seconds. Temporal's errors leave as refusals.

        `doubt` is what to say when nobody knows whether a call that changes something arrived.
        """
        sent = False
        try:
            async with asyncio.timeout(patience):
                client = await self._connected()
                sent = True
                yield client
        except TimeoutError:
            raise Unreachable((sent and doubt) or _NOT_NOW) from None
        except RPCError as error:
            LOG.warning("Temporal: %s: %s", error.status.name, error.message[:500])
            raise _refusal(error, doubt) from None
        except CannotOpen as error:
            LOG.warning("Temporal: %s", error)
            raise TemporalRefused(f"What Temporal keeps of this cannot be read: {error}") from None

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None:
                try:
                    self._client = await self._connect()
                except (RuntimeError, ValueError, OSError) as error:
                    LOG.warning("Temporal: %s", error)
                    raise Unreachable("Temporal cannot be reached; try again shortly.") from None
            return self._client


def is_missing(error: RPCError) -> bool:
    """Whether the thing asked for does not exist (and not the whole namespace)."""
    return error.status == RPCStatusCode.NOT_FOUND and not _namespace_is_missing(error)


def _namespace_is_missing(error: RPCError) -> bool:
    return any("NamespaceNotFound" in detail.type_url for detail in error.grpc_status.details)


def _refusal(error: RPCError, doubt: str) -> Unreachable | TemporalRefused:
    # A connection that breaks in the middle of a call comes under this name.
    broken = error.status == RPCStatusCode.UNKNOWN and "transport error" in error.message
    if error.status in _SILENT or broken:
        return Unreachable(doubt or _NOT_NOW)
    if _namespace_is_missing(error):
        return Unreachable("Temporal has no namespace of the configured name; check TEMPORAL_NAMESPACE.")
    if error.status == RPCStatusCode.INVALID_ARGUMENT and "search attribute" in error.message:
        return Unreachable("Temporal is not prepared for Goalfile yet; `goalfile sync` prepares it.")
    return TemporalRefused("Temporal did not accept the call; the gateway's log says why.")

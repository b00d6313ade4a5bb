"""What waits for a person, over all runs, and taking their word to it.

Read from memos, so a list needs no worker. A decision is an update: the run itself checks it, the first
one wins, and it is told only once a worker has taken it.
"""

import asyncio
from datetime import datetime

from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from runner.ways import NobodyThere, Open, Refused, check_open
from schemas import wire
from schemas.run import Decision, Waiting

_TASK = SearchAttributeKey.for_keyword(wire.TASK)
_WAITING = f"{wire.ALL_RUNS} AND {wire.STATUS} = 'waiting' AND ExecutionStatus = 'Running'"


async def open_questions(client: Client, task: str = "") -> list[Open]:
    """Everything that waits for a person, the one that waits longest first."""
    query = _WAITING + (f" AND {wire.TASK} = {wire.quoted(task)}" if task else "")
    found: list[Open] = []
    async for entry in client.list_workflows(query):
        asked = await entry.memo_value(wire.WAITING, (), type_hint=tuple[Waiting, ...])
        name = entry.typed_search_attributes.get(_TASK) or ""
        found += [Open(entry.id, name, each) for each in asked]
    return sorted(found, key=lambda each: each.waiting.since)


async def decide(client: Client, question: Open, decision: Decision, within: float) -> None:
    """Hand a decision to its run. Raises Refused, or NobodyThere after `within` seconds."""
    handle = client.get_workflow_handle(question.run)
    try:
        async with asyncio.timeout(within):
            await handle.execute_update(wire.DECIDE, decision)  # pyright: ignore[reportUnknownMemberType]
    except WorkflowUpdateFailedError as error:
        raise Refused(str(getattr(error.cause, "message", error))) from error
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
        raise NobodyThere(within) from None
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            raise Refused(f"{question.run} has ended") from error
        raise


async def recheck(client: Client, run: str) -> None:
    """Have a run look again whether its toolkits are connected."""
    await client.get_workflow_handle(run).signal(wire.RECHECK)


def decision_on(question: Open, *, approve: bool, by: str, note: str, now: datetime) -> Decision:
    """A person's word on exactly what was shown. Raises NoSuchQuestion if its time is over."""
    asked = question.waiting
    check_open(asked, now)
    return Decision(id=asked.id, fingerprint=asked.fingerprint, approve=approve, by=by, note=note)

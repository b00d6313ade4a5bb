"""What waits for a person, over all runs, and taking their word to it.

Read from memos, so a list needs no worker. A decision is an update: the run itself checks it, the first
one wins, and it is told only once a worker has taken it.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from schemas import wire
from schemas.run import Decision, Waiting

_TASK = SearchAttributeKey.for_keyword(wire.TASK)
_WAITING = f"{wire.ALL_RUNS} AND {wire.STATUS} = 'waiting' AND ExecutionStatus = 'Running'"


@dataclass(frozen=True)
class Open:
    """One open question of one run."""

    run: str
    task: str
    waiting: Waiting


class NoSuchQuestion(Exception):  # noqa: N818 - it reads as an answer
    """Nothing of that id waits, or more than one thing does."""


class Refused(Exception):  # noqa: N818 - it reads as an answer
    """The run did not take the decision, and says why."""


class NobodyThere(Exception):  # noqa: N818 - it reads as an answer
    """No worker took the decision in time. The server may hand it to one that comes later."""


async def open_questions(client: Client, task: str = "") -> list[Open]:
    """Everything that waits for a person, the one that waits longest first."""
    query = _WAITING + (f" AND {wire.TASK} = {wire.quoted(task)}" if task else "")
    found: list[Open] = []
    async for entry in client.list_workflows(query):
        asked = await entry.memo_value(wire.WAITING, (), type_hint=tuple[Waiting, ...])
        name = entry.typed_search_attributes.get(_TASK) or ""
        found += [Open(entry.id, name, each) for each in asked]
    return sorted(found, key=lambda each: each.waiting.since)


def find_question(given: str, asked: list[Open]) -> Open:
    """The open question whose id begins so, or that of the run which is named. Raises NoSuchQuestion."""
    exact = [each for each in asked if given in (each.waiting.id, each.run)]
    found = exact or [each for each in asked if each.waiting.id.startswith(given) or each.run.startswith(given)]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(each.waiting.id for each in found[:5])
        raise NoSuchQuestion(f"`{given}` may be more than one: {ids}")
    raise NoSuchQuestion(f"nothing waits under `{given}`; `goalfile approvals` lists what does")


async def decide(client: Client, question: Open, decision: Decision, within: float) -> None:
    """Hand a decision to its run. Raises Refused, or NobodyThere after `within` seconds."""
    handle = client.get_workflow_handle(question.run)
    try:
        async with asyncio.timeout(within):
            await handle.execute_update(wire.DECIDE, decision)  # pyright: ignore[reportUnknownMemberType]
    except WorkflowUpdateFailedError as error:
        raise Refused(str(error.cause or error)) from error
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
        raise NobodyThere(
            f"no worker took it within {within:g} seconds; it may still be taken when one comes. Start one, or let "
            "yours scale up, and look at `goalfile approvals` before you say it again"
        ) from None
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
    if now >= asked.until:
        raise NoSuchQuestion(f"the time of {asked.id} is over")
    return Decision(id=asked.id, fingerprint=asked.fingerprint, approve=approve, by=by, note=note)

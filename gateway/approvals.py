"""What waits for a person, and taking a person's word to it, over HTTP.

Read from memos, so a list needs no worker. A decision is an update: the run itself checks it, the first word wins,
and it is bound to exactly the arguments that were shown. A word whose fate is not known is said to be so, and may be
said again: the same word counts once.
"""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field
from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError

from gateway.api import Starter, Strict
from gateway.dispatch import seconds_to_wait
from gateway.listing import Wanted
from gateway.ownership import Owned, owned
from gateway.principals import Principal, needs
from gateway.problems import RESPONSES, BadQuery, NothingWaits, RunEnded
from gateway.runs import Runs
from gateway.temporal import CALL, Connection, is_missing
from gateway.views import Execution, RunView, view_from_outside
from schemas import wire
from schemas.run import Decision, Waiting
from schemas.value import Value

TAKEN_WITHIN = 10
"""Seconds that a worker has to take a decision while its giver waits; `Prefer: wait` may say more, or less."""
AT_ONCE = 200
"""Runs whose open questions are in one answer."""

router = APIRouter(prefix="/v1", responses=RESPONSES, tags=["approvals"])
Reader = Annotated[Principal, needs("approvals:read")]
Decider = Annotated[Principal, needs("approvals:write")]


class Question(Waiting):
    """One thing that a run waits for a person to do."""

    run: str
    task: str


class QuestionList(Value):
    """What waits for a person, the longest first. `complete` is false if there is more than one answer holds."""

    data: tuple[Question, ...]
    complete: bool = True


class Word(Strict):
    """A person's word on one call, as it was shown to them."""

    run: str = Field(max_length=200, description="The run that asks")
    id: str = Field(max_length=200, description="What it asks: the `id` of the question")
    fingerprint: str = Field(max_length=200, description="Of the tool and arguments that were seen, from the question")
    approve: bool
    note: str = Field("", max_length=500, description="Why; the model is told of a denial")


class Taken(Value):
    """What became of a word. If it was not taken within the time, a worker may still take it later."""

    run: str
    id: str
    approve: bool
    taken: bool
    detail: str = ""


@router.get("/approvals", operation_id="approvals_list")
async def list_approvals(
    who: Reader,
    request: Request,
    task: Annotated[str | None, Query(max_length=63, description="Only of this task")] = None,
) -> QuestionList:
    """Everything that waits for a person, the longest first, with the exact arguments. No worker is needed for it."""
    runs: Runs = request.app.state.runs
    mark = None if who.may("admin") else who.mark
    try:
        listed, complete = await runs.waiting(Wanted(None if task is None else (task,), "waiting", None, mark), AT_ONCE)
    except ValueError:
        raise BadQuery("`task` is no task's name.") from None
    found = [Question(run=run.id, task=run.task, **dict(each)) for run in listed for each in run.waiting]
    return QuestionList(data=tuple(sorted(found, key=lambda each: each.since)), complete=complete)


@router.post(
    "/approvals",
    operation_id="approvals_decide",
    responses={202: {"model": Taken, "description": "No worker has taken it yet; say the same again to be sure"}},
)
async def decide(
    who: Decider,
    request: Request,
    response: Response,
    word: Word,
    prefer: Annotated[
        str | None, Header(description="`wait=N`: wait up to N (at most 60) seconds for a worker")
    ] = None,
) -> Taken:
    """Approve or deny one call. The first word wins; saying the same again is safe and answered the same."""
    runs: Runs = request.app.state.runs
    temporal: Connection = request.app.state.temporal
    execution = owned(await runs.look(word.run), who, word.run)
    decision = Decision(
        id=word.id, fingerprint=word.fingerprint, approve=word.approve, by=who.name or "somebody here", note=word.note
    )
    within = seconds_to_wait(prefer or "") or TAKEN_WITHIN
    said = Taken(run=word.run, id=word.id, approve=word.approve, taken=True)
    async with temporal.ask(_UNKNOWN, patience=within + 5) as client:
        if not _waits(execution, word):
            await _check_earlier(client, execution, word)
            return said
        if await _take(client, word, decision, within):
            return said
    response.status_code = 202
    return said.model_copy(update={"taken": False, "detail": _UNKNOWN})


@router.post("/runs/{run_id}/recheck", operation_id="runs_recheck", status_code=202)
async def recheck(_: Starter, request: Request, execution: Owned) -> RunView:
    """Have a run that waits for a connection look again now."""
    if execution.closed:
        raise RunEnded(f"Run {execution.id} has ended already.")
    if not any(each.kind == "connection" for each in execution.waiting):
        raise NothingWaits(f"Run {execution.id} waits for no connection.")
    temporal: Connection = request.app.state.temporal
    async with temporal.ask() as client:
        await client.get_workflow_handle(execution.id).signal(wire.RECHECK, rpc_timeout=CALL)
    return view_from_outside(execution, "asked to look again")


_UNKNOWN = (
    "No worker has taken it yet, and nobody knows whether one will: say the same again, as often as you like, until it"
    " is taken or refused."
)


def _waits(execution: Execution, word: Word) -> bool:
    """Whether the run still asks this, and its time is not over."""
    asked = next((each for each in execution.waiting if each.id == word.id and each.kind != "connection"), None)
    return execution.closed is None and asked is not None and datetime.now(UTC) < asked.until


def _update_id(word: Word) -> str:
    return f"{'approve' if word.approve else 'deny'}-{word.id}-{word.fingerprint[:32]}"


async def _take(client: Client, word: Word, decision: Decision, within: float) -> bool:
    """Hand it over; False if nobody took it in time. Raises NothingWaits if the run refuses it."""
    handle = client.get_workflow_handle(word.run)
    try:
        async with asyncio.timeout(within):
            await handle.execute_update(wire.DECIDE, decision, id=_update_id(word))  # pyright: ignore[reportUnknownMemberType]
    except WorkflowUpdateFailedError as error:
        raise NothingWaits(f"Run {word.run} did not take it: {error.cause or error}") from None
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
        return False
    except RPCError as error:
        if is_missing(error):
            raise RunEnded(f"Run {word.run} has ended.") from None
        raise
    return True


async def _check_earlier(client: Client, execution: Execution, word: Word) -> None:
    """Return if exactly this word was taken before. Raises NothingWaits otherwise."""
    over = NothingWaits(f"Run {execution.id} does not ask this any more: it was decided, or its time is over.")
    handle = client.get_workflow_handle(execution.id).get_update_handle(_update_id(word))
    try:
        async with asyncio.timeout(2):
            await handle.result(rpc_timeout=CALL)  # pyright: ignore[reportUnknownMemberType]
    except RPCError as error:
        raise (over if is_missing(error) else error) from None
    except (TimeoutError, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError):
        raise over from None

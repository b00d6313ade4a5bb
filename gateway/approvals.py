"""What waits for a person, and taking a person's word to it, over HTTP.

Read from memos, so a list needs no worker. A decision is an update: the run itself checks it, the first word wins,
and it is bound to exactly the arguments that were shown. A word whose fate is not known is said to be so, and may be
said again: the same word counts once.
"""

import asyncio
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field
from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from gateway.api import Starter, Strict
from gateway.dispatch import seconds_to_wait
from gateway.listing import Wanted
from gateway.ownership import Owned, owned
from gateway.principals import Principal, needs
from gateway.problems import RESPONSES, BadQuery, NothingWaits, RunEnded, TooMuch
from gateway.runs import Runs
from gateway.temporal import CALL, Connection, is_missing
from gateway.views import Execution, RunView, view_from_outside
from schemas import wire
from schemas.run import Decision, Waiting
from schemas.value import Value

TAKEN_WITHIN = 10
"""Seconds that a worker has to take a decision while its giver waits; `Prefer: wait` may say more, or less."""
AT_ONCE = 200
"""Questions in one answer."""
LOOKED_AT = 1_000
"""Runs whose questions are compared for it: Temporal tells the newest runs first, and the longest wait is wanted."""

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
        wanted = Wanted(None if task is None else (task,), "waiting", None, mark)
        listed, complete = await runs.waiting(wanted, LOOKED_AT)
    except ValueError:
        raise BadQuery("`task` is no task's name.") from None
    found = [Question(run=run.id, task=run.task, **dict(each)) for run in listed for each in run.waiting]
    found.sort(key=lambda each: each.since)
    return QuestionList(data=tuple(found[:AT_ONCE]), complete=complete and len(found) <= AT_ONCE)


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
    with ExitStack() as place:
        if within > TAKEN_WITHIN:
            try:
                place.enter_context(request.app.state.long_answers.held(who))
            except TooMuch:
                within = TAKEN_WITHIN  # only the longer waiting is refused, never the word
        if prefer:
            response.headers["Preference-Applied"] = f"wait={within}"
        async with temporal.ask(_UNKNOWN, patience=within + 5) as client:
            history = (await client.get_workflow_handle(word.run).describe(rpc_timeout=CALL)).run_id
            if over := _why_over(execution, word, datetime.now(UTC)):
                await _check_earlier(client, history, word, over)
                return said
            if await _take(client, history, word, decision, within):
                return said
    response.status_code = 202
    return said.model_copy(update={"taken": False, "detail": _UNKNOWN})


@router.post("/runs/{run_id}/recheck", operation_id="runs_recheck", status_code=202)
async def recheck(_: Starter, request: Request, execution: Owned) -> RunView:
    """Have a run that waits for a connection look again now."""
    if execution.closed:
        raise _ended(execution.id)
    if not any(each.kind == "connection" for each in execution.waiting):
        raise NothingWaits(f"Run {execution.id} waits for no connection.")
    temporal: Connection = request.app.state.temporal
    async with temporal.ask() as client:
        try:
            await client.get_workflow_handle(execution.id).signal(wire.RECHECK, rpc_timeout=CALL)
        except RPCError as error:
            raise (_ended(execution.id) if is_missing(error) else error) from None
    return view_from_outside(execution, "asked to look again")


_UNKNOWN = (
    "No worker has taken it yet. One that comes later may still take it, and nobody knows whether one will: say the"
    " same again, as often as you like, until it is taken or refused; it counts once."
)


def _ended(run: str) -> RunEnded:
    return RunEnded(f"Run {run} has ended.")


def _why_over(execution: Execution, word: Word, now: datetime) -> str:
    """Why nobody takes this word any more; empty while the run asks it. Raises NothingWaits for what it never asked."""
    asked = next((each for each in execution.waiting if each.id == word.id), None)
    if execution.closed:
        return f"Run {execution.id} has ended, and asks nothing any more."
    if asked is None:
        return f"Run {execution.id} does not ask this: it was decided, its time is over, or it was never asked."
    if asked.kind == "connection":
        raise NothingWaits(f"Run {execution.id} waits for a connection of {asked.toolkit}, not for a word: connect it.")
    if asked.fingerprint != word.fingerprint:
        raise NothingWaits(f"Run {execution.id} asks this with other arguments than you saw; look at them again.")
    return f"Run {execution.id} asked this until {asked.until:%Y-%m-%d %H:%M:%S} UTC." if now >= asked.until else ""


def _update_id(history: str, word: Word) -> str:
    """The same for the same word, so that it counts once however often it is said.

    A run that was reset asks anew, and for the server the words of its old history stay used: each has its own.
    """
    return f"{'approve' if word.approve else 'deny'}-{word.id}-{word.fingerprint}-{history}"


async def _take(client: Client, history: str, word: Word, decision: Decision, within: float) -> bool:
    """Hand it over; False if nobody took it in time. Raises NothingWaits if the run refuses it."""
    handle = client.get_workflow_handle(word.run)
    try:
        async with asyncio.timeout(within):
            await handle.execute_update(  # pyright: ignore[reportUnknownMemberType]
                wire.DECIDE, decision, id=_update_id(history, word)
            )
    except WorkflowUpdateFailedError as error:
        why = error.cause.message if isinstance(error.cause, ApplicationError) else error.cause or error
        raise NothingWaits(f"Run {word.run} did not take it: {why}") from None
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
        return False
    except RPCError as error:
        if is_missing(error):
            raise _ended(word.run) from None
        raise
    return True


async def _check_earlier(client: Client, history: str, word: Word, over: str) -> None:
    """Return if exactly this word was taken before. Raises NothingWaits otherwise."""
    if await _was_taken(client, history, word):
        return
    if await _was_taken(client, history, word.model_copy(update={"approve": not word.approve})):
        over = f"Run {word.run} was told otherwise before: it was {'denied' if word.approve else 'approved'}."
    raise NothingWaits(over)


async def _was_taken(client: Client, history: str, word: Word) -> bool:
    """Whether this word was said over HTTP and taken, in this history of the run."""
    handle = client.get_workflow_handle(word.run).get_update_handle(_update_id(history, word))
    try:
        async with asyncio.timeout(1):
            await handle.result(rpc_timeout=CALL)  # pyright: ignore[reportUnknownMemberType]
    except RPCError as error:
        if not is_missing(error):
            raise
        return False
    except (TimeoutError, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError):
        return False
    return True

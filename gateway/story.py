"""What happened in a run, read out of the events of its history, one event after the other.

Pure: payloads come in opened, as plain JSON, and are read by the names of their fields. It trusts none of
them: what another version wrote, or nobody here has the key of, is told as unreadable, and never raises.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

from pydantic import ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent

from gateway.happenings import (
    ANOTHER_VERSION,
    LONG,
    ApprovalTold,
    CallTold,
    Cut,
    DoneTold,
    Place,
    ResultTold,
    StatusTold,
    Told,
    TroubleTold,
    TurnTold,
    without_addresses,
)
from gateway.opened import Said, Step, Unreadable, sealed_in, why_failed
from gateway.views import Closed, Execution, view_from_outside
from schemas import wire
from schemas.run import ENDED, Outcome, Waiting

_BROKEN = frozenset(
    {
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE,
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR,
    }
)


_SHORT_DELAY = timedelta(seconds=5)  # Temporal puts a new history off by up to a second; a run that failed by 15


class Story:
    """One history. Hand it every event once, in order, with what `sealed` named, opened."""

    def __init__(self) -> None:
        self.next_run, self.cut_off = "", False
        """The history in which the run goes on; whether this one was ended from outside."""
        self._chapter, self._task = 0, ""
        self._status: str = "queued"
        self._steps: dict[int, Step] = {}
        self._uses: dict[str, tuple[str, Any]] = {}
        """What the model wanted called in its last turn and has no result yet: by the call's id, tool and input."""
        self._asked: dict[str, Waiting] = {}
        self._decided: dict[str, bool] = {}

    def sealed(self, event: HistoryEvent) -> Sequence[Payload]:
        """The payloads of an event that have to be opened before it is told."""
        which, said = _attributes(event)
        match which:
            case "workflow_execution_started":
                return said.input.payloads[:1]
            case "start_child_workflow_execution_initiated":
                return said.input.payloads[:1] if said.workflow_type.name == wire.EFFECT else ()
            case "activity_task_scheduled":
                opens = said.activity_type.name in (wire.OPEN_RUN, wire.LIST_TOOLS)
                return () if opens else said.input.payloads[:1]
            case "activity_task_completed":
                step = self._steps.get(said.scheduled_event_id)
                opens = step is None or step.name in (wire.OPEN_RUN, wire.LIST_TOOLS)
                return () if opens else said.result.payloads[:1]
            case "child_workflow_execution_completed":
                return said.result.payloads[:1] if said.initiated_event_id in self._steps else ()
            case "workflow_execution_completed":
                return said.result.payloads[:1]
            case "activity_task_started":
                return sealed_in(said.last_failure)
            case "activity_task_failed" | "activity_task_timed_out" | "child_workflow_execution_failed":
                return sealed_in(said.failure)
            case "upsert_workflow_search_attributes":
                marks = said.search_attributes.indexed_fields
                return [marks[wire.STATUS]] if wire.STATUS in marks else ()
            case "workflow_properties_modified":
                memo = said.upserted_memo.fields
                return [memo[wire.WAITING]] if wire.WAITING in memo else ()
            case "workflow_execution_update_accepted":
                return said.accepted_request.input.args.payloads[:1]
            case _:
                return ()

    def tell(self, event: HistoryEvent, opened: Sequence[object]) -> tuple[Told, ...]:
        """What this event says, in the product's words; most say nothing."""
        at = event.event_time.ToDatetime(UTC)
        which, said = _attributes(event)
        told = [*self._tell(event.event_id, which, said, at, opened)]
        places = (Place(self._chapter, event.event_id, number) for number in range(len(told)))
        return tuple(each.model_copy(update={"id": str(place)}) for each, place in zip(told, places, strict=True))

    def _tell(self, number: int, which: str, said: Any, at: datetime, opened: Sequence[object]) -> Iterator[Told]:
        first = Said(opened[0] if opened else None)
        match which:
            case "workflow_execution_started":
                yield from self._begun(said, first, at)
            case "workflow_task_failed":
                if said.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW:
                    self._chapter = max(self._chapter + 1, _milliseconds(at))
                    yield self._status_told(at, "set_back")
                elif said.cause in _BROKEN:
                    why = "the worker could not go on with it, and its log says why; Temporal keeps trying"
                    yield TroubleTold(at=at, what="the run", why=why, tried_again=True)
            case "activity_task_scheduled":
                step = self._steps[number] = Step(said.activity_type.name, first)
                if step.name == wire.CALL_TOOL:
                    yield self._called(step, at)
                elif step.name == wire.ASK_MODEL:
                    yield from self._answered(step, at)
            case "activity_task_started":
                step = self._steps.get(said.scheduled_event_id)
                if step and said.attempt > 1:
                    step.attempt = said.attempt
                    if said.HasField("last_failure"):
                        why = why_failed(said.last_failure, opened)
                        yield TroubleTold(at=at, what=step.what, why=why, tried_again=True)
            case "activity_task_completed":
                yield from self._returned(said.scheduled_event_id, first, at)
            case "activity_task_failed" | "activity_task_timed_out":
                yield from self._lost(said.scheduled_event_id, at, why_failed(said.failure, opened))
            case "activity_task_canceled":
                yield from self._lost(said.scheduled_event_id, at)
            case "start_child_workflow_execution_initiated" if said.workflow_type.name == wire.EFFECT:
                step = self._steps[number] = Step(wire.CALL_TOOL, first)
                yield self._called(step, at)
            case "start_child_workflow_execution_failed":
                if step := self._steps.pop(said.initiated_event_id, None):
                    why = "it was made before this run was set back; it is not made again"
                    yield TroubleTold(at=at, what=step.what, why=why)
            case "child_workflow_execution_completed":
                yield from self._returned(said.initiated_event_id, first, at)
            case "child_workflow_execution_failed":
                yield from self._lost(said.initiated_event_id, at, why_failed(said.failure, opened))
            case "child_workflow_execution_canceled":
                yield from self._lost(said.initiated_event_id, at)
            case "child_workflow_execution_timed_out" | "child_workflow_execution_terminated":
                yield from self._lost(said.initiated_event_id, at, "it was ended in Temporal")
            case _:
                yield from self._from_outside(which, said, first, at, opened)

    def _from_outside(
        self, which: str, said: Any, first: Said, at: datetime, opened: Sequence[object]
    ) -> Iterator[Told]:
        """What people and Temporal do to a run, how it waits, and how it ends."""
        match which:
            case "upsert_workflow_search_attributes" if opened:
                before, self._status = self._status, Cut().text(opened[0])
                if self._status in ("running", "waiting") and self._status != before:
                    yield self._status_told(at, "changed")
            case "workflow_properties_modified" if opened:
                yield from self._waits(opened[0], at)
            case "workflow_execution_update_accepted" if said.accepted_request.input.name == wire.DECIDE:
                yield self._decision(first, at)
            case "workflow_execution_cancel_requested":
                yield self._status_told(at, "cancel_requested")
            case "workflow_execution_continued_as_new":
                self.next_run = said.new_execution_run_id
            case "workflow_execution_completed":
                yield self._ended(first, at)
            case "workflow_execution_canceled":
                yield self._ended_from_outside("cancelled", at)
            case "workflow_execution_failed":
                yield self._ended_from_outside("failed", at)
            case "workflow_execution_timed_out":
                yield self._ended_from_outside("timed out", at)
            case "workflow_execution_terminated":
                self.cut_off = True
                yield self._ended_from_outside("terminated", at)
            case _:
                pass

    # --- the steps ---

    def _begun(self, said: Any, first: Said, at: datetime) -> Iterator[Told]:
        self._chapter = _milliseconds(at)
        marks = said.search_attributes.indexed_fields
        self._status = _plain(marks[wire.STATUS].data) if wire.STATUS in marks else "queued"
        if not said.continued_execution_run_id:
            task, source = first.part("task").text("name"), first.part("source").text("path")
            self._task = task or wire.AD_HOC
            trigger = first.text("trigger", must=True)
            yield StatusTold(
                at=at, what="started", status="queued", task=task, source=source, trigger=trigger, **first.told
            )
        elif said.first_workflow_task_backoff.ToTimedelta() > _SHORT_DELAY:
            yield self._status_told(at, "tried_again")

    def _called(self, step: Step, at: datetime) -> CallTold:
        given = step.given
        call, tool = given.text("id", must=True), given.text("tool", must=True)
        arguments = given.cut.arguments(given.whole.get("arguments"))
        toolkit, effect = given.text("toolkit"), given.text("effect")
        return CallTold(at=at, call=call, tool=tool, toolkit=toolkit, effect=effect, arguments=arguments, **given.told)

    def _returned(self, begun: int, result: Said, at: datetime) -> Iterator[Told]:
        step = self._steps.pop(begun, None)
        if step and step.name == wire.ASK_MODEL:
            yield self._turn(step, result, at)
        elif step and step.name == wire.CALL_TOOL:
            call = step.given.text("id") or result.text("call_id")
            self._uses.pop(call, None)
            yield ResultTold(
                at=at,
                call=call,
                tool=step.given.text("tool"),
                state=result.text("state", must=True) or "unreadable",
                content=result.text("content", LONG, must=True),
                attempt=step.attempt,
                **result.told,
            )

    def _answered(self, step: Step, at: datetime) -> Iterator[Told]:
        """Results that the run made up itself, of calls that it did not make: the model is about to read them."""
        blocks = (Said(block) for message in step.given.parts("new") for block in Said(message).parts("content"))
        for said in blocks:
            call = said.text("tool_use_id")
            if said.whole.get("type") == "tool_result" and call in self._uses:
                state = "refused" if said.whole.get("is_error") else "done"
                tool, content = self._uses.pop(call)[0], said.text("content", LONG)
                yield ResultTold(at=at, call=call, tool=tool, state=state, content=content, **said.told)

    def _turn(self, step: Step, reply: Said, at: datetime) -> TurnTold:
        blocks = reply.parts("content")
        uses = [each for each in blocks if each.get("type") == "tool_use"]
        self._uses = {Cut().text(use.get("id")): (Cut().text(use.get("name")), use.get("input")) for use in uses}
        texts = [b["text"] for b in blocks if b.get("type") == "text" and isinstance(b.get("text"), str) and b["text"]]
        return TurnTold(
            at=at,
            turn=step.given.number("turn"),
            attempt=step.attempt,
            text=reply.cut.text("\n".join(texts), LONG),
            stop_reason=reply.text("stop_reason", must=True),
            model=reply.text("model"),
            tools=tuple(reply.cut.text(use.get("name")) for use in uses),
            sums_up=step.given.whole.get("sum_up") is True,
            usage=reply.usage(),
            **reply.told,
        )

    def _lost(self, begun: int, at: datetime, why: str = "") -> Iterator[Told]:
        """A step whose end nobody saw: of a write nobody knows whether it took effect."""
        step = self._steps.pop(begun, None)
        if step is None:
            return
        if why:
            yield TroubleTold(at=at, what=step.what, why=why)
        if step.name == wire.CALL_TOOL:
            given = step.given
            state = "refused" if given.text("effect") in ("read", "idempotent") else "unknown"
            call, tool, content = given.text("id"), given.text("tool"), why or "it was cancelled"
            self._uses.pop(call, None)
            yield ResultTold(at=at, call=call, tool=tool, state=state, content=content, attempt=step.attempt)

    # --- people ---

    def _waits(self, opened: object, at: datetime) -> Iterator[Told]:
        if not isinstance(opened, list):
            if self._status == "waiting":
                why = opened.why if isinstance(opened, Unreadable) else ANOTHER_VERSION
                yield ApprovalTold(at=at, what="asked", question="", unreadable=why)
            return
        asked: dict[str, Waiting] = {}
        for each in cast("list[Any]", opened):
            try:
                waiting = Waiting.model_validate(each)
            except ValidationError:
                said = Said(each)
                yield ApprovalTold(
                    at=at, what="asked", question=said.text("id"), unreadable=said.why or ANOTHER_VERSION
                )
                continue
            asked[waiting.id] = waiting
            if waiting != self._asked.get(waiting.id):
                yield _question(waiting, at, "asked")
        gone = [each for each in self._asked.values() if each.id not in asked]
        self._asked = asked
        for each in gone:
            yield from self._closed(each, at)

    def _closed(self, was: Waiting, at: datetime) -> Iterator[Told]:
        if was.id not in self._decided:
            yield _question(was, at, "closed")
        if was.kind != "approval" or self._decided.get(was.id):
            return
        call = next((call for call, use in self._uses.items() if use == (was.tool, was.arguments)), "")
        self._uses.pop(call, None)
        why = "a person denied it" if was.id in self._decided else "nobody allowed it in time"
        yield ResultTold(at=at, call=call, tool=Cut().text(was.tool), state="denied", content=why)

    def _decision(self, said: Said, at: datetime) -> ApprovalTold:
        question, approve = said.text("id", must=True), said.whole.get("approve")
        self._decided[question] = approve is True
        by, note = said.text("by"), said.text("note")
        word = {"approve": approve if isinstance(approve, bool) else None, "by": by, "note": note, **said.told}
        if asked := self._asked.get(question):
            told = _question(asked, at, "decided")
            return told.model_copy(update=word | {"clipped": told.clipped or word["clipped"]})
        return ApprovalTold(at=at, what="decided", question=question).model_copy(update=word)

    # --- the end ---

    def _status_told(
        self, at: datetime, what: Literal["changed", "cancel_requested", "tried_again", "set_back"]
    ) -> Told:
        status = self._status if self._status in ("queued", "running", "waiting") else "running"
        return StatusTold(at=at, what=what, status=cast("Any", status))

    def _ended(self, result: Said, at: datetime) -> DoneTold:
        status = result.text("status", must=True)
        if status not in ENDED:
            other = result.why in ("", ANOTHER_VERSION)
            reason = f"its result {ANOTHER_VERSION[3:]}" if other else f"its result cannot be read: {result.why}"
            told = self._ended_from_outside("completed", at, reason)
            return told.model_copy(update={"unreadable": result.why or ANOTHER_VERSION})
        cost = result.whole.get("cost_usd")
        return DoneTold(
            at=at,
            status=cast("Outcome", status),
            reason=without_addresses(result.text("reason")),
            summary=result.text("summary", LONG),
            cost_usd=cost if isinstance(cost, int | float) and not isinstance(cost, bool) else None,
            usage=result.usage(),
            **result.told,
        )

    def _ended_from_outside(self, closed: Closed, at: datetime, reason: str = "") -> DoneTold:
        """In the words that the run's own view has for it."""
        known = Execution("", self._task, self._status, started_at=at, closed=closed)
        view = view_from_outside(known, reason)
        return DoneTold(at=at, status=cast("Outcome", view.status), reason=view.reason)


def began(first: HistoryEvent) -> int:
    """The chapter that begins with this event, as places name it."""
    return _milliseconds(first.event_time.ToDatetime(UTC))


def _attributes(event: HistoryEvent) -> tuple[str, Any]:
    which = event.WhichOneof("attributes") or ""
    return which.removesuffix("_event_attributes"), getattr(event, which, None)


def _question(asked: Waiting, at: datetime, what: Literal["asked", "decided", "closed"]) -> ApprovalTold:
    cut = Cut()
    return ApprovalTold(
        at=at,
        what=what,
        question=cut.text(asked.id),
        kind=asked.kind,
        toolkit=cut.text(asked.toolkit),
        tool=cut.text(asked.tool),
        arguments=cut.arguments(asked.arguments),
        fingerprint=cut.text(asked.fingerprint),
        why=cut.text(asked.why),
        link=asked.link.encode(errors="replace").decode(),  # whole: it is there to be followed
        since=asked.since,
        until=asked.until,
        clipped=cut.clipped,
    )


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _plain(data: bytes) -> str:
    """A search attribute: never encrypted, and a text if it is ours."""
    try:
        return Cut().text(json.loads(data))
    except ValueError:
        return ""

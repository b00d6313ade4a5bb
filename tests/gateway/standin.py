"""A workflow under the runner's name whose goal says how it ends: the gateway needs no runner code."""

import asyncio

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ApplicationError

from schemas import wire
from schemas.run import Progress, RunRequest, RunResult, Status, Step, Usage

STATUS = SearchAttributeKey.for_keyword(wire.STATUS)


@workflow.defn(name=wire.RUN_TASK)
class StandIn:
    def __init__(self) -> None:
        self._status: Status = "queued"

    @workflow.run
    async def run(self, request: RunRequest) -> RunResult:
        began = workflow.now()
        self._say("running")
        reason = ""
        match request.task.goal:
            case "crash":
                raise ApplicationError("secret-internal-detail")
            case "wait":
                self._say("waiting")
                try:
                    await workflow.wait_condition(lambda: False)
                except asyncio.CancelledError:
                    self._say("cancelled")
                    reason = "somebody cancelled it"
            case "stop":
                self._say("stopped")
                reason = "the limit of 30 turns was reached"
            case _:
                self._say("succeeded")
        turn = Step(kind="turn", name="model", state="done", started_at=began, ended_at=workflow.now())
        return RunResult(
            status=self._status,
            reason=reason,
            summary=request.task.goal,
            output=request.inputs,
            steps=(turn, turn.model_copy(update={"kind": "call", "name": "clock"})),
            usage=Usage(input_tokens=7),
            started_at=began,
            ended_at=workflow.now(),
        )

    @workflow.query(name=wire.PROGRESS)
    def progress(self) -> Progress:
        return Progress(status=self._status, reason="approval" if self._status == "waiting" else "", turns=1)

    def _say(self, status: Status) -> None:
        self._status = status
        workflow.upsert_search_attributes([STATUS.value_set(status)])


@workflow.defn(name="somebody-elses")
class SomebodyElses:
    @workflow.run
    async def run(self) -> str:
        return "not a run"

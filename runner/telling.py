"""Telling people as a workflow of its own: a channel that is down never delays a run, and never fails one.

A notice has an id that is used once, so a run that is set back tells nobody twice.
"""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ActivityError, ChildWorkflowError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from runner.activities import Activities
    from schemas import wire
    from schemas.run import Notice

_RETRIES = RetryPolicy(
    initial_interval=timedelta(seconds=5), maximum_interval=timedelta(minutes=10), maximum_attempts=12
)
_GIVE_UP = timedelta(hours=2)


@workflow.defn(name=wire.TELL)
class TellPeople:
    """One notice to each of some channels, each tried by itself."""

    @workflow.run
    async def run(self, notices: list[tuple[str, Notice]]) -> list[str]:
        """Tell them; the channels that could not be told, each with why."""
        return [failed for failed in await asyncio.gather(*(_told(*each) for each in notices)) if failed]


async def _told(channel: str, notice: Notice) -> str:
    try:
        await workflow.execute_activity_method(
            Activities.notify,
            args=[channel, notice],
            start_to_close_timeout=timedelta(minutes=1),
            schedule_to_close_timeout=_GIVE_UP,
            retry_policy=_RETRIES,
            summary=channel,
        )
    except ActivityError as error:
        return f"{channel}: {error.cause or error}"
    return ""


async def tell(notices: list[tuple[str, Notice]]) -> None:
    """Have these channels told, and do not wait for it."""
    if not notices:
        return
    first = notices[0][1]
    try:
        await workflow.start_child_workflow(
            TellPeople.run,
            notices,
            id=wire.notice_workflow_id(first.id),
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
            static_summary=first.type,
        )
    except (WorkflowAlreadyStartedError, ChildWorkflowError):
        workflow.logger.info("this was told before the run was set back")

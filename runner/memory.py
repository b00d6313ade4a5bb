"""What the next run of a task may be given of the last one. Temporal keeps it; there is no second store."""

from temporalio.client import Client

from schemas import wire
from schemas.run import RunResult


async def last_result(client: Client, task: str) -> RunResult | None:
    """How the task's latest ended run ended, or None if none has. A run closed from outside has no result."""
    if not task:
        return None
    query = f"{wire.ALL_RUNS} AND {wire.TASK} = {wire.quoted(task)} AND ExecutionStatus = 'Completed'"
    async for entry in client.list_workflows(query, limit=1):  # the latest to close comes first
        handle = client.get_workflow_handle(entry.id, run_id=entry.run_id, result_type=RunResult)
        return await handle.result(follow_runs=False)
    return None

"""A small run that counts and is traced: three turns, a try that fails, and a word that must not get out."""

from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from runner.metrics import count_cost, count_run, count_step, count_tokens, count_unknown, count_waiting
    from schemas.run import Usage

CANARY = "canary-7d1f"


@activity.defn(name="think")
async def think(goal: str, turn: int) -> str:
    """The first try of the first turn fails, and says the goal aloud."""
    if turn == 0 and activity.info().attempt == 1:
        raise ApplicationError(f"cannot think about {goal}")
    return f"thought about {goal}"


@workflow.defn(name="counted")
class Counted:
    @workflow.run
    async def run(self, goal: str) -> str:
        meter = workflow.metric_meter()
        for turn in range(3):
            thought = await workflow.execute_activity(
                think,
                args=(goal, turn),
                start_to_close_timeout=timedelta(seconds=10),
                retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=1), maximum_attempts=2),
            )
            assert goal in thought
            count_step(meter, "turn", "done")
            count_tokens(meter, Usage(input_tokens=5, output_tokens=2, cache_read_tokens=100), "some-model")
            count_cost(meter, 0.0000015)
        count_step(meter, "call", "unknown")
        count_unknown(meter, "gmail")
        count_waiting(meter, "approval")
        count_run(meter, "succeeded", "")
        return thought

    @workflow.query
    def look(self) -> str:
        return CANARY

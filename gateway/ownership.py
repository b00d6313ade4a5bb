"""The one way of a route to a run: load it, and see that it is the caller's.

A run that is somebody else's does not exist, in the same words as one that never was.
"""

from typing import Annotated

from fastapi import Depends, Path, Request

from gateway.principals import Principal, principal_of
from gateway.problems import RunNotFound
from gateway.runs import Runs
from gateway.views import Execution


def no_such(run_id: str) -> RunNotFound:
    """What is said of a run that is missing, and of one that is foreign."""
    return RunNotFound(f"There is no run {run_id[:80]!r}; /v1/runs lists those there are.")


async def load_owned_run(
    request: Request, run_id: Annotated[str, Path(description="The id in the Location of the run's start")]
) -> Execution:
    """The run, if the principal owns it. Raises RunNotFound."""
    runs: Runs = request.app.state.runs
    return owned(await runs.look(run_id), principal_of(request), run_id)


def owned(found: Execution | None, who: Principal, run_id: str) -> Execution:
    """The decision itself."""
    if found is None or not who.owns(found.mark):
        raise no_such(run_id)
    return found


Owned = Annotated[Execution, Depends(load_owned_run)]
"""A run of the caller's own. A test sees to it that every route with a run's id declares it."""

"""The routes about runs and tasks, and the two health checks: read a request strictly, ask, answer.

No route talks to Temporal itself, and none writes a task: git is the source.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from gateway.adhoc import GOAL_SCHEMA, read_goal
from gateway.catalog import Names
from gateway.dispatch import Dispatching
from gateway.listing import Wanted
from gateway.ownership import Owned
from gateway.principals import Principal, needs
from gateway.problems import RESPONSES, BadInputs, BadQuery
from gateway.runs import Runs
from gateway.syncs import sync_statuses
from gateway.tasks import Tasks
from gateway.views import RunList, RunView, SyncList, TaskList
from schemas.catalog import Catalog
from schemas.duration import parse_duration
from schemas.inputs import settle_inputs
from schemas.run import Status


async def runs_of(request: Request) -> Runs:
    """The app's one way to runs."""
    return request.app.state.runs


async def tasks_of(request: Request) -> Tasks:
    """The app's one way to tasks."""
    return request.app.state.tasks


async def names_of(request: Request) -> Names:
    """What task files may name on this server."""
    return request.app.state.names


Here = Annotated[Runs, Depends(runs_of)]
Known = Annotated[Tasks, Depends(tasks_of)]
Named = Annotated[Names, Depends(names_of)]


class Strict(BaseModel):
    """A request body: an unknown key is an error, and so is what JSON cannot carry further."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, data: Any) -> Any:
        # Python's reader lets NaN, 1e999 and half a surrogate pair through; Temporal's payloads do not.
        try:
            json.dumps(data, allow_nan=False, ensure_ascii=False).encode()
        except (ValueError, TypeError, RecursionError):
            raise ValueError("numbers must be finite, text whole Unicode, and nesting moderate") from None
        return data


class Given(Strict):
    """What a run of a known task may be given."""

    inputs: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])


@dataclass(frozen=True)
class Asked:
    """Which runs a list is to hold, and which part of it."""

    task: str | None
    status: Status | None
    label: str | None
    since: datetime | None
    limit: int
    cursor: str | None


async def asked_for(  # noqa: PLR0917 - FastAPI hands them over by name
    task: Annotated[str | None, Query(max_length=63, description="Only runs of this task")] = None,
    status: Annotated[Status | None, Query(description="Only runs of this status")] = None,
    label: Annotated[
        str | None, Query(max_length=200, pattern=r"^[^=]+=", description="Only runs of tasks with it: `name=value`")
    ] = None,
    since: Annotated[
        str | None, Query(max_length=40, description="Started since then: `2026-11-28T06:00:00Z`, or `24h` ago")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=2_000, description="`next_cursor` of the part before")] = None,
) -> Asked:
    """What the query asks for. Raises BadQuery."""
    return Asked(task, status, label, _instant(since), limit, cursor)


v1 = APIRouter(prefix="/v1", responses=RESPONSES)
health = APIRouter(responses=RESPONSES)
Starter = Annotated[Principal, needs("runs:write")]
Reader = Annotated[Principal, needs("runs:read")]
OfTasks = Annotated[Principal, needs("tasks:read")]


@v1.post("/tasks/{name}/runs", operation_id="tasks_run", status_code=202, tags=["runs"])
async def run_task(
    _: Starter, name: str, tasks: Known, dispatch: Dispatching, given: Annotated[Given | None, Body()] = None
) -> RunView:
    """Start a run of a task, now, whatever its schedule says."""
    known = await tasks.known(name)
    try:
        inputs = settle_inputs(known.task, (given or Given()).inputs)
    except RecursionError:
        raise BadInputs("an input is nested too deeply") from None
    except ValueError as error:
        raise BadInputs(str(error)) from None
    return await dispatch.start(known.model_copy(update={"inputs": inputs, "trigger": "http"}))


@v1.post("/runs", operation_id="runs_create", status_code=202, tags=["runs"], openapi_extra=GOAL_SCHEMA)
async def create_run(
    who: Annotated[Principal, needs("goals:write")], request: Request, names: Named, dispatch: Dispatching
) -> RunView:
    """Start a run of a goal that has no file. The body is a task file's, as JSON or YAML, without a schedule."""
    wanted = await read_goal(await request.body(), request.headers.get("content-type", ""), names, who)
    return await dispatch.start(wanted)


@v1.get("/runs", operation_id="runs_list", tags=["runs"])
async def list_runs(who: Reader, runs: Here, tasks: Known, asked: Annotated[Asked, Depends(asked_for)]) -> RunList:
    """Runs: those still going, newest first; then those that ended, the latest end first. One alone has its steps."""
    names = None if asked.label is None else await tasks.labelled(*asked.label.split("=", 1))
    if asked.task is not None:
        names = (asked.task,) if names is None or asked.task in names else ()
    if names is not None and not names:
        return RunList(data=())
    mark = None if who.may("admin") else who.mark
    try:
        return await runs.part(Wanted(names, asked.status, asked.since, mark), asked.limit, asked.cursor)
    except ValueError:
        raise BadQuery("`task` is no task's name.") from None


@v1.get("/runs/{run_id}", operation_id="runs_get", tags=["runs"])
async def get_run(_: Reader, execution: Owned, runs: Here) -> RunView:
    """How far one run is, or how it ended."""
    return await runs.view(execution)


@v1.post("/runs/{run_id}/cancel", operation_id="runs_cancel", status_code=202, tags=["runs"])
async def cancel_run(_: Starter, execution: Owned, runs: Here, response: Response) -> RunView:
    """Ask a run to stop; ask for the run to see when it did."""
    response.headers["Location"] = f"/v1/runs/{execution.id}"
    return await runs.cancel(execution)


@v1.post("/runs/{run_id}/retry", operation_id="runs_retry", status_code=201, tags=["runs"])
async def retry_run(who: Starter, execution: Owned, runs: Here, dispatch: Dispatching) -> RunView:
    """Start an ended run once more, as its task was then. It is another run, and makes its writes again."""
    wanted = await runs.request_of(execution)
    if not wanted.source.path:
        who.require("goals:write")
    return await dispatch.start(wanted, 201)


@v1.get("/tasks", operation_id="tasks_list", tags=["tasks"])
async def list_tasks(_: OfTasks, tasks: Known) -> TaskList:
    """Every task the server knows, by name."""
    return TaskList(data=await tasks.all())


@v1.get("/sync", operation_id="sync_list", tags=["tasks"])
async def list_syncs(_: OfTasks, request: Request) -> SyncList:
    """What every sync source last saw and did, by owner. Empty before the first sync."""
    async with request.app.state.temporal.ask() as client:
        return SyncList(data=await sync_statuses(client))


@v1.get("/catalog", operation_id="catalog_get", tags=["tasks"])
async def get_catalog(_: OfTasks, names: Named) -> Catalog:
    """What task files may name here. It is answered without Temporal, and without Composio too."""
    return await names.catalog()


@health.head("/healthz", include_in_schema=False)
@health.get("/healthz", operation_id="health_live", tags=["health"])
async def live() -> dict[str, str]:
    """Whether this process answers; it says nothing about Temporal."""
    return {"status": "ok"}


@health.head("/readyz", include_in_schema=False)
@health.get("/readyz", operation_id="health_ready", tags=["health"])
async def ready(runs: Here) -> dict[str, str]:
    """Whether Temporal answers, so that runs can be started and seen."""
    await runs.check_ready()
    return {"status": "ready"}


def _instant(since: str | None) -> datetime | None:
    """A point in time as a caller writes it: RFC 3339, or how long ago."""
    if since is None:
        return None
    try:
        ago: timedelta = parse_duration(since)
        return datetime.now(UTC) - ago
    except (ValueError, OverflowError):
        pass
    try:
        at = datetime.fromisoformat(since)
        return at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadQuery("`since` is neither a time such as 2026-11-28T06:00:00Z nor a duration such as 24h.") from None

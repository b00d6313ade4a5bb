"""The routes under /v1 and the two health checks: read a request strictly, ask `runs` or `catalog`, answer.

No route talks to Temporal itself, and none writes a task: git is the source.
"""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from gateway.catalog import Names
from gateway.problems import RESPONSES
from gateway.runs import Runs
from gateway.views import RunList, RunView, SyncList, TaskList
from schemas.catalog import Catalog
from schemas.duration import Duration
from schemas.run import RunRequest
from schemas.task import Limits, Task, Texts, Tools

MAX_GOAL = 20_000
"""Characters of a goal."""


def runs_of(request: Request) -> Runs:
    """The app's one way to Temporal."""
    return request.app.state.runs


def names_of(request: Request) -> Names:
    """What task files may name on this server."""
    return request.app.state.names


Here = Annotated[Runs, Depends(runs_of)]
RunId = Annotated[str, Path(description="The id in the Location of the run's start")]


class Strict(BaseModel):
    """Part of a request body: an unknown key is an error, and so is what JSON cannot carry further."""

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


class AdHocTools(Strict):
    """Globs over tool names; deny beats allow."""

    allow: Texts = Tools().allow
    deny: Texts = ()


class AdHocLimits(Strict):
    """What the run may use; reaching a limit stops it with what it has."""

    turns: Annotated[int, Field(ge=1)] = Limits().turns
    timeout: Duration = Limits().timeout
    tokens: Annotated[int, Field(ge=1)] | None = None


class AdHoc(Strict):
    """A run without a task file. As in files, what this release does not keep yet is an unknown key."""

    goal: str = Field(min_length=1, max_length=MAX_GOAL)
    toolkit: Texts = ()
    tools: AdHocTools = AdHocTools()
    limits: AdHocLimits = AdHocLimits()
    model: str | None = None
    run_as: str | None = None
    inputs: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue], description="Values, not schemas")

    @field_validator("goal")
    @classmethod
    def _said(cls, goal: str) -> str:
        if not goal.strip():
            raise ValueError("a goal is prose that says what is wanted")
        return goal

    def request(self) -> RunRequest:
        """The run that this asks for."""
        task = Task.model_validate(self.model_dump(exclude={"inputs"}))
        return RunRequest(task=task, inputs=self.inputs, trigger="http")


v1 = APIRouter(prefix="/v1", responses=RESPONSES)
health = APIRouter(responses=RESPONSES)


@v1.post("/tasks/{name}/runs", operation_id="tasks_run", status_code=202, tags=["runs"])
async def run_task(name: str, response: Response, runs: Here, given: Annotated[Given | None, Body()] = None) -> RunView:
    """Start a run of a task, now, whatever its schedule says."""
    return _accepted(response, await runs.start_task(name, (given or Given()).inputs))


@v1.post("/runs", operation_id="runs_create", status_code=202, tags=["runs"])
async def create_run(wanted: AdHoc, response: Response, runs: Here) -> RunView:
    """Start a run of a goal that has no file."""
    return _accepted(response, await runs.start(wanted.request()))


@v1.get("/runs", operation_id="runs_list", tags=["runs"])
async def list_runs(runs: Here, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> RunList:
    """Runs, newest first: those still going, then those that ended last. Ask for one to see its steps."""
    return RunList(data=await runs.recent(limit))


@v1.get("/runs/{run_id}", operation_id="runs_get", tags=["runs"])
async def get_run(run_id: RunId, runs: Here) -> RunView:
    """How far one run is, or how it ended."""
    return await runs.get(run_id)


@v1.post("/runs/{run_id}/cancel", operation_id="runs_cancel", status_code=202, tags=["runs"])
async def cancel_run(run_id: RunId, response: Response, runs: Here) -> RunView:
    """Ask a run to stop; ask for the run to see when it did."""
    return _accepted(response, await runs.cancel(run_id))


@v1.get("/tasks", operation_id="tasks_list", tags=["tasks"])
async def list_tasks(runs: Here) -> TaskList:
    """Every task the server knows, by name."""
    return TaskList(data=await runs.tasks())


@v1.get("/sync", operation_id="sync_list", tags=["tasks"])
async def list_syncs(runs: Here) -> SyncList:
    """What every sync source last saw and did, by owner. Empty before the first sync."""
    return SyncList(data=await runs.syncs())


@v1.get("/catalog", operation_id="catalog_get", tags=["tasks"])
async def get_catalog(names: Annotated[Names, Depends(names_of)]) -> Catalog:
    """What task files may name here. It is answered without Temporal, and without Composio too."""
    return await names.catalog()


@health.get("/healthz", operation_id="health_live", tags=["health"])
async def live() -> dict[str, str]:
    """Whether this process answers; it says nothing about Temporal."""
    return {"status": "ok"}


@health.get("/readyz", operation_id="health_ready", tags=["health"])
async def ready(runs: Here) -> dict[str, str]:
    """Whether Temporal answers, so that runs can be started and seen."""
    await runs.check_ready()
    return {"status": "ready"}


def _accepted(response: Response, view: RunView) -> RunView:
    response.headers["Location"] = f"/v1/runs/{view.id}"
    return view

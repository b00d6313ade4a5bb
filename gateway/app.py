"""The gateway put together: one connection, the names, the routes, the page, the guard before them all.

It connects when first asked, not at start, so that the gateway may come up before Temporal does.
"""

from fastapi import FastAPI

from gateway import api, approvals, dashboard, events, metrics, openapi, pausing, reading, reference
from gateway.catalog import Names
from gateway.dispatch import Starts
from gateway.door import Door
from gateway.guard import Guard, hosts_of
from gateway.preflight import Preflight
from gateway.problems import install_problems
from gateway.quotas import LongAnswers, OpenRuns, Requests
from gateway.runs import Runs
from gateway.tasks import Tasks
from gateway.temporal import Connect, Connection
from schemas import wire


def create_app(
    connect: Connect,
    *,
    queue: str = wire.QUEUE,
    names: Names | None = None,
    preflight: Preflight | None = None,
) -> FastAPI:
    """The ASGI app. `connect` gives a Temporal client with the pydantic data converter, or raises.

    `names` is what task files may name, and the server's configuration; left out, they may name any toolkit and
    no channel, and nobody is asked who they are. Without `preflight` no connection is looked at before a run starts.
    """
    named = names or Names()
    access = named.config.auth
    app = FastAPI(
        title="Goalfile",
        summary="Start runs, look at them, stop them.",
        version="1",
        docs_url=None,  # these two pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.temporal = Connection(connect)
    app.state.runs = Runs(app.state.temporal, queue)
    app.state.tasks = Tasks(app.state.temporal)
    app.state.names = named
    app.state.preflight = preflight
    app.state.starts = Starts()
    app.state.open_runs = OpenRuns(access.limits.open_runs)
    app.state.long_answers = LongAnswers(access.limits.streams)
    app.state.page = dashboard.Page(app.state.tasks, app.state.runs)
    app.include_router(api.v1)
    app.include_router(approvals.router)
    app.include_router(pausing.router)
    app.include_router(reading.router)
    app.include_router(api.health)
    events.install(app)
    app.include_router(dashboard.router)
    reference.install(app)
    openapi.install(app)
    install_problems(app)
    app.add_middleware(Requests, shares=access.limits)
    app.add_middleware(Door, auth=access)
    app.add_middleware(Guard, hosts=hosts_of(named.config))
    metrics.install(app, queue)
    return app

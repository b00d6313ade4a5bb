"""What a machine asks of the gateway: how much work there is for workers, and how the gateway itself does.

KEDA starts and stops workers by these numbers, so what is not known is never told as a number: without
Temporal there is an error, no 0. Nobody's scrapes flood Temporal: one look serves everybody for a while. Labels
hold few values: route templates, methods, kinds of answers. No goal, id, name, path or secret becomes one.
"""

import asyncio
import re
import time
from dataclasses import dataclass
from http import HTTPMethod
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Request, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector
from pydantic import Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.principals import Principal, needs
from gateway.problems import MEDIA_TYPE, RESPONSES, Refusal
from gateway.temporal import CALL, Connection
from schemas import wire
from schemas.value import Value

FRESH = 2.0
"""Seconds for which one look at Temporal is everybody's, also one that failed."""

PATIENCE = 2.5
"""Seconds that a look may take: less than the 3 that KEDA waits for an answer."""

ELSEWHERE = "unknown"
"""The label of every path that is no route's, and of what was refused before any route saw it."""

_TYPES = ", ".join(f"'{name}'" for name in (wire.RUN_TASK, wire.EFFECT, wire.TELL))
_WAITS = f"{wire.STATUS} = '{wire.WAITING}'"
# A notice has no status, and Temporal's SQL stores find nothing that is missing by `!=`.
_WORKS = f"({wire.STATUS} IS NULL OR {wire.STATUS} != '{wire.WAITING}')"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_METHODS = frozenset(method.value for method in HTTPMethod)
_KIND = re.compile(rb'{"type": "urn:goalfile:problem:([a-z-]{1,40})"')


class OpenRuns(Value):
    """How much there is to do, over all runs of everybody, a few seconds ago at most."""

    open_runs: Annotated[int, Field(ge=0, description="Runs, writes and notices that need a worker now")]
    waiting_runs: Annotated[int, Field(ge=0, description="Runs that wait for a person, and need no worker meanwhile")]


@dataclass
class Workload:
    """The one look at Temporal that everybody who asks within two seconds shares."""

    temporal: Connection
    queue: str = wire.QUEUE

    def __post_init__(self) -> None:
        self._looking = asyncio.Lock()
        self._found: OpenRuns | Refusal | None = None
        self._until = 0.0

    async def now(self) -> OpenRuns:
        """What there is to do. Raises Unreachable or TemporalRefused if Temporal does not say."""
        async with self._looking:
            if self._found is None or asyncio.get_running_loop().time() >= self._until:
                try:
                    self._found = await self._look()
                except Refusal as refusal:
                    self._found = refusal
                self._until = asyncio.get_running_loop().time() + FRESH
            if isinstance(self._found, Refusal):
                raise type(self._found)(str(self._found))
            return self._found

    async def _look(self) -> OpenRuns:
        running = f"WorkflowType IN ({_TYPES}) AND ExecutionStatus = 'Running'"
        # Other queues have workers of their own. A name that no query can hold only counts theirs as well.
        if re.fullmatch(r"[A-Za-z0-9_./:-]+", self.queue):
            running += f" AND TaskQueue = '{self.queue}'"
        async with self.temporal.ask(patience=PATIENCE) as client:
            works, waits = await asyncio.gather(
                client.count_workflows(f"{running} AND {_WORKS}", rpc_timeout=CALL),
                client.count_workflows(f"{running} AND {_WAITS}", rpc_timeout=CALL),
            )
        return OpenRuns(open_runs=works.count, waiting_runs=waits.count)


class Meters:
    """What one app counts, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        to: dict[str, Any] = {"registry": self.registry}
        self._open = Gauge("goalfile_open_runs", "Runs, writes and notices that need a worker now.", **to)
        self._waiting = Gauge("goalfile_waiting_runs", "Runs that wait for a person.", **to)
        self.streams = Gauge("goalfile_http_streams", "Event streams that are open.", **to)
        self._requests = Counter(
            "goalfile_http_requests", "Requests that were answered.", ("route", "method", "status"), **to
        )
        self._refusals = Counter("goalfile_http_refusals", "Problems that were answered, by kind.", ("kind",), **to)
        self._seconds = Histogram(
            "goalfile_http_answer_seconds",
            "From the head of a request to the head of its answer; of a stream, to its beginning.",
            ("route", "method"),
            buckets=_SECONDS,
            **to,
        )

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """One request was answered."""
        method = method if method in _METHODS else ELSEWHERE
        self._requests.labels(route, method, f"{status // 100}xx").inc()
        self._seconds.labels(route, method).observe(seconds)

    def count_refusal(self, body: bytes) -> None:
        """One of the answers was this problem."""
        kind = _KIND.match(body)
        self._refusals.labels(kind[1].decode() if kind else ELSEWHERE).inc()

    def text(self, work: OpenRuns) -> bytes:
        """All of it as Prometheus reads it."""
        self._open.set(work.open_runs)
        self._waiting.set(work.waiting_runs)
        return generate_latest(_WithoutBirthdays(self.registry))


class _WithoutBirthdays(Collector):
    """A registry without the sample of each counter that says when the counter was made."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Any:
        for metric in self._registry.collect():
            metric.samples = [each for each in metric.samples if not each.name.endswith("_created")]
            yield metric


class Metering:
    """ASGI middleware, outside of all others: whatever is answered is counted, refusals at the door too."""

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self._app, self._meters = app, meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, problem = time.perf_counter(), 0, False

        def count(said: int) -> None:
            route = getattr(scope.get("route"), "path_format", ELSEWHERE)
            self._meters.count(route, scope["method"], said, time.perf_counter() - began)

        async def send_counted(message: Message) -> None:
            nonlocal status, problem
            if message["type"] == "http.response.start":
                status = message["status"]
                problem = (b"content-type", MEDIA_TYPE.encode()) in message["headers"]
                count(status)
            elif problem:  # it is in one piece
                problem = False
                self._meters.count_refusal(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        except Exception:
            if not status:  # the answer to a fault of ours is made outside of here
                count(500)
            raise


router = APIRouter(responses=RESPONSES, tags=["metrics"])
Scraper = Annotated[Principal, needs("metrics:read")]


@router.get(
    "/metrics",
    operation_id="metrics_get",
    response_class=Response,
    responses={
        200: {"description": "The text format 0.0.4", "content": {"text/plain": {"schema": {"type": "string"}}}}
    },
)
async def get_metrics(request: Request, _: Scraper) -> Response:
    """What Prometheus reads, and KEDA with `format: prometheus` and `valueLocation: goalfile_open_runs`.

    `goalfile_open_runs` is one number, without labels: what needs a worker now, so not the runs that wait for a
    person. While Temporal does not answer, this is a problem with status 503 and no number at all: nobody may take
    that for 0 and stop the workers. KEDA then keeps what runs, or uses its `fallback`.
    """
    work: Workload = request.app.state.workload
    meters: Meters = request.app.state.meters
    return Response(meters.text(await work.now()), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


@router.get("/v1/open-runs", operation_id="runs_count")
async def count_runs(request: Request, _: Scraper) -> OpenRuns:
    """How much there is to do for workers: what KEDA reads as JSON, with `valueLocation: open_runs`.

    As in `/metrics`: while Temporal does not answer the status is 503, and there is no number.
    """
    work: Workload = request.app.state.workload
    return await work.now()


def install(app: FastAPI, queue: str) -> None:
    """Add the routes, and count what all other middleware lets through or refuses: to be called after theirs."""
    app.state.workload = Workload(app.state.temporal, queue)
    app.state.meters = meters = Meters()
    meters.streams.set_function(lambda: len(app.state.streams.open))
    app.include_router(router)
    app.add_middleware(Metering, meters)

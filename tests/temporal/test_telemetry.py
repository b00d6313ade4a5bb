"""What a real worker tells the outside: numbers that are scraped over HTTP, traces that a collector receives."""

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from runner.devserver import free_port
from runner.telemetry import Reporting, Telemetry, start
from tests.standins.loopback import Answer, Loopback, Request
from tests.temporal.counted import CANARY, Counted, think

pytestmark = pytest.mark.temporal


class Collector(Loopback):
    """An OTLP/HTTP collector that keeps what it is sent."""

    def answer(self, request: Request) -> Answer:
        return (200, {}, {}) if (request.method, request.path) == ("POST", "/v1/traces") else (404, {}, {})

    @property
    def spans(self) -> list[Span]:
        sent = [ExportTraceServiceRequest.FromString(request.raw) for request in self.requests]
        return [span for one in sent for of in one.resource_spans for scope in of.scope_spans for span in scope.spans]


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def reporting(collector: Collector) -> Iterator[Reporting]:
    """Both kinds at once, and once: a process has one tracer provider."""
    started = start(Telemetry(metrics=f"127.0.0.1:{free_port()}", traces=collector.url))
    yield started
    started.close()


@asynccontextmanager
async def worker(address: str, queue: str, reporting: Reporting, *, cached: int = 100) -> AsyncIterator[None]:
    """A worker whose client reports. `cached=0`: every step of a run replays all that was before."""
    client = await Client.connect(address, data_converter=pydantic_data_converter, **reporting.options)
    passed = SandboxRestrictions.default.with_passthrough_modules("schemas", "runner", "pydantic", "tests")
    async with Worker(
        client,
        task_queue=queue,
        workflows=[Counted],
        activities=[think],
        workflow_runner=SandboxedWorkflowRunner(restrictions=passed),
        max_cached_workflows=cached,
    ):
        yield


async def scraped(address: str, queue: str) -> dict[str, int]:
    """Our counters of one queue as a scraper sees them, without the labels that Temporal adds."""
    async with httpx.AsyncClient(trust_env=False) as http:
        text = (await http.get(f"http://{address}/metrics")).text
    found: dict[str, int] = {}
    for name, labels, value in re.findall(r"^(goalfile_\w+)\{(.*)\} (\d+)$", text, re.MULTILINE):
        ours = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if ours.pop("task_queue") == queue:
            assert (ours.pop("namespace"), ours.pop("workflow_type")) == ("default", "counted")
            found[f"{name}{ours}"] = int(value)
    return found


@pytest.mark.parametrize("cached", [100, 0], ids=["cached", "replayed"])
async def test_what_is_scraped_is_exact_however_often_history_is_replayed(
    cached: int, client: Client, temporal_address: str, unique: str, reporting: Reporting
) -> None:
    async with worker(temporal_address, unique, reporting, cached=cached):
        for n in range(2):
            await client.execute_workflow("counted", CANARY, id=f"{unique}-{n}", task_queue=unique)

    assert reporting.metrics is not None
    assert await scraped(reporting.metrics, unique) == {
        "goalfile_runs_total{'outcome': 'succeeded', 'task': 'ad-hoc'}": 2,
        "goalfile_steps_total{'kind': 'turn', 'state': 'done'}": 6,
        "goalfile_steps_total{'kind': 'call', 'state': 'unknown'}": 2,
        "goalfile_tokens_total{'kind': 'input', 'model': 'some-model'}": 30,
        "goalfile_tokens_total{'kind': 'output', 'model': 'some-model'}": 12,
        "goalfile_tokens_total{'kind': 'cache_read', 'model': 'some-model'}": 600,
        "goalfile_cost_microdollars_total{}": 12,
        "goalfile_unknown_effects_total{'toolkit': 'gmail'}": 2,
        "goalfile_waiting_total{'kind': 'approval'}": 2,
    }


async def test_temporals_own_numbers_are_there_and_nothing_that_a_run_was_about(
    client: Client, temporal_address: str, unique: str, reporting: Reporting
) -> None:
    async with worker(temporal_address, unique, reporting):
        await client.execute_workflow("counted", CANARY, id=unique, task_queue=unique)

    async with httpx.AsyncClient(trust_env=False) as http:
        text = (await http.get(f"http://{reporting.metrics}/metrics")).text
    assert "temporal_workflow_completed" in text
    assert CANARY not in text


@pytest.mark.parametrize("cached", [100, 0], ids=["cached", "replayed"])
async def test_a_run_is_one_trace_that_says_nothing_of_what_it_was_about(
    cached: int, client: Client, temporal_address: str, unique: str, *, reporting: Reporting, collector: Collector
) -> None:
    async with worker(temporal_address, unique, reporting, cached=cached):
        # As a schedule starts it: by a client that knows nothing of traces.
        handle = await client.start_workflow("counted", CANARY, id=unique, task_queue=unique)
        await handle.result()
        await handle.query("look")

    assert reporting.tracing is not None
    assert reporting.tracing.provider.force_flush()
    spans = [span for span in collector.spans if unique in str(span.attributes)]
    assert Counter(span.name for span in spans) == {
        "RunWorkflow:counted": 1,
        "StartActivity:think": 3,
        "RunActivity:think": 4,
    }
    assert len({span.trace_id for span in spans}) == 1
    assert len({span.span_id for span in spans}) == 8
    (run,) = (span for span in spans if span.name.startswith("RunWorkflow"))
    assert {span.parent_span_id for span in spans if span.name.startswith("Start")} == {run.span_id}
    assert run.end_time_unix_nano > run.start_time_unix_nano
    assert sum(span.status.code == 2 for span in spans) == 1  # the try that failed
    assert not [request for request in collector.requests if CANARY.encode() in request.raw]
    assert b"goalfile-worker" in collector.requests[0].raw

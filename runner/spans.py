"""One trace for each run: the run, its steps and their tries, sent to a collector. Loads OpenTelemetry.

Made by Temporal's own plugin, which names the spans of a run by its seed: a run that another worker takes
over stays one trace. What leaves is picked by name: the rest, and the text of every error, stays here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Status
from temporalio.contrib.opentelemetry import OpenTelemetryPlugin, ReplaySafeTracerProvider, create_tracer_provider

PATIENCE = 3.0
"""Seconds that a collector has to take a batch: a worker that stops does not wait long for one that is gone."""

KEPT = frozenset(
    {
        "temporalWorkflowID",
        "temporalRunID",
        "temporalActivityID",
        "temporalUpdateID",
        "error.type",
        "http.response.status_code",
        "anthropic.message.stop_reason",
        "anthropic.request.id",
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "gen_ai.request.model",
        "gen_ai.request.max_tokens",
        "gen_ai.response.model",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_write.input_tokens",
    }
)
"""The attributes that may leave. Ids hold nothing secret (see `schemas.wire`)."""

NOISE = ("HandleQuery:", "QueryWorkflow:", "ValidateUpdate:")
"""Spans of somebody looking at a run, every second perhaps, each of them a trace of its own."""


@dataclass(frozen=True)
class Tracing:
    """Traces under way: what a client takes as a plugin, and where other spans go."""

    plugin: OpenTelemetryPlugin
    provider: ReplaySafeTracerProvider
    exporter: "Picked"

    def close(self) -> None:
        """Send what is left and stop. Takes twice PATIENCE at most, whatever the collector does."""
        self.exporter.hurry()
        self.provider.shutdown()


class Picked(SpanExporter):
    """Hands spans on without what they should not tell."""

    def __init__(self, to: SpanExporter) -> None:
        self._to = to
        self._hurried = False
        self._failed = False

    def hurry(self) -> None:
        """From now on the first batch that fails is the last: the next would wait as long for the same."""
        self._hurried = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send them, picked over."""
        picked = [_picked(span) for span in spans if not span.name.startswith(NOISE)]
        if not picked:
            return SpanExportResult.SUCCESS
        if self._hurried and self._failed:
            return SpanExportResult.FAILURE
        result = self._to.export(picked)
        self._failed = result is not SpanExportResult.SUCCESS
        return result

    def shutdown(self) -> None:
        """Stop."""
        self._to.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept here."""
        return self._to.force_flush(timeout_millis)


def trace_to(url: str, service_name: str) -> Tracing:
    """Begin to send traces to an OTLP/HTTP endpoint, its path included. Once in a process."""
    # The standard variables (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES) have the last word.
    resource = Resource({SERVICE_NAME: service_name}).merge(OTELResourceDetector().detect())
    provider = create_tracer_provider(resource=resource)
    exporter = Picked(OTLPSpanExporter(url, timeout=PATIENCE))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)  # the plugin looks for it there
    return Tracing(OpenTelemetryPlugin(add_temporal_spans=True), provider, exporter)


def _picked(span: ReadableSpan) -> ReadableSpan:
    """The span with the attributes that may leave; no events, which hold what errors say, and no description."""
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={name: value for name, value in (span.attributes or {}).items() if name in KEPT},
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )

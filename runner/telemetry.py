"""What a worker tells the outside about itself: numbers to Prometheus, traces to OpenTelemetry. Off unless asked for.

Numbers are Temporal's own and those of `runner.metrics`, at `http://ADDRESS/metrics`. Traces are one for each run;
they go out by OTLP over HTTP and hold names, ids, times and outcomes, never a goal, an argument, a result or the
text of an error. Nothing is loaded and nothing listens for what is off.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

if TYPE_CHECKING:
    from runner.spans import Tracing

SERVICE = "goalfile-worker"


class NoTelemetry(Exception):  # noqa: N818 - it reads as a state
    """What was asked for cannot be had; the message says what to do about it."""


@dataclass(frozen=True)
class Telemetry:
    """What is asked for; None is off.

    `metrics` is the address to be scraped at, `127.0.0.1:9464`; without a host it is loopback's. `traces` is
    the base URL of an OTLP/HTTP collector, `http://127.0.0.1:4318`; its headers and certificates are the
    standard OTEL_EXPORTER_OTLP_* variables.
    """

    metrics: str | None = None
    traces: str | None = None


@dataclass(frozen=True)
class Reporting:
    """Telemetry under way. Close it after the worker's last step."""

    metrics: str | None = None
    """The address that is being scraped."""
    runtime: Runtime | None = None
    tracing: "Tracing | None" = None

    @property
    def options(self) -> dict[str, Any]:
        """What `Client.connect` needs to know; a worker takes it over from its client."""
        given: dict[str, Any] = {}
        if self.runtime is not None:
            given["runtime"] = self.runtime
        if self.tracing is not None:
            given["plugins"] = [self.tracing.plugin]
        return given

    @property
    def spans(self) -> object | None:
        """The tracer provider for whoever has spans of its own to add, such as the model's client."""
        return None if self.tracing is None else self.tracing.provider

    def close(self) -> None:
        """Send the last spans; at most a few seconds. The endpoint for metrics ends with the process."""
        if self.tracing is not None:
            self.tracing.close()


def start(telemetry: Telemetry, service_name: str = SERVICE) -> Reporting:
    """Begin to report, once in a process and before the client connects. Raises NoTelemetry."""
    return Reporting(
        metrics=metrics_address(telemetry.metrics) if telemetry.metrics else None,
        runtime=runtime(telemetry.metrics) if telemetry.metrics else None,
        tracing=tracing(telemetry.traces, service_name) if telemetry.traces else None,
    )


def runtime(metrics: str) -> Runtime:
    """Temporal's runtime with its endpoint for Prometheus at this address. Raises NoTelemetry."""
    address = metrics_address(metrics)
    try:
        return Runtime(telemetry=TelemetryConfig(metrics=PrometheusConfig(address), attach_service_name=False))
    except ValueError as error:
        raise NoTelemetry(f"cannot offer metrics at {address}, the address in GOALFILE_METRICS: {error}") from None


def metrics_address(text: str) -> str:
    """The address as `IP:PORT`. A port alone, or `localhost`, is loopback's. Raises NoTelemetry."""
    host, _, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        ip = ipaddress.ip_address("127.0.0.1" if host in {"", "localhost"} else host)
    except ValueError:
        ip = None
    if ip is None or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise NoTelemetry(f"GOALFILE_METRICS must be an IP address and a port, such as 127.0.0.1:9464, not `{text}`")
    return f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"


def tracing(endpoint: str, service_name: str = SERVICE) -> "Tracing":
    """Traces to the collector at this base URL. Takes the process's tracer provider. Raises NoTelemetry."""
    place = urlsplit(endpoint)
    if place.scheme not in {"http", "https"} or not place.hostname:
        raise NoTelemetry("OTEL_EXPORTER_OTLP_ENDPOINT must start with http:// or https:// and a host name")
    if "@" in place.netloc:  # the URL is in every line that is logged about a collector that does not answer
        raise NoTelemetry("put the collector's password into OTEL_EXPORTER_OTLP_HEADERS, not into its URL")
    try:
        from runner.spans import trace_to  # noqa: PLC0415 - OpenTelemetry is loaded by who wants it
    except ImportError as missing:
        name = missing.name or "opentelemetry"
        raise NoTelemetry(f"the package `{name}` is missing: install goalfile[telemetry]") from None
    url = endpoint.rstrip("/")
    return trace_to(url if url.endswith("/v1/traces") else f"{url}/v1/traces", service_name)

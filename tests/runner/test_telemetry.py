"""What can be said about telemetry without a server: it is off, its settings are understood, its labels are few."""

import subprocess
import sys

import pytest

from runner import metrics
from runner.devserver import free_port
from runner.telemetry import NoTelemetry, Reporting, Telemetry, metrics_address, runtime, start, tracing
from tests.conftest import ROOT
from tests.standins.loopback import Answer, Hang, Loopback, Request


def said_by(program: str) -> list[str]:
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return said.stdout.split()


def test_it_is_off_unless_asked_for() -> None:
    assert start(Telemetry()) == Reporting()
    assert Reporting().options == {}
    assert Reporting().spans is None


def test_what_is_off_is_not_loaded() -> None:
    loaded = said_by(
        "import sys, runner.worker, runner.metrics\n"
        "from runner.telemetry import Telemetry, start\n"
        "start(Telemetry()).close()\n"
        "print(*sys.modules)"
    )

    assert not [name for name in loaded if name.partition(".")[0] == "opentelemetry"]


@pytest.mark.parametrize("on", [False, True])
def test_an_endpoint_listens_only_when_there_is_an_address_for_it(on: bool) -> None:
    address = f"127.0.0.1:{free_port()}" if on else None

    listening = said_by(
        "import os\n"
        "from temporalio.runtime import Runtime\n"
        "from runner.telemetry import Telemetry, start\n"
        f"reporting = start(Telemetry(metrics={address!r}))\n"
        "runtime = reporting.options.get('runtime') or Runtime.default()\n"
        "fds = [f'/proc/self/fd/{fd}' for fd in os.listdir('/proc/self/fd')]\n"
        "ours = [os.readlink(fd) for fd in fds if os.path.lexists(fd)]\n"
        "lines = [line.split() for line in open('/proc/self/net/tcp')][1:]\n"
        "print(sum(line[3] == '0A' and f'socket:[{line[9]}]' in ours for line in lines))\n"
    )

    assert listening == (["1"] if on else ["0"])


def test_counting_loads_no_vendor_and_no_endpoint() -> None:
    loaded = set(said_by("import sys, runner.metrics\nprint(*sys.modules)"))

    assert not {"opentelemetry", "anthropic", "runner.telemetry", "runner.adapters"} & loaded


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        ("127.0.0.1:9464", "127.0.0.1:9464"),
        ("0.0.0.0:9464", "0.0.0.0:9464"),
        (" localhost:9464 ", "127.0.0.1:9464"),
        (":9464", "127.0.0.1:9464"),
        ("9464", "127.0.0.1:9464"),
        ("[::1]:9464", "[::1]:9464"),
    ],
)
def test_an_address_is_loopbacks_unless_it_says_otherwise(given: str, understood: str) -> None:
    assert metrics_address(given) == understood


@pytest.mark.parametrize(
    "given", ["", "here", "worker:9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "::1:x", ":99999"]
)
def test_an_address_that_cannot_be_is_named_with_one_that_can(given: str) -> None:
    with pytest.raises(NoTelemetry, match=r"GOALFILE_METRICS must be .* such as 127\.0\.0\.1:9464"):
        metrics_address(given)


def test_an_address_that_is_taken_is_named() -> None:
    with Loopback() as taken, pytest.raises(NoTelemetry, match=r"GOALFILE_METRICS.*in use"):
        runtime(taken.url.removeprefix("http://"))


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("collector:4318", "http://"),
        ("https://", "host name"),
        ("grpc://collector:4317", "http://"),
        ("http://me:canary@collector:4318", "OTEL_EXPORTER_OTLP_HEADERS"),
    ],
)
def test_a_collector_that_cannot_be_reached_is_refused_without_its_password(given: str, remedy: str) -> None:
    with pytest.raises(NoTelemetry, match=remedy) as caught:
        tracing(given)

    assert "canary" not in str(caught.value)


def test_a_package_that_is_missing_is_named() -> None:
    said = said_by(
        "import sys\n"
        "sys.modules['opentelemetry.sdk'] = None\n"  # Python's own way to say that a module is not there
        "from runner.telemetry import NoTelemetry, tracing\n"
        "try:\n"
        "    tracing('http://127.0.0.1:9')\n"
        "except NoTelemetry as error:\n"
        "    print(error)\n"
    )

    assert " ".join(said).endswith("is missing: install goalfile[telemetry]")


@pytest.mark.slow
@pytest.mark.parametrize("gone", [True, False], ids=["gone", "silent"])
def test_a_worker_that_stops_does_not_wait_long_for_a_collector(gone: bool) -> None:
    class Silent(Loopback):
        def answer(self, request: Request) -> Answer:
            return Hang()

    program = (
        "import sys, time\n"
        "from opentelemetry import trace\n"
        "from runner.telemetry import Telemetry, start\n"
        "reporting = start(Telemetry(traces=sys.argv[1]))\n"
        "for _ in range(2000):\n"  # four batches
        "    trace.get_tracer('test').start_span('step').end()\n"
        "began = time.monotonic()\n"
        "reporting.close()\n"
        "print(time.monotonic() - began)\n"
    )
    with Silent() as silent:
        url = "http://127.0.0.1:9" if gone else silent.url
        argv = [sys.executable, "-c", program, url]
        said = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert float(said) < 8


@pytest.mark.parametrize("text", ["gmail", "claude-sonnet-5-5", "anthropic.claude-opus-5-5", "ad-hoc", "a/b:c@d"])
def test_a_name_is_a_label(text: str) -> None:
    assert metrics.label(text) == text


@pytest.mark.parametrize("text", ["", "Send the report to Ann", "x" * 65, 'a"b', "a\nb", "käse"])
def test_a_sentence_is_no_label(text: str) -> None:
    assert metrics.label(text) == "other"

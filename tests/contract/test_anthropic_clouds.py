"""What only the clouds can do to us: their doors, their credentials, their words; over their stand-ins."""

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from runner.adapters.anthropic import AnthropicModel
from runner.adapters.anthropic_places import PLACES, Provider
from runner.adapters.anthropic_reply import verdict
from runner.ports import Message, PermanentError, Question, Tool, TransientError
from tests.standins.anthropic_api import AnthropicApi
from tests.standins.anthropic_clouds import ALONE, GONE, BedrockApi, VertexApi
from tests.standins.loopback import Answer, Drop, Fail, Hang, Loopback, Request

KEY = "sk-ant-canary-that-no-cloud-may-see"
LIST = Tool("LIST", "notes", "List", {"type": "object", "properties": {}}, "read")
HELLO = Question("Be brief.", (Message("user", ({"type": "text", "text": "Canary goal."},)),), (LIST,))
CLOUDS: list[Provider] = ["bedrock", "vertex"]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in GONE:
        monkeypatch.delenv(name, raising=False)
    for name, value in ALONE.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def bedrock(monkeypatch: pytest.MonkeyPatch) -> Iterator[BedrockApi]:
    with BedrockApi() as api:
        for name, value in api.variables.items():
            monkeypatch.setenv(name, value)
        yield api


@pytest.fixture
def vertex(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[VertexApi]:
    with VertexApi() as api:
        for name, value in api.variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(api.credentials_in(tmp_path)))
        yield api


@pytest.fixture(params=CLOUDS)
def cloud(request: pytest.FixtureRequest) -> tuple[Provider, BedrockApi | VertexApi]:
    return request.param, request.getfixturevalue(request.param)


async def ask(provider: Provider, base_url: str | None, **settings: Any) -> str:
    """One question to a model of its own, closed afterwards."""
    model = AnthropicModel(KEY, base_url, "some-model", provider=provider, **settings)
    try:
        return (await model.ask(HELLO)).text
    finally:
        await model.close()


def everything_said_by(error: BaseException) -> str:
    said: list[str] = traceback.format_exception(error)
    behind: BaseException | None = error
    while behind is not None:
        said += [str(behind), repr(behind), repr(vars(behind))]
        behind = behind.__cause__ or behind.__context__
    return "\n".join(said)


async def test_bedrock_gets_the_native_message_signed_for_its_region(bedrock: BedrockApi) -> None:
    assert await ask("bedrock", bedrock.base_url) == "Done."

    (request,) = bedrock.requests
    assert request.headers["authorization"].startswith(f"AWS4-HMAC-SHA256 Credential={bedrock.access_key}/")
    assert request.body["model"] == "some-model"
    assert "cache_control" in request.body["messages"][-1]["content"][-1]


async def test_bedrock_takes_a_bearer_token_instead(bedrock: BedrockApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", bedrock.key)

    await ask("bedrock", bedrock.base_url)

    assert bedrock.requests[0].headers["authorization"] == f"Bearer {bedrock.key}"


async def test_vertex_names_the_model_in_the_path_and_brings_the_accounts_token(vertex: VertexApi) -> None:
    assert await ask("vertex", vertex.base_url) == "Done."

    token, request = vertex.requests
    assert token.path == "/token"
    assert request.path.endswith(
        f"/{vertex.project}/locations/{vertex.region}/publishers/anthropic/models/some-model:rawPredict"
    )
    assert "model" not in request.body


async def test_a_token_is_fetched_once(vertex: VertexApi) -> None:
    model = AnthropicModel("", vertex.base_url, "some-model", provider="vertex")
    for _ in range(3):
        await model.ask(HELLO)
    await model.close()

    assert [request.path for request in vertex.requests].count("/token") == 1


async def test_no_cloud_sees_the_key_for_anthropic(cloud: tuple[Provider, AnthropicApi | Any]) -> None:
    provider, api = cloud

    await ask(provider, api.base_url)

    assert KEY not in repr(api.requests)


async def test_one_question_is_one_request_in_a_cloud_too(cloud: tuple[Provider, Any]) -> None:
    provider, api = cloud
    api.script.append(Fail(529, "overloaded", {"retry-after": "0.01"}))

    with pytest.raises(TransientError, match="overloaded") as caught:
        await ask(provider, api.base_url)

    assert len(api.bodies) == 1
    assert not caught.value.sent


@pytest.mark.parametrize(("move", "sent"), [(Hang(), True), (Drop(), True), (Fail(503), False)])
async def test_a_cloud_that_falls_silent_may_bill_and_one_that_refuses_does_not(
    move: Any, sent: bool, cloud: tuple[Provider, Any]
) -> None:
    provider, api = cloud
    await ask(provider, api.base_url)  # credentials and modules are there: only the answer can be late
    api.script.append(move)

    with pytest.raises(TransientError) as caught:
        await ask(provider, api.base_url, timeout=0.5)

    assert caught.value.sent is sent


@pytest.mark.parametrize(
    ("provider", "status", "remedy"),
    [
        ("bedrock", 401, "AWS_PROFILE"),
        ("bedrock", 403, "IAM policy"),
        ("bedrock", 404, "AWS_REGION"),
        ("vertex", 401, "GOOGLE_APPLICATION_CREDENTIALS"),
        ("vertex", 403, "Vertex AI User"),
        ("vertex", 404, "CLOUD_ML_REGION"),
    ],
)
def test_a_clouds_refusal_names_that_clouds_remedy(provider: Provider, status: int, remedy: str) -> None:
    body = [{"error": {"code": status, "message": "why", "details": [{"@type": "x"}]}}]

    problem = verdict(status, {"x-amzn-requestid": "r1"}, body, "m", "host", place=PLACES[provider])

    assert isinstance(problem, PermanentError)
    assert remedy in str(problem)
    assert "ANTHROPIC_API_KEY" not in str(problem)
    assert status == 401 or ": why (request r1)" in str(problem)


def test_a_message_outside_of_an_error_object_is_understood() -> None:
    assert "too many tokens" in str(verdict(429, {}, {"message": "too many tokens"}, "m", "h", place=PLACES["bedrock"]))


@pytest.mark.parametrize(
    ("provider", "given", "remedy"),
    [
        ("bedrock", {}, "set AWS_REGION"),
        ("bedrock", {"AWS_REGION": "eu-north-1"}, "AWS_ACCESS_KEY_ID"),
        ("bedrock", {"AWS_REGION": "eu-north-1", "AWS_PROFILE": "nobody"}, "AWS_PROFILE"),
        ("bedrock", {"AWS_REGION": "eu-north-1", "AWS_BEARER_TOKEN_BEDROCK": ""}, "unset it"),
        ("bedrock", {"AWS_REGION": "eu-north-1", "AWS_BEARER_TOKEN_BEDROCK": f"{KEY}\n{KEY}"}, "set it again"),
        ("vertex", {}, "set CLOUD_ML_REGION"),
        ("vertex", {"CLOUD_ML_REGION": "global"}, "set ANTHROPIC_VERTEX_PROJECT_ID"),
        (
            "vertex",
            {"CLOUD_ML_REGION": "global", "ANTHROPIC_VERTEX_PROJECT_ID": "p"},
            "set GOOGLE_APPLICATION_CREDENTIALS",
        ),
        (
            "vertex",
            {
                "CLOUD_ML_REGION": "global",
                "ANTHROPIC_VERTEX_PROJECT_ID": "p",
                "GOOGLE_APPLICATION_CREDENTIALS": "/nowhere/account.json",
            },
            "set GOOGLE_APPLICATION_CREDENTIALS",
        ),
    ],
)
async def test_what_a_cloud_lacks_is_named(
    provider: Provider, given: dict[str, str], remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(PermanentError, match=remedy) as caught:
        await ask(provider, None)

    assert KEY not in everything_said_by(caught.value)
    assert "ANTHROPIC_API_KEY" not in str(caught.value)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (Fail(400, "invalid_grant", code="token"), PermanentError),
        pytest.param(Fail(500, "internal_failure", code="token"), TransientError, marks=pytest.mark.slow),
    ],
    ids=["refused", "late"],
)
async def test_a_token_that_is_refused_is_told_from_one_that_is_late(
    failure: Fail, kind: type[Exception], vertex: VertexApi
) -> None:
    vertex.script.extend([failure] * 8)  # Google's library tries some errors again

    with pytest.raises(kind, match="credentials") as caught:
        await ask("vertex", vertex.base_url)

    assert vertex.token not in everything_said_by(caught.value)
    assert not vertex.bodies
    assert not getattr(caught.value, "sent", False)


async def test_a_source_of_credentials_that_fails_may_be_asked_again(
    bedrock: BedrockApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[default]\ncredential_process = false\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    with pytest.raises(TransientError, match="credentials from AWS") as caught:
        await ask("bedrock", bedrock.base_url)

    assert not caught.value.sent


async def test_no_clouds_credential_is_in_an_error(
    bedrock: BedrockApi, vertex: VertexApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    quoting = f"odd: {bedrock.access_key} x-amz-security-token:{bedrock.session} Bearer {bedrock.key} {vertex.token}"
    secrets = [bedrock.access_key, bedrock.secret, bedrock.session, bedrock.key, vertex.token, "PRIVATE KEY"]
    places: list[tuple[Provider, Any]] = [("bedrock", bedrock), ("vertex", vertex)]
    errors: list[BaseException] = []
    for provider, api in places:
        api.script.extend(Fail(status, quoting) for status in (400, 401, 403, 404, 429, 500))
        for _ in range(6):
            with pytest.raises((PermanentError, TransientError)) as caught:
                await ask(provider, api.base_url)
            errors.append(caught.value)
    monkeypatch.setenv("AWS_REGION", "us-east-1")  # the signature is for another region: AWS quotes what it checked
    with pytest.raises(PermanentError, match="IAM policy") as caught:
        await ask("bedrock", bedrock.base_url)
    errors.append(caught.value)

    assert len(errors) == 13
    assert not [error for error in errors if any(secret in everything_said_by(error) for secret in secrets)]


class Metadata(Loopback):
    def answer(self, request: Request) -> Answer:
        return 404, {}, {}


async def test_nothing_asks_a_metadata_service_unless_its_cloud_is_chosen() -> None:
    program = (
        "import asyncio, sys\n"
        "from runner.adapters.anthropic import AnthropicModel\n"
        "from tests.contract.test_anthropic_clouds import HELLO\n"
        "asyncio.run(AnthropicModel('sk-ant-stand-in-0123456789', sys.argv[1], 'm').ask(HELLO))\n"
    )
    with Metadata() as metadata, AnthropicApi() as api:
        at = metadata.url
        watched = {
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": at,
            "NO_GCE_CHECK": "false",
            "GCE_METADATA_HOST": at.removeprefix("http://"),
            "GCE_METADATA_IP": at.removeprefix("http://"),
        }
        subprocess.run([sys.executable, "-c", program, api.url], check=True, env={**os.environ, **watched})

        assert len(api.requests) == 1
        assert metadata.requests == []


@pytest.mark.parametrize(
    ("provider", "absent", "remedy"),
    [
        ("bedrock", "boto3", "goalfile[bedrock]"),
        ("vertex", "google.auth", "goalfile[vertex]"),
        ("anthropic", "anthropic", "goalfile[worker]"),
    ],
)
def test_a_package_that_is_missing_is_named(provider: Provider, absent: str, remedy: str) -> None:
    program = (
        "import asyncio, sys\n"
        f"sys.modules[{absent!r}] = None\n"  # Python's own way to say that a module is not there
        "from runner.adapters.anthropic import AnthropicModel\n"
        "from runner.ports import PermanentError, Question\n"
        f"model = AnthropicModel('k', 'http://127.0.0.1:9', 'm', provider={provider!r})\n"
        "try:\n"
        "    asyncio.run(model.ask(Question('', ())))\n"
        "except PermanentError as error:\n"
        "    print(error)\n"
    )
    env = {**os.environ, "AWS_REGION": "eu-north-1", "CLOUD_ML_REGION": "global", "ANTHROPIC_VERTEX_PROJECT_ID": "p"}

    said = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)

    assert f"install {remedy}" in said.stdout


async def test_a_trace_tells_model_and_tokens_and_no_content(
    cloud: tuple[Provider, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE", "content")
    provider, api = cloud
    kept = InMemorySpanExporter()
    spans = TracerProvider(shutdown_on_exit=False)
    spans.add_span_processor(SimpleSpanProcessor(kept))
    api.script.append("Canary answer.")

    await ask(provider, api.base_url, spans=spans)

    (span,) = kept.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["gen_ai.usage.output_tokens"] == 10
    assert "canary" not in span.to_json().lower().replace("canary-project", "")
    assert "traceparent" not in api.requests[-1].headers

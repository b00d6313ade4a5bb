"""The doctor before real servers, stand-ins and nothing at all: each thing is told, and no secret is."""

import asyncio
import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from runner.activities import Activities
from runner.adapters.scripted import ScriptedModel, ScriptedToolkits
from runner.cli_operate import doctor
from runner.devserver import find_binary, free_port
from runner.doctor import examine
from runner.doctor_server import attributes_finding, workers_finding
from runner.doctor_vendors import connections_findings, model_finding, send, toolkits_finding
from runner.findings import Finding, failed, finding_lines, ok, place, warning
from runner.ports import PermanentError, TransientError
from runner.settings import Settings
from runner.switch import release, stop
from runner.worker import make_worker
from schemas import wire
from schemas.run import Notice
from schemas.task import Task
from tests.gateway.test_process import address, gateways
from tests.standins.anthropic_api import AnthropicApi
from tests.standins.composio_api import ComposioApi, folder
from tests.standins.loopback import Answer, Fail, Loopback, Request

NOBODY = "http://127.0.0.1:1"
KEY = "sk-ant-not-to-be-seen-0123456789"


class Models(AnthropicApi):
    """The stand-in with the vendor's list of models, which costs nothing to ask."""

    def __init__(self, *names: str, status: int = 0) -> None:
        super().__init__(key=KEY)
        self.names, self.status = names, status

    def answer(self, request: Request) -> Answer:
        if not request.path.startswith("/v1/models/"):
            return super().answer(request)
        if self.status:
            return self._fail(Fail(self.status, f"{KEY} is wrong"))
        if request.headers.get("x-api-key") != self.key:
            return self._fail(Fail(401, "invalid x-api-key"))
        name = request.path.removeprefix("/v1/models/")
        return (200, {}, {"type": "model", "id": name}) if name in self.names else self._fail(Fail(404))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "tasks"
    folder.mkdir()
    return folder


@pytest.fixture
def nowhere() -> Settings:
    """No server of any kind."""
    return Settings(temporal={"TEMPORAL_ADDRESS": f"127.0.0.1:{free_port()}"})


def states(found: Sequence[Finding]) -> dict[str, str]:
    return {each.check: each.state for each in found}


def the(found: Sequence[Finding], check: str) -> Finding:
    return next(each for each in found if each.check == check)


async def test_without_any_server_or_key_everything_else_is_still_told(nowhere: Settings, root: Path) -> None:
    (root / "a.yaml").write_text("goal: x\ntoolkit: gmail\n")
    found = await examine(nowhere, root)
    assert states(found) == {
        "goalfile": "ok",
        "configuration": "ok",
        "tasks": "ok",
        "encryption": "ok",
        "channels": "ok",
        "temporal": "failed",
        "model": "warning",
        "composio": "warning",
        "gateway": "warning",
    }
    temporal = the(found, "temporal")
    assert temporal.said == f"no Temporal server answers at {nowhere.temporal['TEMPORAL_ADDRESS']}"
    assert temporal.help == "start one with `goalfile dev`, or set TEMPORAL_ADDRESS"


@pytest.mark.temporal
class TestAgainstAServer:
    async def test_a_server_with_a_worker_is_well(
        self, client: Client, temporal_address: str, root: Path, tmp_path: Path, unique: str
    ) -> None:
        settings = Settings(temporal={"TEMPORAL_ADDRESS": temporal_address}, queue=unique)
        assert the(await examine(settings, root), "workers") == workers_finding(0, unique)
        activities = Activities(ScriptedModel(), ScriptedToolkits(tmp_path))
        async with make_worker(client, activities, queue=unique, grace=timedelta(seconds=5)):
            async with asyncio.timeout(20):
                while (found := await examine(settings, root)) and the(found, "workers").state != "ok":
                    await asyncio.sleep(0.1)
        assert the(found, "temporal").said.startswith(f"answers at {temporal_address}, version 1.")
        assert the(found, "namespace").said.startswith("`default` keeps ended runs for ")
        assert the(found, "search attributes") == ok("search attributes", "4 registered")
        assert the(found, "workers") == ok("workers", f"1 on queue `{unique}`")
        assert the(found, "stop switch") == ok("stop switch", "not set")

    async def test_a_stop_of_everything_is_told(self, client: Client, temporal_address: str, root: Path) -> None:
        settings = Settings(temporal={"TEMPORAL_ADDRESS": temporal_address})
        stopped, _ = await stop(client, "ada", "a bad day")
        try:
            found = the(await examine(settings, root), "stop switch")
        finally:
            await release(client)
        assert found == warning("stop switch", f"everything is stopped {stopped}", "release it: goalfile resume --all")

    async def test_a_namespace_that_is_not_there_is_told(self, temporal_address: str, root: Path) -> None:
        settings = Settings(temporal={"TEMPORAL_ADDRESS": temporal_address, "TEMPORAL_NAMESPACE": "nope"})
        found = await examine(settings, root)
        assert the(found, "namespace").said == "there is none named `nope`"
        assert "TEMPORAL_NAMESPACE" in the(found, "namespace").help
        assert the(found, "stop switch").state == "failed"  # not "not set": nobody knows

    async def test_a_server_that_was_never_used_lacks_only_what_a_sync_makes(self, root: Path) -> None:
        async with await WorkflowEnvironment.start_local(dev_server_existing_path=find_binary()) as fresh:
            at = fresh.client.service_client.config.target_host
            found = await examine(Settings(temporal={"TEMPORAL_ADDRESS": at}), root)
        assert [each.check for each in found if each.state == "failed"] == []
        assert the(found, "search attributes").help == "run `goalfile sync`, or start a worker"

    async def test_a_gateway_is_told_with_how_it_fares(
        self, temporal_address: str, nowhere: Settings, root: Path, tmp_path: Path
    ) -> None:
        with gateways(tmp_path) as start:
            well = await asyncio.to_thread(address, start("--port", "0", TEMPORAL_ADDRESS=temporal_address))
            alone = await asyncio.to_thread(address, start("--port", "0"))
            for (host, port), expected in (
                (well, ok("gateway", "{} answers")),
                (alone, failed("gateway", "{} answers, and is not ready (503)", "look at its log")),
            ):
                found = await examine(replace(nowhere, gateway=f"http://ada:hunter22@{host}:{port}"), root)
                assert the(found, "gateway") == replace(expected, said=expected.said.format(f"{host}:{port}"))


async def test_a_gateway_that_is_away_is_told_without_its_password(nowhere: Settings, root: Path) -> None:
    settings = replace(nowhere, gateway="http://ada:hunter22@127.0.0.1:1")
    found = the(await examine(settings, root), "gateway")
    assert found.state == "failed"
    assert "no gateway answers at http://…@127.0.0.1:1" in found.said
    assert "hunter22" not in str(found)


async def test_a_model_is_looked_at_without_being_asked(nowhere: Settings, root: Path) -> None:
    with Models("claude-sonnet-5-5") as api:
        settings = replace(nowhere, anthropic_key=KEY, anthropic_base_url=api.url)
        found = await examine(settings, root)
        assert [request.method for request in api.requests] == ["GET"]
        assert the(found, "model") == ok("model", f"claude-sonnet-5-5 at {place(api.url)}")
        assert the(found, "price").state == "ok"
        wrong = await examine(replace(settings, anthropic_key="sk-ant-another-0123456789"), root)
        assert the(wrong, "model").said == f"{place(api.url)} refuses the key (401)"
        assert "ANTHROPIC_API_KEY" in the(wrong, "model").help
    assert KEY not in str([*found, *wrong])


async def test_a_server_that_lists_no_models_is_well_and_can_be_asked_for_a_token(
    nowhere: Settings, root: Path
) -> None:
    with AnthropicApi(["ok"], key=KEY) as api:
        settings = replace(nowhere, anthropic_key=KEY, anthropic_base_url=api.url, model="llama")
        found = await examine(settings, root, ask=True)
        assert the(found, "model").state == "ok"
        assert "--ask finds out" in the(found, "model").said
        assert the(found, "model answers").said.startswith("llama, ")
        assert [body["max_tokens"] for body in api.bodies if body] == [1]
        assert the(found, "price").state == "warning"
        api.key = "another"
        refused = the(await examine(settings, root, ask=True), "model answers")
    assert refused.state == "failed"
    assert KEY not in str(refused)


async def test_a_scripted_model_is_not_asked(nowhere: Settings, root: Path) -> None:
    assert "model answers" not in states(await examine(nowhere, root, ask=True))


@pytest.mark.parametrize(
    ("status", "own", "state"),
    [
        (200, True, "ok"),
        (401, True, "failed"),
        (403, False, "failed"),
        (404, True, "failed"),
        (404, False, "ok"),
        (405, False, "ok"),
        (429, True, "warning"),
        (302, False, "failed"),
        (500, True, "failed"),
        (529, True, "failed"),
    ],
)
def test_each_answer_of_a_model_s_server_has_its_meaning(status: int, own: bool, state: str) -> None:
    found = model_finding(status, "m", "example.com", own=own)
    assert found.state == state
    assert (found.help == "") == (state == "ok")


async def test_toolkits_and_connections_are_those_of_the_tasks(nowhere: Settings, root: Path) -> None:
    (root / "a.yaml").write_text("goal: x\ntoolkit: [gmail, notes]\n")
    (root / "b.yaml").write_text("goal: x\ntoolkit: gmail\nrun_as: finance\n")
    acts, connected = [*folder("gmail"), *folder("notes")], {("default", "gmail"), ("finance", "gmail")}
    with ComposioApi(acts, connected=connected, page=1) as api:
        settings = replace(nowhere, composio_key=api.key, composio_base_url=api.url)
        found = await examine(settings, root)
        assert the(found, "composio") == ok("composio", f"{place(api.url)} lets us in")
        assert the(found, "toolkits") == ok("toolkits", "2 used, all known")
        assert the(found, "connections").said == "`default` is not connected to notes"
        api.connected.add(("default", "notes"))
        found = await examine(settings, root)
        assert the(found, "connections") == ok("connections", "default, finance: all connected")
        (root / "c.yaml").write_text("goal: x\ntoolkit: gmial\n")
        found = await examine(settings, root)
        assert the(found, "toolkits") == failed("toolkits", "Composio does not know gmial", "did you mean `gmail`?")
        refused = await examine(replace(settings, composio_key="ak_wrong-0000"), root)
    assert the(refused, "composio").said == f"{place(api.url)} answered 401"
    assert "ak_wrong-0000" not in str(refused)


async def test_composio_away_is_told_and_nothing_is_concluded(nowhere: Settings, root: Path) -> None:
    found = await examine(replace(nowhere, composio_key="ak_k-0000", composio_base_url=NOBODY), root)
    assert the(found, "composio").state == "failed"
    assert "toolkits" not in states(found)
    assert "connections" not in states(found)


def test_connections_that_nobody_told_are_not_taken_for_missing() -> None:
    task = Task(goal="x", toolkit=("gmail",))
    assert connections_findings([task], None, "Composio answered 500", "default") == [
        warning("connections", "not checked: Composio answered 500")
    ]
    assert toolkits_finding([], []).state == "ok"


CONFIG = """
channels:
  ops: {apprise: '${OPS_URL}'}
  pager: {webhook: 'https://hooks.example.com/x', secret: '${PAGER_SECRET}'}
encryption: {keys: [{id: k1, key: '${KEY_ONE}'}]}
model: {default: house-model, prices: {house-model: {input: 1, output: 2}}}
"""
SECRETS = {
    "OPS_URL": "slack://not-to-be-seen/T0/B0",
    "PAGER_SECRET": "whsec_bm90LXRvLWJlLXNlZW4tbm90LXRvLWJl",
    "KEY_ONE": base64.b64encode(bytes(range(32))).decode(),
}


async def test_a_configuration_is_resolved_and_its_secrets_are_not_shown(nowhere: Settings, root: Path) -> None:
    (root.parent / "goalfile.config.yaml").write_text(CONFIG)
    settings = replace(nowhere, anthropic_key=KEY, anthropic_base_url=NOBODY)
    found = await examine(replace(settings, environ=SECRETS), root)
    assert the(found, "configuration").said.endswith("goalfile.config.yaml")
    assert the(found, "channels") == ok("channels", "2 configured")
    assert the(found, "encryption") == ok("encryption", "with key `k1`")
    assert the(found, "price") == ok("price", "house-model: $1 in, $2 out per million tokens")
    missing = await examine(replace(settings, environ={"OPS_URL": SECRETS["OPS_URL"], "KEY_ONE": "c2hvcnQ="}), root)
    assert the(missing, "channels") == ok("channels", "1 configured")
    assert the(missing, "channel pager").state == "failed"
    assert "PAGER_SECRET" in the(missing, "channel pager").said
    assert "k1" in the(missing, "encryption").said
    assert the(missing, "encryption").state == "failed"
    for secret in (*SECRETS.values(), KEY, "c2hvcnQ="):
        assert secret not in str([*found, *missing])


async def test_a_wrong_configuration_and_wrong_tasks_are_told(nowhere: Settings, root: Path) -> None:
    (root.parent / "goalfile.config.yaml").write_text("channles: {}\nurl: 3\n")
    (root / "a.yaml").write_text("goal: ''\n")
    found = await examine(nowhere, root)
    assert the(found, "configuration").state == "failed"
    assert "channles" in the(found, "configuration").said
    assert the(found, "tasks") == failed("tasks", "1 file is wrong", f"see `goalfile validate {root}`")
    (root.parent / "goalfile.config.yaml").write_text("channels: {}\n")
    (root / "a.yaml").write_text("goal: x\nnotify: ops\n")
    assert the(await examine(nowhere, root), "tasks").state == "failed"
    named = await examine(replace(nowhere, config=root / "nowhere.yaml"), root / "nowhere")
    assert (the(named, "configuration").state, the(named, "tasks").state) == ("failed", "warning")


class Receiver(Loopback):
    def answer(self, request: Request) -> Answer:
        return 200, {}, {}


async def test_a_test_notice_really_goes_out_to_who_is_asked_to_send_one(nowhere: Settings, root: Path) -> None:
    with Receiver() as ops:
        (root.parent / "goalfile.config.yaml").write_text(
            "channels: {ops: {apprise: '${OPS_URL}'}, lost: {apprise: '${LOST}'}}\nprivate_hosts: [127.0.0.0/8]\n"
        )
        here = replace(nowhere, environ={"OPS_URL": f"json://127.0.0.1:{ops.url.rpartition(':')[2]}/not-to-be-seen"})
        assert "channel ops" not in states(await examine(here, root))
        assert ops.requests == []
        found = await examine(here, root, send=True)
        assert the(found, "channel ops") == ok("channel ops", "took the test notice; look whether it came")
        assert the(found, "channel lost").state == "failed"
        assert [request.path for request in ops.requests] == ["/not-to-be-seen"]
    away = await examine(here, root, send=True)
    assert the(away, "channel ops").state == "failed"
    assert "not-to-be-seen" not in str([*found, *away])


class Told:
    """A notifier that is told what to come to."""

    def __init__(self, comes_to: Exception | None = None) -> None:
        self.comes_to = comes_to
        self.sent: list[str] = []

    async def send(self, channel: str, notice: Notice) -> None:
        self.sent.append(channel)
        if self.comes_to:
            raise self.comes_to


class Silent:
    async def send(self, channel: str, notice: Notice) -> None:
        await asyncio.Event().wait()


@pytest.fixture
def notice() -> Notice:
    return Notice.model_validate(
        {"id": "n", "type": "run.succeeded", "at": "2026-11-22T09:00:00Z", "task": "t", "run": "r"}
    )


async def test_a_channel_is_told_once_and_what_it_says_is_told(notice: Notice) -> None:
    well = Told()
    assert (await send("ops", well, notice, 5)).state == "ok"
    assert well.sent == ["ops"]
    for error in (PermanentError("no such room"), TransientError("it is down")):
        found = await send("ops", Told(error), notice, 5)
        assert (found.state, found.said) == ("failed", f"it did not take the test notice: {error}")
    assert (await send("ops", Silent(), notice, 0.01)).state == "failed"


def test_search_attributes_of_another_type_are_wrong() -> None:
    right = dict.fromkeys(wire.SEARCH_ATTRIBUTES, 2)
    assert attributes_finding(right).state == "ok"
    assert attributes_finding({**right, wire.TASK: 1}).said == "GoalfileTask: not of type Keyword"
    assert attributes_finding({}).state == "warning"


def test_a_finding_is_one_line_without_what_looks_like_a_secret() -> None:
    found = failed("x", "said\nand more \x1b[31m", f"use {KEY}").without(["hunter22"])
    assert (found.said, found.help) == ("said", "use [secret]")
    assert warning("x", "is hunter22 it").without(["hunter22"]).said == "is [secret] it"


def test_findings_are_lines_with_what_to_do() -> None:
    assert finding_lines([ok("a", "well"), warning("long", "hm", "do it"), failed("b", "no")]) == [
        "\x1b[32mok\x1b[0m a     well",
        "\x1b[33m! \x1b[0m long  hm: do it",
        "\x1b[31m✗ \x1b[0m b     no",
    ]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://ada:pw@example.com:8443/path?token=t", "example.com:8443"),
        ("localhost:7233", "localhost:7233"),
        ("", "an address that is none"),
        ("http://[", "an address that is none"),
    ],
)
def test_an_address_is_shown_without_what_it_may_hide(url: str, said: str) -> None:
    assert place(url) == said


class TestTheCommand:
    @pytest.fixture(autouse=True)
    def here(self, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def run(self, *words: str, **env: str) -> Result:
        at = {"TEMPORAL_ADDRESS": f"127.0.0.1:{free_port()}"}
        return CliRunner(env={**at, **env}).invoke(doctor, words)

    def test_what_is_wrong_is_exit_1_and_every_line_is_printed(self) -> None:
        said = self.run()
        assert (said.exit_code, said.stderr) == (1, "")
        lines = said.stdout.splitlines()
        assert [line.split()[1] for line in lines if line.startswith("✗ ")] == ["temporal"]
        assert [line.split()[1] for line in lines if line.startswith("! ")] == ["model", "composio", "gateway"]

    @pytest.mark.temporal
    def test_warnings_are_exit_0(self, temporal_address: str) -> None:
        said = self.run("--json", TEMPORAL_ADDRESS=temporal_address)
        found = json.loads(said.stdout)
        assert said.exit_code == 0
        assert {each["state"] for each in found} == {"ok", "warning"}
        assert all(set(each) == {"check", "state", "said", "help"} for each in found)

    def test_no_secret_is_printed(self) -> None:
        secrets = {"ANTHROPIC_API_KEY": KEY, "COMPOSIO_API_KEY": "ak_not-to-be-seen", "GOALFILE_TOKEN": "t0ken-of-ada"}
        urls = {
            "ANTHROPIC_BASE_URL": "http://u:not-to-be-seen-1@127.0.0.1:1/not-to-be-seen-2",
            "COMPOSIO_BASE_URL": "http://u:not-to-be-seen-3@127.0.0.1:1",
            "GOALFILE_SERVER": "http://u:not-to-be-seen-4@127.0.0.1:1",
            "TEMPORAL_API_KEY": "not-to-be-seen-5",
        }
        for words in ((), ("--json",), ("--ask",)):
            said = self.run(*words, **secrets, **urls)
            assert said.exit_code == 1
            assert "not-to-be-seen" not in said.output
            assert "t0ken" not in said.output
            assert said.exception is None or isinstance(said.exception, SystemExit)

"""The gateway with keys, without, and with others than what is stored was encrypted with."""

import base64
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from gateway.app import create_app
from gateway.problems import TemporalRefused
from gateway.settings import SettingsError, read_settings
from gateway.temporal import Connection, connector
from schemas.config import CONFIG_FILE
from schemas.sealing import CannotOpen, Keyring, keyring
from schemas.task import Task
from tests.gateway.conftest import House, http_to
from tests.gateway.standin import StandIn
from tests.gateway.test_process import Start, address, ask, start
from tests.gateway.test_settings import elsewhere

__all__ = ["start"]  # a fixture

KEY = base64.b64encode(b"1" * 32).decode()
OLD, NEW = ("old-2025", KEY), ("new", base64.b64encode(b"2" * 32).decode())
BEFORE, ROTATED, AFTER = keyring([OLD]), keyring([NEW, OLD]), keyring([NEW])
ENCRYPTED = "encryption: {keys: [{id: old-2025, key: '${GOALFILE_KEY}'}]}\n"


@dataclass(frozen=True)
class Side:
    """A gateway with keys of its own, and its client, on the server of all these tests."""

    client: Client
    queue: str
    http: httpx.AsyncClient

    def worker(self) -> Worker:
        runner = UnsandboxedWorkflowRunner()
        return Worker(self.client, task_queue=self.queue, workflows=[StandIn], workflow_runner=runner)

    async def keep(self, task: Task) -> None:
        await House(self.client, create_app(self._connect), self.http).keep(task)

    async def _connect(self) -> Client:
        return self.client

    async def run(self, goal: str) -> str:
        """Have the worker do a run from beginning to end, and return its id."""
        async with self.worker():
            begun = await self.http.post("/v1/runs", json={"goal": goal})
            assert begun.status_code == 202
            await self.client.get_workflow_handle(begun.json()["id"]).result()
        return begun.json()["id"]


async def side(house: House, queue: str, keys: Keyring | None) -> Side:
    connect = connector({"target_host": house.client.service_client.config.target_host}, keys)
    return Side(await connect(), queue, http_to(create_app(connect, queue=queue)))


async def stored(client: Client, run_id: str) -> bytes:
    """A run's history as the server keeps it."""
    history = await client.get_workflow_handle(run_id).fetch_history()
    return b"".join(event.SerializeToString() for event in history.events)


@pytest.mark.parametrize("keys", [BEFORE, None], ids=["with keys", "without, to prove that one would see it"])
async def test_the_server_does_not_see_what_a_caller_does(house: House, unique: str, keys: Keyring | None) -> None:
    ours = await side(house, unique, keys)
    run_id = await ours.run(f"canary-{unique}")
    told = (await ours.http.get(f"/v1/runs/{run_id}")).json()
    assert (told["status"], told["summary"]) == ("succeeded", f"canary-{unique}")
    assert (f"canary-{unique}".encode() in await stored(house.client, run_id)) == (keys is None)


async def test_with_keys_what_was_stored_before_them_and_under_an_older_one_is_read_as_well(
    house: House, unique: str
) -> None:
    ours = await side(house, unique, ROTATED)
    for keys in (None, BEFORE, ROTATED):
        theirs = await side(house, unique, keys)
        name = f"t-{unique}-{len(keys.keys) if keys else 0}"
        await theirs.keep(Task(name=name, goal=f"goal of {name}", description="told"))
        run_id = await theirs.run(f"goal of {name}")
        assert (await ours.http.get(f"/v1/runs/{run_id}")).json()["summary"] == f"goal of {name}"
    listed = (await ours.http.get("/v1/tasks")).json()["data"]
    assert [each["description"] for each in listed if unique in each["name"]] == ["told"] * 3


@pytest.mark.parametrize("keys", [AFTER, None], ids=["the key is gone", "no key at all"])
async def test_without_its_key_a_task_is_listed_but_not_started_and_a_run_told_by_its_status(
    house: House, unique: str, keys: Keyring | None
) -> None:
    theirs, ours = await side(house, unique, BEFORE), await side(house, unique, keys)
    await theirs.keep(Task(name=f"t-{unique}", goal="secret", description="told"))
    run_id = await theirs.run("secret")
    listed = (await ours.http.get("/v1/tasks")).json()["data"]
    (mine,) = [each for each in listed if unique in each["name"]]
    assert mine["description"] != "told"
    refused = await ours.http.post(f"/v1/tasks/t-{unique}/runs", json={})
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:goalfile:problem:unreadable-task")
    told = (await ours.http.get(f"/v1/runs/{run_id}")).json()
    assert (told["status"], told.get("summary") or "") == ("succeeded", "")


async def test_a_missing_key_that_nobody_expected_is_a_refusal_that_names_it(house: House) -> None:
    connection = Connection(connector({"target_host": house.client.service_client.config.target_host}))
    with pytest.raises(TemporalRefused, match="no key named k1 is configured"):
        async with connection.ask():
            raise CannotOpen("no key named k1 is configured")


def test_nothing_is_encrypted_unless_the_configuration_names_a_key(tmp_path: Path) -> None:
    assert read_settings({**elsewhere(tmp_path), "GOALFILE_KEY": KEY}, tmp_path).keys is None


def test_the_keys_of_the_configuration_are_read_from_the_environment_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / CONFIG_FILE).write_text(ENCRYPTED)
    said = {**elsewhere(tmp_path), "GOALFILE_KEY": KEY, "COMPOSIO_API_KEY": "ak_1", "TEMPORAL_API_KEY": "tk_1"}
    settings = read_settings(said, tmp_path)
    assert settings.keys == BEFORE
    assert set(settings.secrets) == {KEY, "ak_1", "tk_1"}
    assert not [secret for secret in (KEY, str(b"1" * 32)) if secret in repr(settings)]


@pytest.mark.parametrize(
    ("said", "wrong"), [({}, "set GOALFILE_KEY"), ({"GOALFILE_KEY": "c2hvcnQ="}, "key old-2025 has 5 bytes")]
)
def test_a_key_that_is_missing_or_wrong_stops_the_gateway_before_it_starts(
    tmp_path: Path, said: dict[str, str], wrong: str
) -> None:
    (tmp_path / CONFIG_FILE).write_text(ENCRYPTED)
    with pytest.raises(SettingsError, match=wrong) as raised:
        read_settings({**elsewhere(tmp_path), **said}, tmp_path)
    assert "c2hvcnQ=" not in str(raised.value)


def test_no_log_of_the_process_shows_a_secret(house: House, start: Start) -> None:
    server = house.client.service_client.config.target_host
    # Temporal repeats the name of a namespace that it does not have.
    process = start(
        "--port", "0", TEMPORAL_ADDRESS=server, TEMPORAL_NAMESPACE="ak_Swordfish33", COMPOSIO_API_KEY="ak_Swordfish33"
    )
    at = address(process)
    assert ask(at, "GET", "/readyz")[0] == 503
    process.terminate()
    _, log = process.communicate()
    assert "[secret]" in log
    assert "Swordfish" not in log

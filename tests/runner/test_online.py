"""`validate --online` before a real gateway and what may stand in its place; `plan` before a real Temporal server."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from click.testing import CliRunner, Result
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from runner.cli import goalfile as command
from runner.devserver import find_binary
from runner.schedules import TemporalSchedules
from tests.gateway.test_process import address, gateways
from tests.standins.composio_api import ComposioApi, folder
from tests.standins.loopback import Answer, Drop, Garble, Loopback, Request

Goalfile = Callable[..., "CompletedProcess[str]"]
CONFIG = """\
channels: {eng-slack: {apprise: "${ENG_SLACK_URL}"}}
run_as: {finance: [ada], .: [bot]}
model: {prices: {acme-large-2: {input: 2, output: 10}}}
limits: {turns: 50}
"""
TOKEN = {"GOALFILE_TOKEN": "sesame"}
NOBODY = "http://127.0.0.1:1"
CATALOG = {"toolkits": None, "channels": ["ops"], "run_as": None, "unchecked": []}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(path: str, text: str) -> None:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def run(*words: str, **env: str) -> Result:
    """The command in this process: what it prints does not depend on that."""
    return CliRunner(env=env).invoke(command, words)


def online(*words: str, **env: str) -> Result:
    return run("validate", "--online", *words, **env)


def problems(said: Result) -> set[tuple[str, str]]:
    """Code and place of each."""
    assert said.stderr == ""
    return {
        (each["code"], f"{each['file']}:{each['span']['line']}:{each['span']['column']}")
        for each in json.loads(said.stdout)
    }


def one_line(said: Result, code: int, words: str) -> None:
    assert (said.exit_code, said.stdout) == (code, ""), said.output
    assert said.stderr.startswith("error: "), said.stderr
    assert said.stderr.count("\n") == 1, said.stderr
    assert words in said.stderr


class Other(Loopback):
    """Something that answers where a gateway was expected."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self._answer = answer

    def answer(self, request: Request) -> Answer:
        return self._answer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("home")
    config = home / "server.yaml"
    config.write_text(CONFIG)
    with ComposioApi([*folder("notes"), *folder("gmail")]) as composio, gateways(home) as start:
        keys = {"COMPOSIO_API_KEY": composio.key, "COMPOSIO_BASE_URL": composio.url}
        host, port = address(start("--port", "0", GOALFILE_CONFIG=str(config), **keys))
        yield f"http://{host}:{port}"


class TestAGateway:
    def test_what_the_server_does_not_know_is_told_with_its_place(self, server: str) -> None:
        put("tasks/a.yaml", "goal: x\nnotify: [eng-slak, {to: ops, when: failure}]\ntoolkit: [notes, gmial]\n")
        put("tasks/finance/b.yaml", "goal: x\nrun_as: bob\n")
        put("tasks/c.yaml", "goal: x\nrun_as: ada\nnotify: nobody\n")
        put("tasks/ops/_defaults.yaml", "toolkit: github\nrun_as: ada\n")
        said = online("--json", GOALFILE_SERVER=server)
        assert said.exit_code == 1
        assert problems(said) == {
            ("unknown-channel", "tasks/a.yaml:2:10"),
            ("unknown-channel", "tasks/a.yaml:2:25"),
            ("unknown-toolkit", "tasks/a.yaml:3:18"),
            ("run-as-not-allowed", "tasks/finance/b.yaml:2:9"),
            ("run-as-not-allowed", "tasks/c.yaml:2:9"),
            ("unknown-channel", "tasks/c.yaml:3:9"),
            ("unknown-toolkit", "tasks/ops/_defaults.yaml:1:10"),
            ("run-as-not-allowed", "tasks/ops/_defaults.yaml:2:9"),
        }

    def test_the_names_that_were_meant_are_suggested(self, server: str) -> None:
        put("tasks/finance/a.yaml", "goal: x\nnotify: eng-slak\ntoolkit: gmial\nrun_as: bob\n")
        said = online(GOALFILE_SERVER=server)
        assert "did you mean `eng-slack`?" in said.stdout
        assert "did you mean `gmail`?" in said.stdout
        assert "use one of ada, bot" in said.stdout

    def test_what_the_server_knows_is_right(self, server: str) -> None:
        put("tasks/a.yaml", "goal: x\ntoolkit: [notes, gmail]\nrun_as: bot\n")
        put("tasks/finance/eu/b.yaml", "goal: x\nrun_as: ada\n")
        said = online(GOALFILE_SERVER=server)
        assert (said.exit_code, said.stdout, said.stderr) == (0, "", "2 task files, all valid\n")

    def test_a_channel_that_there_is_is_no_unknown_one(self, server: str) -> None:
        put("tasks/a.yaml", "goal: x\nnotify: [eng-slack, {to: eng-slack, when: failure}]\n")
        assert problems(online("--json", GOALFILE_SERVER=server)) == set()

    def test_what_the_server_does_not_allow_is_told_and_what_it_prices_is_not(self, server: str) -> None:
        put("tasks/a.yaml", "goal: x\nmodel: acme-large-2\nlimits: {cost_usd: 2, turns: 51}\n")
        put("tasks/b.yaml", "goal: x\nmodel: acme-small-1\nlimits: {cost_usd: 2, turns: 50}\n")
        assert problems(online("--json", GOALFILE_SERVER=server)) == {
            ("above-maximum", "tasks/a.yaml:3:30"),
            ("unknown-price", "tasks/b.yaml:2:8"),
        }

    def test_one_file_is_judged_by_its_place_below_the_tasks_folder(self, server: str) -> None:
        put(".git/HEAD", "")
        put("tasks/finance/a.yaml", "goal: x\nrun_as: ada\n")
        put("tasks/b.yaml", "goal: x\nrun_as: ada\n")
        assert online("tasks/finance/a.yaml", GOALFILE_SERVER=server).exit_code == 0
        said = online("tasks/b.yaml", "--json", GOALFILE_SERVER=server)
        assert problems(said) == {("run-as-not-allowed", "tasks/b.yaml:2:9")}

    def test_a_running_dev_server_is_found_by_its_file(self, goalfile: Goalfile, tmp_path: Path, server: str) -> None:
        put(".goalfile/dev.json", json.dumps({"temporal": "127.0.0.1:1", "gateway": server}))
        put("tasks/a.yaml", "goal: x\ntoolkit: gmial\n")
        said = goalfile("validate", "--online", "--format", "concise")
        assert (said.returncode, said.stderr) == (1, "1 problem in 1 of 1 task file\n")
        assert said.stdout.startswith("tasks/a.yaml:2:10: error[unknown-toolkit] ")

    def test_a_named_server_is_asked_instead_of_a_running_dev_server(self, server: str) -> None:
        put(".goalfile/dev.json", json.dumps({"temporal": "127.0.0.1:1", "gateway": NOBODY}))
        put("tasks/a.yaml", "goal: x\n")
        assert online(GOALFILE_SERVER=f"{server}/").exit_code == 0
        assert online().exit_code == 3

    def test_without_the_option_no_server_is_asked(self) -> None:
        put("tasks/a.yaml", "goal: x\ntoolkit: gmial\n")
        said = run("validate", GOALFILE_SERVER=NOBODY)
        assert said.exit_code == 0


def test_what_composio_does_not_tell_is_said_and_the_rest_checked(tmp_path: Path) -> None:
    (tmp_path / "server.yaml").write_text(CONFIG)
    put("tasks/a.yaml", "goal: x\ntoolkit: gmial\nrun_as: eve\n")
    with gateways(tmp_path) as start:
        gone = {"COMPOSIO_API_KEY": "ak_gone", "COMPOSIO_BASE_URL": NOBODY}
        process = start("--port", "0", GOALFILE_CONFIG=str(tmp_path / "server.yaml"), **gone)
        host, port = address(process)
        said = online("--json", GOALFILE_SERVER=f"http://{host}:{port}")
        live = run("schema", "--server", f"http://{host}:{port}")
    assert said.exit_code == 1
    assert [(each["code"], each["span"]["line"]) for each in json.loads(said.stdout)] == [("run-as-not-allowed", 3)]
    assert said.stderr == "not checked: toolkits: Composio did not answer (ConnectError)\n"
    assert live.exit_code == 0
    assert live.stderr == said.stderr
    assert "eng-slack" in live.stdout


class TestNoGateway:
    @pytest.fixture(autouse=True)
    def tasks(self, here: Path) -> None:
        put("tasks/a.yaml", "goal: x\n")

    def test_none_named_is_wrong_usage_and_says_what_to_set(self) -> None:
        one_line(online(), 2, "no gateway is named: set GOALFILE_SERVER, or start one with `goalfile dev`")

    def test_none_there_is_one_line_with_the_address(self, goalfile: Goalfile) -> None:
        said = goalfile("validate", "--online", env={"GOALFILE_SERVER": NOBODY})
        assert (said.returncode, said.stdout) == (3, "")
        assert said.stderr == f"error: no gateway answers at {NOBODY}: [Errno 111] Connection refused\n"

    @pytest.mark.parametrize("named", ["127.0.0.1:1", "ftp://127.0.0.1", "http://[::1", "http://127.0.0.1:1x", "x y"])
    def test_what_is_no_address_is_one_line(self, named: str) -> None:
        one_line(online(GOALFILE_SERVER=named), 3, named)

    @pytest.mark.parametrize(
        ("answer", "code", "words"),
        [
            ((404, {}, {"detail": "Not Found"}), 3, "answered 404, no catalog"),
            ((500, {}, {}), 3, "answered 500, no catalog"),
            ((302, {"location": "http://127.0.0.1:1/login"}, {}), 3, "answered 302, no catalog"),
            (Garble(b"<!doctype html><title>Something</title>"), 3, "is no gateway of Goalfile"),
            (Garble(b""), 3, "is no gateway of Goalfile"),
            ((200, {}, []), 3, "is no gateway of Goalfile"),
            ((200, {}, {}), 3, "is no gateway of Goalfile"),
            ((200, {}, {"status": "ok"}), 3, "is no gateway of Goalfile"),
            ((200, {}, {**CATALOG, "channels": "ops"}), 3, "is no gateway of Goalfile"),
            ((200, {"content-encoding": "gzip"}, {}), 3, "no gateway answers at"),
            (Drop(), 3, "no gateway answers at"),
            ((401, {}, {}), 4, "does not allow it: set GOALFILE_TOKEN"),
            ((403, {}, {}), 4, "does not allow it: set GOALFILE_TOKEN"),
        ],
        ids=lambda value: value if isinstance(value, str) else str(value)[:40],
    )
    def test_something_else_is_one_line(self, answer: Answer, code: int, words: str) -> None:
        with Other(answer) as other:
            said = online(GOALFILE_SERVER=other.url)
            assert [(request.method, request.path) for request in other.requests] == [("GET", "/v1/catalog")]
            one_line(said, code, words)
            assert other.url in said.stderr

    def test_a_newer_server_may_say_more(self) -> None:
        with Other((200, {}, {**CATALOG, "models": ["claude"]})) as other:
            assert online(GOALFILE_SERVER=other.url).exit_code == 0

    def test_an_address_does_not_show_its_password(self) -> None:
        said = online(GOALFILE_SERVER="http://ada:sesame@127.0.0.1:1")
        assert said.exit_code == 3
        assert "sesame" not in said.output

    def test_a_foreign_word_drives_no_terminal(self) -> None:
        put("tasks/a.yaml", "goal: x\ntoolkit: gmail\nrun_as: ada\n")
        foreign = "\x1b[2Jx\u202e\r\n"
        said = {"toolkits": [foreign], "run_as": {".": [foreign]}, "channels": [], "unchecked": [foreign]}
        with Other((200, {}, said)) as other:
            printed = CliRunner(env={"GOALFILE_SERVER": other.url, "FORCE_COLOR": "1"}).invoke(
                command, ["validate", "--online", "--format", "concise"], color=True
            )
        assert printed.exit_code == 1
        assert "\x1b[2J" not in printed.output
        assert "\u202e" not in printed.output
        assert "\r" not in printed.output


class TestTheToken:
    def test_it_goes_in_its_header_and_nowhere_else(self) -> None:
        put("tasks/a.yaml", "goal: x\nnotify: nobody\n")
        with Other((200, {}, {**CATALOG, "unchecked": ["toolkits: nobody knows"]})) as other:
            said = online(GOALFILE_SERVER=other.url, **TOKEN)
            [request] = other.requests
        assert request.headers["authorization"] == "Bearer sesame"
        assert "sesame" not in f"{request.path}{request.query}{request.raw}"
        assert "unknown-channel" in said.stdout
        assert "sesame" not in said.output

    def test_without_one_no_header_is_sent(self) -> None:
        put("tasks/a.yaml", "goal: x\n")
        with Other((200, {}, CATALOG)) as other:
            online(GOALFILE_SERVER=other.url)
            assert "authorization" not in other.requests[0].headers

    def test_a_redirection_does_not_carry_it_away(self) -> None:
        put("tasks/a.yaml", "goal: x\n")
        with Other((200, {}, CATALOG)) as elsewhere, Other((307, {"location": elsewhere.url}, {})) as other:
            assert online(GOALFILE_SERVER=other.url, **TOKEN).exit_code == 3
            assert elsewhere.requests == []

    @pytest.mark.parametrize("status", [401, 500])
    def test_a_failure_does_not_show_it(self, status: int) -> None:
        put("tasks/a.yaml", "goal: x\n")
        with Other((status, {}, {})) as other:
            assert "sesame" not in online(GOALFILE_SERVER=other.url, **TOKEN).output
        assert "sesame" not in online(GOALFILE_SERVER=NOBODY, **TOKEN).output

    @pytest.mark.parametrize("token", ["sesame\r\nx-admin: 1", "sesamé"])
    def test_one_that_cannot_be_sent_is_one_line_that_does_not_show_it(self, token: str) -> None:
        put("tasks/a.yaml", "goal: x\n")
        with Other((200, {}, CATALOG)) as other:
            said = online(GOALFILE_SERVER=other.url, GOALFILE_TOKEN=token)
        one_line(said, 2, "GOALFILE_TOKEN")
        assert token[:4] not in said.output

    def test_the_end_of_its_line_is_no_part_of_it(self) -> None:
        put("tasks/a.yaml", "goal: x\n")
        with Other((200, {}, CATALOG)) as other:
            said = online(GOALFILE_SERVER=other.url, GOALFILE_TOKEN="sesame\n")  # noqa: S106 - as a file holds it
            sent = [request.headers["authorization"] for request in other.requests]
        assert "sesame" not in said.output
        assert (said.exit_code, sent) == (0, ["Bearer sesame"])


@pytest.mark.temporal
def actions(printed: str) -> str:
    """A plan without what it tells of each task."""
    return "".join(f"{line}\n" for line in printed.splitlines() if line.startswith(("+ ", "~ ", "- ")))


class TestPlan:
    @pytest.fixture
    def server(self, temporal_address: str, unique: str) -> dict[str, str]:
        return {"TEMPORAL_ADDRESS": temporal_address, "GOALFILE_QUEUE": unique, "GOALFILE_OWNER": unique}

    def seen(self, server: dict[str, str], wanted: Callable[[dict[str, str]], bool]) -> dict[str, str]:
        """Digest by name, as soon as the server's listing shows what is wanted: it is a moment late."""

        async def look() -> dict[str, str]:
            client = await Client.connect(server["TEMPORAL_ADDRESS"])
            async with asyncio.timeout(20):
                while True:
                    listed = await TemporalSchedules(client, "q").list()
                    found = {each.name: each.digest for each in listed if each.owner == server["GOALFILE_OWNER"]}
                    if wanted(found):
                        return found
                    await asyncio.sleep(0.05)  # another process: nothing to wait on but its listing

        return asyncio.run(look())

    def test_it_says_what_sync_then_does_and_does_nothing_itself(
        self, goalfile: Goalfile, server: dict[str, str], unique: str
    ) -> None:
        a, b = f"a{unique}", f"b{unique}"
        put(f"tasks/{a}.yaml", "goal: x\n")
        put(f"tasks/{b}.yaml", "goal: x\ncron: '@yearly'\n")
        planned = f"+ create {a}  (tasks/{a}.yaml is new)\n+ create {b}  (tasks/{b}.yaml is new)\n"
        first = goalfile("plan", env=server)
        assert (first.returncode, actions(first.stdout), first.stderr) == (0, planned, "")
        assert "2 to create" in first.stdout
        assert self.seen(server, lambda _: True) == {}
        assert run("sync", **server).stdout == planned.replace("create", "scheduled")

        before = self.seen(server, lambda found: found.keys() == {a, b})
        put(f"tasks/{a}.yaml", "goal: y\n")
        Path(f"tasks/{b}.yaml").unlink()
        planned = f"~ update {a}  (tasks/{a}.yaml changed)\n- delete {b}  (its file is gone)\n"
        second = run("plan", "--exit-code", **server)
        assert (second.exit_code, actions(second.stdout), second.stderr) == (2, planned, "")
        assert self.seen(server, lambda _: True) == before
        done = planned.replace("update", "updated").replace("delete", "removed")
        assert run("sync", **server).stdout == done
        self.seen(server, lambda found: found.keys() == {a} and found[a] != before[a])

        third = run("plan", "--exit-code", **server)
        assert (third.exit_code, third.stdout, third.stderr) == (0, "", "nothing to do\n")

    def test_what_is_blocked_is_said_with_its_release(self, server: dict[str, str], unique: str) -> None:
        put(f"tasks/{unique}.yaml", "goal: x\n")
        run("sync", **server)
        self.seen(server, lambda found: found.keys() == {unique})
        Path(f"tasks/{unique}.yaml").unlink()
        said = run("plan", "--exit-code", **server)
        assert said.exit_code == 1
        release = f"not deleted: {unique}: the folder holds no task at all; release with `goalfile sync --confirm "
        assert release in said.output
        data = json.loads(run("plan", "--json", **server).stdout)
        assert data["actions"] == []
        released = run("sync", "--confirm", data["confirm"], **server)
        assert released.stdout == f"- removed {unique}  (its file is gone)\n"

    def test_a_wrong_file_is_exit_1_and_the_others_are_planned(self, server: dict[str, str], unique: str) -> None:
        put("tasks/wrong.yaml", "gaol: x\n")
        put(f"tasks/{unique}.yaml", "goal: x\n")
        said = run("plan", "--exit-code", **server)
        assert said.exit_code == 1
        assert f"+ create {unique}  (tasks/{unique}.yaml is new)\n" in said.stdout
        assert "tasks/wrong.yaml:1:1: error[unknown-key] " in said.output

    def test_as_json_it_is_data_only(self, server: dict[str, str], unique: str) -> None:
        put("tasks/wrong.yaml", "gaol: x\n")
        put(f"tasks/{unique}.yaml", "goal: x\n")
        said = run("plan", "--json", **server)
        assert (said.exit_code, said.stderr) == (1, "")
        data: dict[str, Any] = json.loads(said.stdout)
        action = {"verb": "create", "name": unique, "reason": f"tasks/{unique}.yaml is new", "error": None}
        assert data["actions"] == [action]
        assert [problem["code"] for problem in data["problems"]] == ["unknown-key"]
        assert (data["notes"], data["confirm"], data["error"]) == ([], "", "")

    def test_what_the_configuration_does_not_allow_is_told(self, server: dict[str, str]) -> None:
        put("goalfile.config.yaml", CONFIG)
        put("tasks/a.yaml", "goal: x\nrun_as: ada\n")
        said = run("plan", **server)
        assert said.exit_code == 1
        assert "tasks/a.yaml:2:9: error[run-as-not-allowed]" in said.output

    def test_a_missing_folder_is_exit_1(self, server: dict[str, str]) -> None:
        said = run("plan", "nowhere", **server)
        assert said.exit_code == 1
        assert "nowhere is not there; no schedule would be changed" in said.output

    def test_an_error_is_never_taken_for_something_to_do(self, server: dict[str, str]) -> None:
        put("tasks/a.yaml", "goal: x\n")
        put("goalfile.config.yaml", "chanels: {}\n")
        said = run("plan", "--exit-code", **server)
        assert "goalfile.config.yaml:1:1: error[unknown-key]" in said.stderr
        assert said.exit_code not in (0, 2)

    def test_an_unreachable_server_is_exit_3(self) -> None:
        put("tasks/a.yaml", "goal: x\n")
        said = run("plan", TEMPORAL_ADDRESS="127.0.0.1:1")
        assert (said.exit_code, said.stdout) == (3, "")
        assert said.stderr.startswith("error: no Temporal server answers at 127.0.0.1:1")

    async def test_a_server_that_never_saw_a_sync_can_be_planned_for(self, goalfile: Goalfile) -> None:
        put("tasks/a.yaml", "goal: x\n")
        fresh = await WorkflowEnvironment.start_local(
            dev_server_existing_path=find_binary(), dev_server_log_level="error"
        )
        try:
            address = fresh.client.service_client.config.target_host
            said = await asyncio.to_thread(goalfile, "plan", env={"TEMPORAL_ADDRESS": address})
        finally:
            await fresh.shutdown()
        assert (said.returncode, said.stderr) == (0, "")
        assert actions(said.stdout) == "+ create a  (tasks/a.yaml is new)\n"

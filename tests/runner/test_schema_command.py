"""`goalfile schema`: the schemas of the package, and what a server has offered in them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner, Result

from runner.cli import goalfile as command
from tests.conftest import ROOT
from tests.gateway.test_process import address, gateways
from tests.standins.composio_api import ComposioApi, folder

Goalfile = Callable[..., "CompletedProcess[str]"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway whose Composio has two toolkits, and whose configuration has two channels."""
    home = tmp_path_factory.mktemp("home")
    config = home / "server.yaml"
    config.write_text("channels: {eng-slack: {apprise: '${A}'}, oncall: {apprise: '${B}'}}\n")
    with ComposioApi([*folder("notes"), *folder("zulip")]) as composio, gateways(home) as start:
        keys = {"COMPOSIO_API_KEY": composio.key, "COMPOSIO_BASE_URL": composio.url}
        host, port = address(start("--port", "0", GOALFILE_CONFIG=str(config), **keys))
        yield f"http://{host}:{port}"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str, **env: str) -> Result:
    return CliRunner(env=env).invoke(command, ["schema", *words])


def offered(schema: Any) -> Iterator[list[str]]:
    """What is offered for completion, in each place of a schema."""
    if isinstance(schema, dict):
        if snippets := schema.get("defaultSnippets"):
            yield [each["body"] for each in snippets]
        yield from (name for key, inner in schema.items() if key != "defaultSnippets" for name in offered(inner))
    elif isinstance(schema, list):
        yield from (name for inner in schema for name in offered(inner))


def bare(schema: Any) -> Any:
    """A schema without what it offers."""
    if isinstance(schema, dict):
        return {key: bare(inner) for key, inner in schema.items() if key != "defaultSnippets"}
    return [bare(inner) for inner in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize("kind", ["task", "defaults", "config"])
def test_it_prints_the_schema_of_the_package_to_the_byte(here: Path, kind: str) -> None:
    said = run(kind)
    assert (said.exit_code, said.stderr) == (0, "")
    assert said.stdout_bytes == (ROOT / "schemas" / f"{kind}.schema.json").read_bytes()


def test_a_task_s_is_what_is_meant_without_a_word(goalfile: Goalfile) -> None:
    said = goalfile("schema")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout == (ROOT / "schemas" / "task.schema.json").read_text()


def test_another_kind_is_wrong_usage(here: Path) -> None:
    assert run("tsk").exit_code == 2


@pytest.mark.parametrize("kind", ["task", "defaults"])
def test_a_server_s_toolkits_and_channels_are_offered(here: Path, server: str, kind: str) -> None:
    said = run(kind, "--server", server)
    assert (said.exit_code, said.stderr) == (0, "")
    made = json.loads(said.stdout)
    jsonschema.Draft7Validator.check_schema(made)
    for field, names in (("toolkit", ["notes", "zulip"]), ("notify", ["eng-slack", "oncall"])):
        places = list(offered(made["properties"][field]))
        assert len(places) > 1, "one value and a list of them"
        assert all(each == names for each in places)


def test_what_is_offered_restricts_nothing(here: Path, server: str) -> None:
    live, plain = (json.loads(run("task", *words).stdout) for words in (("--server", server), ()))
    assert live != plain
    assert bare(live) == bare(plain)
    jsonschema.Draft7Validator(live).validate({"goal": "x", "toolkit": "gmail"})


def test_the_server_need_not_be_named_twice(here: Path, server: str) -> None:
    named = run("task", "--server", server)
    assert run("task", "--server", GOALFILE_SERVER=server).stdout_bytes == named.stdout_bytes
    assert run("--server", GOALFILE_SERVER=server).stdout_bytes == named.stdout_bytes


def test_without_the_option_no_server_is_asked(here: Path) -> None:
    assert run(GOALFILE_SERVER="http://127.0.0.1:1").exit_code == 0


def test_a_server_that_cannot_be_asked_gives_no_schema(here: Path) -> None:
    said = run("--server", "http://127.0.0.1:1")
    assert (said.exit_code, said.stdout) == (3, "")
    assert said.stderr.startswith("error: no gateway answers at http://127.0.0.1:1: ")
    said = run("--server")
    assert (said.exit_code, said.stdout) == (2, "")
    assert "GOALFILE_SERVER" in said.stderr


def test_a_server_says_nothing_about_its_own_configuration(here: Path, server: str) -> None:
    said = run("config", "--server", server)
    assert said.exit_code == 2, "an option that does nothing is refused"

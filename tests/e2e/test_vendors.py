"""`goalfile dev` with keys: real adapters, a real worker process, stand-ins for the two vendors on loopback."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.house import House
from tests.standins.anthropic_api import AnthropicApi, Say, use
from tests.standins.composio_api import ComposioApi, folder
from tests.standins.loopback import Fail

pytestmark = pytest.mark.temporal


@pytest.fixture
def model() -> Iterator[AnthropicApi]:
    with AnthropicApi() as api:
        yield api


def house(tmp_path: Path, model: AnthropicApi, **env: str) -> House:
    keys = {"ANTHROPIC_API_KEY": model.key, "ANTHROPIC_BASE_URL": model.url}
    return House(tmp_path, env={**keys, **env}).up()


def test_a_task_runs_with_real_adapters_and_says_so(tmp_path: Path, model: AnthropicApi) -> None:
    with ComposioApi(folder("notes")) as tools:
        model.script.extend(
            [
                Say([use("NOTES_LIST_ITEMS", {}, "toolu_1")]),
                Say([use("NOTES_WRITE_ITEM", {"name": "a", "text": "b"}, "toolu_2")]),
                "I wrote one note.",
            ]
        )
        home = house(tmp_path, model, COMPOSIO_API_KEY=tools.key, COMPOSIO_BASE_URL=tools.url)
        try:
            assert "tools     Composio" in home.screen
            said = home.goalfile("run", "--goal", "Write a note.", "--toolkit", "notes", "--wait", "--json")
            result = json.loads(said.stdout)
        finally:
            home.stop()
        assert (result["status"], result["summary"]) == ("succeeded", "I wrote one note."), said.stderr
        assert tools.ran["NOTES_WRITE_ITEM"] == 1
        secrets = [model.key.encode(), tools.key.encode()]
    for path in (tmp_path / ".goalfile").rglob("*"):
        if path.is_file():
            assert not any(secret in path.read_bytes() for secret in secrets), f"a key stands in {path}"


def test_a_bad_key_fails_the_run_at_once_and_names_the_setting(tmp_path: Path, model: AnthropicApi) -> None:
    home = house(tmp_path, model, ANTHROPIC_API_KEY="not-the-key")
    try:
        said = home.goalfile("run", "--goal", "x", "--wait")
    finally:
        home.stop()
    assert said.returncode == 1
    assert "✗ failed" in said.stderr
    assert "ANTHROPIC_API_KEY" in said.stderr
    assert "not-the-key" not in said.stderr + home.screen
    assert len(model.requests) == 1


def test_an_overloaded_model_is_waited_for_and_nothing_is_lost(tmp_path: Path, model: AnthropicApi) -> None:
    model.script.extend(
        [
            Fail(529, "Overloaded"),
            Fail(429, "Slow down", headers={"retry-after": "1"}),
            "Here at last.",
        ]
    )
    home = house(tmp_path, model)
    try:
        said = home.goalfile("run", "--goal", "x", "--wait")
    finally:
        home.stop()
    assert said.returncode == 0, said.stderr
    assert "turn 1 (attempt 3)" in said.stderr
    assert len(model.requests) == 3

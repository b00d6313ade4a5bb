"""Whom a plan knows to be connected: asked of Composio's stand-in over HTTP."""

import pytest

from runner.connections import connections
from runner.reach import missing_connections
from runner.settings import Settings
from schemas.task import Task
from tests.standins.composio_api import ComposioApi, folder

MAIL = Task(goal="x", toolkit=("gmail", "notes"))
OURS = Task(goal="x", toolkit=("gmail",), run_as="finance")


def settings(api: ComposioApi, key: str | None = None) -> Settings:
    return Settings(composio_key=key or api.key, composio_base_url=api.url)


def test_the_toolkits_of_each_user_are_told() -> None:
    with ComposioApi(
        [*folder("gmail"), *folder("notes")], connected={("default", "gmail"), ("finance", "notes")}
    ) as api:
        connected, why = connections(settings(api), [MAIL, OURS])
    assert why == ""
    assert connected == {"default": frozenset({"gmail"}), "finance": frozenset({"notes"})}
    assert missing_connections(MAIL, connected) == ("notes",)
    assert missing_connections(OURS, connected) == ("gmail",)


def test_every_page_is_read() -> None:
    named = {("default", "gmail"), ("default", "notes")}
    with ComposioApi([*folder("gmail"), *folder("notes")], connected=named, page=1) as api:
        assert connections(settings(api), [MAIL])[0] == {"default": frozenset({"gmail", "notes"})}


def test_a_toolkit_that_needs_no_account_is_connected_for_everybody() -> None:
    with ComposioApi([*folder("gmail"), *folder("notes")], connected={("ada", "gmail")}, free={"notes"}) as api:
        connected, _ = connections(settings(api), [MAIL, OURS])
    assert connected == {"default": frozenset({"notes"}), "finance": frozenset({"notes"})}
    assert missing_connections(MAIL, connected) == ("gmail",)


@pytest.mark.parametrize("tasks", [[], [Task(goal="x")]])
def test_without_toolkits_nobody_is_asked(tasks: list[Task]) -> None:
    assert connections(Settings(composio_key="k", composio_base_url="http://127.0.0.1:1"), tasks) == (None, "")


def test_without_a_key_nobody_is_asked() -> None:
    assert connections(Settings(composio_base_url="http://127.0.0.1:1"), [MAIL]) == (None, "")


def test_what_composio_does_not_tell_is_unknown_and_the_key_is_not_shown() -> None:
    with ComposioApi(folder("gmail")) as api:
        refused = connections(settings(api, "ak_wrong-0000"), [MAIL])
    assert refused == (None, "Composio answered 401")
    away, why = connections(Settings(composio_key="ak_wrong-0000", composio_base_url="http://127.0.0.1:1"), [MAIL])
    assert away is None
    assert why.startswith("Composio did not answer as it should")
    assert "ak_wrong" not in why

"""What an editor offers while a task file is written, and what stands there once an offer is taken."""

import json
from collections.abc import Iterable

import pytest

from schemas.export import MEANT, NOT_IN_DEFAULTS
from schemas.task import Task
from tests.conftest import ROOT
from tests.editor.language_server import Completion, LanguageServer

PROPERTIES = json.loads((ROOT / "schemas/task.schema.json").read_text())["properties"]
FIELDS = set(Task.model_fields)
DEFAULTS = "tasks/_defaults.yaml"
GOAL = "goal: x\n"


@pytest.fixture(scope="module")
def at_the_top(language_server: LanguageServer) -> dict[str, Completion]:
    """What an empty file is offered."""
    return language_server.completions("‸")


def complaints(language_server: LanguageServer, texts: Iterable[str]) -> list[str]:
    """What is wrong with any of these files; a stream of documents is judged at the price of one."""
    stream = "---\n".join(f"{text.rstrip()}\n" for text in texts)
    lines = stream.split("\n")
    return [f"{lines[found.line - 1].strip()}: {found.message}" for found in language_server.problems(stream)]


def test_an_empty_file_is_offered_every_field(at_the_top: dict[str, Completion]) -> None:
    assert set(at_the_top) == FIELDS


def test_a_word_that_only_means_a_field_is_not_offered(at_the_top: dict[str, Completion]) -> None:
    assert not set(MEANT) & set(at_the_top)


def test_a_field_that_is_there_is_not_offered_again(language_server: LanguageServer) -> None:
    assert set(language_server.completions(f"{GOAL}cron: '@daily'\n‸")) == FIELDS - {"goal", "cron"}


def test_what_is_half_written_is_replaced(language_server: LanguageServer) -> None:
    assert language_server.completions(f"{GOAL}overl‸")["overlap"].result == f"{GOAL}overlap: "


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_each_field_is_offered_with_what_it_means(at_the_top: dict[str, Completion], field: str) -> None:
    assert at_the_top[field].kind == "property"
    assert at_the_top[field].documentation.startswith(PROPERTIES[field]["description"])


@pytest.mark.parametrize(
    "field",
    [
        *("goal", "description", "toolkit", "cron", "timezone", "overlap", "run_as", "name"),
        *("notify", "on_unknown", "memory"),
    ],
)
def test_a_field_of_text_waits_for_it_in_the_same_line(at_the_top: dict[str, Completion], field: str) -> None:
    assert at_the_top[field].inserted == f"{field}: "


@pytest.mark.parametrize("field", ["tools", "inputs", "output", "labels"])
def test_a_mapping_opens_an_indented_block(at_the_top: dict[str, Completion], field: str) -> None:
    assert at_the_top[field].inserted == f"{field}:\n  "


def test_limits_come_with_their_defaults_to_tab_through(at_the_top: dict[str, Completion]) -> None:
    assert at_the_top["limits"].inserted == "limits:\n  turns: ${1:30}\n  timeout: ${2:30m}"
    assert at_the_top["approval"].inserted == "approval:\n  timeout: ${1:1d}"
    assert at_the_top["retries"].inserted == "retries: ${1:0}"


def test_no_field_is_inserted_as_null_or_without_its_colon(at_the_top: dict[str, Completion]) -> None:
    for offer in at_the_top.values():
        assert "null" not in offer.inserted
        assert offer.inserted.startswith(f"{offer.label}:")


def test_version_has_only_one_value_and_comes_with_it(at_the_top: dict[str, Completion]) -> None:
    assert at_the_top["version"].result == "version: 1"


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("overlap: ‸", {"skip", "queue", "cancel", "allow"}),
        ("overlap: q‸", {"skip", "queue", "cancel", "allow"}),
        ("enabled: ‸", {"true", "false"}),
        ("version: ‸", {"1"}),
        ("notify:\n  - ‸", {"to", "when", "a channel, and when"}),
        ("notify:\n  - to: ops\n    ‸", {"when"}),
        ("notify:\n  - to: ops\n    when: ‸", {"always", "success", "failure"}),
        ("approval:\n  ‸", {"timeout", "otherwise"}),
        ("approval:\n  otherwise: ‸", {"deny", "fail"}),
        ("on_unknown: ‸", {"verify", "ask", "stop"}),
        ("memory: ‸", {"none", "last", "notes"}),
        ("limits:\n  ‸", {"turns", "timeout", "tokens", "cost_usd"}),
        ("limits:\n  turns: 5\n  ‸", {"timeout", "tokens", "cost_usd"}),
        ("tools:\n  ‸", {"allow", "ask", "deny"}),
        ("cron: ‸", {"0 9 * * 1-5", "*/15 * * * *", "0 8 1 * *", "@daily"}),
        ("cron:\n  - ‸", {"0 9 * * 1-5", "*/15 * * * *", "0 8 1 * *", "@daily"}),
        ("toolkit: ‸", {"gmail", "github", "googlecalendar", "linear", "notion", "slack", "stripe"}),
        ("toolkit: [‸]", {"gmail", "github", "googlecalendar", "linear", "notion", "slack", "stripe"}),
        ("toolkit:\n  - gmail\n  - ‸", {"gmail", "github", "googlecalendar", "linear", "notion", "slack", "stripe"}),
    ],
)
def test_only_what_may_stand_there_is_offered(language_server: LanguageServer, text: str, offered: set[str]) -> None:
    assert set(language_server.completions(GOAL + text)) == offered


@pytest.mark.parametrize("text", ["cron: ‸", "cron: 0 9‸", "cron: '0 9‸'", "cron: [‸]", "cron:\n  - ‸", "cron:\n  -‸"])
def test_a_schedule_is_inserted_in_quotes(language_server: LanguageServer, text: str) -> None:
    offer = language_server.completions(GOAL + text)["0 9 * * 1-5"]
    assert offer.inserted.strip() == '"0 9 * * 1-5"'
    assert offer.documentation == "every weekday at 9:00"


@pytest.mark.parametrize("value", ["skip", "queue", "cancel", "allow"])
def test_a_choice_is_offered_with_what_it_does(language_server: LanguageServer, value: str) -> None:
    meaning = dict(zip(PROPERTIES["overlap"]["enum"], PROPERTIES["overlap"]["markdownEnumDescriptions"], strict=True))
    assert language_server.completions(f"{GOAL}overlap: ‸")[value].documentation == meaning[value]


def test_a_time_zone_is_completed_from_its_beginning(language_server: LanguageServer) -> None:
    offers = language_server.completions(f"{GOAL}timezone: Europe/B‸")
    assert offers["Europe/Berlin"].result == f"{GOAL}timezone: Europe/Berlin"
    assert {"UTC", "America/New_York"} <= set(language_server.completions(f"{GOAL}timezone: ‸"))


def test_a_duration_is_offered_as_people_write_it(language_server: LanguageServer) -> None:
    assert set(language_server.completions(f"{GOAL}catchup: ‸")) == {"10m"}
    assert set(language_server.completions(f"{GOAL}limits:\n  timeout: ‸")) == {"30m"}
    assert set(language_server.completions(f"{GOAL}approval:\n  timeout: ‸")) == {"1d"}


def test_a_list_item_is_put_apart_from_its_dash(language_server: LanguageServer) -> None:
    assert language_server.completions(f"{GOAL}toolkit:\n  -‸")["gmail"].result == f"{GOAL}toolkit:\n  - gmail"


@pytest.mark.parametrize(
    "text",
    [
        *("overlap: ‸", "enabled: ‸", "version: ‸", "model: ‸", "catchup: ‸", "limits:\n  turns: ‸", "toolkit: ‸"),
        *("toolkit:\n  -‸", "cron: ‸", "cron: 0 9‸", "cron: [‸]", "cron:\n  - ‸", "limits:\n  timeout: ‸"),
        *("on_unknown: ‸", "memory: ‸", "retries: ‸", "approval:\n  otherwise: ‸", "approval:\n  timeout: ‸"),
        *("notify:\n  - to: ops\n    when: ‸", "limits:\n  cost_usd: ‸"),
        *("inputs:\n  days:\n    default: 1\n    type: ‸", "inputs:\n  days: {default: 1, type: [‸]}"),
    ],
)
def test_every_value_that_is_offered_is_also_accepted(language_server: LanguageServer, text: str) -> None:
    offers = language_server.completion_list(GOAL + text)
    assert offers
    assert complaints(language_server, [offer.result for offer in offers]) == []


@pytest.mark.parametrize("text", ["‸", "limits:\n  ‸", "approval:\n  ‸"])
def test_every_value_that_a_key_brings_along_is_also_accepted(language_server: LanguageServer, text: str) -> None:
    offers = language_server.completion_list(GOAL + text)
    whole = [offer.result for offer in offers if not offer.result.endswith(" ")]
    assert whole
    assert complaints(language_server, whole) == []


def test_an_input_is_named_first(language_server: LanguageServer) -> None:
    [offer] = language_server.completion_list(f"{GOAL}inputs:\n  ‸")
    assert offer.inserted == f"${{1:{offer.label}}}: "


@pytest.mark.parametrize("text", ["inputs:\n  days:\n    ‸", "inputs:\n  days:\n    t‸"])
def test_an_input_is_offered_the_words_that_describe_it(language_server: LanguageServer, text: str) -> None:
    assert {"type", "default", "enum"} <= set(language_server.completions(GOAL + text))


def test_an_input_with_a_type_is_offered_the_rest_of_json_schema(language_server: LanguageServer) -> None:
    offers = language_server.completions(f"{GOAL}inputs:\n  days:\n    type: integer\n    ‸")
    assert {"default", "description", "enum", "minimum", "maximum"} <= set(offers)
    assert "type" not in offers


def test_a_word_of_json_schema_is_inserted_with_its_colon(language_server: LanguageServer) -> None:
    offers = language_server.completions(f"{GOAL}inputs:\n  days:\n    type: integer\n    ‸")
    assert [offer.inserted for offer in offers.values() if ":" not in offer.inserted] == []


def test_the_type_of_an_input_is_chosen_from_those_of_json_schema(language_server: LanguageServer) -> None:
    types = {"string", "integer", "number", "boolean", "array", "object"}
    assert types <= set(language_server.completions(f"{GOAL}inputs:\n  days:\n    type: ‸"))
    assert types <= set(language_server.completions(f"{GOAL}inputs:\n  days: {{type: ‸}}"))


def test_the_defaults_of_a_folder_are_offered_what_tasks_may_share(language_server: LanguageServer) -> None:
    assert set(language_server.completions("‸", DEFAULTS)) == FIELDS - set(NOT_IN_DEFAULTS)


def test_the_defaults_of_a_folder_are_offered_the_same_values(language_server: LanguageServer) -> None:
    assert set(language_server.completions("overlap: ‸", DEFAULTS)) == {"skip", "queue", "cancel", "allow"}
    assert set(language_server.completions("limits:\n  ‸", DEFAULTS)) == {"turns", "timeout", "tokens", "cost_usd"}

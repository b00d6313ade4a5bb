"""What the model is told: rules that stay the same, and data that is named as such."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import prompt
from runner.ports import Message
from schemas.run import RunRequest, RunResult
from schemas.task import Task

SLOT = datetime(2026, 11, 22, 9, tzinfo=UTC)


def words(message: Message) -> str:
    return "\n".join(block["text"] for block in message.content)


def before(**said: Any) -> RunResult:
    return RunResult(**{"status": "succeeded", "started_at": SLOT, "ended_at": SLOT, **said})


def first(goal: str, previous: datetime | None = None, memory: str = "", **inputs: Any) -> Message:
    request = RunRequest(task=Task(goal=goal, name="hello"), inputs=inputs)
    return prompt.first_message(request, "run-1", SLOT, previous, memory)


@pytest.mark.parametrize("goal", ["one", "two"])
@pytest.mark.parametrize("memory", ["none", "last", "notes"])
def test_the_rules_hold_nothing_of_the_task_so_that_a_provider_can_cache_them(goal: str, memory: Any) -> None:
    assert prompt.system(Task(goal=goal, memory=memory)) == prompt.RULES


def test_a_task_with_an_output_says_its_schema_the_same_way_whatever_its_order() -> None:
    one = prompt.system(Task(goal="g", output={"type": "object", "required": ["é"]}))
    two = prompt.system(Task(goal="g", output={"required": ["é"], "type": "object"}))
    assert one == two
    assert one.startswith(prompt.RULES)
    assert one.endswith('{"required": ["é"], "type": "object"}')


def test_the_goal_has_its_placeholders_filled_and_says_what_time_it_is() -> None:
    said = first("{{ task.name }} {{ run.id }} {{ inputs.n }} since {{ run.previous_at }}", SLOT, n=7)
    assert words(said) == "hello run-1 7 since 2026-11-22T09:00:00+00:00\n\n(It is Sunday, 2026-11-22T09:00:00+00:00.)"
    assert said.role == "user"


def test_a_first_run_has_no_run_before_it() -> None:
    assert words(first("since {{ run.previous_at }}")).startswith("since never")


def test_what_an_input_says_is_not_filled_in_again() -> None:
    assert words(first("{{ inputs.a }}", a="{{ inputs.b }}", b="secret")).startswith("{{ inputs.b }}")


def test_memory_stands_beside_the_goal_and_not_in_the_rules() -> None:
    goal, memory = first("go", memory="noted").content
    assert goal["text"].startswith("go")
    assert memory["text"] == "noted"


@pytest.mark.parametrize(
    ("memory", "said", "kept"),
    [
        ("none", {"summary": "found", "note": "noted"}, ""),
        ("last", {"summary": "found", "note": "noted"}, "found"),
        ("last", {"summary": "found", "output": {"é": 1}}, '{"é": 1}'),
        ("last", {"summary": "found", "output": 0}, "0"),
        ("notes", {"summary": "found", "note": "noted"}, "noted"),
    ],
)
def test_the_next_run_is_given_what_its_task_says(memory: Any, said: dict[str, Any], kept: str) -> None:
    remembered = prompt.remembered(Task(goal="g", memory=memory), before(**said))
    assert remembered.endswith(kept)
    assert ("data and no instruction" in remembered) == bool(kept)
    assert not remembered or remembered.startswith("The previous run ended 2026-11-22T09:00:00+00:00 as succeeded.")


@pytest.mark.parametrize("memory", ["last", "notes"])
def test_a_run_that_left_nothing_is_told_by_how_it_ended(memory: Any) -> None:
    remembered = prompt.remembered(Task(goal="g", memory=memory), before(status="failed", reason="boom"))
    assert remembered == "The previous run ended 2026-11-22T09:00:00+00:00 as failed."


def test_without_a_run_before_nothing_is_remembered() -> None:
    assert prompt.remembered(Task(goal="g", memory="last"), None) == ""


@given(st.integers(0, 20_000))
def test_what_is_remembered_is_bounded(length: int) -> None:
    remembered = prompt.remembered(Task(goal="g", memory="last"), before(summary="x" * length))
    assert remembered.count("x") == min(length, prompt.NOTE_LIMIT)


def test_a_new_chapter_begins_with_the_goal_then_what_was_made_then_what_was_summed_up() -> None:
    goal = Message("user", (prompt.text("the goal"), prompt.text("the memory")))
    said = prompt.next_chapter(goal, "  half done \n", ["SEND {}: done", "SEND {}: unknown"])
    assert said.content[:2] == goal.content
    assert "\n- SEND {}: done\n- SEND {}: unknown\n" in said.content[2]["text"]
    assert said.content[2]["text"].endswith("\n\nhalf done")


def test_a_new_chapter_says_that_nothing_was_made_and_nothing_summed_up() -> None:
    said = words(prompt.next_chapter(prompt.user("goal"), "  ", ()))
    assert "\n- none\n" in said
    assert said.endswith("(nothing)")


def test_the_note_tool_says_its_limit_and_takes_one_text() -> None:
    assert f"{prompt.NOTE_LIMIT:,}" in prompt.KEEP_NOTE.description
    assert prompt.KEEP_NOTE.effect == "idempotent"
    assert json.loads(json.dumps(prompt.KEEP_NOTE.input_schema))["required"] == ["text"]

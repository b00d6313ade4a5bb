"""What histories say, old and new, readable or not: told in order, in the result's own words, and never too long."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue, TypeAdapter
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import TimeoutType, WorkflowTaskFailedCause
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter

from gateway.happenings import (
    ANOTHER_VERSION,
    LONG,
    SHORT,
    ApprovalTold,
    CallTold,
    Cut,
    DoneTold,
    Happening,
    HappeningList,
    Place,
    ResultTold,
    StatusTold,
    Told,
    TroubleTold,
    TurnTold,
    place_of,
    without_addresses,
)
from gateway.opened import Unreadable, why_failed
from gateway.story import Story
from schemas import wire

HISTORIES = sorted((Path(__file__).parents[1] / "temporal" / "histories").glob("*.json"))
RUNS = [path for path in HISTORIES if not path.stem.endswith((wire.EFFECT, wire.TELL))]
ENDED = [path for path in RUNS if "first-chapter" not in path.stem]
NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)

Open = Callable[[Payload], object]


def plain(payload: Payload) -> Any:
    return pydantic_data_converter.payload_converter.from_payload(payload)


def events(path: Path) -> list[HistoryEvent]:
    return list(WorkflowHistory.from_json("run", path.read_text()).events)


def tell(history: list[HistoryEvent], opened: Open = plain) -> list[Told]:
    story = Story()
    return [told for each in history for told in story.tell(each, [opened(p) for p in story.sealed(each)])]


def recorded(name: str) -> list[Told]:
    (path,) = (path for path in HISTORIES if path.stem == name)
    return tell(events(path))


def shown(told: list[Told]) -> Iterator[str]:
    """Each as one word and what sets it apart."""
    for each in told:
        match each:
            case StatusTold():
                yield f"{each.what}: {each.status}"
            case TurnTold():
                yield f"turn {each.turn}"
            case CallTold():
                yield f"call {each.call} {each.tool}"
            case ResultTold():
                yield f"result {each.call} {each.state}"
            case ApprovalTold():
                yield f"{each.what} {each.kind}"
            case TroubleTold():
                yield f"trouble {each.what}"
            case DoneTold():
                yield f"done {each.status}"


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_every_recorded_history_is_told_in_order(path: Path) -> None:
    told = tell(events(path))
    places = [place_of(each.id) for each in told]
    assert places == sorted(set(places))
    assert told
    assert HappeningList.model_validate_json(
        HappeningList(data=tuple(told), next=None).model_dump_json()
    ).data == tuple(told)


@pytest.mark.parametrize("path", ENDED, ids=lambda path: path.stem)
def test_it_ends_in_the_words_of_its_result(path: Path) -> None:
    history = events(path)
    result = plain(history[-1].workflow_execution_completed_event_attributes.result.payloads[0])
    *before, done = tell(history)
    assert isinstance(done, DoneTold)
    assert not [each for each in before if isinstance(each, DoneTold)]
    words = ("status", "reason", "summary", "cost_usd")
    assert {word: getattr(done, word) for word in words} == {word: result[word] for word in words}
    assert done.usage is not None
    assert done.usage.model_dump() == result["usage"]
    assert not done.unreadable


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_every_turn_and_every_call_has_its_end(path: Path) -> None:
    told = tell(events(path))
    wanted = sum(len(each.tools) for each in told if isinstance(each, TurnTold))
    results = [each for each in told if isinstance(each, ResultTold)]
    made = [each for each in told if isinstance(each, CallTold)]
    assert len(results) == wanted
    for call in made:
        assert [r.tool for r in results if r.call == call.call and place_of(r.id) > place_of(call.id)][:1] == [
            call.tool
        ]


@pytest.mark.parametrize("path", ENDED, ids=lambda path: path.stem)
def test_without_its_key_a_history_is_told_as_far_as_it_is_plain(path: Path) -> None:
    def sealed(payload: Payload) -> object:
        return plain(payload) if "type" in payload.metadata else Unreadable("no key named k1 is configured")

    readable, told = tell(events(path)), tell(events(path), sealed)
    end, done = readable[-1], told[-1]
    assert isinstance(end, DoneTold)
    assert isinstance(done, DoneTold)
    assert done.status == end.status
    assert done.reason == "its result cannot be read: no key named k1 is configured"
    assert {each.unreadable for each in told if not isinstance(each, StatusTold | TroubleTold)} == {
        "no key named k1 is configured"
    }


def test_an_approved_call_is_asked_decided_and_made() -> None:
    told = recorded("an-approved-call")
    assert list(shown(told)) == [
        "started: queued",
        "changed: running",
        "turn 1",
        "call c0 READ",
        "result c0 done",
        "changed: waiting",
        "asked approval",
        "decided approval",
        "changed: running",
        "call c1 DESTRUCTIVE",
        "result c1 done",
        "turn 2",
        "done succeeded",
    ]
    asked, decided = (each for each in told if isinstance(each, ApprovalTold))
    assert (asked.question, asked.arguments, asked.approve) == (decided.question, {"n": 1}, None)
    assert (decided.approve, decided.by, decided.tool) == (True, "ada", "DESTRUCTIVE")


def test_a_connection_is_asked_for_once_and_closed_when_it_is_there() -> None:
    told = recorded("a-connection-that-was-waited-for")
    assert [each for each in shown(told) if "connection" in each] == ["asked connection", "closed connection"]


def test_what_was_tried_again_says_what_failed_before() -> None:
    told = recorded("a-retried-turn-and-read")
    troubles = [(each.what, each.why, each.tried_again) for each in told if isinstance(each, TroubleTold)]
    assert troubles == [("turn 1", "overloaded", True), ("READ", "flaky", True)]
    assert [each.attempt for each in told if isinstance(each, TurnTold | ResultTold)] == [2, 2, 1]


def test_a_call_that_the_run_refused_itself_has_a_result() -> None:
    told = recorded("a-refused-and-an-unknown-write")
    states = [(each.call, each.tool, each.state) for each in told if isinstance(each, ResultTold)]
    assert states == [("c0", "WRITE", "unknown"), ("d0", "WRITE", "refused"), ("d1", "DESTRUCTIVE", "refused")]


def test_a_run_that_was_set_back_says_so_in_a_chapter_of_its_own() -> None:
    told = recorded("set-back-before-a-write")
    assert list(shown(told))[:2] == ["started: queued", "set_back: queued"]
    first, second, *_ = (place_of(each.id).chapter for each in told)
    assert first < second
    assert {place_of(each.id).chapter for each in told[1:]} == {second}
    assert "trouble WRITE" in shown(told)


def test_a_new_history_is_no_start_but_a_new_try_is_told() -> None:
    assert list(shown(recorded("summed-up"))) == ["turn 4", "done succeeded"]
    event = HistoryEvent(event_id=1)
    event.event_time.FromDatetime(NOW)
    begun = event.workflow_execution_started_event_attributes
    begun.continued_execution_run_id = "before"
    begun.search_attributes.indexed_fields[wire.STATUS].data = b'"running"'
    begun.first_workflow_task_backoff.FromTimedelta(timedelta(seconds=15))
    assert list(shown(tell([event]))) == ["tried_again: running"]


def test_a_summary_for_a_new_beginning_is_told_as_such() -> None:
    turns = [each.sums_up for each in recorded("summed-up-first-chapter") if isinstance(each, TurnTold)]
    assert turns == [False, False, True]


def test_a_worker_that_cannot_go_on_is_trouble() -> None:
    event = HistoryEvent(event_id=4)
    event.workflow_task_failed_event_attributes.cause = (
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR
    )
    event.workflow_task_failed_event_attributes.failure.message = "secret-internal-detail"
    (told,) = tell([event])
    assert isinstance(told, TroubleTold)
    assert (told.what, "secret" in told.why) == ("the run", False)


@pytest.mark.parametrize(
    ("attributes", "status", "reason"),
    [
        ("workflow_execution_terminated", "failed", "terminated in Temporal"),
        ("workflow_execution_timed_out", "failed", "timed out in Temporal"),
        ("workflow_execution_canceled", "cancelled", "cancelled in Temporal"),
        (
            "workflow_execution_failed",
            "failed",
            "failed in Temporal before it could report; the worker's log says why",
        ),
    ],
)
def test_an_end_from_outside_is_an_end(attributes: str, status: str, reason: str) -> None:
    event = HistoryEvent(event_id=9)
    getattr(event, f"{attributes}_event_attributes").SetInParent()
    (told,) = tell([event])
    assert isinstance(told, DoneTold)
    assert (told.status, told.reason) == (status, reason)


# --- what is not as it should be ---

WORDS = ("turn", "id", "tool", "toolkit", "effect", "arguments", "content", "type", "text", "tool_use", "usage", "new")
MORE = ("status", "reason", "summary", "state", "approve", "by", "task", "source", "kind", "since", "cost_usd", "input")
KEYS = st.sampled_from((*WORDS, *MORE)) | st.text(max_size=3)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(1, 9).map(lambda n: n * 10**5000)
    | st.floats()
    | st.sampled_from(("\ud83d", "x" * (LONG + 1), "tool_use", "tool_result", "text", "waiting", "succeeded"))
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=12,
)


def too_long(told: object) -> bool:
    if isinstance(told, str):
        return len(told) > LONG
    if isinstance(told, dict):
        return any(too_long(each) for pair in told.items() for each in pair)
    return any(map(too_long, told)) if isinstance(told, list) else False


@settings(max_examples=300)
@given(path=st.sampled_from(HISTORIES), data=st.data())
def test_whatever_stands_where_a_payload_should_be_it_is_told(path: Path, data: st.DataObject) -> None:
    """Half of the payloads are changed in one place, or are something else altogether."""

    def broken(payload: Payload) -> object:
        said = plain(payload)
        match data.draw(st.sampled_from(("as it is", "as it is", "other", "field", "unreadable"))):
            case "other":
                return data.draw(VALUES)
            case "field" if isinstance(said, dict) and said:
                return said | {data.draw(st.sampled_from(sorted(said))): data.draw(VALUES)}
            case "unreadable":
                return Unreadable()
            case _:
                return said

    told = tell(events(path), broken)
    places = [place_of(each.id) for each in told]
    assert places == sorted(set(places))
    for each in told:
        assert not too_long(json.loads(each.model_dump_json()))
    if "first-chapter" not in path.stem:
        assert isinstance(told[-1], DoneTold)


def test_a_result_of_another_version_is_told_as_such() -> None:
    (path,) = (path for path in ENDED if path.stem == "an-answer-at-once")

    def other(payload: Payload) -> object:
        said = plain(payload)
        return {"outcome": "good"} if isinstance(said, dict) and "summary" in said else said

    done = tell(events(path), other)[-1]
    assert isinstance(done, DoneTold)
    # The status is known all the same: the run wrote it where everybody can read it.
    assert (done.status, done.reason) == ("succeeded", "its result was written by another version of Goalfile")
    assert done.unreadable == ANOTHER_VERSION


# --- what may be told ---


@given(st.recursive(VALUES, st.lists, max_leaves=3))
def test_arguments_are_json_of_a_moderate_size(said: Any) -> None:
    cut = Cut()
    shown = cut.arguments({"given": said})
    assert not too_long(json.loads(json.dumps(shown, allow_nan=False)))
    assert len(json.dumps(shown, ensure_ascii=False)) < 12 * LONG
    TypeAdapter(dict[str, JsonValue]).validate_python(shown)


def test_arguments_are_told_as_they_are_if_they_are_short() -> None:
    cut, said = Cut(), {"path": "some/x", "n": 1, "deep": [{"a": None, "b": [True, 0.5]}]}
    assert (cut.arguments(said), cut.clipped) == (said, False)


@pytest.mark.parametrize(
    "said",
    [
        {"text": "x" * (SHORT + 1)},
        {str(n): "x" * SHORT for n in range(9)},
        {"n": 10**400},
        {"list": [0] * 201},
        json.loads('{"a":' * 30 + "1" + "}" * 30),
    ],
    ids=["a long text", "many texts", "a number without end", "a long list", "deep"],
)
def test_what_is_left_out_of_arguments_is_said_to_be(said: Any) -> None:
    cut = Cut()
    cut.arguments(said)
    assert cut.clipped


def test_a_text_loses_what_looks_like_a_secret_and_half_characters() -> None:
    cut = Cut()
    assert cut.text("use xoxb-1234567890-abcdef now") == "use [secret] now"
    assert cut.text("half \ud83d") == "half ?"
    assert not cut.clipped
    assert cut.text("x" * 20, 10) == "x" * 10
    assert cut.clipped
    assert (cut.text(None), cut.text(7)) == ("", "")


@pytest.mark.parametrize(
    "address",
    [
        "api.anthropic.com",
        "https://user:pw@vendor.example/path?key=1",
        "10.0.0.7",
        "10.0.0.7:7233",
        "[::1]:7233",
        "fe80::1",
        "localhost:7233",
        "temporal-frontend.temporal.svc.cluster.local:7233",
        "db.internal",
    ],
)
def test_what_failed_does_not_name_the_machine_it_failed_at(address: str) -> None:
    assert without_addresses(f"cannot reach {address} (refused)") == "cannot reach [address] (refused)"


@pytest.mark.parametrize(
    "said",
    [
        "`limits.cost_usd` is 5, and this server allows 2: ask for less",
        "name its price in goalfile.config.yaml under model.prices",
        "channel ops answered 404: check its address and its secret",
        "it timed out (schedule to close); before that: TransientError: overloaded",
        "it waits until 12:30, or 12:30:45",
        "limit reached: $0.5; version 1.2.3",
    ],
)
def test_what_is_no_address_stays(said: str) -> None:
    assert without_addresses(said) == said


@pytest.mark.parametrize(
    ("kind", "message", "why"),
    [
        ("PermanentError", "the key is not valid", "the key is not valid"),
        (
            "TransientError",
            "cannot reach api.anthropic.com (xoxb-1234567890-abcdef)",
            "cannot reach [address] ([secret])",
        ),
        ("WorkerShutdown", "x", "the worker was stopped in the middle of it"),
        ("KeyError", "'secret-internal-detail'", "something unforeseen went wrong; the worker's log says what"),
    ],
)
def test_a_failure_is_repeated_only_if_it_was_written_for_people(kind: str, message: str, why: str) -> None:
    failure = Failure(message=message, stack_trace='File "secret.py"')
    failure.application_failure_info.type = kind
    assert why_failed(failure, []) == why


def test_a_lost_worker_says_what_failed_before() -> None:
    failure = Failure(message="activity Heartbeat timeout")
    failure.timeout_failure_info.timeout_type = TimeoutType.TIMEOUT_TYPE_HEARTBEAT
    failure.cause.message = "overloaded"
    failure.cause.application_failure_info.type = "TransientError"
    assert why_failed(failure, []) == "the worker was lost in the middle of it; before that: overloaded"


def test_an_encrypted_failure_is_read_from_where_its_words_are() -> None:
    failure = Failure(message="Encoded failure", encoded_attributes=Payload(data=b"sealed"))
    failure.application_failure_info.type = "PermanentError"
    assert why_failed(failure, [{"message": "the key is not valid"}]) == "the key is not valid"
    assert why_failed(failure, [Unreadable("no key named k1")]) == "why cannot be read here: no key named k1"


# --- places ---


@given(*(st.integers(0, 10**9) for _ in range(2)), st.integers(0, 99_999))
def test_a_place_is_found_again(chapter: int, event: int, number: int) -> None:
    place = Place(chapter, event, number)
    assert place_of(str(place)) == place


@pytest.mark.parametrize(
    "said",
    ["", "1", "1-2", "1-2-3-4", "a-1-1", "1--1", "-1-2-3", " 1-2-3", "1-2-3\n", "\u0661-2-3", "1-2-9999999", "9" * 99],
)
def test_what_is_no_place_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match="not a place"):
        place_of(said)


def test_every_kind_of_happening_is_named_once() -> None:
    kinds = get_args(Told)
    names = [kind.model_fields["event"].default for kind in kinds]
    assert names == ["status", "turn", "tool_call", "tool_result", "approval", "trouble", "done"]
    assert all(issubclass(kind, Happening) for kind in kinds)

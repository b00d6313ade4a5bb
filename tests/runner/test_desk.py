"""What a person's word is good for: one question, exactly as it stands, once and in time."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.desk import Desk, NotWaiting, connections, questions
from runner.effects import fingerprint
from runner.moves import Person
from runner.ports import Missing, ToolCall
from schemas.run import Decision, Waiting

SINCE = datetime(2026, 11, 22, 9, tzinfo=UTC)
UNTIL = SINCE + timedelta(hours=24)
DROP = ToolCall("c0", "DROP", "box", "destructive", {"n": 1}, "e1")


def asked(kind: str = "approval", *calls: ToolCall) -> tuple[Waiting, ...]:
    return questions(Person(kind, calls or (DROP,), "why"), SINCE, UNTIL, "http://here/runs/r")  # type: ignore[arg-type]


def open_desk(*waiting: Waiting) -> Desk:
    desk = Desk()
    desk.open(waiting or asked())
    return desk


def word(on: Waiting, *, approve: bool = True, by: str = "ada") -> Decision:
    return Decision(id=on.id, fingerprint=on.fingerprint, approve=approve, by=by)


def refusal(desk: Desk, decision: Decision, now: datetime = SINCE) -> str:
    with pytest.raises(NotWaiting) as said:
        desk.check(decision, now)
    return str(said.value)


def test_a_question_shows_exactly_what_would_be_called() -> None:
    (question,) = asked()
    assert (question.tool, question.toolkit, question.arguments) == ("DROP", "box", {"n": 1})
    assert question.fingerprint == fingerprint("DROP", {"n": 1})
    assert (question.id, question.since, question.until) == ("e1", SINCE, UNTIL)
    assert (question.why, question.link) == ("why", "http://here/runs/r")


def test_an_approval_and_a_question_about_the_same_call_are_two_questions() -> None:
    assert asked("approval")[0].id != asked("unknown")[0].id


def test_a_word_that_fits_is_taken() -> None:
    desk, (question,) = open_desk(), asked()
    desk.check(word(question), UNTIL - timedelta(microseconds=1))
    desk.take(word(question))
    assert desk.decisions["e1"].approve


def test_nothing_of_that_id_waits() -> None:
    assert "nothing of that id" in refusal(open_desk(), Decision(id="e2", fingerprint="", approve=True))


def test_the_first_word_wins_and_the_second_hears_whose_it_was() -> None:
    desk, (question,) = open_desk(), asked()
    desk.take(word(question, approve=False, by="ada"))
    assert refusal(desk, word(question, by="bob")) == "it was already denied by ada"
    desk.take(word(question, by="bob"))  # checked before the other one was taken
    assert not desk.decisions["e1"].approve
    desk.close(["e1"])
    assert refusal(desk, word(question, by="bob")) == "it was already denied by ada"


def test_a_word_without_a_name_is_told_without_one() -> None:
    desk, (question,) = open_desk(), asked()
    desk.take(word(question, by=""))
    assert refusal(desk, word(question)) == "it was already approved"


@pytest.mark.parametrize("late", [timedelta(), timedelta(days=1)])
def test_a_word_after_the_time_is_refused(late: timedelta) -> None:
    assert refusal(open_desk(), word(asked()[0]), UNTIL + late) == "its time is over"


def test_a_question_that_was_closed_without_a_word_says_so() -> None:
    desk = open_desk()
    desk.close(["e1", "never there"])
    assert refusal(desk, word(asked()[0])) == "it was already closed: its time was over"


def test_a_word_about_other_arguments_is_refused() -> None:
    (question,) = asked()
    other = word(question).model_copy(update={"fingerprint": fingerprint("DROP", {"n": 2})})
    assert "other arguments" in refusal(open_desk(), other)
    assert "other arguments" in refusal(open_desk(), other.model_copy(update={"fingerprint": ""}))


def test_a_connection_is_not_approved_into_being() -> None:
    desk = open_desk(*connections((Missing("gmail", "http://connect"),), SINCE, UNTIL))
    assert "waits for a connection of gmail" in refusal(desk, Decision(id="gmail", fingerprint="", approve=True))


def test_what_is_still_missing_keeps_its_time_and_its_link() -> None:
    desk = open_desk(*connections((Missing("gmail", "http://first"), Missing("slack")), SINCE, UNTIL))
    later = SINCE + timedelta(hours=1)
    (gmail,) = desk.still_missing((Missing("gmail"),), later, UNTIL)
    assert (gmail.since, gmail.link) == (SINCE, "http://first")
    assert desk.waiting == {}, "what is connected by now is not waited for"
    desk.open((gmail,))
    (renewed,) = desk.still_missing((Missing("gmail", "http://second"),), later, UNTIL)
    assert (renewed.since, renewed.link) == (SINCE, "http://second")


def test_what_is_newly_missing_is_asked_from_now_on() -> None:
    later = SINCE + timedelta(hours=1)
    assert Desk().still_missing((Missing("gmail"),), later, UNTIL)[0].since == later


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["e1", "e2", "e3"]),
            st.booleans(),
            st.sampled_from([0, 1, 23, 24, 30]),
            st.sampled_from(["said", "said", "said", "closed"]),
        ),
        max_size=12,
    )
)
def test_a_word_counts_once_in_time_and_never_changes(course: list[tuple[str, bool, int, str]]) -> None:
    calls = tuple(ToolCall("c", "DROP", "box", "destructive", {"of": each}, each) for each in ("e1", "e2"))
    asked_now = {each.id: each for each in asked("approval", *calls)}
    desk, first, closed = open_desk(*asked_now.values()), dict[str, bool](), set[str]()
    for name, approve, hours, what in course:
        if what == "closed":
            desk.close([name])
            closed.add(name)
            continue
        question = asked_now.get(name)
        print_ = question.fingerprint if question else "?"
        decision = Decision(id=name, fingerprint=print_, approve=approve)
        if question is None or name in first or name in closed or hours >= 24:
            refusal(desk, decision, SINCE + timedelta(hours=hours))
        else:
            desk.check(decision, SINCE + timedelta(hours=hours))
            desk.take(decision)
            first[name] = approve
        assert {each: said.approve for each, said in desk.decisions.items()} == first

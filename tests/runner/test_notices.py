"""Who is told what, how often, and in which words."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.notices import TITLE, body, payload, same_failure, title, whom_to_tell
from schemas.run import Notice, NoticeKind, Outcome, Waiting
from schemas.task import Notify

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)
LINK = "https://goals.acme.example/runs/digest-1"
FAILURES: tuple[Outcome, ...] = ("failed", "stopped")
TOLD = {1, 5, 10, 20, 50, *range(100, 1001, 100)}

channels = st.lists(
    st.builds(Notify, to=st.sampled_from("abc"), when=st.sampled_from(["always", "success", "failure"])), max_size=6
).map(tuple)
outcomes = st.sampled_from(get_args(Outcome))


def notice(kind: NoticeKind = "run.failed", **said: Any) -> Notice:
    given = {"id": "1", "type": kind, "at": AT, "task": "digest", "run": "digest-1"}
    return Notice.model_validate({**given, **said})


def waits(kind: str = "approval", **said: Any) -> Waiting:
    until = AT + timedelta(hours=24)
    given = {"kind": kind, "id": "e1", "toolkit": "gmail", "tool": "GMAIL_DELETE_THREAD", "since": AT, "until": until}
    return Waiting.model_validate({**given, **said})


def hearing(notify: tuple[Notify, ...], *when: str) -> set[str]:
    return {each.to for each in notify if each.when in when}


@given(channels, outcomes, st.integers(0, 1000), st.integers(0, 1000))
def test_no_channel_is_told_twice_and_none_that_did_not_ask(
    notify: tuple[Notify, ...], status: Outcome, in_a_row: int, before: int
) -> None:
    told = [to for to, _ in whom_to_tell(notify, status, in_a_row, before)]
    assert len(told) == len(set(told))
    assert set(told) <= hearing(notify, "always", "success", "failure")


@given(channels)
def test_each_outcome_is_told_to_those_who_want_to_hear_it(notify: tuple[Notify, ...]) -> None:
    for status in FAILURES:
        told = dict(whom_to_tell(notify, status, 1, 0))
        assert set(told) == hearing(notify, "always", "failure")
        assert set(told.values()) <= {f"run.{status}"}
    assert set(whom_to_tell(notify, "succeeded", 0, 0)) == {
        (to, "run.succeeded") for to in hearing(notify, "always", "success")
    }
    assert set(whom_to_tell(notify, "cancelled", 3, 3)) == {(to, "run.cancelled") for to in hearing(notify, "always")}


@given(channels, st.sampled_from(FAILURES))
def test_of_a_thousand_equal_failures_fifteen_are_told(notify: tuple[Notify, ...], status: Outcome) -> None:
    said = [n for n in range(1, 1001) if whom_to_tell(notify, status, n, n - 1)]
    assert said == (sorted(TOLD) if hearing(notify, "always", "failure") else [])


@given(channels, st.lists(st.booleans(), max_size=30))
def test_a_recovery_is_told_once_to_all_who_hear_of_failures(notify: tuple[Notify, ...], worked: list[bool]) -> None:
    before, broken = 0, False
    for good in worked:
        in_a_row = 0 if good else before + 1
        told = whom_to_tell(notify, "succeeded" if good else "failed", in_a_row, before)
        recovered = {to for to, kind in told if kind == "run.recovered"}
        assert recovered == (hearing(notify, "always", "failure") if good and broken else set())
        others = {to for to, kind in told if kind == "run.succeeded"}
        assert others == (hearing(notify, "always", "success") - recovered if good else set())
        before, broken = in_a_row, not good


def test_a_failure_of_a_run_that_is_not_counted_is_told() -> None:
    assert whom_to_tell((Notify(to="ops"),), "failed", 0, 0) == (("ops", "run.failed"),)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("limit turns=60 reached", "limit turns=30 reached"),
        ("at 2026-11-22T09:00:00Z it broke", "at 2026-11-23 10:00:00+01:00 it broke"),
        ("try after Sun, 22 Nov 2026 09:00:00 GMT", "try after Mon, 23 Nov 2026 10:30:00 GMT"),
        ("no answer from https://a.example/x?1", "no answer from https://b.example/y"),
        ("overloaded (req_011CSHoEeqs5C35K2UUq)", "overloaded (req_011CSHabcdefghijklmn)"),
        ("connection ca_AbCdEfGhIjKl is gone", "connection ca_ZyXwVuTsRqPo is gone"),
        ("7f0c1f5e-65a3-4c52-9d0e-3a1b2c3d4e5f is gone", "aaaaaaaa-65a3-4c52-9d0e-3a1b2c3d4e5f is gone"),
        ("commit 0a1b2c3 has no file", "commit ffe9918 has no file"),
        ("it broke, request id: abcdef", "it broke, request id: uvwxyz"),
        ("took 12.5 s", "took 1,300 s"),
        ("The model  refused", "the model refused"),
    ],
)
def test_failures_are_equal_up_to_what_varies_by_itself(one: str, other: str) -> None:
    assert same_failure(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("the model refused", "the model is unknown"),
        ("gmail is not connected", "slack is not connected"),
        ("the tool S3_PUT_OBJECT failed", "the tool EC2_START_INSTANCE failed"),
        ("the request idles", "the request idols"),
        ("RateLimitError of the model", "OverloadedError of the model"),
        ("", "the model refused"),
    ],
)
def test_failures_of_another_kind_differ(one: str, other: str) -> None:
    assert not same_failure(one, other)


@given(st.text(), st.text(), st.integers(0, 10**9), st.integers(0, 10**9))
def test_being_the_same_failure_is_symmetric_and_no_number_counts(one: str, other: str, a: int, b: int) -> None:
    assert same_failure(one, one)
    assert same_failure(one, other) == same_failure(other, one)
    assert same_failure(f"limit {a} of {b}", f"limit {b} of {a}")


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (notice(reason="the model refused"), "✗ digest failed: the model refused"),
        (notice(reason="the model\nrefused", in_a_row=5), "✗ digest still failing, 5 in a row: the model refused"),
        (notice("run.stopped", reason="limit turns=30"), "✗ digest stopped: limit turns=30"),
        (notice("run.cancelled", reason="by ada"), "✗ digest cancelled: by ada"),
        (notice("run.cancelled", task=""), "✗ ad-hoc cancelled"),
        (notice("run.succeeded", summary="all is well"), "✓ digest succeeded"),
        (notice("run.recovered"), "✓ digest works again"),
        (notice("run.waiting", waiting=(waits(), waits())), "! digest waits for you: GMAIL_DELETE_THREAD"),
        (notice("run.waiting", waiting=(waits("connection", tool=""),)), "! digest waits for you: gmail"),
        (notice("schedule.paused", reason="it failed 5 times"), "! digest is paused: it failed 5 times"),
        (notice(reason="x" * 200), f"✗ digest failed: {'x' * 102}…"),
    ],
)
def test_a_title_says_it_in_one_line(told: Notice, line: str) -> None:
    assert title(told) == line


@given(st.sampled_from(get_args(NoticeKind)), st.text(), st.text(), st.text())
def test_a_title_is_one_short_line_and_no_text_hides_a_part_of_itself(
    kind: NoticeKind, task: str, reason: str, summary: str
) -> None:
    told = notice(kind, task=task, reason=reason, summary=summary, waiting=(waits(tool=reason, why=summary),))
    assert 0 < len(title(told)) <= TITLE
    assert title(told).isprintable()
    assert all(c.isprintable() or c in "\n\t" or c.isspace() for c in body(told))


def test_a_body_says_what_happened_first_and_what_the_model_said_last() -> None:
    told = notice(
        reason="the model refused",
        summary="I did  not.\n",
        output={"count": 3},
        in_a_row=5,
        unknown=("A_SEND", "B_POST"),
        link=LINK,
        cost_usd=0.0123,
    )
    assert body(told).split("\n\n") == [
        "the model refused",
        "still failing, 5 in a row",
        "Nobody knows whether these took effect; look before you run it again: A_SEND, B_POST",
        LINK,
        "I did  not.",
        '{\n  "count": 3\n}',
        "cost: $0.0123",
    ]


def test_what_waits_is_shown_with_its_exact_arguments_and_its_end() -> None:
    arguments = {"thread": "19a\u202e", "to": "@channel", "html": "<!here> [a](http://b.example)"}
    text = body(notice("run.waiting", reason="approval", waiting=(waits(arguments=arguments, why="it is old"),)))
    _, asked = text.split("\n\n")
    head, *lines, until = asked.splitlines()
    assert head == "Asks to call GMAIL_DELETE_THREAD: it is old"
    assert until == "until 2026-11-23 09:00 UTC"
    shown = "\n".join(lines)
    assert json.loads(shown) == arguments
    assert not any(live in shown for live in ("\u202e", "@", "<!", "]("))


def test_arguments_that_are_too_long_say_so() -> None:
    text = body(notice("run.waiting", waiting=(waits(arguments={"text": "x" * 5000}),)))
    assert "… (3516 more characters)" in text


def test_a_connection_that_is_missing_is_shown_with_its_link() -> None:
    link = "https://connect.example/gmail?u=a@b"
    text = body(notice("run.waiting", waiting=(waits("connection", tool="", link=link),)))
    assert text.splitlines() == ["Needs gmail to be connected", link, "until 2026-11-23 09:00 UTC"]


def test_a_call_with_an_unknown_outcome_asks_whether_to_make_it_again() -> None:
    text = body(notice("run.waiting", waiting=(waits("unknown"),)))
    assert text.startswith(
        "Nobody knows whether GMAIL_DELETE_THREAD took effect; to approve is to have it called again"
    )


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("@channel look", "@ channel look"),
        ("@everyone", "@ everyone"),
        ("(@here)", "(@ here)"),
        ("@**all**", "@ **all**"),
        ("<!channel> <@U1> <#C1>", "< !channel> < @ U1> < #C1>"),
        ("<b>bold</b>", "< b>bold< /b>"),
        ("[Sign in](https://evil.example)", "[Sign in] (https://evil.example)"),
        ("ada@acme.example", "ada@acme.example"),
        ("1 < 2 and [x] (y)", "1 < 2 and [x] (y)"),
        ("a\u202eb\u200bc\x1b[31m", "a\\u202eb\\u200bc\\u001b[31m"),
        ("tag\U000e0041", "tag\\udb40\\udc41"),
        ("one\r\ntwo\rthree", "one\ntwo\\u000dthree"),
        ("\u3164x", "\\u3164x"),
        ("naïve 🎉 日本", "naïve 🎉 日本"),
    ],
)
def test_what_a_model_wrote_is_shown_and_does_nothing(said: str, shown: str) -> None:
    assert body(notice("run.succeeded", summary=said)) == shown


def test_a_long_summary_is_clipped() -> None:
    assert body(notice(summary="x" * 2100)) == f"{'x' * 2000}… (100 more characters)"


def test_a_payload_is_what_standard_webhooks_recommends() -> None:
    told = notice(
        "run.waiting", reason="approval", output={"a": None}, waiting=(waits(arguments={"x": "\u202e"}),), link=LINK
    )
    said = json.loads(json.dumps(payload(told)))
    assert list(said) == ["type", "timestamp", "data"]
    assert (said["type"], said["timestamp"]) == ("run.waiting", "2026-11-22T09:00:00Z")
    data = said["data"]
    assert (data["title"], data["task"], data["run"], data["link"]) == (title(told), "digest", "digest-1", LINK)
    assert data["waiting"][0]["arguments"] == {"x": "\u202e"}
    assert data["waiting"][0]["until"] == "2026-11-23T09:00:00Z"
    assert data["output"] == {"a": None}

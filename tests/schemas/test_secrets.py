import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.load import load_task
from schemas.secrets import secrets_in


@pytest.mark.parametrize(
    "value",
    [
        "xoxb-1234567890-abcdefghij",
        "https://hooks.slack.com/services/T0/B0/x",
        "https://discord.com/api/webhooks/123/abc",
        "ghp_" + "a" * 36,
        "github_pat_" + "a" * 30,
        "sk-ant-" + "a" * 30,
        "whsec_" + "a" * 32,
        "AKIA" + "A" * 16,
        "-----BEGIN RSA PRIVATE KEY-----",
    ],
)
def test_what_looks_like_a_secret_is_found_anywhere_in_a_file(value: str) -> None:
    for text in (f"goal: use {value} now\n", f"goal: x\ninputs: {{a: ['{value}']}}\n", f"goal: |\n  line\n  {value}\n"):
        loaded = load_task(text.encode(), "a.yaml")
        assert [problem.code for problem in loaded.problems] == ["secret-in-file"]
        assert loaded.task is None
        assert value not in loaded.problems[0].full(text)


BROKEN = ["goal: x\ngoal: {}\n", "goal: [{}\n", "goal: x\n---\ntoken: {}\n", "goal: &a {}\nx: *a\n"]


@pytest.mark.parametrize("text", BROKEN)
def test_no_problem_shows_a_line_with_a_secret(text: str) -> None:
    text = text.format("xoxb-1234567890-abcdefghij")
    problems = load_task(text.encode(), "a.yaml").problems
    assert problems
    assert "xoxb-" not in "".join(problem.full(text) for problem in problems)


def test_a_wrong_file_with_a_secret_says_nothing_that_could_repeat_it() -> None:
    value = "xoxb-1234567890-abcdefghij"
    text = f"goal: x\ntoken: {value}\nname: {value}\ntimezone: {value}\n"
    loaded = load_task(text.encode(), "a.yaml")
    assert {problem.code for problem in loaded.problems} == {"secret-in-file"}
    assert value not in "".join(problem.full(text) + problem.message for problem in loaded.problems)


@pytest.mark.parametrize("value", ["a task-list for sk-8ers", "the ghp_ prefix", "see hooks.slack.com", "whsec_"])
def test_talking_about_secrets_is_no_secret(value: str) -> None:
    assert not list(secrets_in({"goal": value}))


@given(st.recursive(st.text(max_size=5) | st.integers(), lambda inner: st.lists(inner, max_size=3)))
def test_plain_values_are_left_alone(value: object) -> None:
    assert not list(secrets_in(value))

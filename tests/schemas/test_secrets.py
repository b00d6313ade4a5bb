import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.load import load_task
from schemas.secrets import secret_in, secrets_in


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
    assert not secret_in(value)


@pytest.mark.parametrize(
    "text",
    ["goal: x  # {}\n", "# {}\ngoal: x\n", "goal: x\n{}: y\n", 'goal: "\\x78{}"\n', 'goal: "xo\\\n  {}"\n'],
    ids=["comment", "first line", "key", "escaped", "continued"],
)
def test_a_secret_hides_nowhere(text: str) -> None:
    value = "xoxb-1234567890-abcdefghij"
    cut = {'goal: "\\x': 1, 'goal: "xo': 2}
    text = text.format(value[next((n for start, n in cut.items() if text.startswith(start)), 0) :])
    problems = load_task(text.encode(), "a.yaml").problems
    assert {problem.code for problem in problems} == {"secret-in-file"}
    assert value[2:] not in "".join(problem.full(text) + problem.message for problem in problems)


def test_a_file_with_a_secret_still_tells_its_name() -> None:
    text = "name: weekly\ngoal: xoxb-1234567890-abcdefghij\n"
    assert load_task(text.encode(), "a.yaml").name == "weekly"


@given(st.text())
def test_what_is_found_is_where_it_says(before: str) -> None:
    value = "AKIA" + "A" * 16
    text = f"{before} {value}"
    assert [text[found.start : found.end] for found in secrets_in(text)][-1] == value

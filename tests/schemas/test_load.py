"""Task files as people write them, right and wrong: each problem names its place and the way out."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codes import CODES
from schemas.document import MAX_BYTES
from schemas.load import Loaded, load_task
from schemas.task import Task

EXAMPLES = sorted((Path(__file__).parents[2] / "tasks").glob("*.yaml"))


def load(text: str | bytes, file: str = "tasks/report.yaml") -> Loaded:
    return load_task(text if isinstance(text, bytes) else text.encode(), file)


def codes(text: str | bytes) -> list[str]:
    return [problem.code for problem in load(text).problems]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_shipped_examples_are_valid(path: Path) -> None:
    loaded = load_task(path.read_bytes(), str(path))
    assert loaded.problems == ()
    assert loaded.task is not None


def test_a_goal_is_enough_and_the_file_names_the_task() -> None:
    assert load("goal: Say hello\n").task == Task(goal="Say hello", name="report")


def test_a_task_with_every_field() -> None:
    task = load(
        """
        version: 1
        name: weekly
        description: d
        goal: "Look at {{ inputs.days }} days since {{ run.previous_at }}"
        toolkit: [gmail, github]
        tools: {allow: "GMAIL_*", ask: "*_SEND_*", deny: [X]}
        cron: ["0 9 * * mon", "@daily"]
        notify: [eng, {to: ops, when: failure}]
        timezone: Europe/Berlin
        jitter: 5m
        overlap: queue
        catchup: 1h
        enabled: false
        run_as: someone
        model: claude-opus-5-5
        approval: {timeout: 2h, otherwise: fail}
        on_unknown: ask
        limits: {turns: 5, timeout: 1h30m, tokens: 5000, cost_usd: 2.5}
        inputs: {days: 7, where: {type: string, default: here}}
        output: {type: object, properties: {count: {type: integer}}}
        memory: notes
        retries: 2
        labels: {team: a}
        """
    ).task
    assert task is not None
    assert task.model_fields_set == Task.model_fields.keys()
    assert [(each.to, each.when) for each in task.notify] == [("eng", "always"), ("ops", "failure")]
    assert (task.tools.ask, task.approval.otherwise, task.limits.cost_usd) == (("*_SEND_*",), "fail", 2.5)
    assert task.limits.timeout.total_seconds() == 5400
    assert task.tools.allow == ("GMAIL_*",)


NIGHT = ("input-without-default", (3, 10), "nobody is there at night")


@pytest.mark.parametrize(
    ("text", "code", "place", "says"),
    [
        ("", "missing-goal", (1, 1), "add a line such as"),
        ("- a\n", "invalid-value", (1, 1), "mapping"),
        ("cron: '0 9 * * *'\n", "missing-goal", (1, 1), "`goal` is missing"),
        ("goal: ''\n", "invalid-value", (1, 7), "say what you want done"),
        ("goal: x\ntoolkits: github\n", "unknown-key", (2, 1), "did you mean `toolkit`?"),
        ("goal: x\nschedule: daily\n", "unknown-key", (2, 1), "did you mean `cron`?"),
        ("goal: x\ntimeout: 5m\n", "unknown-key", (2, 1), "did you mean `limits.timeout`?"),
        ("goal: x\nlimits: {turn: 5}\n", "unknown-key", (2, 10), "did you mean `turns`?"),
        ("goal: x\nxyzzy: 5\n", "unknown-key", (2, 1), "known keys: goal, toolkit"),
        ("goal: x\nlimits:\n  turns: many\n", "invalid-value", (3, 10), "write a whole number from 1 to 500"),
        ("goal: x\nlimits: {timeout: 30}\n", "invalid-value", (2, 19), "a number and a unit"),
        ("goal: x\nlimits: {turns: 501}\n", "invalid-value", (2, 17), "from 1 to 500"),
        ("goal: 5\n", "invalid-value", (1, 7), "write text, in quotes"),
        ("goal: x\nenabled: no\n", "invalid-value", (2, 10), "write true or false, without quotes"),
        ("goal: x\noverlap: all\n", "invalid-value", (2, 10), "write skip, queue, cancel or allow"),
        ("goal: x\ntoolkit: [ok, Not Ok]\n", "invalid-value", (2, 15), "a toolkit is named in lower case"),
        ('goal: x\ncron: "0 25 * * 1"\n', "bad-cron", (2, 10), "hour 25 is out of range 0-23"),
        ("goal: x\ncron: ['0 9 * * *', '0 9 * * 8']\n", "bad-cron", (2, 30), "8"),
        ("goal: x\ntimezone: Berlin\n", "bad-timezone", (2, 11), "Europe/Berlin"),
        ("goal: x {{ inputs.day }}{{ inputs.d }}\ninputs: {d: 1}\n", "unknown-placeholder", (1, 12), "inputs.d"),
        ("goal: '{{ inputs.a }}'\ncron: '@daily'\ninputs: {a: {type: string}}\n", *NIGHT),
        ("goal: x\ninputs: {a: {type: strin}}\n", "bad-schema", (2, 20), "did you mean `string`?"),
        ("goal: x\nname: Not a name\n", "bad-name", (2, 7), "a-z"),
        ("goal: x\ngoal: y\n", "duplicate-key", (2, 1), "first written in line 1"),
        ("goal: &a x\ndescription: *a\n", "alias", (2, 14), "not allowed"),
        ("goal: !!python/name:os.system x\n", "tag", (1, 7), "not allowed"),
        ("goal: x\n---\ngoal: y\n", "two-documents", (2, 1), "one task"),
        ("goal: x\nlimits:\n\tturns: 5\n", "tab-indent", (3, 1), "two spaces"),
        ("goal: [\n", "yaml-syntax", (2, 1), "not YAML"),
        ("goal: x\nnotify: ops@acme.example\n", "invalid-value", (2, 9), "write a channel, or a list"),
        ("goal: x\nnotify: [{to: ops, wen: failure}]\n", "unknown-key", (2, 20), "did you mean `when`?"),
        ("goal: x\ntools: {ask: ['']}\n", "invalid-value", (2, 15), "a pattern over tool names"),
        ("goal: x\napproval: {timeout: 0s}\n", "invalid-value", (2, 21), "at least 1s"),
        ("goal: x\napproval: {otherwise: allow}\n", "invalid-value", (2, 23), "write deny or fail"),
        ("goal: x\non_unknown: guess\n", "invalid-value", (2, 13), "write verify, ask or stop"),
        ("goal: x\nlimits: {cost_usd: 0}\n", "invalid-value", (2, 20), "write a number above 0"),
        ("goal: x\nmemory: all\n", "invalid-value", (2, 9), "write none, last or notes"),
        ("goal: x\nretries: 6\n", "invalid-value", (2, 10), "from 0 to 5"),
        ("goal: x\noutput: {type: string}\n", "invalid-value", (2, 16), "write `type: object`"),
        ("goal: x\noutput: {properties: {}}\n", "missing-key", (2, 9), "write `type: object`"),
    ],
)
def test_each_mistake_has_its_place_and_its_remedy(text: str, code: str, place: tuple[int, int], says: str) -> None:
    problems = load(text).problems
    assert [problem.code for problem in problems] == [code]
    problem = problems[0]
    assert (problem.span.line, problem.span.column) == place
    assert says in f"{problem.message} {problem.label} {problem.help}"
    assert load(text).task is None


def test_all_problems_of_a_file_come_in_one_go() -> None:
    assert codes("gaol: x\ncron: '* *'\nlimits: {turns: x}\n") == ["unknown-key", "bad-cron", "invalid-value"]
    assert codes("goal: x\ncron: '* *'\ntimezone: Mars\n") == ["bad-cron", "bad-timezone"]


def test_yaml_is_read_as_1_2() -> None:
    task = load("goal: x\ninputs: {country: no, at: 12:30, octal: 0o17x}\n").task
    assert task is not None
    assert task.inputs == {"country": "no", "at": "12:30", "octal": "0o17x"}


def test_a_problem_is_shown_with_its_line_and_a_caret() -> None:
    text = 'goal: x\ncron: "0 25 * * 1"\n'
    shown = load(text).problems[0].full(text)
    assert shown.splitlines()[:5] == [
        "error[bad-cron]: hour 25 is out of range 0-23",
        " --> tasks/report.yaml:2:10",
        "  |",
        '2 | cron: "0 25 * * 1"',
        "  |          ^^",
    ]


def test_a_file_that_is_wrong_still_tells_its_name() -> None:
    assert load("goall: x\n").name == "report"
    assert load("name: weekly\ngoall: x\n").name == "weekly"
    assert load("name: weekly\ngoal: [\n").name is None
    assert load("name: Weekly!\ngoal: x\n").name is None


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"goal: " + b"x" * MAX_BYTES, "too-large"),
        (b"[" * 500 + b"]" * 500, "too-deep"),
        (b"[" * 32_000 + b"]" * 32_000, "too-deep"),
        (b"{a: " * 15_000, "too-deep"),
        (b"goal:\n" + b"".join(b" " * i + b"a:\n" for i in range(1, 60)), "too-deep"),
        ("goal: x".encode("utf-16"), "not-utf8"),
        (b"goal: x\nlimits: {turns: " + b"9" * 5000 + b"}\n", "invalid-value"),
        (b"goal: \x00\n", "yaml-syntax"),
        (b"a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "alias"),
        (b"goal: &a [*a]\n", "alias"),
    ],
)
def test_hostile_files_are_problems(raw: bytes, code: str) -> None:
    assert code in codes(raw)


@given(st.binary(max_size=300))
def test_no_bytes_make_the_loader_raise(raw: bytes) -> None:
    loaded = load(raw)
    assert (loaded.task is None) == bool(loaded.problems)


WORDS = "goal cron limits x 1 é null ~ --- ... 0o9 1e999 @daily [ ] { } &a *a !!x | > ' \" # ?"
FRAGMENTS = st.sampled_from(
    [*WORDS.split(), ": ", "\n", "  ", "- ", "? ", "\t", "!!x ", "\u202e", "\x85", "{{ inputs.x }}"]
)


@given(st.lists(FRAGMENTS, max_size=40))
def test_no_text_that_looks_like_yaml_makes_the_loader_raise(parts: list[str]) -> None:
    loaded = load("".join(parts))
    for problem in loaded.problems:
        assert problem.full("".join(parts))
        assert problem.span.line >= 1


WHOLE = """\
name: weekly
goal: |
  Look at {{ inputs.days }} days of {{ inputs.where }}
toolkit: [gmail, github]
tools: {allow: "GMAIL_*", deny: [X]}
cron: ["0 9 * * mon", "@daily"]
notify: [eng, {to: ops, when: failure}]
limits: {turns: 5, timeout: 1h30m, cost_usd: 2.5}
inputs: {days: 7, where: {type: string, enum: [here], default: here}}
output: {type: object, properties: {a: {type: array, items: {type: string}}}}
labels: {team: a}
"""
WORDS_OF_NOISE = (
    "- : *a &a !!x ' \" { } [ ] | # @ null ~ 1e999 -.inf .nan --- ... {{ }} é 😀 <<: ? %YAML default: $ref:"
)
NOISE = st.sampled_from(
    [
        *WORDS_OF_NOISE.split(),
        " ",
        "\t",
        "\n",
        "\r\n",
        "\n---\n",
        "\ngoal: again\n",
        "9" * 400,
        "0x" + "f" * 40,
        *"\u202e\ufeff\x00\U000e0041\x85\u2028",
    ]
)


@given(st.lists(st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 9), NOISE), min_size=1, max_size=4))
@settings(max_examples=500)
def test_a_good_file_that_was_damaged_anywhere_is_told_and_never_raises(damages: list[tuple[int, int, str]]) -> None:
    text = WHOLE
    for at, length, noise in damages:
        text = text[:at] + noise + text[at + length :]
    loaded = load(text)
    assert (loaded.task is None) == any(problem.severity == "error" for problem in loaded.problems)
    for problem in loaded.problems:
        assert problem.code in CODES
        assert problem.label or problem.help, problem
        assert 1 <= problem.span.line <= problem.span.end_line <= len(text.splitlines()) + 1
        assert problem.full(text)
        assert "\n" not in problem.concise()


def test_a_flood_of_mistakes_is_cut_short() -> None:
    assert 50 <= len(load("a: 1\n" * 5000).problems) <= 60
    assert 50 <= len(load("goal: " + "\u202e" * 5000).problems) <= 60


def test_values_survive_the_wire() -> None:
    task = load("goal: x\ncron: '@daily'\nlimits: {timeout: 90s}\ninputs: {a: [1, 2]}\n").task
    assert task is not None
    assert Task.model_validate_json(task.model_dump_json()) == task

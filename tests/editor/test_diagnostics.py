"""What an editor underlines in a task file: the place of every mistake, and what to write instead.

A table is one document: each row is a line, `‸` stands where the underlining must begin, and beside it is a pattern
of what the message must say. Rows without `‸` only lead to the next ones.

Not ours to change, for the server has these words fixed: the bounds of numbers and lengths, a YAML syntax error
(`cron: @daily` without quotes), a duplicate key. It says nothing at all of a file that holds only
comments, and nothing against a second document in a file.
"""

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from schemas.export import MEANT, NOT_IN_DEFAULTS
from schemas.task import Task
from tests.conftest import ROOT
from tests.editor.language_server import CURSOR, Diagnostic, LanguageServer

Table = tuple[tuple[str, str], ...]

MISSPELT_KEY: Table = (
    ("‸gaol: x", "goal"),
    ("‸toolkt: gmail", "toolkit"),
    ("‸crom: '@daily'", "cron"),
    ("‸notfy: ops", "notify"),
    ("‸desciption: x", "description"),
    ("‸enabeld: true", "enabled"),
    ("‸timezon: UTC", "timezone"),
    ("‸jiter: 5m", "jitter"),
    ("‸overlp: skip", "overlap"),
    ("‸cachup: 10m", "catchup"),
    ("‸run-as: someone", "run_as"),
    ("‸tols: {}", "tools"),
    ("‸aproval: {}", "approval"),
    ("‸on_unkown: stop", "on_unknown"),
    ("‸limts: {}", "limits"),
    ("‸modle: x", "model"),
    ("‸inptus: {}", "inputs"),
    ("‸ouput: {}", "output"),
    ("‸memroy: none", "memory"),
    ("‸retires: 0", "retries"),
    ("‸lables: {}", "labels"),
    ("‸nmae: x", "name"),
    ("‸verison: 1", "version"),
    ("‸Overlap: skip", "overlap"),
    ("tools:", ""),
    ("  ‸alow: GMAIL_*", "allow"),
    ("  ‸denny: GMAIL_*", "deny"),
    ("limits:", ""),
    ("  ‸turn: 5", "turns"),
    ("  ‸time: 5m", "timeout"),
    ("  ‸token: 5000", "tokens"),
    ("  ‸cost: 5", "cost_usd"),
    ("inputs:", ""),
    ("  days:", ""),
    ("    type: integer", ""),
    ("    ‸defualt: 1", "default"),
    ("    ‸minimun: 1", "minimum"),
    ("  ‸no spaces: 1", "letters, digits"),
    ("labels:", ""),
    ("  ‸no spaces: x", "letters, digits"),
    ("notify:", ""),
    ("  - to: ops", ""),
    ("    ‸wen: always", "when"),
    ("approval:", ""),
    ("  ‸timout: 1h", "timeout"),
    ("  ‸else: deny", "otherwise"),
    ("output:", ""),
    ("  type: object", ""),
    ("  ‸propertes: {}", "properties"),
)
WRONG_VALUE: Table = (
    ("goal: ‸' '", "what you want done"),
    ("toolkit: [‸Gmail]", "gmail"),
    ("cron: ‸0 25 * * 1", "five fields"),
    ("description: ‸' '", "in a line"),
    ("timezone: ‸europe/berlin", "Europe/Berlin"),
    ("jitter: ‸5 minutes", "10m"),
    ("overlap: ‸skpi", "skip.*queue.*cancel.*allow"),
    ("catchup: ‸5s", "at least 10s"),
    ("run_as: ‸a b", "without spaces"),
    ("tools:", ""),
    ("  allow: ‸GMAIL SEND", "GMAIL_SEND_"),
    ("  ask: ‸GMAIL SEND", "GMAIL_SEND_"),
    ("  deny: [‸GMAIL SEND]", "GMAIL_SEND_"),
    ("limits:", ""),
    ("  turns: ‸501", "500"),
    ("  timeout: ‸1.5h", "90s"),
    ("  tokens: ‸5", "1000"),
    ("  cost_usd: ‸0", "0"),
    ("model: ‸a b", "claude-"),
    ("inputs:", ""),
    ("  days: {default: 1, type: ‸int}", "integer"),
    ("  size: {default: 1, $ref: ‸'http://a.test/b'}", "#/.defs"),
    ("labels:", ""),
    ("  team: ‸a b", "letters, digits"),
    ("name: ‸A_b", "a-z"),
    ("version: ‸2", "1"),
    ("notify:", ""),
    ("  - to: ‸ops@acme.test", "name a channel"),
    ("    when: ‸sometimes", "always.*success.*failure"),
    ("  - ‸Ops", "name a channel"),
    ("approval:", ""),
    ("  timeout: ‸0s", "at least 1s"),
    ("  otherwise: ‸allow", "deny.*fail"),
    ("on_unknown: ‸ignore", "verify.*ask.*stop"),
    ("memory: ‸all", "none.*last.*notes"),
    ("retries: ‸6", "5"),
    ("output:", ""),
    ("  type: ‸string", "type: object"),
)
WRONG_KIND: Table = (
    ("goal: ‸{{ inputs.days }}", "quotes|what you want done"),
    ("toolkit: ‸5", "gmail"),
    ("cron: [‸5]", "five fields"),
    ("description: ‸2026", "quotes|in a line"),
    ("enabled: ‸yes", "true.*false"),
    ("timezone: ‸5", "Europe/Berlin"),
    ("jitter: ‸5", "10m"),
    ("overlap: ‸false", "skip.*queue.*cancel.*allow"),
    ("catchup: ‸60", "10m"),
    ("run_as: ‸5", "quotes|without spaces"),
    ("tools:", ""),
    ("  allow: ‸5", "GMAIL_SEND_"),
    ("  ask: ‸5", "GMAIL_SEND_"),
    ("  deny: [‸5]", "GMAIL_SEND_"),
    ("notify: ‸5", "channel"),
    ("approval:", ""),
    ("  timeout: ‸5", "10m"),
    ("  otherwise: ‸true", "deny.*fail"),
    ("on_unknown: ‸true", "verify.*ask.*stop"),
    ("memory: ‸true", "none.*last.*notes"),
    ("retries: ‸many", "whole number"),
    ("limits:", ""),
    ("  turns: ‸many", "whole number"),
    ("  timeout: ‸5", "10m"),
    ("  tokens: ‸5000.5", "whole number"),
    ("  cost_usd: ‸two", "above 0"),
    ("model: ‸5", "claude-"),
    ("inputs:", ""),
    ("  days: ‸~", "write a default"),
    ("  size: {default: 1, type: ‸5}", "integer"),
    ("labels:", ""),
    ("  year: ‸2026", "quotes|letters, digits"),
    ("name: ‸5", "quotes|a-z"),
    ("version: ‸'1'", "1"),
)
WRONG_CONTAINER: Table = (
    ("goal: ‸[a]", "what you want done"),
    ("toolkit: ‸{gmail: true}", "gmail"),
    ("cron: ‸{hour: 9}", "five fields"),
    ("tools: ‸GMAIL_*", "allow.*deny"),
    ("limits: ‸5", "turns.*timeout.*tokens"),
    ("inputs: ‸[days]", "default"),
    ("labels: ‸ops", "key"),
    ("notify: ‸{to: ops}", "channel"),
    ("approval: ‸1h", "timeout.*otherwise"),
    ("output: ‸text", "type: object|JSON Schema"),
)
ALIASES: Table = (
    ("goal: x", ""),
    *((f"‸{word}: x", f"did you mean `{re.escape(field)}`") for word, field in MEANT.items()),
)
NOT_IN_A_FOLDER: Table = tuple((f"‸{name}: x", f"`{name}` is each task's own") for name in NOT_IN_DEFAULTS)
EMPTY: Table = tuple((f"{name}:‸", "") for name in Task.model_fields)
TABLES = {
    "misspelt key": MISSPELT_KEY,
    "wrong value": WRONG_VALUE,
    "wrong kind": WRONG_KIND,
    "wrong container": WRONG_CONTAINER,
    "another word": ALIASES,
    "task's own": NOT_IN_A_FOLDER,
    "empty": EMPTY,
}
ROWS = [
    pytest.param(table, number, id=f"{table}-{row[0].strip().replace(CURSOR, '')}")
    for table, rows in TABLES.items()
    for number, row in enumerate(rows, 1)
    if CURSOR in row[0]
]
BAD_CRONS = (
    *("* * *", "0 0 0 9 * * *", "0 25 * * 1", "60 9 * * 1", "0 9 13 * 5", "0 9 * 13 *", "0 9 * * 8", "0 9 * * monday"),
    *("*/0 * * * *", "0 9 L * *", "@midnight", "every day", ""),
)
GOOD_CRONS = (
    *("@hourly", "@daily", "@weekly", "@monthly", "@yearly", "0 9 * * 1-5", "*/15 * * * *", "0 8 1 * *"),
    *("0 9 * * MON-FRI", "0 9,17 * jan *", "5-50/5 8-18 * * 0,7", " 0  9 * * * "),
)


@pytest.fixture(scope="module")
def found(language_server: LanguageServer) -> dict[str, list[Diagnostic]]:
    """What is underlined in each table."""
    files = {"task's own": "tasks/_defaults.yaml"}
    return {
        name: language_server.problems(
            "".join(f"{line.replace(CURSOR, '')}\n" for line, _ in rows), files.get(name, "tasks/a.yaml")
        )
        for name, rows in TABLES.items()
    }


def about_the_whole(found: Diagnostic) -> bool:
    """Whether it is not about what stands there, but about the goal that does not."""
    return "`goal` is missing" in found.message


def on_line(found: list[Diagnostic], line: int) -> list[Diagnostic]:
    return [one for one in found if one.line == line and not about_the_whole(one)]


@pytest.mark.parametrize(("table", "line"), ROWS)
def test_a_mistake_is_told_with_what_to_write_instead(
    found: dict[str, list[Diagnostic]], table: str, line: int
) -> None:
    says = TABLES[table][line - 1][1]
    here = on_line(found[table], line)
    assert here
    assert all(re.search(says, one.message) for one in here), here


@pytest.mark.parametrize("table", TABLES)
def test_a_mistake_is_underlined_from_where_it_begins(found: dict[str, list[Diagnostic]], table: str) -> None:
    lines = [line for line, _ in TABLES[table]]
    places = [(number, line.index(CURSOR) + 1) for number, line in enumerate(lines, 1) if CURSOR in line]
    assert sorted({(one.line, one.column) for one in found[table] if not about_the_whole(one)}) == places


@pytest.mark.parametrize("table", TABLES)
def test_a_mistake_is_told_once(found: dict[str, list[Diagnostic]], table: str) -> None:
    lines = Counter(one.line for one in found[table] if not about_the_whole(one))
    assert [TABLES[table][line - 1][0] for line, times in lines.items() if times > 1] == []


@pytest.mark.parametrize("table", ["wrong container", "empty"])
def test_what_is_no_key_is_not_called_one(found: dict[str, list[Diagnostic]], table: str) -> None:
    assert [one for one in found[table] if "unknown key" in one.message or "no keyword" in one.message] == []


@pytest.mark.parametrize("table", TABLES)
def test_no_message_speaks_of_the_schema(found: dict[str, list[Diagnostic]], table: str) -> None:
    assert [one for one in found[table] if "object(" in one.message or "pattern of" in one.message] == []


def test_each_field_stands_in_the_tables() -> None:
    for table in (MISSPELT_KEY, WRONG_KIND + WRONG_VALUE + WRONG_CONTAINER):
        text = " ".join(f"{line} {says}" for line, says in table)
        assert [name for name in Task.model_fields if not re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize("path", sorted((ROOT / "tasks").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_examples_are_not_underlined(language_server: LanguageServer, path: Path) -> None:
    assert language_server.problems(path.read_text()) == []


def test_a_task_with_every_field_is_not_underlined(language_server: LanguageServer) -> None:
    text = """
        version: 1
        name: weekly
        description: d
        goal: "Look at {{ inputs.days }} days since {{ run.previous_at }}"
        toolkit: [gmail, github]
        tools: {allow: "GMAIL_*", ask: "*_SEND_*", deny: [X]}
        cron: ["0 9 * * mon", "@daily"]
        notify: [eng, {to: ops, when: failure}]
        approval: {timeout: 2h, otherwise: fail}
        on_unknown: ask
        output: {type: object, properties: {count: {type: integer}}}
        memory: notes
        retries: 2
        timezone: Europe/Berlin
        jitter: 5m
        overlap: queue
        catchup: 1h
        enabled: false
        run_as: someone
        model: claude-opus-5-5
        limits: {turns: 5, timeout: 1h30m, tokens: 5000, cost_usd: 2.5}
        inputs: {days: 7, where: {type: string, default: here}}
        labels: {team: a, acme.test/part: "1.5"}
        """
    assert set(re.findall(r"^ {8}(\w+):", text, re.MULTILINE)) == Task.model_fields.keys()
    assert language_server.problems(text) == []


def test_a_task_in_blocks_is_not_underlined(language_server: LanguageServer) -> None:
    text = (
        "# yesterday's news\ngoal: >\n  Read the news of\n  {{ inputs.topic }}.\ntoolkit:\n  - gmail\n"
        "cron:\n  - 0 9 * * 1-5\n  - '@weekly'\ntools:\n  deny:\n    - '*_DELETE_*'\nlimits:\n  timeout: 90s\n"
        "inputs:\n  topic:\n    type: string\n    enum: [a, b]\n    default: a\n  tags: [x]\n  on: true\n"
    )
    assert language_server.problems(text) == []


def test_an_input_needs_no_default_if_nothing_runs_at_night(language_server: LanguageServer) -> None:
    assert language_server.problems("goal: x\ninputs:\n  days: {type: integer}\n") == []


def test_the_defaults_of_a_folder_are_not_underlined(language_server: LanguageServer) -> None:
    text = "timezone: Europe/Berlin\ntoolkit: gmail\nlimits: {turns: 5}\nlabels: {team: ops}\noverlap: queue\n"
    assert language_server.problems(text, "tasks/team/_defaults.yaml") == []


def test_the_defaults_of_a_folder_are_judged_as_tasks_are(language_server: LanguageServer) -> None:
    here = language_server.problems("overlap: skpi\ntoolkt: x\n", "tasks/team/_defaults.yaml")
    assert [(one.line, one.column) for one in here] == [(1, 10), (2, 1)]
    assert '"skip"' in here[0].message
    assert "toolkit" in here[1].message


@pytest.mark.parametrize(
    ("text", "place"), [("", (1, 1)), ("cron: '@daily'\n", (1, 1)), ("# a note\n\nname: a\n", (3, 1))]
)
def test_a_file_without_a_goal_is_told_to_add_one(
    language_server: LanguageServer, text: str, place: tuple[int, int]
) -> None:
    [one] = language_server.problems(text)
    assert (one.line, one.column) == place
    assert "add a line such as `goal: " in one.message


@pytest.mark.parametrize("text", ["- goal: x\n", "Say hello\n"])
def test_a_file_that_is_no_mapping_is_told_to_write_goal(language_server: LanguageServer, text: str) -> None:
    [one] = language_server.problems(text)
    assert "goal" in one.message
    assert "unknown key" not in one.message


def test_a_bad_schedule_is_told_its_five_fields(language_server: LanguageServer) -> None:
    here = language_server.problems("goal: x\ncron:\n" + "".join(f'  - "{cron}"\n' for cron in BAD_CRONS))
    assert [(one.line, one.column) for one in here] == [(line, 5) for line in range(3, len(BAD_CRONS) + 3)]
    assert all("five fields" in one.message and "@daily" in one.message for one in here)


def test_a_good_schedule_is_not_underlined(language_server: LanguageServer) -> None:
    assert language_server.problems("goal: x\ncron:\n" + "".join(f'  - "{cron}"\n' for cron in GOOD_CRONS)) == []


def test_a_schedule_that_begins_with_a_star_is_told_its_quotes(language_server: LanguageServer) -> None:
    here = language_server.problems("goal: x\ncron: */15 * * * *\n")
    [ours] = [one for one in here if "five fields" in one.message]
    assert (ours.line, ours.column) == (2, 7)
    assert "quotes" in ours.message


def test_a_list_of_no_schedule_is_told_to_hold_one(language_server: LanguageServer) -> None:
    [one] = language_server.problems("goal: x\ncron: []\n")
    assert (one.line, one.column) == (2, 7)
    assert re.search("too few|at least one", one.message)


def test_at_night_an_input_is_told_to_have_a_default(language_server: LanguageServer) -> None:
    [one] = language_server.problems("goal: x\ncron: '@daily'\ninputs:\n  days: {type: integer}\n")
    assert (one.line, one.column) == (4, 3)
    assert "default" in one.message
    assert "cron" in one.message


def test_a_person_to_notify_needs_a_channel(language_server: LanguageServer) -> None:
    [one] = on_line(language_server.problems("goal: x\nnotify:\n  - when: always\n"), 3)
    assert "to" in one.message
    assert "unknown key" not in one.message


def test_a_modeline_alone_is_enough(tmp_path: Path) -> None:
    (tmp_path / ".schema").mkdir()
    shutil.copy(ROOT / "schemas/task.schema.json", tmp_path / ".schema")
    modeline = "# yaml-language-server: $schema={}.schema/task.schema.json\n"
    with LanguageServer(tmp_path, {}) as editor:
        assert editor.problems("goal: x\noverlap: skpi\n", "a.yaml") == []
        for name, up in (("a.yaml", ""), ("tasks/a.yaml", "../"), ("tasks/team/a.yaml", "../../")):
            text = f"{modeline.format(up)}goal: x\noverlap: "
            [one] = editor.problems(f"{text}skpi\n", name)
            assert (one.line, one.column) == (3, 10)
            assert '"queue"' in one.message
            assert "queue" in editor.completions(f"{text}‸\n", name)
            assert "previous run" in editor.hover(f"{text}‸skip\n", name)

"""What an editor tells of the word under the mouse, and which way out it offers for a mistake."""

import json
import re

import pytest

from schemas.export import MEANT
from schemas.task import Task
from tests.conftest import ROOT
from tests.editor.language_server import LanguageServer

PROPERTIES = json.loads((ROOT / "schemas/task.schema.json").read_text())["properties"]
EVERYTHING = """\
goal: x
toolkit: gmail
cron: "0 9 * * 1-5"
notify: ops
description: x
enabled: true
timezone: Europe/Berlin
jitter: 5m
overlap: queue
catchup: 1h
run_as: someone
tools: {deny: X}
approval: {timeout: 1h}
on_unknown: ask
limits: {turns: 5}
model: claude-sonnet-5-5
inputs: {days: 7}
output: {type: object}
memory: last
retries: 1
labels: {team: ops}
name: weekly
version: 1
"""
A_SCREEN = 30
"""Lines that a person sees of a hover, or entries of a menu, without scrolling."""


def told(language_server: LanguageServer, text: str) -> str:
    """A hover as it is read: markdown escapes what it would take for markup."""
    return re.sub(r"\\([^\w\s]|_)", r"\1", language_server.hover(text))


@pytest.mark.parametrize("field", list(Task.model_fields))
def test_a_key_tells_what_it_means(language_server: LanguageServer, field: str) -> None:
    text = re.sub(rf"^{field}:", f"‸{field}:", EVERYTHING, flags=re.MULTILINE)
    assert PROPERTIES[field]["description"] in told(language_server, text)


@pytest.mark.parametrize("field", list(Task.model_fields))
def test_what_a_key_tells_fits_on_a_screen(language_server: LanguageServer, field: str) -> None:
    text = re.sub(rf"^{field}:", f"‸{field}:", EVERYTHING, flags=re.MULTILINE)
    assert len(language_server.hover(text).splitlines()) <= A_SCREEN


@pytest.mark.parametrize("field", list(Task.model_fields))
def test_what_a_key_tells_is_not_told_in_the_schemas_terms(language_server: LanguageServer, field: str) -> None:
    text = re.sub(rf"^{field}:", f"‸{field}:", EVERYTHING, flags=re.MULTILINE)
    assert "||" not in language_server.hover(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("‸goal: x", "{{ inputs.NAME }}"),
        ("‸goal: x", "when it is done"),
        ("goal: ‸x", "What you want"),
        ("cron: ‸'@daily'", "minute hour day month weekday"),
        ("cron: [‸'@daily']", "minute hour day month weekday"),
        ("toolkit: [‸gmail]", "Toolkits whose tools may be used"),
        ("‸overlap: skip", "What happens when the previous run is still going"),
        ("‸overlap: skip", "`allow`: Both run side by side."),
        ("overlap: ‸queue", "One run waits until the previous one has ended."),
        ("‸catchup: 1h", "How late a missed run may still start"),
        ("‸timezone: UTC", "The clock that `cron` goes by"),
        ("limits:\n  ‸turns: 5", "Turns of the model"),
        ("limits:\n  turns: ‸5", "Turns of the model"),
        ("limits: {‸timeout: 5m}", "Time from start to end"),
        ("limits:\n  ‸tokens: 5000", "Tokens read and written"),
        ("tools:\n  ‸allow: GMAIL_*", "Tools it may use"),
        ("tools:\n  ‸deny: GMAIL_*", "Tools it never gets"),
        ("notify:\n  - ‸to: ops", "A channel of the server's configuration"),
        ("notify:\n  - to: ops\n    when: ‸failure", "`success`: If it succeeded."),
        ("approval:\n  ‸timeout: 2h", "How long to wait"),
        ("approval:\n  ‸otherwise: deny", "The call is not made"),
        ("tools:\n  ‸ask: GMAIL_*", "Tools that a person approves"),
        ("limits:\n  ‸cost_usd: 2", "Dollars, over all turns"),
        ("on_unknown: ‸ask", "A person is asked."),
        ("‸retries: 1", "Each repeats the effects"),
        ("memory: ‸last", "`last`: The last result."),
    ],
)
def test_a_word_tells_what_it_does(language_server: LanguageServer, text: str, says: str) -> None:
    assert says in told(language_server, text)


def test_the_value_that_stands_there_is_told_first(language_server: LanguageServer) -> None:
    values = re.findall(r"\* `(\w+)`", language_server.hover("goal: x\noverlap: ‸cancel\n"))
    assert values == ["cancel", "skip", "queue", "allow"]


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("goal: x\ntoolkt: gmail\n", "toolkit"),
        ("goal: x\ndesciption: x\n", "description"),
        ("gaol: x\n", "goal"),
        ("goal: x\nlimits: {turn: 5}\n", "turns"),
        ("goal: x\ntools:\n  alow: GMAIL_*\n", "allow"),
        ("goal: x\ntools: {ak: X}\n", "ask"),
        ("goal: x\nlimits: {cost: 5}\n", "cost_usd"),
        ("goal: x\nnotfy: ops\n", "notify"),
        ("goal: x\nmemroy: last\n", "memory"),
        ("goal: x\nmemory: lst\n", "last"),
        ("goal: x\napproval: {timout: 1h}\n", "timeout"),
        ("goal: x\non_unknown: verfy\n", "verify"),
        ("goal: x\noverlap: skpi\n", "skip"),
        ("goal: x\nversion: 2\n", "1"),
        ("goal: x\ninputs:\n  days: {type: int}\n", "integer"),
        ("goal: x\nlimits: {turns: 5, timeout: 5m}\noverlap: Queue\n", "queue"),
    ],
)
def test_a_mistake_can_be_replaced_by_what_was_meant(language_server: LanguageServer, text: str, fix: str) -> None:
    assert fix in language_server.fixes(text)


@pytest.mark.parametrize("text", ["enabled: 'false'", "enabled: yes"])
def test_what_looks_true_or_false_can_be_made_so(language_server: LanguageServer, text: str) -> None:
    assert set(language_server.fixes(f"goal: x\n{text}\n")) & {"Convert to boolean", "false"}


@pytest.mark.parametrize("word", ["schedule", "toolkits", "tz", "tags", "alerts", "retry", "outputs"])
def test_a_word_that_only_means_a_field_can_be_replaced_by_it(language_server: LanguageServer, word: str) -> None:
    assert language_server.fixes(f"goal: x\n{word}: x\n") == [MEANT[word]]


def test_no_fix_adds_a_field_that_is_there(language_server: LanguageServer) -> None:
    assert "goal" not in language_server.fixes("goal: x\ntoolkt: gmail\n")


@pytest.mark.parametrize("line", ["toolkt: gmail", "overlap: skpi", "timezone: europe/berlin"])
def test_fixes_fit_in_a_menu(language_server: LanguageServer, line: str) -> None:
    assert len(language_server.fixes(f"goal: x\n{line}\n")) <= A_SCREEN

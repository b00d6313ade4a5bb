"""What a person types to a run that waits, and reads of its writes: approvals, approve, deny, recheck, retry, effects.

As processes in a terminal, against a real server. What a decision does to a run is `tests.temporal.test_people`'s;
what foreign text may do to a terminal, `tests.hostile.test_terminal`'s.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from subprocess import CompletedProcess
from typing import Any

import pytest
from temporalio.client import Client

from runner.activities import Activities
from runner.made import effects
from runner.opening import Terms
from runner.ports import Missing, Reply, TransientError
from runner.runs import find_run, request_of, start_run
from runner.worker import make_worker
from schemas.run import Effect, RunRequest, RunResult, Usage
from schemas.task import Approval, Task
from tests.temporal.doubles import Box, Thinker, begin, calls, questions_of, results_in, says, waits, wants, working

pytestmark = pytest.mark.temporal

Said = CompletedProcess[str]
Types = Callable[..., Awaitable[Said]]

NOTHING = "error: nothing waits under `{}`; `goalfile approvals` lists what does\n"
FOLLOW = "follow it with: goalfile logs -f {}\n"
NOT_A_NAME = "a' OR WorkflowType = 'goalfile-run"
"""Would be a query that matches everything, if it were let in."""


@pytest.fixture
def types(goalfile: Callable[..., Said], temporal_address: str, unique: str) -> Types:
    """What Ada gets when she types these words."""
    here = {"TEMPORAL_ADDRESS": temporal_address, "GOALFILE_QUEUE": unique, "LOGNAME": "ada"}

    async def types(*words: str, **env: str) -> Said:
        return await asyncio.to_thread(goalfile, *words, env=here | env)

    return types


async def at_once(types: Types, *lines: Sequence[str], **env: str) -> dict[str, Said]:
    """Several commands side by side; what each got, by what was typed."""
    said = await asyncio.gather(*(types(*words, **env) for words in lines))
    return {" ".join(words): each for words, each in zip(lines, said, strict=True)}


def got(said: Said) -> tuple[int, str, str]:
    return said.returncode, said.stdout, said.stderr


def is_one_line_of_error(said: Said) -> bool:
    return said.stdout == "" and said.stderr.startswith("error: ") and said.stderr.count("\n") == 1


async def ledger(client: Client, task: str, how_many: int) -> list[Effect]:
    """The writes of a task, oldest first, once the server lists so many and how each ended."""
    async with asyncio.timeout(20):
        while True:
            rows = [row async for row in effects(client, task=task)]
            if len(rows) == how_many and all(row.state != "running" for row in rows):
                return rows[::-1]
            await asyncio.sleep(0.05)  # a list follows what happens a moment later


# --- approvals, approve, deny ---


async def test_a_call_is_read_and_allowed_by_the_beginning_of_its_id(client: Client, types: Types, unique: str) -> None:
    model, box = Thinker(calls("DESTRUCTIVE", path="some/x"), says("Gone.")), Box("removed")
    async with working(client, unique, model, box):
        handle = await begin(client, unique)
        (asked,) = await questions_of(client, handle, f"t-{unique}")
        id_ = asked.waiting.id
        read = await types("approvals", "--task", f"t-{unique}")
        unset = await types("approve", "", "--json")
        assert (unset.returncode, is_one_line_of_error(unset), box.calls) == (1, True, [])
        allowed = await types("approve", id_[:12], "--note", "it is empty\nand \udcff old")
        assert got(allowed) == (0, 'approved: DESTRUCTIVE {"path": "some/x"}\n', FOLLOW.format(handle.id))
        await handle.result()
        assert await questions_of(client, handle, f"t-{unique}", 0) == []
    head, since, *rest = read.stdout.splitlines()
    assert (read.returncode, read.stderr, head) == (0, "", f"? DESTRUCTIVE waits for approval  {id_}")
    assert since.startswith(f"  {handle.id}, since ")
    assert since.endswith(", for 23h 59m more")
    assert rest == ["  {", '    "path": "some/x"', "  }", f"  goalfile approve {id_}   |   goalfile deny {id_}"]
    assert [call.arguments for call in box.calls] == [{"path": "some/x"}]
    assert results_in(model)[0]["content"] == "removed"  # a word that allows is for the log, not for the model

    told = await at_once(types, ("approvals", "--task", f"t-{unique}"), ("approve", id_), ("logs", handle.id))
    assert got(told[f"approvals --task t-{unique}"]) == (0, "", "nothing waits for a person\n")
    assert got(told[f"approve {id_}"]) == (1, "", NOTHING.format(id_))
    assert "☞ approved by ada  it is empty\n" in told[f"logs {handle.id}"].stdout


async def test_why_a_person_says_no_reaches_the_model_word_for_word_and_its_log_safely(
    client: Client, types: Types, unique: str
) -> None:
    note = "not\x1b[2J this \u202eone\n" + "because " * 12_000
    model = Thinker(calls("DESTRUCTIVE", n=1), says("I left it."))
    async with working(client, unique, model, box := Box()):
        handle = await begin(client, unique)
        (asked,) = await questions_of(client, handle, f"t-{unique}")
        said = await types("deny", handle.id, "--note", note, "--json")
        assert (said.returncode, said.stderr) == (0, "")
        result = await handle.result()
    assert json.loads(said.stdout) == {"id": asked.waiting.id, "run": handle.id, "approved": False}
    assert (result.status, box.calls) == ("succeeded", [])
    assert f"Denied by a person: {note}. It was not made" in results_in(model)[0]["content"]
    lines = (await types("logs", handle.id)).stdout.split("\n")
    assert [line.partition("☞ ")[2] for line in lines if "☞" in line] == ["denied by ada  not\ufffd[2J this \ufffdone"]
    assert all(line.isprintable() for line in lines)


async def test_hostile_arguments_are_shown_whole_and_harmless_before_a_decision_and_clipped_honestly_after_it(
    client: Client, types: Types, unique: str
) -> None:
    foul: dict[str, Any] = {
        "path": "a\u202eb\x1b[2J\x1b]0;x\x07\u200b",
        "text": "one\n  goalfile approve me\r\ntwo\u2028three\x85four",
        "zeal": "x" * 100_000,
        "éé\x00": [None, {"deep": True}],
    }
    async with working(client, unique, Thinker(calls("DESTRUCTIVE", **foul), says("ok")), box := Box()):
        handle = await begin(client, unique)
        (asked,) = await questions_of(client, handle, f"t-{unique}")
        of_task = ("--task", f"t-{unique}")
        shown, data = (await at_once(types, ("approvals", *of_task), ("approvals", "--json", *of_task))).values()
        allowed = await types("approve", handle.id)
        assert allowed.returncode == 0, allowed.stderr
        await handle.result()
    expected = {"run": handle.id, "task": f"t-{unique}", **asked.waiting.model_dump(mode="json")}
    assert json.loads(data.stdout) == [expected]
    assert expected["arguments"] == foul
    assert data.stdout.isascii()
    assert data.stdout.count("\n") == 1

    lines = shown.stdout.split("\n")
    assert all(line.isprintable() for line in lines)
    assert '    "zeal": "' + "x" * 100_000 + '",' in lines, "what is decided must be seen to its last letter"
    assert '    "text": "one\\n  goalfile approve me\\r\\ntwo\ufffdthree\ufffdfour",' in lines
    assert [line for line in lines if line.startswith("  goalfile approve")] == [
        f"  goalfile approve {asked.waiting.id}   |   goalfile deny {asked.waiting.id}"
    ]
    assert '    "path": "a\ufffdb\\u001b[2J\\u001b]0;x\\u0007\ufffd",' in lines

    (line,) = allowed.stdout.splitlines()
    assert line.startswith('approved: DESTRUCTIVE {"path": "a\ufffdb\\u001b[2J')
    assert line.endswith("x…")
    assert len(line) == len("approved: ") + 300
    assert line.isprintable()
    assert box.calls[0].arguments == foul


async def test_an_id_that_fits_more_than_one_decides_nothing_and_names_them(
    client: Client, types: Types, unique: str
) -> None:
    model = Thinker(wants("DESTRUCTIVE", "DESTRUCTIVE"), says("ok"))
    async with working(client, unique, model, box := Box()):
        handle = await begin(client, unique)
        first, second = await questions_of(client, handle, f"t-{unique}", 2)
        one, other = first.waiting.id, second.waiting.id
        shared = one[:-1]
        refused = await at_once(types, ("approve", handle.id), ("deny", shared), ("approve", one[1:], "--json"))
        assert box.calls == []
        both = f"may be more than one: {one}, {other}\n"
        assert got(refused[f"approve {handle.id}"]) == (1, "", f"error: `{handle.id}` {both}")
        assert got(refused[f"deny {shared}"]) == (1, "", f"error: `{shared}` {both}")
        assert got(refused[f"approve {one[1:]} --json"]) == (1, "", NOTHING.format(one[1:]))
        assert (await types("deny", other, LOGNAME="bob")).returncode == 0
        again = await at_once(types, ("approve", other), ("deny", other, "--json"))
        assert (await types("approve", one)).returncode == 0
        await handle.result()
    for said in again.values():
        assert got(said) == (1, "", NOTHING.format(other))
    assert [call.effect_id for call in box.calls] == [one]


async def test_what_is_over_is_refused_although_no_worker_has_noticed(
    client: Client, types: Types, unique: str
) -> None:
    span = timedelta(seconds=3)  # the worker must be gone by then
    task = Task(goal="x", toolkit=("box",), name=f"t-{unique}", approval=Approval(timeout=span))
    async with working(client, unique, Thinker(calls("DESTRUCTIVE")), box := Box()):
        handle = await begin(client, unique, task)
        await waits(client, handle.id)
    (asked,) = await questions_of(client, handle, f"t-{unique}")
    await asyncio.sleep((asked.waiting.until - datetime.now(UTC)).total_seconds())  # its time must be over
    listed, late = (
        await at_once(types, ("approvals", "--task", f"t-{unique}"), ("approve", asked.waiting.id))
    ).values()
    assert got(late) == (1, "", f"error: the time of {asked.waiting.id} is over\n")
    assert listed.stdout.splitlines()[1].endswith(", for 0.0s more")
    async with working(client, unique, Thinker(says("Nobody came.")), box):
        assert (await handle.result()).summary == "Nobody came."
    assert box.calls == []


# --- recheck, retry ---


async def test_a_connection_is_no_approval_and_a_recheck_lets_the_run_go_on(
    client: Client, types: Types, unique: str
) -> None:
    box = Box()
    box.unconnected = (Missing("box", "https://connect.example/1\u202e"),)
    async with working(client, unique, Thinker(says("Done.")), box):
        handle = await begin(client, unique)
        await questions_of(client, handle, f"t-{unique}")
        listed, allowed = (
            await at_once(types, ("approvals", "--task", f"t-{unique}"), ("approve", handle.id))
        ).values()
        assert (allowed.returncode, is_one_line_of_error(allowed)) == (1, True)
        assert allowed.stderr.endswith("it waits for a connection of box, not for an approval\n")
        box.unconnected = ()
        rechecked = await types("recheck", handle.id[:-1], "--json")
        assert (rechecked.returncode, json.loads(rechecked.stdout)) == (0, {"id": handle.id})
        assert (await handle.result()).status == "succeeded"
    head, _, *rest = listed.stdout.splitlines()
    assert head == "? box is not connected  box"
    assert rest == ["  connect it at https://connect.example/1\ufffd", f"  then: goalfile recheck {handle.id}"]
    again = await types("recheck", handle.id)
    assert got(again) == (1, "", f"error: {handle.id} waits for nothing: it is succeeded\n")


async def test_an_ended_run_is_started_once_more_as_it_was_asked_and_a_living_one_is_not(
    client: Client, types: Types, unique: str
) -> None:
    task = Task(goal="Mail {{inputs.who}}.", toolkit=("box",), name=f"t-{unique}", inputs={"who": "nobody"})
    asked = RunRequest(task=task, inputs={"who": "ada"}, trigger="http")
    model = Thinker(wants("WRITE"), says("Sent."), wants("WRITE"), says("Sent again."))
    box = Box()
    box.leave.clear()
    async with working(client, unique, model, box):
        first = await start_run(client, asked, unique)
        await box.entered.wait()
        early = await types("retry", first)
        assert (early.returncode, is_one_line_of_error(early)) == (1, True)
        assert early.stderr.endswith(f"{first} is still running; cancel it first: goalfile cancel {first}\n")
        box.leave.set()
        await client.get_workflow_handle(first).result()
        said = await types("retry", first[:-1])
        second = said.stdout.removesuffix("\n")
        assert (said.returncode, said.stderr) == (0, f"started, as the task was then; {FOLLOW.format(second)}")
        result = await client.get_workflow_handle(second, result_type=RunResult).result()
    assert (second != first, result.summary) == (True, "Sent again.")
    assert len({call.effect_id for call in box.calls}) == 2
    assert model.questions[2].messages[0].content[0]["text"].startswith("Mail ada.\n")
    assert await request_of(client, await find_run(client, second)) == asked.model_copy(update={"trigger": "cli"})


async def test_a_run_that_went_on_in_a_new_history_is_retried_from_its_beginning(
    client: Client, types: Types, unique: str
) -> None:
    grown = replace(wants("READ", prefix="d"), usage=Usage(input_tokens=2000, output_tokens=10))
    model = Thinker(wants("WRITE"), grown, says("I sent one."), says("Done."), wants("WRITE"), says("Done again."))
    activities = Activities(model, box := Box(), terms=Terms(model="m", sum_up_at=1000))
    async with make_worker(client, activities, queue=unique, grace=timedelta(seconds=5)):
        handle = await begin(client, unique)
        await handle.result()
        said = await types("retry", handle.id)
        assert said.returncode == 0, said.stderr
        again = client.get_workflow_handle(said.stdout.removesuffix("\n"), result_type=RunResult)
        result = await again.result()
    assert "I sent one." not in str(model.questions[-1].messages)
    assert [call.tool for call in box.calls] == ["WRITE", "READ", "WRITE"]
    assert (result.summary, len(result.steps)) == ("Done again.", 3)


# --- effects ---


async def test_writes_are_listed_by_task_run_age_and_doubt(client: Client, types: Types, unique: str) -> None:
    model = Thinker(wants("WRITE", "READ", "WRITE"), says("One is lost."), wants("WRITE"), says("ok"))
    box = Box("sent", "seen", TransientError("broke", sent=True))
    async with working(client, unique, model, box):
        doubtful = await begin(client, unique)
        await doubtful.result()
        clean = await begin(client, unique, Task(goal="x", toolkit=("box",), name=f"u-{unique}"))
        await clean.result()
    sent, lost = await ledger(client, f"t-{unique}", 2)
    (other,) = await ledger(client, f"u-{unique}", 1)
    assert [sent.state, lost.state, other.state] == ["done", "unknown", "done"]
    of_t, of_u = ("effects", "--task", f"t-{unique}"), ("effects", "--task", f"u-{unique}")

    table, data, by_run, crossed = (
        await at_once(
            types,
            of_t,
            (*of_t, "--json", "--since", "1h30m"),
            ("effects", "--run", clean.id[:-1], "--json"),
            (*of_u, "--run", doubtful.id, "--json"),
        )
    ).values()
    head, newest, oldest = (line.split() for line in table.stdout.splitlines())
    assert (table.returncode, table.stderr) == (0, "")
    assert head == ["WHEN", "OUTCOME", "TOOL", "RUN", "ARGUMENTS"]
    assert newest[1:] == ["ago", "?", "unknown", "WRITE", doubtful.id, '{"n":', "2}"]
    assert oldest[1:] == ["ago", "✓", "done", "WRITE", doubtful.id, '{"n":', "0}"]
    assert json.loads(data.stdout) == [row.model_dump(mode="json") for row in (lost, sent)]
    assert json.loads(by_run.stdout) == [other.model_dump(mode="json")]
    assert got(crossed) == (0, "[]\n", "")

    # The query is cut to whole seconds: two of them must be over for `1s` to leave it out.
    await asyncio.sleep(max(0.0, (other.at + timedelta(seconds=2) - datetime.now(UTC)).total_seconds()))
    doubt, doubt_data, no_doubt, too_old = (
        await at_once(
            types, (*of_t, "--unknown"), (*of_t, "--unknown", "--json"), (*of_u, "--unknown"), (*of_u, "--since", "1s")
        )
    ).values()
    assert (doubt.returncode, doubt.stdout.count("\n"), "? unknown" in doubt.stdout) == (1, 2, True)
    assert (doubt_data.returncode, [row["id"] for row in json.loads(doubt_data.stdout)]) == (1, [lost.id])
    assert got(no_doubt) == (0, "", "no write of unknown outcome in the last 7d\n")
    assert got(too_old) == (0, "", "no writes in the last 1s\n")


async def test_a_hundred_kilobytes_in_one_write_are_a_row_of_the_table_and_whole_as_data(
    client: Client, types: Types, unique: str
) -> None:
    foul: dict[str, Any] = {"n": "\u202e\x1b[2J\nforged " + "x" * 100_000}
    use = {"type": "tool_use", "id": "c0", "name": "WRITE", "input": foul}
    model = Thinker(Reply((use,), "tool_use", Usage()), says("ok"))
    async with working(client, unique, model, Box()):
        handle = await begin(client, unique)
        await handle.result()
    await ledger(client, f"t-{unique}", 1)
    table, data = (
        await at_once(types, ("effects", "--run", handle.id), ("effects", "--run", handle.id, "--json"))
    ).values()
    _, row, end = table.stdout.split("\n")
    assert (row.isprintable(), end) == (True, "")
    assert row.partition('{"n"')[2].startswith(': "\ufffd\\u001b[2J\\nforged xxx')
    assert row.endswith("x…")
    assert len(row.partition('{"n"')[2]) == 60 - len('{"n"')
    assert [each["arguments"] for each in json.loads(data.stdout)] == [foul]
    assert data.stdout.isascii()


# --- what was typed wrongly, and nobody there ---


async def test_wrong_words_are_exit_2_before_any_server_is_asked(types: Types) -> None:
    spans = ("soon", "7", "-1d", "")
    endless = ("effects", "--since", "999999w")
    wrong = [("effects", "--since", span) for span in spans]
    said = await at_once(types, *wrong, endless, ("approve",), TEMPORAL_ADDRESS="127.0.0.1:1")
    assert {words: each.returncode for words, each in said.items()} == dict.fromkeys(said, 2)
    assert {each.stdout for each in said.values()} == {""}
    for span in spans:
        assert "--since: a duration is a number and a unit, such as 90s" in said[f"effects --since {span}"].stderr
    assert "--since: 999999w ago no calendar had begun" in said[" ".join(endless)].stderr


async def test_where_nobody_answers_it_is_exit_3(types: Types) -> None:
    lines = [("approvals",), ("approve", "x"), ("recheck", "x"), ("effects", "--json")]
    said = await at_once(types, *lines, TEMPORAL_ADDRESS="127.0.0.1:1")
    assert {words: each.returncode for words, each in said.items()} == dict.fromkeys(said, 3)
    assert all(is_one_line_of_error(each) for each in said.values())
    assert all("no Temporal server answers at 127.0.0.1:1" in each.stderr for each in said.values())


async def test_what_is_no_name_never_becomes_a_part_of_a_query(types: Types) -> None:
    lines = {
        ("approvals", "--task", NOT_A_NAME): 2,
        ("effects", "--task", NOT_A_NAME, "--json"): 2,
        ("effects", "--run", NOT_A_NAME): 1,
        ("retry", NOT_A_NAME): 1,
    }
    said = await at_once(types, *lines)
    assert [each.returncode for each in said.values()] == list(lines.values())
    assert [words for words, each in said.items() if not is_one_line_of_error(each)] == []
    assert all(NOT_A_NAME in each.stderr for each in said.values())

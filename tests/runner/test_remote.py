"""What a person does with runs, at Temporal and at a gateway: the same commands, which print the same.

A real gateway process before a real Temporal server and a real worker; and whatever else may stand where a gateway
was expected. What the gateway itself does is `tests.gateway`'s.
"""

import asyncio
import hashlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from temporalio.client import Client

from runner.afar import Afar
from runner.cli import goalfile as command
from runner.gate import Gate
from runner.people import open_questions
from runner.ports import Missing, PermanentError, TransientError
from runner.runs import find_run, list_runs, request_of, start_run
from runner.schedules import TemporalSchedules
from runner.switch import release
from runner.ways import NobodyThere, Open
from schemas import wire
from schemas.run import RunRequest, RunResult, Source, Waiting
from schemas.task import Approval, Task
from tests.conftest import ROOT
from tests.gateway.test_process import Start, address, gateways
from tests.standins.loopback import Answer, Drop, Garble, Loopback, Request
from tests.temporal.doubles import Box, Thinker, begin, calls, questions_of, results_in, says, waits, wants, working
from tests.test_house import loaded_by

pytestmark = pytest.mark.temporal

NOBODY = "127.0.0.1:1"
WAYS = ("near", "afar")
ADA, BOB = (f"gf_{name}_{name[0] * 43}" for name in ("ada", "bob"))
CONFIG = "auth:\n  keys:\n" + "".join(
    f"    - {{id: {name}, sha256: {hashlib.sha256(key.encode()).hexdigest()}, scopes: [{scopes}]}}\n"
    for name, key, scopes in (("ada", ADA, "admin"), ("bob", BOB, '"runs:read"'))
)
NOT_A_NAME = "a' OR WorkflowType = 'goalfile-run"
Types = Callable[..., Awaitable[Result]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with gateways(tmp_path) as run:
        yield run


@pytest.fixture
def server(start: Start, temporal_address: str, unique: str) -> str:
    """Where a gateway serves that asks nobody who they are."""
    return at(start("--port", "0", TEMPORAL_ADDRESS=temporal_address, GOALFILE_QUEUE=unique))


def at(process: Any) -> str:
    host, port = address(process)
    return f"http://{host}:{port}"


async def typed(*words: str, **env: str) -> Result:
    """The command in this process: what it prints does not depend on that."""
    return await asyncio.to_thread(CliRunner(env={"LOGNAME": "ada", **env}).invoke, command, words)


@pytest.fixture
def near(temporal_address: str, unique: str) -> Types:
    """What whoever reaches Temporal gets for these words."""
    return lambda *words, **env: typed(*words, TEMPORAL_ADDRESS=temporal_address, GOALFILE_QUEUE=unique, **env)


@pytest.fixture
def afar(server: str) -> Types:
    """What whoever has only a gateway's address gets: Temporal is certainly not there for them."""
    return lambda *words, **env: typed(*words, TEMPORAL_ADDRESS=NOBODY, GOALFILE_SERVER=server, **env)


@pytest.fixture(params=WAYS)
def types(request: pytest.FixtureRequest) -> Types:
    return request.getfixturevalue(request.param)


@pytest.fixture
async def task(client: Client, unique: str) -> Task:
    """A task that the server knows."""
    made = Task(
        goal="Greet {{ inputs.who }}.", toolkit=("box",), name=f"t-{unique}", cron=("@daily",), inputs={"who": "x"}
    )
    return await keep(client, made)


async def keep(client: Client, made: Task) -> Task:
    path = f"{made.name}.yaml"
    request = RunRequest(task=made, source=Source(path=path, digest=wire.digest(made, path)))
    assert await TemporalSchedules(client, "q").create(made.name, request, "us")
    return made


@dataclass(frozen=True)
class Said:
    """What was printed, without what differs from run to run."""

    code: int
    out: str
    err: str


def same(said: Result) -> Said:
    return Said(said.exit_code, plain(said.stdout), plain(said.stderr))


def plain(text: str) -> str:
    for pattern, stands_for in (
        (r"keyed-[0-9a-f]{32}|[a-z0-9-]+-\d{8}T\d{6}Z-[0-9a-f]{4,8}", "RUN"),
        (r"\b\d\d:\d\d:\d\d\b", "AT"),
        (r"\d+ [A-Z][a-z]{2} \d\d:\d\d UTC", "THEN"),
        (r"\b\d+\.\d+s|\b\d+s|\b\d+m\b|\b\d+h\b", "LONG"),
        (r"by (http|cli)\b|by (ada|somebody here)\b", "by X"),
    ):
        text = re.sub(pattern, stands_for, text)
    return text


def one_line(said: Result, code: int, words: str) -> None:
    assert (said.exit_code, said.stdout) == (code, ""), said.output
    assert said.stderr.startswith("error: "), said.stderr
    assert said.stderr.count("\n") == 1, said.stderr
    assert all(c.isprintable() for c in said.stderr[:-1]), said.stderr
    assert words in said.stderr


async def list_has(client: Client, task: str, how_many: int) -> None:
    """Lists follow what happens a moment later."""
    async with asyncio.timeout(15):
        while len([run for run in await list_runs(client, task=task) if run.ended_at]) != how_many:
            await asyncio.sleep(0.05)


# --- what is read ---


async def test_what_happened_is_told_in_the_same_lines(
    client: Client, near: Types, afar: Types, unique: str, task: Task
) -> None:
    model = Thinker(
        TransientError("overloaded"),
        wants("READ", "WRITE", "DESTRUCTIVE", "NO_SUCH"),
        calls("DESTRUCTIVE", "d0", path="a\nb"),
        says("One is lost.\nOne was allowed."),
    )
    box = Box(TransientError("try again", sent=False), "seen", TransientError("broke", sent=True), "removed")
    async with working(client, unique, model, box):
        handle = await begin(client, unique, task)
        (asked,) = await questions_of(client, handle, task.name)
        both = [await each("approvals", "--task", task.name) for each in (near, afar)]
        data = [await each("approvals", "--json") for each in (near, afar)]
        assert (await near("deny", asked.waiting.id, "--note", "keep it")).exit_code == 0
        (other,) = await later_question(client, task.name, asked)
        assert (await afar("approve", other.waiting.id, "--note", "gone by then")).exit_code == 0
        await handle.result()
    await list_has(client, task.name, 1)
    assert (same(both[0]), both[0].exit_code) == (same(both[1]), 0)
    assert "DESTRUCTIVE waits for approval" in both[0].stdout
    assert data[0].stdout == data[1].stdout
    for words in (("logs", handle.id), ("logs", "-f", handle.id), ("logs", handle.id, "--json")):
        said = [await each(*words) for each in (near, afar)]
        assert [each.exit_code for each in said] == [0, 0], said[1].output
        assert said[0].stdout == said[1].stdout
    texts = [json.loads(line)["text"] for line in said[0].stdout.splitlines()]
    assert texts[0] == f"{task.name}, by cli"
    assert "READ done (attempt 2)" in texts
    assert [text for text in texts if text.startswith(("approved", "denied"))] == [
        "denied by ada",
        "approved by somebody here",
    ]
    for words in (("ps", "--task", task.name), ("ps", "--task", task.name, "--json"), ("ps", "-n", "1")):
        said = [await each(*words) for each in (near, afar)]
        assert same(said[0]) == same(said[1])
    assert f"{handle.id}  ✓ succeeded" in (await afar("ps", "--task", task.name)).stdout


async def later_question(client: Client, task: str, before: Open) -> list[Open]:
    async with asyncio.timeout(15):
        while True:
            asked = [each for each in await open_questions(client, task) if each.waiting.id != before.waiting.id]
            if asked:
                return asked
            await asyncio.sleep(0.05)


async def test_what_is_not_there_is_told_the_same(types: Types, unique: str, task: Task) -> None:
    for words, code, said in (
        (("ps", "--task", f"u-{unique}"), 0, "no runs yet; start one with: goalfile run NAME\n"),
        (("approvals", "--task", f"u-{unique}"), 0, "nothing waits for a person\n"),
        (
            ("approve", f"u-{unique}"),
            1,
            f"error: nothing waits under `u-{unique}`; `goalfile approvals` lists what does\n",
        ),
        (("logs", f"u-{unique}"), 1, f"error: there is no run `u-{unique}`; `goalfile ps` lists the latest\n"),
        (("cancel", NOT_A_NAME), 1, f"error: `{NOT_A_NAME}` is no run id\n"),
        (("ps", "--task", NOT_A_NAME), 2, f"error: `{NOT_A_NAME}` is no task name\n"),
        (("approvals", "--task", NOT_A_NAME), 2, f"error: `{NOT_A_NAME}` is no task name\n"),
        (("run", f"{task.name}s"), 1, f"the server knows no task named `{task.name}s`; did you mean `{task.name}`?\n"),
        (
            ("pause", task.name, f"{task.name}s"),
            1,
            f"named `{task.name}s`, and nothing was changed; did you mean `{task.name}`?\n",
        ),
        (("run", ".."), 1, "error: the server knows no task named `..`; known: "),
        (("run", task.name, "-i", "who"), 2, "error: `-i who` is not NAME=VALUE\n"),
        (("run", task.name, "-i", "whom=x"), 2, "error: unknown input `whom` (inputs: who)\n"),
        (("run", "--goal", " "), 2, "error: the goal is empty\n"),
    ):
        printed = await types(*words)
        assert (printed.exit_code, printed.stdout) == (code, ""), (words, printed.output)
        assert said in printed.stderr
        assert printed.stderr.count("\n") == 1


# --- what is started, stopped, and started again ---


async def test_a_task_is_started_and_followed_to_its_end(client: Client, types: Types, unique: str, task: Task) -> None:
    model = Thinker(wants("READ", "WRITE"), says("Said hello."))
    async with working(client, unique, model, Box("seen", "sent")):
        said = await types("run", task.name, "-i", "who=ada", "--wait")
    assert same(said) == Said(
        0,
        "Said hello.\n",
        f"AT ▸ {task.name} from {task.name}.yaml, by X\n"
        "AT · turn 1\n"
        "AT → READ  n=0\n"
        "AT ← READ done  seen\n"
        "AT → WRITE  n=1\n"
        "AT ← WRITE done  sent\n"
        "AT · turn 2  Said hello.\n"
        "✓ succeeded  RUN  LONG, 2 turns, 2 calls, 20 tokens\n",
    )
    assert model.questions[0].messages[0].content[0]["text"].startswith("Greet ada.")


async def test_a_file_is_run_as_it_stands(
    client: Client, types: Types, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tasks").mkdir()
    Path("tasks/_defaults.yaml").write_text("limits: {turns: 7, timeout: 90s}\ntools: {deny: WRITE}\n")
    Path(f"tasks/f-{unique}.yaml").write_text(
        "goal: Count {{ inputs.days }} days for {{ inputs.who }}.\ntoolkit: box\ncron: '@daily'\n"
        "inputs: {days: {type: integer, minimum: 1, default: 3}, who: {type: object, default: {type: cat}}}\n"
        "output: {type: object, properties: {n: {type: integer}}}\nlabels: {team: web}\n"
    )
    model = Thinker(says('{"n": 7}'))
    async with working(client, unique, model, Box()):
        said = await types("run", "-f", f"tasks/f-{unique}.yaml", "-i", "days=7", "--wait", "--json")
    assert said.exit_code == 0, said.output
    ended = json.loads(said.stdout)
    assert (ended["status"], ended["output"]) == ("succeeded", {"n": 7})
    asked = await request_of(client, await find_run(client, ended["id"]))
    assert asked.inputs == {"days": 7, "who": {"type": "cat"}}
    assert (asked.task.limits.turns, asked.task.limits.timeout) == (7, timedelta(seconds=90))
    assert (asked.task.tools.deny, asked.task.labels) == (("WRITE",), {"team": "web"})
    assert model.questions[0].messages[0].content[0]["text"].startswith('Count 7 days for {"type": "cat"}.')


async def test_a_wrong_file_is_told_with_its_place_and_starts_nothing(
    types: Types, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wrong.yaml").write_text("gaol: x\n")
    said = await types("run", "-f", "wrong.yaml")
    assert said.exit_code == 1
    assert " --> wrong.yaml:1:1\n" in said.stderr
    assert said.stderr.endswith("error: wrong.yaml is not a task that can run\n")


async def test_a_goal_is_run_and_one_that_does_not_succeed_is_exit_1(client: Client, types: Types, unique: str) -> None:
    model = Thinker(says("Nothing to see."), PermanentError("no such model"))
    async with working(client, unique, model, Box()):
        good = await types("run", "--goal", "Look.", "--wait", "--json")
        bad = await types("run", "--goal", "Look.", "--wait")
    assert (good.exit_code, json.loads(good.stdout)["summary"]) == (0, "Nothing to see.")
    assert (bad.exit_code, bad.stdout) == (1, "")
    assert same(bad).err.splitlines()[1:] == [
        "AT ! turn 1: no such model",
        "✗ failed: no such model  RUN  LONG, 1 turns, 0 calls, 0 tokens",
    ]


async def test_whoever_waits_too_long_gives_up_and_the_run_goes_on(client: Client, types: Types, unique: str) -> None:
    box = Box("seen")
    box.leave.clear()
    async with working(client, unique, Thinker(wants("READ"), says("Done.")), box):
        said = await types("run", "--goal", "Look.", "--toolkit", "box", "--wait", "--timeout", "4")
        box.leave.set()
        (run,) = re.findall(r"error: gave up waiting after 4 seconds; (\S+) goes on\n", said.stderr)
        assert said.exit_code == 5
        assert (await client.get_workflow_handle(run, result_type=RunResult).result()).status == "succeeded"


async def test_a_living_run_is_cancelled_and_an_ended_one_tried_again(
    client: Client, types: Types, unique: str
) -> None:
    box = Box("seen", "seen again")
    box.leave.clear()
    async with working(client, unique, Thinker(wants("READ"), says("Done."), says("Twice.")), box):
        handle = await begin(client, unique)
        await box.entered.wait()
        early = await types("retry", handle.id[:-1])
        one_line(early, 1, f"{handle.id} is still running; cancel it first: goalfile cancel {handle.id}\n")
        cancelled = await types("cancel", handle.id[:-1])
        assert (cancelled.exit_code, cancelled.stdout) == (0, f"{handle.id}\n")
        assert cancelled.stderr == "asked to stop; a write in flight is finished first\n"
        box.leave.set()
        assert (await handle.result()).status == "cancelled"
        one_line(await types("cancel", handle.id), 1, f"{handle.id} has already ended: cancelled\n")
        again = await types("retry", handle.id, "--json")
        assert again.exit_code == 0, again.output
        second = json.loads(again.stdout)["id"]
        assert again.stderr == f"started, as the task was then; follow it with: goalfile logs -f {second}\n"
        result = await client.get_workflow_handle(second, result_type=RunResult).result()
    assert (second != handle.id, result.status) == (True, "succeeded")


# --- people ---


async def test_a_word_counts_once_and_only_for_what_waits(client: Client, types: Types, unique: str) -> None:
    task = Task(goal="x", toolkit=("box",), name=f"t-{unique}")
    model, box = Thinker(wants("DESTRUCTIVE", "DESTRUCTIVE"), says("ok")), Box("removed")
    async with working(client, unique, model, box):
        handle = await begin(client, unique, task)
        first, second = await questions_of(client, handle, task.name, 2)
        one, other = first.waiting.id, second.waiting.id
        both = f"may be more than one: {one}, {other}\n"
        one_line(await types("approve", handle.id), 1, f"error: `{handle.id}` {both}")
        allowed = await types("approve", one)
        assert (allowed.exit_code, allowed.stdout.partition(" {")[0]) == (0, "approved: DESTRUCTIVE")
        assert allowed.stderr == f"follow it with: goalfile logs -f {handle.id}\n"
        denied = await types("deny", other, "--note", "we need that", "--json")
        assert json.loads(denied.stdout) == {"id": other, "run": handle.id, "approved": False}
        assert (await handle.result()).status == "succeeded"
    assert len(box.calls) == 1
    assert "Denied by a person: we need that" in str(results_in(model))


async def test_the_second_word_is_refused_and_told_who_was_first(
    client: Client, near: Types, afar: Types, unique: str
) -> None:
    model = Thinker(wants("DESTRUCTIVE", "DESTRUCTIVE"), says("ok"))
    async with working(client, unique, model, Box()):
        handle = await begin(client, unique)
        first, second = await questions_of(client, handle, f"t-{unique}", 2)
        assert (await near("deny", first.waiting.id)).exit_code == 0
        late = await afar("approve", first.waiting.id)
        one_line(late, 1, "")
        assert "it was already denied by ada" in late.stderr or "nothing waits under" in late.stderr
        assert (await afar("deny", second.waiting.id)).exit_code == 0
        await handle.result()


async def test_what_is_over_is_refused_although_no_worker_has_noticed(
    client: Client, types: Types, unique: str
) -> None:
    span = timedelta(seconds=1)
    task = Task(goal="x", toolkit=("box",), name=f"t-{unique}", approval=Approval(timeout=span))
    async with working(client, unique, Thinker(calls("DESTRUCTIVE")), Box()):
        handle = await begin(client, unique, task)
        await waits(client, handle.id)
    (asked,) = await questions_of(client, handle, task.name)
    await asyncio.sleep((asked.waiting.until - datetime.now(UTC)).total_seconds())  # its time must be over
    one_line(await types("approve", asked.waiting.id), 1, f"error: the time of {asked.waiting.id} is over\n")
    await handle.terminate()


async def test_a_connection_is_no_approval_and_a_recheck_lets_the_run_go_on(
    client: Client, types: Types, unique: str
) -> None:
    box = Box()
    box.unconnected = (Missing("box", "https://connect.example/1\u202e"),)
    async with working(client, unique, Thinker(says("Done.")), box):
        handle = await begin(client, unique)
        await questions_of(client, handle, f"t-{unique}")
        listed = await types("approvals", "--task", f"t-{unique}")
        assert listed.stdout.splitlines()[2:] == [
            "  connect it at https://connect.example/1\ufffd",
            f"  then: goalfile recheck {handle.id}",
        ]
        refused = f"error: {handle.id} did not take it: it waits for a connection of box, not for an approval\n"
        one_line(await types("approve", handle.id), 1, refused)
        box.unconnected = ()
        rechecked = await types("recheck", handle.id[:-1], "--json")
        assert (rechecked.exit_code, json.loads(rechecked.stdout)) == (0, {"id": handle.id})
        assert (await handle.result()).status == "succeeded"
    one_line(await types("recheck", handle.id), 1, f"{handle.id} waits for nothing: it is succeeded\n")


async def test_a_task_is_paused_and_resumed(client: Client, types: Types, unique: str, task: Task) -> None:
    no_cron = (await keep(client, Task(goal="x", name=f"n-{unique}"))).name
    off = (await keep(client, Task(goal="x", name=f"o-{unique}", cron=("@daily",), enabled=False))).name

    async def told(*words: str) -> Said:
        return same(await types(*words))

    why = "(paused by X: the vendor is down)"
    assert await told("pause", task.name, "--reason", "the vendor\nis down") == Said(
        0, f"paused {task.name}  {why}\n", ""
    )
    described = await client.get_schedule_handle(wire.schedule_id(task.name)).describe()
    assert described.schedule.state.paused
    assert await told("pause", task.name) == Said(0, f"already paused {task.name}  {why}\n", "")
    assert await told("resume", task.name) == Said(0, f"resumed {task.name}  {why}\n", "")
    assert await told("resume", task.name) == Said(0, f"not paused {task.name}\n", "")
    assert await told("pause", off, no_cron) == Said(
        0,
        f"off {off}  (disabled in the task file: change `enabled` in {off}.yaml, and sync)\n"
        f"off {no_cron}  (it has no cron: it runs only when asked, with `goalfile run {no_cron}`)\n",
        "",
    )
    assert (await types("resume", off)).exit_code == 1


@pytest.fixture
async def released(client: Client) -> AsyncIterator[None]:
    """The server is everybody's in this process: nothing stays stopped."""
    yield
    await release(client)


@pytest.mark.usefixtures("released")
async def test_everything_is_stopped_and_released(types: Types) -> None:
    soon = "no new write and no new model turn begins within 5 seconds; runs wait for: goalfile resume --all\n"
    who = r"by (ada|somebody here), \d{4}-\d\d-\d\d \d\d:\d\d UTC"
    assert (await types("resume", "--all")).stdout == "nothing was stopped\n"
    stopped = await types("pause", "--all", "the vendor was broken into")
    assert (stopped.exit_code, stopped.stderr) == (0, soon)
    assert re.fullmatch(rf"stopped {who}: the vendor was broken into\n", stopped.stdout)
    again = await types("pause", "--all", "--json")
    assert json.loads(again.stdout)["changed"] is False
    assert json.loads(again.stdout)["stopped"]["reason"] == "the vendor was broken into"
    let_go = await types("resume", "--all")
    assert re.fullmatch(rf"released; it was stopped {who}: the vendor was broken into\n", let_go.stdout)


# --- which way is gone ---


async def test_a_dev_nearby_changes_nothing_and_only_the_variable_does(
    client: Client, temporal_address: str, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = await start_run(client, RunRequest(task=Task(goal="x", name=f"t-{unique}"), trigger="cli"), unique)
    with Other((200, {}, {"data": []})) as other:
        Path(".goalfile").mkdir()
        Path(".goalfile/dev.json").write_text(json.dumps({"temporal": temporal_address, "gateway": other.url}))
        here = await typed("cancel", run)
        assert (here.exit_code, here.stdout, other.requests) == (0, f"{run}\n", [])
        named = await typed("ps", GOALFILE_SERVER=other.url, TEMPORAL_ADDRESS=temporal_address)
        assert (named.exit_code, named.stderr) == (0, "no runs yet; start one with: goalfile run NAME\n")
        assert [request.path for request in other.requests] == ["/v1/runs"]


async def test_what_is_the_operators_asks_temporal_all_the_same(near: Types, unique: str) -> None:
    with Other((500, {}, {})) as other:
        for words in (("effects", "--task", f"t-{unique}"), ("verify", f"t-{unique}"), ("sync", "status")):
            said = await near(*words, GOALFILE_SERVER=other.url, GOALFILE_OWNER=unique)
            assert said.exit_code != 3, said.output
        assert other.requests == []


def test_a_laptop_loads_no_temporal_for_it() -> None:
    modules = "runner.afar, runner.gate, runner.cli_runs, runner.cli_pause, runner.show_people"
    assert not loaded_by(f"import {modules}") & {"temporalio", "fastapi", "gateway"}


async def test_a_whole_process_asks_a_gateway(
    goalfile: Callable[..., CompletedProcess[str]], server: str, client: Client, unique: str, task: Task
) -> None:
    env = {"GOALFILE_SERVER": f"{server}/", "TEMPORAL_ADDRESS": NOBODY}
    async with working(client, unique, Thinker(says("Hello.")), Box()):
        said = await asyncio.to_thread(goalfile, "run", task.name, "--wait", env=env)
    assert (said.returncode, said.stdout) == (0, "Hello.\n"), said.stderr


# --- who asks ---


async def test_a_key_says_who_asks_and_what_they_may_do(  # noqa: PLR0917 - fixtures
    client: Client, start: Start, temporal_address: str, unique: str, task: Task, tmp_path: Path
) -> None:
    config = tmp_path / "server.yaml"
    config.write_text(CONFIG)
    process = start(
        "--port", "0", TEMPORAL_ADDRESS=temporal_address, GOALFILE_QUEUE=unique, GOALFILE_CONFIG=str(config)
    )
    here = {"GOALFILE_SERVER": at(process), "TEMPORAL_ADDRESS": NOBODY}
    others = await start_run(client, RunRequest(task=task, trigger="cli"), unique)
    for token in ({}, {"GOALFILE_TOKEN": "sesame"}, {"GOALFILE_TOKEN": ADA[:-1] + "b"}):
        said = await typed("ps", **here, **token)
        one_line(said, 4, "does not allow it: set GOALFILE_TOKEN to a token that may")
        assert not token or token["GOALFILE_TOKEN"] not in said.output
    paused = await typed("pause", task.name, **here, GOALFILE_TOKEN=f"{ADA}\n")
    assert paused.stdout == f"paused {task.name}  (paused by key ada)\n"
    one_line(await typed("run", task.name, **here, GOALFILE_TOKEN=BOB), 4, "This needs the scope `runs:write`")
    one_line(await typed("logs", others, **here, GOALFILE_TOKEN=BOB), 1, f"there is no run `{others}`")
    assert (await typed("cancel", others, **here, GOALFILE_TOKEN=ADA)).stdout == f"{others}\n"


class Other(Loopback):
    """Something that answers where a gateway was expected."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__()
        self._answers = list(answers)

    def answer(self, request: Request) -> Answer:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


LINES = [
    ("ps",),
    ("run", "hello"),
    ("run", "--goal", "x"),
    ("logs", "hello-1"),
    ("logs", "-f", "hello-1"),
    ("cancel", "hello-1"),
    ("retry", "hello-1"),
    ("approvals",),
    ("approve", "x"),
    ("recheck", "hello-1"),
    ("pause", "hello"),
    ("resume", "hello"),
    ("resume", "--all"),
]


@pytest.mark.parametrize("words", LINES, ids=" ".join)
async def test_a_redirection_does_not_carry_the_token_away(words: Sequence[str]) -> None:
    with Other((200, {}, {})) as elsewhere, Other((307, {"location": f"{elsewhere.url}/"}, {})) as other:
        said = await typed(*words, GOALFILE_SERVER=other.url, GOALFILE_TOKEN="sesame")  # noqa: S106
        assert elsewhere.requests == []
        assert {request.headers["authorization"] for request in other.requests} == {"Bearer sesame"}
    one_line(said, 3, "sends elsewhere (307): set GOALFILE_SERVER to its own address")
    assert "sesame" not in said.output


@pytest.mark.parametrize("server", ["http://gateway.example", "HTTP://10.0.0.7:7700", "http://localhost.example"])
@pytest.mark.parametrize("words", [("ps",), ("validate", "--online"), ("schema", "--server")], ids=" ".join)
async def test_a_token_is_not_sent_in_the_clear_to_another_machine(words: Sequence[str], server: str) -> None:
    said = await typed(*words, GOALFILE_SERVER=server, GOALFILE_TOKEN="sesame")  # noqa: S106
    one_line(said, 2, f"GOALFILE_TOKEN is not sent to {server}, where others could read it: use https://")


async def test_this_machine_is_asked_past_every_proxy_and_a_token_before_a_password() -> None:
    with Other((200, {}, {})) as proxy, Other((200, {}, {"data": []})) as other:
        there = other.url.replace("//", "//ada:open@")
        env = {"HTTP_PROXY": proxy.url, "http_proxy": proxy.url, "ALL_PROXY": proxy.url, "NO_PROXY": ""}
        said = await typed("ps", GOALFILE_SERVER=there, GOALFILE_TOKEN="sesame", **env)  # noqa: S106
        assert (said.exit_code, proxy.requests) == (0, []), said.output
        assert [request.headers["authorization"] for request in other.requests] == ["Bearer sesame"]


@pytest.mark.parametrize("token", ["sesame\r\nx-admin: 1", "sesamé"])
async def test_a_token_that_cannot_be_sent_is_one_line_that_does_not_show_it(token: str) -> None:
    said = await typed("ps", GOALFILE_SERVER=f"http://{NOBODY}", GOALFILE_TOKEN=token)
    one_line(said, 2, "GOALFILE_TOKEN is no token")
    assert token[:4] not in said.output


# --- what is no gateway, or none any more ---


FOUL = "\x1b[2J\u202egone\r\nerror: forged"
NONE: dict[str, Any] = {}
RUN: dict[str, Any] = {"id": "hello-1", "task": "hello", "status": "running", "started_at": "2026-11-28T09:00:00Z"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((404, NONE, {"detail": "Not Found"}), "says: Not Found"),
        ((500, NONE, NONE), "answered 500"),
        (
            (502, NONE, {"type": "urn:goalfile:problem:temporal-refused", "detail": FOUL}),
            "says: \ufffd[2J\ufffdgone error: forged",
        ),
        (
            (404, NONE, {"type": "urn:goalfile:problem:not-found", "detail": "x"}),
            "is of another version than this command",
        ),
        ((302, NONE, NONE), "answered 302"),
        (Garble(b"<!doctype html><title>Something</title>"), "is no gateway of Goalfile"),
        (Garble(b""), "is no gateway of Goalfile"),
        (Garble(b"[" * 100_000), "is no gateway of Goalfile"),
        ((200, NONE, {"status": "ok"}), "is no gateway of Goalfile"),
        ((200, NONE, {**RUN, "id": "\x1b[2J", "data": [{**RUN, "id": "\x1b[2J"}]}), "is no gateway of Goalfile"),
        ((200, NONE, {**RUN, "status": FOUL, "data": [{**RUN, "status": FOUL}]}), "is no gateway of Goalfile"),
        ((200, {"content-encoding": "gzip"}, NONE), "no gateway answers at"),
        (Drop(), "no gateway answers at"),
    ],
    ids=lambda value: str(value)[:50],
)
async def test_what_is_no_gateway_is_one_line_and_exit_3(answer: Answer, words: str) -> None:
    with Other(answer) as other:
        for line in (("ps",), ("run", "hello"), ("logs", "-f", "hello-1"), ("cancel", "hello-1"), ("approvals",)):
            if line == ("approvals",) and isinstance(answer, tuple) and answer[0] == 200 and "data" in answer[2]:
                continue  # runs, and no questions
            one_line(await typed(*line, GOALFILE_SERVER=other.url), 3, words)


@pytest.mark.slow
async def test_where_nobody_answers_it_is_exit_3(types: Types) -> None:
    for words in LINES:
        said = await typed(*words, GOALFILE_SERVER=f"http://{NOBODY}")
        one_line(said, 3, f"no gateway answers at http://{NOBODY}: ")
    for named in ("gateway.example", "http://[", "ftp://127.0.0.1", "http://ada:sesame@127.0.0.1:1"):
        said = await typed("ps", GOALFILE_SERVER=named)
        one_line(said, 3, "no gateway answers at ")
        assert "sesame" not in said.output


async def test_an_answer_without_end_is_given_up() -> None:
    with Other(Garble(b" " * (33 * 1024 * 1024))) as other:
        one_line(await typed("ps", GOALFILE_SERVER=other.url), 3, "says more than 32 MiB at once")


async def test_foreign_words_drive_no_terminal() -> None:
    question = {
        "run": "hello-1", "task": FOUL, "kind": "connection", "id": "box", "toolkit": FOUL, "link": FOUL,
        "since": "2026-11-28T09:00:00Z", "until": "2126-11-28T09:00:00Z",
    }  # fmt: skip
    with Other((200, {}, {"data": [question], "complete": False})) as other:
        said = await typed("approvals", GOALFILE_SERVER=other.url)
    assert said.exit_code == 0
    assert said.stderr == "these are not all: answer some, and ask again\n"
    assert all(line.isprintable() for line in said.stdout.split("\n"))
    assert not [line for line in said.stdout.split("\n") if line.startswith("error: forged")]
    no = {
        "type": "urn:goalfile:problem:not-connected",
        "detail": FOUL,
        "connect_url": "https://connect.example/\x1b[2J",
    }
    with Other((409, {}, no)) as other:
        one_line(await typed("run", "hello", GOALFILE_SERVER=other.url), 1, "forged: https://connect.example/\ufffd[2J")


def test_a_file_is_sent_as_the_goal_that_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(
        "goal: Count {{ inputs.n }}.\nname: mine\ncron: '@daily'\ntimezone: Europe/Berlin\njitter: 5m\noverlap: queue\n"
        "catchup: 1h\nenabled: false\nmemory: last\nnotify: ops\nlimits: {timeout: 90s}\ninputs: {n: 7}\n"
    )
    with Other((202, NONE, RUN)) as other:
        said = CliRunner(env={"GOALFILE_SERVER": other.url}).invoke(command, ["run", "-f", "a.yaml", "-i", "n=8"])
        [request] = other.requests
    assert (said.exit_code, said.stdout) == (0, "hello-1\n"), said.output
    assert said.stderr.startswith("without memory: a.yaml is run as a goal without a name\n")
    assert (request.method, request.path) == ("POST", "/v1/runs")
    assert request.body == {
        "goal": "Count {{ inputs.n }}.",
        "notify": [{"to": "ops"}],
        "limits": {"timeout": "1m30s"},
        "inputs": {"n": {"type": "integer", "default": 8}},
    }


async def test_what_is_no_text_is_refused_by_the_server_and_breaks_nothing_here(server: str) -> None:
    half = "x\udcff"
    for words, code in ((("run", half), 1), (("run", "--goal", half), 1), (("pause", half), 1), (("logs", half), 1)):
        said = await typed(*words, GOALFILE_SERVER=server)
        assert (said.exit_code, said.stdout) == (code, ""), said.output
        assert isinstance(said.exception, SystemExit)


async def test_a_word_that_no_worker_takes_is_said_again_until_its_time_is_over() -> None:
    now = datetime.now(UTC)
    asked = Waiting(kind="approval", id="e-1", fingerprint="f", since=now, until=now + timedelta(hours=1))
    with Other((202, NONE, {"taken": False})) as other:
        async with Gate(other.url, None) as gate:
            with pytest.raises(NobodyThere, match="no worker took it within 1 seconds"):
                await Afar(gate).decide(Open("hello-1", "hello", asked), approve=True, note="", within=1)
        said = {json.dumps(request.body) for request in other.requests}
        waits_for = {request.headers["prefer"] for request in other.requests}
    assert len(other.requests) > 1
    assert (len(said), waits_for) == (1, {"wait=1"})


# --- what breaks on the way ---


class Between(Loopback):
    """Hands requests on to a gateway; of the first POSTs nobody hears the answer."""

    def __init__(self, server: str, lost: int) -> None:
        super().__init__()
        self._behind, self._lost = server, lost

    def answer(self, request: Request) -> Answer:
        kept = {
            name: said
            for name, said in request.headers.items()
            if name in ("idempotency-key", "content-type", "prefer")
        }
        said = httpx.request(
            request.method, f"{self._behind}{request.path}", params=request.query, headers=kept, content=request.raw,
            trust_env=False,
        )  # fmt: skip
        if request.method == "POST" and self._lost:
            self._lost -= 1
            return Drop(self._lost)
        return said.status_code, {"content-type": said.headers["content-type"]}, said.json()


async def test_a_start_whose_answer_is_lost_twice_starts_one_run(client: Client, server: str, task: Task) -> None:
    with Between(server, 2) as between:
        said = await typed("run", task.name, "--json", GOALFILE_SERVER=between.url)
        posts = [request for request in between.requests if request.method == "POST"]
    assert said.exit_code == 0, said.output
    assert len(posts) == 3
    assert len({request.headers["idempotency-key"] for request in posts}) == 1
    run = await find_run(client, json.loads(said.stdout)["id"])
    async with asyncio.timeout(15):
        while not (listed := await list_runs(client, task=task.name)):
            await asyncio.sleep(0.05)
    assert [each.id for each in listed] == [run.id]
    with Between(server, 3) as between:
        one_line(await typed("run", task.name, GOALFILE_SERVER=between.url), 3, "no gateway answers at")


async def test_a_word_whose_answer_is_lost_is_taken_once(client: Client, server: str, unique: str) -> None:
    async with working(client, unique, Thinker(calls("DESTRUCTIVE"), says("Gone.")), box := Box("removed")):
        handle = await begin(client, unique)
        (asked,) = await questions_of(client, handle, f"t-{unique}")
        with Between(server, 1) as between:
            said = await typed("approve", asked.waiting.id, GOALFILE_SERVER=between.url)
        await handle.result()
    assert said.exit_code == 0, said.output
    assert len(box.calls) == 1


async def test_a_run_is_followed_through_a_gateway_that_is_killed(
    client: Client, start: Start, temporal_address: str, unique: str, near: Types
) -> None:
    env = {"TEMPORAL_ADDRESS": temporal_address, "GOALFILE_QUEUE": unique}
    first = start("--port", "0", **env)
    server = at(first)
    box = Box("seen", "seen again")
    box.leave.clear()
    async with working(client, unique, Thinker(wants("READ"), wants("READ"), says("Done.")), box):
        handle = await begin(client, unique)
        await box.entered.wait()
        following = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "runner", "logs", "-f", handle.id),
            env={**os.environ, "GOALFILE_SERVER": server, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert following.stdout
        begun = [await following.stdout.readline() for _ in range(3)]
        assert begun[2].endswith("→ READ  n=0\n".encode())
        first.kill()
        first.wait()
        box.leave.set()
        await handle.result()
        assert following.returncode is None
        assert at(start("--port", server.rpartition(":")[2], **env)) == server
        rest, trouble = await following.communicate()
    assert (following.returncode, trouble) == (0, b"")
    told = b"".join([*begun, rest]).decode()
    assert told == (await near("logs", handle.id)).stdout
    assert told.count("→ READ") == 2

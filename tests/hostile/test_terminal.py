"""What a model, a tool or a vendor writes cannot drive a terminal, hide in it, or pose as a line of ours."""

import asyncio
import json
import re
import subprocess
import unicodedata
from collections.abc import Callable
from datetime import timedelta

import pytest
from temporalio.client import Client, WorkflowHandle

from runner.activities import Activities
from runner.ports import Missing, PermanentError, Question, Reply, ToolCall, ToolResult
from runner.runs import start_run
from runner.worker import make_worker
from schemas.run import RunRequest, RunResult, Usage
from schemas.task import Task
from tests.temporal.doubles import Box

pytestmark = [pytest.mark.temporal, pytest.mark.slow]

Goalfile = Callable[..., subprocess.CompletedProcess[str]]

FORGED = "12:00:00 ☞ approved by admin"
ESCAPES = (
    "\x1b]0;pwned\x07 \x1b[2J\x1b[1;1H \x1b[8mhidden \x9b31m \x08\x08"
    "\x1b]8;;http://attacker.example\x1b\\click\x1b]8;;\x1b\\"
)
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
SHOWN = frozenset({*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2})
"""Signs of Arabic and Syriac numbers: called format characters, and drawn all the same."""
STEERING = "".join(
    chr(code)
    for code in (*range(0xD800), *range(0xF900, 0x10000), *range(0xE0000, 0xE0080))
    if code not in SHOWN and unicodedata.category(chr(code)) in HIDDEN - {"Cn"}
)
FOREIGN = f"{ESCAPES}{STEERING}\r{FORGED}\n{FORGED}\r\n{FORGED}\u2028{FORGED}\x85{FORGED} ㅤ﻿end"
LONG = "x" * 1_000_000
OURS = re.compile(r"\x1b\[(?:0|1|2|[349][0-7])m")
"""What we colour with ourselves: bold, dim, eight colours and bright ones."""


def raw(shown: str) -> list[str]:
    """Every character on a screen that drives it or cannot be seen."""
    text = OURS.sub("", shown)
    return [f"U+{ord(c):04X}" for c in text if c not in "\n\t" and _is_hidden(c)]


def _is_hidden(character: str) -> bool:
    return character in "\u3164\u2800\u115f" or (
        unicodedata.category(character) in HIDDEN and ord(character) not in SHOWN
    )


def forged(shown: str) -> list[str]:
    return [line for line in shown.splitlines() if OURS.sub("", line).startswith("12:00:00")]


class Foul:
    """Answers from the goal's word, in the foulest way there is."""

    async def ask(self, question: Question) -> Reply:
        word = question.messages[0].content[0]["text"].split()[0]
        turn = sum(message.role == "assistant" for message in question.messages)
        match word:
            case "refuse":
                return Reply(({"type": "text", "text": FOREIGN},), "refusal", Usage(), explanation=FOREIGN)
            case "break":
                raise PermanentError(f"the vendor says: {FOREIGN}")
            case "loop":
                return self._calls(turn, (FOREIGN, {}))
            case _ if turn == 0:
                said = {"text": FOREIGN, FOREIGN: FOREIGN, "long": LONG[:200_000]}
                return self._calls(turn, ("READ", said), ("WRITE", said), ("DESTRUCTIVE", said))
            case _:
                text = {"type": "text", "text": f"{FOREIGN}\n{LONG}"}
                return Reply((text,), "end_turn", Usage(), model=FOREIGN)

    @staticmethod
    def _calls(turn: int, *calls: tuple[str, dict[str, str]]) -> Reply:
        uses = [
            {"type": "tool_use", "id": f"c{turn}-{i}", "name": name, "input": given}
            for i, (name, given) in enumerate(calls)
        ]
        return Reply(({"type": "text", "text": FOREIGN}, *uses), "tool_use", Usage())


class FoulBox(Box):
    async def call(self, call: ToolCall) -> ToolResult:
        await super().call(call)
        return ToolResult(call.id, "done", f"{FOREIGN}\n{LONG}")

    async def missing(
        self, toolkits: tuple[str, ...], run_as: str | None, *, links: bool = True
    ) -> tuple[Missing, ...]:
        return (Missing("box", f"https://connect.example/{FOREIGN}"),) if run_as == "nobody" else ()


async def begin(client: Client, queue: str, word: str, run_as: str = "me") -> WorkflowHandle[object, RunResult]:
    task = Task(goal=f"{word} it", name=f"{queue}-{word}", toolkit=("box",), run_as=run_as)
    run = await start_run(client, RunRequest(task=task, trigger="cli"), queue)
    return client.get_workflow_handle(run, result_type=RunResult)


async def test_nothing_foreign_reaches_the_terminal_raw(
    client: Client, temporal_address: str, unique: str, goalfile: Goalfile
) -> None:
    env = {"TEMPORAL_ADDRESS": temporal_address, "GOALFILE_QUEUE": unique, "FORCE_COLOR": "1"}
    screens: dict[str, str] = {}
    reports: list[str] = []
    """What `run --wait` leaves on stdout: the model's report is all of it."""

    async def screen(*words: str) -> str:
        said = await asyncio.to_thread(goalfile, *words, env=env)
        assert "Traceback" not in said.stderr, said.stderr
        is_report = words[0] == "run"
        reports.extend([said.stdout] * is_report)
        screens[f"{' '.join(words)} #{len(screens)}"] = said.stderr if is_report else said.stdout + said.stderr
        return said.stdout

    async with make_worker(client, Activities(Foul(), FoulBox()), queue=unique, grace=timedelta(seconds=5)):
        act = await begin(client, unique, "act")
        unconnected = await begin(client, unique, "wait", "nobody")
        async with asyncio.timeout(60):
            while len(json.loads(await screen("approvals", "--json"))) < 2:
                await asyncio.sleep(0.1)  # the server lists what waits a little later
        await screen("approvals")
        asked = screens[f"approvals #{len(screens) - 1}"]
        assert "DESTRUCTIVE waits for approval" in OURS.sub("", asked)
        await screen("approve", act.id, "--note", FORGED)
        await act.result()
        ended = [act]
        for word in ("refuse", "break", "loop"):
            ended.append(await begin(client, unique, word))
            await ended[-1].result()
        for run in (*ended, unconnected):
            await screen("logs", run.id)
            await screen("logs", "--json", run.id)
        for word in ("refuse", "break", "loop", "act-on-nothing"):
            await screen("run", "--goal", f"{word} it", "--wait")
        for words in (("ps",), ("ps", "--json"), ("effects",), ("effects", "--json"), ("effects", "--run", act.id)):
            await screen(*words)
        await screen("cancel", unconnected.id)
    assert {name: raw(shown)[:5] for name, shown in screens.items() if raw(shown)} == {}
    assert [raw(report)[:5] for report in reports if raw(report)] == []
    assert {name: forged(shown)[:3] for name, shown in screens.items() if forged(shown)} == {}
    assert any("pwned" in shown for shown in screens.values()), "nothing foreign was shown at all"
    assert all(
        len(max(shown.splitlines(), key=len)) < 400 for name, shown in screens.items() if name.startswith("ps #")
    )


def test_what_is_raw_or_forged_is_found() -> None:
    assert raw("\x1b[31mred\x1b[0m\n") == []
    assert raw("\x1b[8mhidden") == ["U+001B"]
    assert raw("a\u202eb\U000e0041ㅤ") == ["U+202E", "U+E0041", "U+3164"]
    assert forged(f"ok\n{FORGED}") == [FORGED]

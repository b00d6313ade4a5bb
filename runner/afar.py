"""A server as whoever has nothing but a gateway's address and a key finds it.

What the gateway says is read strictly where it reaches a terminal or a path, and leniently where it may be newer
than this command. Who says a word is who the key belongs to, whatever this machine calls its user.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import cast
from urllib.parse import quote
from uuid import uuid4

import click

from runner.answers import NamesSaid, QuestionsSaid, RunSaid, RunsSaid, StopSaid, Taken, TaskSaid
from runner.exits import Failed
from runner.gate import Gate, SaidNo
from runner.lines import Line
from runner.listening import as_it_happens, so_far
from runner.retelling import Retelling
from runner.ways import (
    BadInputs,
    Changed,
    NobodyThere,
    NoSuchRun,
    NotKept,
    Open,
    Refused,
    Run,
    Scheduled,
    check_open,
    meant,
    off_in_file,
    settled,
    unknown_task,
)
from schemas import wire
from schemas.catalog import Catalog
from schemas.inputs import input_schema
from schemas.run import ENDED, Outcome, RunResult, Source, Usage
from schemas.stop import MOST_REASON, Stopped
from schemas.task import Task

RECENT = 200
"""Runs among which the beginning of an id is looked for."""
_AT_ONCE = 200  # runs in one answer
_LONGEST_WAIT = 60  # seconds that one answer may wait for a worker
_ONLY_IN_FILES = frozenset({"name", "cron", "timezone", "jitter", "overlap", "catchup", "enabled", "memory"})
"""What a goal without a name and a schedule cannot have."""


class Afar:
    """A `Way` through a gateway."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def catalog(self, path: Path) -> Catalog | None:  # noqa: ARG002 - a way's signature
        """None: the gateway holds it against what the server has."""
        return None

    async def start_task(self, name: str, given: Mapping[str, str]) -> str:
        """As `Way` says."""
        try:
            return await self._start(f"/v1/tasks/{_quoted(name)}/runs", {"inputs": given})
        except SaidNo as no:
            if no.word == "unknown-task":
                raise unknown_task(name, await self.task_names()) from None
            if no.word == "bad-inputs":
                raise BadInputs(no.detail) from None
            raise

    async def start_goal(self, task: Task, source: Source, given: Mapping[str, str]) -> str:
        """As `Way` says. A file is sent as the goal that it is: without its name, its schedule and its memory."""
        inputs = {
            name: {**input_schema(task.inputs[name]), "default": value} for name, value in settled(task, given).items()
        }
        if task.memory != "none":
            click.echo(f"without memory: {source.path} is run as a goal without a name", err=True)
        body = task.model_dump(mode="json", exclude_defaults=True, exclude=set(_ONLY_IN_FILES))
        return await self._start("/v1/runs", {**body, **({"inputs": inputs} if inputs else {})})

    async def _start(self, path: str, body: object = None) -> str:
        """One run, however often this has to be said until it is answered."""
        key = {"Idempotency-Key": uuid4().hex}
        return (await self._gate.ask(RunSaid, "POST", path, body=body, headers=key)).id

    async def runs(self, limit: int, task: str = "") -> Sequence[Run]:
        """As `Way` says."""
        found, _ = await self._listed(limit, task)
        return sorted(found, key=lambda run: run.started_at, reverse=True)

    async def _listed(self, limit: int, task: str = "") -> tuple[list[Run], bool]:
        """So many runs in the gateway's order, and whether these are all."""
        query: dict[str, str | int] = {"task": task} if task and wire.quoted(task) else {}
        found: dict[str, Run] = {}
        while len(found) < limit:
            query["limit"] = min(limit - len(found), _AT_ONCE)
            part = await self._gate.ask(RunsSaid, "GET", "/v1/runs", query=query)
            before = len(found)
            found |= {each.id: each.run for each in part.data if each.id not in found}
            if not part.next_cursor or len(found) == before:
                return [*found.values()], True
            query["cursor"] = part.next_cursor
        return [*found.values()], False

    async def find(self, given: str) -> Run:
        """As `Way` says. Of a beginning the run is looked for among the latest."""
        try:
            wire.quoted(given)
        except ValueError:
            raise NoSuchRun(f"`{given}` is no run id") from None
        try:
            return (await self._one(given)).run
        except SaidNo as no:
            if no.word not in ("unknown-run", "not-found"):
                raise
        latest, all_ = await self._listed(RECENT)
        among = "" if all_ else f" among the latest {RECENT}"
        return meant(given, [run for run in latest if run.id.startswith(given)], among)

    async def _one(self, run: str) -> RunSaid:
        return await self._gate.ask(RunSaid, "GET", f"/v1/runs/{_quoted(run)}")

    async def follow(self, run: Run, *, wait: bool) -> AsyncGenerator[Line]:
        """As `Way` says."""
        retelling = Retelling()
        source = as_it_happens(self._gate, run.id) if wait else so_far(self._gate, run.id)
        async with aclosing(source) as told:
            async for each in told:
                for line in retelling.lines(each):
                    yield line

    async def result(self, run: Run) -> RunResult | None:
        """As `Way` says."""
        said = await self._one(run.id)
        if said.status not in ENDED:
            return None
        return RunResult(
            status=cast("Outcome", said.status),
            reason=said.reason,
            summary=said.summary,
            output=said.output,
            steps=said.steps or (),
            usage=said.usage or Usage(),
            cost_usd=said.cost_usd,
            started_at=said.started_at,
            ended_at=said.ended_at or datetime.now(UTC),
        )

    async def cancel(self, run: Run) -> None:
        """As `Way` says."""
        await self._gate.ask(RunSaid, "POST", f"/v1/runs/{_quoted(run.id)}/cancel")

    async def retry(self, run: Run) -> str:
        """As `Way` says."""
        return await self._start(f"/v1/runs/{_quoted(run.id)}/retry")

    async def questions(self, task: str = "") -> list[Open]:
        """As `Way` says."""
        query = {"task": task} if task and wire.quoted(task) else {}
        said = await self._gate.ask(QuestionsSaid, "GET", "/v1/approvals", query=query)
        if not said.complete:
            click.echo("these are not all: answer some, and ask again", err=True)
        found = [Open(each.run, each.task, each.waiting) for each in said.data]
        return sorted(found, key=lambda each: each.waiting.since)

    async def decide(self, question: Open, *, approve: bool, note: str, within: float) -> None:
        """As `Way` says. Until it is taken, the same is said again: it counts once."""
        asked, end = question.waiting, time.monotonic() + within
        check_open(asked, datetime.now(UTC))
        if asked.kind == "connection":
            raise Refused(f"it waits for a connection of {asked.toolkit}, not for an approval")
        word = {"run": question.run, "id": asked.id, "fingerprint": asked.fingerprint, "approve": approve, "note": note}
        while (left := end - time.monotonic()) > 0:
            wait = max(1, min(int(left), _LONGEST_WAIT))
            try:
                taken = await self._gate.ask(
                    Taken, "POST", "/v1/approvals", body=word, headers={"Prefer": f"wait={wait}"}, seconds=wait
                )
            except SaidNo as no:
                if no.word in ("nothing-waits", "run-ended"):
                    raise Refused(no.detail.removeprefix(f"Run {question.run} did not take it: ")) from None
                raise
            if taken.taken:
                return
            await asyncio.sleep(0.2)  # a gateway that does not wait is not asked all the time
        raise NobodyThere(within)

    async def recheck(self, run: Run) -> None:
        """As `Way` says."""
        await self._gate.ask(RunSaid, "POST", f"/v1/runs/{_quoted(run.id)}/recheck")

    async def task_names(self) -> Sequence[str]:
        """As `Way` says; none if they are not ours to see."""
        try:
            return [each.name for each in (await self._gate.ask(NamesSaid, "GET", "/v1/tasks")).data]
        except Failed:
            return ()

    async def scheduled(self, name: str) -> Scheduled | None:
        """As `Way` says."""
        try:
            said = await self._gate.ask(TaskSaid, "GET", f"/v1/tasks/{_quoted(name)}")
        except SaidNo as no:
            if no.word == "unknown-task":
                return None
            raise
        off = off_in_file(name, said.task, said.source.path, paused=said.paused, note=said.note)
        return Scheduled(name, said.paused, said.note, off)

    async def pause(self, found: Scheduled, reason: str) -> Changed:
        """As `Way` says."""
        if found.paused:
            return Changed(found.name, "already paused", found.note)
        said = await self._set(found.name, "pause", {"reason": reason[:MOST_REASON]})
        return Changed(found.name, "paused", said.note)

    async def resume(self, found: Scheduled) -> Changed:
        """As `Way` says."""
        if not found.paused:
            return Changed(found.name, "not paused")
        await self._set(found.name, "resume")
        return Changed(found.name, "resumed", found.note)

    async def _set(self, name: str, verb: str, body: object = None) -> TaskSaid:
        try:
            return await self._gate.ask(TaskSaid, "POST", f"/v1/tasks/{_quoted(name)}/{verb}", body=body)
        except SaidNo as no:
            if no.word == "not-kept":
                raise NotKept(no.detail) from None
            raise

    async def stop(self, reason: str) -> tuple[Stopped, bool]:
        """As `Way` says."""
        said = await self._gate.ask(StopSaid, "PUT", "/v1/stop", body={"reason": reason[:MOST_REASON]}, tries=1)
        if said.stopped is None:
            raise self._gate.no_gateway()
        return said.stopped, said.changed

    async def release(self) -> Stopped | None:
        """As `Way` says."""
        was = (await self._gate.ask(StopSaid, "GET", "/v1/stop")).stopped
        said = await self._gate.ask(StopSaid, "DELETE", "/v1/stop", tries=1)
        return (was or Stopped(at=datetime.now(UTC))) if said.changed else None


def _quoted(part: str) -> str:
    """One part of a path, which stays one: `..` would be the folder above."""
    quoted = quote(part, safe="", errors="replace")
    return quoted if part.strip(".") else quoted.replace(".", "%2E")

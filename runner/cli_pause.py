"""`goalfile pause` and `goalfile resume`: of everything by one switch, or of tasks by their schedules.

It touches no schedule that Goalfile did not make, and never overrules a task file: what a file disables,
the file enables.
"""

import asyncio
import difflib
import getpass
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass

import click
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from runner import switch
from runner.apply import ReadError
from runner.exits import Failed
from runner.pausing import NotKept, pause_schedule, resume_schedule
from runner.schedules import TemporalSchedules, request_of, said
from runner.show import one_line
from schemas import wire
from schemas.stop import Stopped

_AT_ONCE = 10
_One = Callable[["Scheduled"], Awaitable["Changed"]]
_SOON = "no new write and no new model turn begins within 5 seconds; runs wait for: goalfile resume --all"


@dataclass(frozen=True)
class Scheduled:
    """One task's schedule, as far as pausing it goes."""

    name: str
    paused: bool
    note: str
    off: str = ""
    """Why its file keeps it from running by itself, if so."""


@dataclass(frozen=True)
class Changed:
    """What came of one task: `paused` or `resumed`, or how it was before; `note` says who and why, or what to do."""

    name: str
    state: str
    note: str = ""


def this_user() -> str:
    """Who sits at the keyboard, as the system calls them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user often has no name
        return "somebody"


async def stop_all(client: Client, reason: str, *, as_json: bool) -> None:
    """`goalfile pause --all`. Setting it twice changes nothing: who was first is told."""
    stop, is_ours = await switch.stop(client, this_user(), reason)
    _tell_stop(stop if is_ours else None, stop, f"already stopped {_line(stop)}", as_json=as_json)
    click.echo(_SOON, err=True)


async def release_all(client: Client, *, as_json: bool) -> None:
    """`goalfile resume --all`. Tasks that were paused by name stay paused."""
    was = await switch.release(client)
    _tell_stop(was, None, "nothing was stopped", as_json=as_json)


def _tell_stop(changed: Stopped | None, now: Stopped | None, otherwise: str, *, as_json: bool) -> None:
    if as_json:
        stopped = now.model_dump(mode="json") if now else None
        click.echo(json.dumps({"changed": changed is not None, "stopped": stopped}))
    elif changed is None:
        click.echo(otherwise)
    else:
        click.echo(f"{'stopped' if now else 'released; it was stopped'} {_line(changed)}")


def _line(stop: Stopped) -> str:
    return one_line(str(stop), 300)


async def pause(client: Client, names: Iterable[str], reason: str, *, as_json: bool) -> None:
    """`goalfile pause NAME...`. Exit 1 for an unknown name, before anything is paused; 3 if a pause does not keep."""
    note = f"paused by {this_user()}{f': {one_line(reason, 500)}' if reason.strip() else ''}"

    async def one(found: Scheduled) -> Changed:
        if found.off:
            return Changed(found.name, "off", found.off)
        if found.paused or not await pause_schedule(client, found.name, note):
            return Changed(found.name, "already paused", found.note)
        return Changed(found.name, "paused", note)

    await _each(client, names, one, as_json=as_json)


async def resume(client: Client, names: Iterable[str], *, as_json: bool) -> None:
    """`goalfile resume NAME...`. Exit 1 if a task is off in its file, or nobody knows it; 3 if it does not keep."""
    note = f"resumed by {this_user()}"

    async def one(found: Scheduled) -> Changed:
        if found.off:
            return Changed(found.name, "off", found.off)
        if not found.paused or not await resume_schedule(client, found.name, note):
            return Changed(found.name, "not paused")
        return Changed(found.name, "resumed", found.note)

    if any(each.state == "off" for each in await _each(client, names, one, as_json=as_json)):
        raise SystemExit(1)


async def _each(client: Client, names: Iterable[str], one: _One, *, as_json: bool) -> list[Changed]:
    """Do it for every task, or for none if one of the names is unknown; tell what was done even if one fails."""
    limit = asyncio.Semaphore(_AT_ONCE)
    found = [await _scheduled(client, name) for name in dict.fromkeys(names)]

    async def limited(each: Scheduled) -> Changed:
        async with limit:
            return await one(each)

    ended = await asyncio.gather(*map(limited, found), return_exceptions=True)
    done = [each for each in ended if isinstance(each, Changed)]
    if as_json:
        click.echo(json.dumps([asdict(each) for each in done]))
    else:
        for each in done:
            click.echo(f"{each.state} {each.name}{f'  ({one_line(each.note, 300)})' if each.note else ''}")
    for each in ended:
        if isinstance(each, NotKept):
            raise Failed(str(each), 3)
        if isinstance(each, BaseException):
            raise each
    return done


async def _scheduled(client: Client, name: str) -> Scheduled:
    """A task's schedule. Raises Failed that names the closest one if there is none of ours."""
    try:
        described = await client.get_schedule_handle(wire.schedule_id(name)).describe()
    except RPCError as error:
        if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
            raise
        raise await _unknown(client, name) from error
    marks = said(described.typed_search_attributes)
    if marks.get(wire.TASK) != name or not marks.get(wire.OWNER):
        raise await _unknown(client, name)
    state, request = described.schedule.state, await request_of(client, described)
    off, note = "", state.note or ""
    if request and not request.task.cron:
        off = f"it has no cron: it runs only when asked, with `goalfile run {name}`"
    elif (request and not request.task.enabled) or (state.paused and note == wire.DISABLED):
        path = request.source.path if request else "its file"
        off = f"{wire.DISABLED}: change `enabled` in {path}, and sync"
    return Scheduled(name, state.paused, note, off)


async def _unknown(client: Client, name: str) -> Failed:
    try:
        names = sorted(schedule.name for schedule in await TemporalSchedules(client, "").list())
    except ReadError:  # a server that nothing was synced to yet
        names = []
    close = difflib.get_close_matches(name, names, n=1)
    known = f"did you mean `{close[0]}`?" if close else f"known: {', '.join(names[:20]) or 'none yet'}"
    return Failed(f"the server knows no task named `{one_line(name)}`, and nothing was changed; {known}")

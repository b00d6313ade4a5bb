"""`goalfile pause` and `goalfile resume`: of everything by one switch, or of tasks by their schedules.

It touches no schedule that Goalfile did not make, and never overrules a task file: what a file disables,
the file enables.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict

import click

from runner.exits import Failed
from runner.show import one_line
from runner.ways import Changed, NotKept, Scheduled, Way, unknown_task
from schemas.stop import Stopped

_AT_ONCE = 10
_One = Callable[[Scheduled], Awaitable[Changed]]
_SOON = "no new write and no new model turn begins within 5 seconds; runs wait for: goalfile resume --all"


async def stop_all(way: Way, reason: str, *, as_json: bool) -> None:
    """`goalfile pause --all`. Setting it twice changes nothing: who was first is told."""
    stop, is_ours = await way.stop(reason)
    _tell_stop(stop if is_ours else None, stop, f"already stopped {_line(stop)}", as_json=as_json)
    click.echo(_SOON, err=True)


async def release_all(way: Way, *, as_json: bool) -> None:
    """`goalfile resume --all`. Tasks that were paused by name stay paused."""
    was = await way.release()
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


async def pause(way: Way, names: Iterable[str], reason: str, *, as_json: bool) -> None:
    """`goalfile pause NAME...`. Exit 1 for an unknown name, before anything is paused; 3 if a pause does not keep."""

    async def one(found: Scheduled) -> Changed:
        return await way.pause(found, reason)

    await _each(way, names, one, as_json=as_json)


async def resume(way: Way, names: Iterable[str], *, as_json: bool) -> None:
    """`goalfile resume NAME...`. Exit 1 if a task is off in its file, or nobody knows it; 3 if it does not keep."""
    if any(each.state == "off" for each in await _each(way, names, way.resume, as_json=as_json)):
        raise SystemExit(1)


async def _each(way: Way, names: Iterable[str], one: _One, *, as_json: bool) -> list[Changed]:
    """Do it for every task, or for none if one of the names is unknown; tell what was done even if one fails."""
    limit = asyncio.Semaphore(_AT_ONCE)
    found = [await _scheduled(way, name) for name in dict.fromkeys(names)]

    async def limited(each: Scheduled) -> Changed:
        if each.off:
            return Changed(each.name, "off", each.off)
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


async def _scheduled(way: Way, name: str) -> Scheduled:
    """A task's schedule. Raises Failed that names the closest one if there is none of ours."""
    found = await way.scheduled(name)
    if found is None:
        raise unknown_task(one_line(name), await way.task_names(), ", and nothing was changed")
    return found

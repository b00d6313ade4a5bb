"""`goalfile verify`: what became of every slot that was due, and an exit code that fails on a gap.

Reads what Temporal knows, has `runner.verify` decide, and prints. It starts, repairs and deletes nothing.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import click
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, ScheduleDescription, WorkflowExecution, WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from runner import show
from runner.apply import NeverSynced, ReadError
from runner.exits import Failed
from runner.runs import CLOSED_BY_TEMPORAL
from runner.schedules import TemporalSchedules, request_of, said
from runner.settings import Settings
from runner.verify import Fate, ScheduleFacts, SlotFate, SlotRun, Verdict, judge
from schemas import wire
from schemas.run import ENDED
from schemas.shape import closest
from schemas.task import Task

_BY = SearchAttributeKey.for_keyword("TemporalScheduledById")
_SLOT = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")
_AT_ONCE = 16
_IN_A_QUERY = 100  # schedules; a server answers ten queries a second, and each may be long
_FATES: tuple[Fate, ...] = ("ran", "skipped", "missed", "in doubt")
_MARKS = {"skipped": ("-", "bright_black"), "missed": ("✗", "red"), "in doubt": ("?", "yellow")}


@dataclass(frozen=True)
class Known:
    """What Temporal knows about one task: the task, its schedule, and the runs that the schedule started."""

    task: Task
    facts: ScheduleFacts
    runs: tuple[SlotRun, ...]

    def judge(self, since: datetime, now: datetime, kept_since: datetime | None) -> Verdict:
        """The verdict over its slots in (since, now]."""
        return judge(self.task, self.facts, self.runs, since=since, now=now, kept_since=kept_since)


async def verify(
    client: Client, settings: Settings, since: timedelta, tasks: tuple[str, ...], *, as_json: bool
) -> None:
    """`goalfile verify`: the last `since` of these tasks, or of all that this owner has.

    Raises SystemExit(1) on a gap, Failed for a name that is not one of ours.
    """
    now = datetime.now(UTC)
    known, kept = await asyncio.gather(read(client, settings, tasks, now - since), retention(client))
    kept_since = now - kept if kept else None
    report([(each.task, each.judge(now - since, now, kept_since)) for each in known], now - since, now, as_json=as_json)


async def read(client: Client, settings: Settings, names: Sequence[str], since: datetime) -> list[Known]:
    """What Temporal knows about these tasks, or about all of our owner, by name. Raises Failed, RPCError.

    Runs that ended before `since` are left out.
    """
    described = await _describe(client, settings, names)
    tasks = {name: await _task(client, name, each) for name, each in described.items()}
    runs = await _runs(client, list(tasks), since)
    return [Known(task, _facts(described[name]), tuple(runs[name])) for name, task in sorted(tasks.items())]


async def _describe(client: Client, settings: Settings, names: Sequence[str]) -> dict[str, ScheduleDescription]:
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str) -> ScheduleDescription | None:
        try:
            async with limit:
                return await client.get_schedule_handle(wire.schedule_id(name)).describe()
        except RPCError as error:
            if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
                return None
            raise

    wanted = list(dict.fromkeys(names)) or await _names(client, settings)
    described = dict(zip(wanted, await asyncio.gather(*map(one, wanted)), strict=True))
    found = {name: each for name, each in described.items() if each and _owner(each) == settings.owner}
    if strange := [name for name in names if name not in found]:
        raise await _unknown(client, settings, strange[0], described[strange[0]])
    return found  # without names: what is gone since it was listed has no slots any more


async def _names(client: Client, settings: Settings) -> list[str]:
    try:
        existing = await TemporalSchedules(client, settings.queue).list()
    except NeverSynced:
        return []
    except ReadError as error:
        raise Failed(f"the Temporal server refused or did not answer: {error}", 3) from error
    return sorted(each.name for each in existing if each.owner == settings.owner)


def _owner(described: ScheduleDescription) -> str:
    return said(described.typed_search_attributes).get(wire.OWNER, "")


async def _unknown(client: Client, settings: Settings, name: str, described: ScheduleDescription | None) -> Failed:
    if described:
        return Failed(f"`{name}` belongs to `{_owner(described)}`, not to `{settings.owner}` (GOALFILE_OWNER)")
    names = await _names(client, settings)
    meant = closest(name, names)
    hint = f"did you mean `{meant}`?" if meant else f"known: {', '.join(names[:20]) or 'none yet'}"
    return Failed(f"the server knows no task named `{name}`; {hint}")


async def _task(client: Client, name: str, described: ScheduleDescription) -> Task:
    request = await request_of(client, described)
    if request is None:
        raise Failed(f"the schedule of `{name}` was changed by hand and runs no task; see: goalfile plan")
    return request.task


def _facts(described: ScheduleDescription) -> ScheduleFacts:
    info, state, raw = described.info, described.schedule.state, described.raw_description.info
    return ScheduleFacts(
        created_at=info.created_at,
        updated_at=info.last_updated_at,
        paused=state.paused,
        note=state.note or "",
        missed=info.num_actions_missed_catchup_window,
        overlapped=info.num_actions_skipped_overlap + raw.buffer_dropped,  # the buffer is full because of a run, too
        waiting=raw.buffer_size,
        starts_left=state.remaining_actions if state.limited_actions else None,
    )


async def _runs(client: Client, names: Sequence[str], since: datetime) -> Mapping[str, list[SlotRun]]:
    """The runs of each schedule that are still going or ended after `since`: a run ends after its slot."""
    by_id = {wire.schedule_id(name): name for name in names}
    ids, found = list(by_id), defaultdict[str, list[SlotRun]](list)
    for start in range(0, len(ids), _IN_A_QUERY):
        some = ", ".join(map(wire.quoted, ids[start : start + _IN_A_QUERY]))
        open_or_recent = f"(ExecutionStatus = 'Running' OR CloseTime > '{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}')"
        async for entry in client.list_workflows(f"{_BY.name} IN ({some}) AND {open_or_recent}", page_size=1000):
            run, by = _run(entry), entry.typed_search_attributes.get(_BY)
            if run and by in by_id:
                found[by_id[by]].append(run)
    return found


def _run(entry: WorkflowExecution) -> SlotRun | None:
    slot = entry.typed_search_attributes.get(_SLOT) or _slot_in(entry.id)
    status = said(entry.typed_search_attributes).get(wire.STATUS, "queued")
    if entry.status in CLOSED_BY_TEMPORAL and status not in ENDED:
        status = "cancelled" if entry.status == WorkflowExecutionStatus.CANCELED else "failed"
    return SlotRun(entry.id, slot, entry.start_time, entry.close_time, status) if slot else None


def _slot_in(run_id: str) -> datetime | None:
    try:
        return datetime.strptime(run_id[-20:], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


async def retention(client: Client) -> timedelta | None:
    """How long the namespace keeps a run after its end; None if it does not say."""
    request = DescribeNamespaceRequest(namespace=client.namespace)
    answer = await client.workflow_service.describe_namespace(request, retry=True)
    return answer.config.workflow_execution_retention_ttl.ToTimedelta() or None


def report(judged: Iterable[tuple[Task, Verdict]], since: datetime, now: datetime, *, as_json: bool) -> None:
    """Print the verdicts. Raises SystemExit(1) if one of them has a gap."""
    judged = list(judged)
    gaps = sum(verdict.gaps for _, verdict in judged)
    if as_json:
        said_of = [_plain(task, verdict) for task, verdict in judged]
        click.echo(json.dumps({"since": since.isoformat(), "now": now.isoformat(), "gaps": gaps, "tasks": said_of}))
    else:
        _print([(task, verdict) for task, verdict in judged if task.cron])
        if left_out := sum(not task.cron for task, _ in judged):
            click.echo(f"{left_out:,} without cron: no slot is expected", err=True)
        if due := sum(len(verdict.due) for _, verdict in judged):
            click.echo(f"{due:,} still due: too young to judge, or waiting for the run before", err=True)
        click.echo(f"{gaps:,} missed or in doubt" if gaps else "no gap", err=True)
    if gaps:
        raise SystemExit(1)


def _print(judged: Sequence[tuple[Task, Verdict]]) -> None:
    if not judged:
        return
    rows: list[tuple[str, ...]] = [("TASK", "EXPECTED", "RAN", "SKIPPED", "MISSED", "IN DOUBT", "DUE", "SINCE")]
    for task, verdict in judged:
        counts = (verdict.expected, *(verdict.counts.get(fate, 0) for fate in _FATES), len(verdict.due))
        start = f"{verdict.judged_from.astimezone(ZoneInfo(task.timezone)):%a %d %b %Y %H:%M %Z}"
        because = f", {verdict.because}" if verdict.because else ""
        rows.append((task.name, *(f"{number:,}" for number in counts), start + because))
    click.echo("\n".join(show.table(rows)))
    quiet = [_row(task, fate) for task, verdict in judged for fate in verdict.fates if fate.fate != "ran"]
    if quiet:
        click.echo("\n".join(["", *show.table(quiet)]))


def _row(task: Task, fate: SlotFate) -> tuple[str, ...]:
    sign, color = _MARKS[fate.fate]
    local = fate.at.astimezone(ZoneInfo(task.timezone))
    utc = f"{fate.at:%H:%M} UTC" if fate.at.date() == local.date() else f"{fate.at:%a %d %b %H:%M} UTC"
    told = click.style(f"{sign} {fate.fate}", fg=color)
    return (told, task.name, f"{local:%a %d %b %Y %H:%M %Z}", utc, show.one_line(fate.why, 160))


def _plain(task: Task, verdict: Verdict) -> dict[str, Any]:
    zone = ZoneInfo(task.timezone)
    return {
        "name": task.name,
        "timezone": task.timezone,
        "judged_from": verdict.judged_from.isoformat(),
        "because": verdict.because,
        "expected": verdict.expected,
        **{fate.replace(" ", "_"): verdict.counts.get(fate, 0) for fate in _FATES},
        "due": [slot.isoformat() for slot in verdict.due],
        "slots": [
            {
                "at": fate.at.isoformat(),
                "local": fate.at.astimezone(zone).isoformat(),
                "fate": fate.fate,
                "why": fate.why,
                "run": fate.run_id,
            }
            for fate in verdict.fates
        ],
    }

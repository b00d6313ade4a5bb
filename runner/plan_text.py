"""What `goalfile plan` prints: each change with what it will do from then on, and what all of them may cost a day.

Pure text, and the same facts as data. It repeats what the forecast and the plan say, compares with the
task before, and refuses to judge: who reads it decides. An update that changes nothing of this is one line.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from runner.effective import Slot
from runner.forecast import Day, Forecast, a_run, forecast, total
from runner.plan import Action, Plan
from runner.reach import missing_connections, newly_reachable
from runner.show import one_line, safe
from schemas.duration import format_duration
from schemas.task import Task

_VERBS = {"create": ("+", "green"), "update": ("~", "yellow"), "delete": ("-", "red")}


def plan_lines(
    plan: Plan,
    forecasts: Mapping[str, Forecast],
    old: Mapping[str, Task | None],
    now: datetime,
    connected: Mapping[str, frozenset[str]] | None = None,
    *,
    default_user: str = "default",
) -> list[str]:
    """A plan as people read it; nothing if there is nothing to do and nothing is blocked.

    `forecasts` holds at least every task to create or update; of more, the last line adds up all.
    `old` holds the tasks to update as they are now, None if that is not known. Of `connected`, see
    `missing_connections`.
    """
    lines: list[str] = []
    for action in plan.actions:
        sign, color = _VERBS[action.verb]
        lines.append(f"{click.style(f'{sign} {action.verb}', fg=color)} {action.name}  ({safe(action.reason)})")
        if action.request is not None:
            task, before = action.request.task, old.get(action.name)
            details = _details(action, task, before, forecasts[action.name], now)
            lines += [f"    {click.style(f'{label:<5}', dim=True)}  {one_line(text, 300)}" for label, text in details]
            if missing := missing_connections(task, connected, default_user):
                text = f"! no connection of `{task.run_as or default_user}` to {', '.join(missing)}"
                lines.append(f"    {click.style(one_line(text, 300), fg='yellow')}")
    if plan.actions:
        lines.append(_summary(plan, forecasts))
    return [*lines, *(click.style(f"! {safe(note)}", fg="red") for note in plan.notes)]


def plan_json(
    plan: Plan,
    forecasts: Mapping[str, Forecast],
    old: Mapping[str, Task | None],
    connected: Mapping[str, frozenset[str]] | None = None,
    *,
    default_user: str = "default",
) -> dict[str, Any]:
    """The same as data, to stand beside the plan's actions and notes.

    `tasks`, by name, for each to create or update:
        `next`: the next slots, as `{at, local}`; none without cron and while disabled
        `runs_per_day`, `turns_per_day`, `minutes_per_day`: the worst case of any 24 hours
        `tokens_per_day`, `dollars_per_day`: the same; null without a limit
        `usual_runs_per_day`: `runs_per_day` but for the days on which the clock is changed
        `newly_reachable`: in words; null if the task before is not known
        `missing_connections`: toolkits; null if nobody could tell
    `total`, the sum over all forecasts:
        the six numbers above, `tokens_per_day` and `dollars_per_day` null if one task sets no limit
        `known_tokens_per_day`, `known_dollars_per_day`: those of the tasks that set one
        `tasks_without_tokens_limit`, `tasks_without_dollars_limit`: how many run without
    """
    tasks: dict[str, Any] = {}
    for action in plan.actions:
        if action.request is None:
            continue
        task, before, seen = action.request.task, old.get(action.name), forecasts[action.name]
        unknown = action.verb == "update" and before is None
        tasks[action.name] = {
            "next": [{"at": slot.at.isoformat(), "local": slot.local.isoformat()} for slot in seen.next],
            **_numbers(seen),
            "newly_reachable": None if unknown else list(newly_reachable(before, task)),
            "missing_connections": _as_list(missing_connections(task, connected, default_user)),
        }
    everything = total(forecasts.values())
    worst = everything.worst
    return {
        "tasks": tasks,
        "total": {
            **_numbers(everything),
            "known_tokens_per_day": worst.tokens,
            "known_dollars_per_day": round(worst.dollars, 6),
            "tasks_without_tokens_limit": worst.no_tokens,
            "tasks_without_dollars_limit": worst.no_dollars,
        },
    }


def _numbers(seen: Forecast) -> dict[str, Any]:
    dollars = seen.dollars_per_day
    return {
        "runs_per_day": seen.runs_per_day,
        "usual_runs_per_day": seen.usual.runs,
        "turns_per_day": seen.turns_per_day,
        "minutes_per_day": seen.minutes_per_day,
        "tokens_per_day": seen.tokens_per_day,
        "dollars_per_day": None if dollars is None else round(dollars, 6),
    }


def _as_list(names: tuple[str, ...] | None) -> list[str] | None:
    return None if names is None else list(names)


# --- one task ---


def _details(
    action: Action, task: Task, before: Task | None, seen: Forecast, now: datetime
) -> Iterator[tuple[str, str]]:
    """What is worth telling, as label and text: of an update, only what it changes."""
    after = {"next": _when(task, seen, now), **_spend(task, seen)}
    was = _before(before, now) if action.verb == "update" and before is not None else {}
    for label, text in after.items():
        if text != was.get(label):
            known = label != "next" and label in was
            yield label, f"{text} (was {was[label]})" if known else text
    if reach := newly_reachable(before, task):
        unknown = action.verb == "update" and before is None
        yield "tools", f"{', '.join(task.toolkit)}; what it had before is not known" if unknown else "; ".join(reach)


def _before(task: Task, now: datetime) -> dict[str, str]:
    try:
        seen = forecast(task, now)
    except ValueError:  # a schedule may hold a cron or a zone that this version refuses
        return {}
    return {"next": _when(task, seen, now), **_spend(task, seen)}


def _when(task: Task, seen: Forecast, now: datetime) -> str:
    if not task.cron:
        return "when asked"
    if not task.enabled:
        return "paused: its file says `enabled: false`"
    jitter = f"; each up to {format_duration(task.jitter)} later" if task.jitter else ""
    return f"{_slots(seen.next, now)}{jitter}" if seen.next else "never: no slot is left before 2101"


def _slots(slots: tuple[Slot, ...], now: datetime) -> str:
    """`Thu 26 Nov 09:00 CET (08:00 UTC), 09:05 CET`: a date and a year only where they are new."""
    said: list[str] = []
    day = now.astimezone(slots[0].local.tzinfo).date().replace(month=1, day=1)
    for slot in slots:
        date = "" if said and slot.local.date() == day else f"{slot.local:%a %d %b} "
        year = "" if slot.local.year == day.year else f"{slot.local:%Y} "
        said.append(f"{date}{year}{slot.local:%H:%M %Z}")
        day = slot.local.date()
    first = slots[0]
    if first.local.utcoffset():
        other = "" if first.at.date() == first.local.date() else f"{first.at.astimezone(UTC):%a %d %b} "
        said[0] += f" ({other}{first.at:%H:%M} UTC)"
    return ", ".join(said)


def _spend(task: Task, seen: Forecast) -> dict[str, str]:
    if not seen.worst.runs:
        return {"a run": _limits(a_run(task))}
    worst, usual = seen.worst.runs, seen.usual.runs
    odd = f"; {worst:,} runs when the clock is changed" if worst > usual else ""
    return {"a day": f"{_count(usual, 'run')}, {_limits(seen.usual)}{odd}"}


def _limits(day: Day) -> str:
    parts = [] if day.no_tokens else [f"{_amount(day.tokens)} tokens"]
    parts += [] if day.no_dollars else [_dollars(day.dollars)]
    parts += [_count(day.turns, "turn"), format_duration(timedelta(minutes=day.minutes))]
    open_ = ", no limit of tokens" if day.no_tokens and day.no_dollars else ""
    return f"up to {', '.join(parts)}{open_}"


# --- all tasks ---


def _summary(plan: Plan, forecasts: Mapping[str, Forecast]) -> str:
    verbs = Counter(action.verb for action in plan.actions)
    said = ", ".join(f"{verbs[verb]:,} to {verb}" for verb in _VERBS if verbs[verb])
    everything = total(forecasts.values())
    usual, worst = everything.usual, everything.worst
    if not worst.runs:
        return said
    whose = "" if forecasts.keys() <= {action.name for action in plan.actions} else f"all {len(forecasts):,} tasks: "
    said += f"; {whose}at most {_sum(usual)} a day"
    for number, unit in ((usual.no_tokens, "tokens"), (usual.no_dollars if usual.dollars else 0, "dollars")):
        said += f", and {_count(number, 'task')} without a limit of {unit}" if number else ""
    return f"{said}; {_sum(worst)} when clocks are changed" if worst.runs > usual.runs else said


def _sum(day: Day) -> str:
    parts = [_count(day.runs, "run"), *([f"{_amount(day.tokens)} tokens"] if day.tokens else [])]
    parts += [_dollars(day.dollars)] if day.dollars else []
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _amount(number: int) -> str:
    """`400,000`, `2.4M`: rounded up, for it says at most."""
    return f"{number:,}" if number < 1_000_000 else f"{math.ceil(number / 100_000) / 10:,.1f}M".replace(".0M", "M")


def _dollars(number: float) -> str:
    """Whole cents, rounded up; what is only noise of the sum is none."""
    return f"${math.ceil(round(number * 100, 6)) / 100:,.2f}"

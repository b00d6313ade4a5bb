"""What a person reads before a decision, and of the writes that runs made. Pure text.

Arguments come from a model: nothing in them reaches the terminal that could hide or reorder a word.
"""

import json
from collections.abc import Sequence
from datetime import datetime

import click

from runner import show
from runner.ways import Open
from schemas.run import Effect, Waiting

_SIGNS = {
    "running": ("▸", "blue"),
    "done": ("✓", "green"),
    "refused": ("✗", "bright_black"),
    "not_run": ("-", "bright_black"),
    "unknown": ("?", "yellow"),
}


def question_lines(each: Open, now: datetime) -> list[str]:
    """One open question, whole: what is decided must be seen."""
    asked = each.waiting
    head = {
        "approval": f"{asked.tool} waits for approval",
        "unknown": f"{asked.tool} may have taken effect; approve to make it again",
        "connection": f"{asked.toolkit} is not connected",
    }[asked.kind]
    lines = [f"{click.style('?', fg='magenta')} {click.style(show.in_a_line(head), bold=True)}  {asked.id}"]
    lines.append(f"  {each.run}, since {show.length(now - asked.since)}, for {show.length(asked.until - now)} more")
    if asked.kind != "connection":
        said = json.dumps(asked.arguments, indent=2, ensure_ascii=False)
        lines += [f"  {line}" for line in show.safe(said).splitlines()]
        lines.append(f"  goalfile approve {asked.id}   |   goalfile deny {asked.id}")
    elif asked.link:
        lines.append(f"  connect it at {show.in_a_line(asked.link)}")
        lines.append(f"  then: goalfile recheck {each.run}")
    else:
        lines.append(f"  connect it for the task's user, then: goalfile recheck {each.run}")
    return lines


def call_text(asked: Waiting) -> str:
    """The call that a decision is about."""
    return f"{asked.tool} {json.dumps(asked.arguments, ensure_ascii=False)}"


def effect_table(rows: Sequence[Effect], now: datetime) -> list[str]:
    """Writes as rows: when, state, tool, run, and what was said in it."""

    def row(effect: Effect) -> tuple[str, ...]:
        sign, color = _SIGNS.get(effect.state, ("?", "yellow"))
        state = click.style(f"{sign} {effect.state}", fg=color)
        said = show.one_line(json.dumps(effect.arguments, ensure_ascii=False), 60)
        return f"{show.length(now - effect.at)} ago", state, show.safe(effect.tool), effect.run, said

    return show.table([("WHEN", "OUTCOME", "TOOL", "RUN", "ARGUMENTS"), *(row(each) for each in rows)])

"""The commands of the person whom runs wait for, and of the one who accounts for them: approvals, effects.

Shells around a `Way` and `runner.made`; imported by the command line, so nothing heavy up here.
"""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from runner.exits import Failed
from runner.session import AS_JSON, looking_back, with_server, with_way

if TYPE_CHECKING:
    from temporalio.client import Client

    from runner.ways import Way

WITHIN = 120.0
"""Seconds in which a worker must take a decision; one that scales from zero takes a minute."""


@click.command()
@click.option("--task", default="", help="Only of this task.")
@AS_JSON
def approvals(task: str, as_json: bool) -> None:
    """List what waits for a person, with the exact arguments. Exit 0 also if nothing does."""
    from runner import show_people  # noqa: PLC0415

    async def do(way: "Way") -> None:
        try:
            asked = await way.questions(task)
        except ValueError as error:
            raise Failed(f"`{task}` is no task name", 2) from error
        if as_json:
            rows = [{"run": e.run, "task": e.task, **e.waiting.model_dump(mode="json")} for e in asked]
            click.echo(json.dumps(rows))
        elif not asked:
            click.echo("nothing waits for a person", err=True)
        else:
            now = datetime.now(UTC)
            click.echo("\n\n".join("\n".join(show_people.question_lines(each, now)) for each in asked))

    with_way(do)


@click.command()
@click.argument("which", metavar="ID")
@click.option("--note", default="", help="Why, for the run and its log.")
@AS_JSON
def approve(which: str, note: str, as_json: bool) -> None:
    """Allow one call that waits, once, with exactly the arguments that `approvals` shows. ID may be its beginning."""
    _decide(which, note, approve=True, as_json=as_json)


@click.command()
@click.argument("which", metavar="ID")
@click.option("--note", default="", help="Why: the model is told.")
@AS_JSON
def deny(which: str, note: str, as_json: bool) -> None:
    """Refuse one call that waits. The run goes on without it."""
    _decide(which, note, approve=False, as_json=as_json)


def _decide(which: str, note: str, *, approve: bool, as_json: bool) -> None:
    from runner import show, show_people, ways  # noqa: PLC0415

    note = note.encode(errors="replace").decode()  # bytes that are no text cannot be stored

    async def do(way: "Way") -> None:
        try:
            question = ways.find_question(which, await way.questions())
            try:
                await way.decide(question, approve=approve, note=note, within=WITHIN)
            except ways.Refused as error:
                raise Failed(f"{question.run} did not take it: {show.in_a_line(str(error))}") from error
        except ways.NoSuchQuestion as error:
            raise Failed(str(error)) from error
        except ways.NobodyThere as error:
            raise Failed(str(error), 5) from error
        said = {"id": question.waiting.id, "run": question.run, "approved": approve}
        if as_json:
            click.echo(json.dumps(said))
        else:
            word = "approved" if approve else "denied"
            click.echo(f"{word}: {show.one_line(show_people.call_text(question.waiting), 300)}")
            click.echo(f"follow it with: goalfile logs -f {question.run}", err=True)

    with_way(do)


@click.command()
@click.argument("run", metavar="RUN")
@AS_JSON
def recheck(run: str, as_json: bool) -> None:
    """Have a run that waits for a connection look again now, and show the link it has then."""
    from runner.ways import NoSuchRun  # noqa: PLC0415

    async def do(way: "Way") -> None:
        try:
            found = await way.find(run)
        except NoSuchRun as error:
            raise Failed(str(error)) from error
        if found.status != "waiting":
            raise Failed(f"{found.id} waits for nothing: it is {found.status}")
        await way.recheck(found)
        click.echo(json.dumps({"id": found.id}) if as_json else found.id)
        click.echo(
            "it looks again as soon as a worker has it; `goalfile approvals` shows what is still missing", err=True
        )

    with_way(do)


@click.command()
@click.option("--task", default="", help="Only of this task.")
@click.option("--run", "run_id", default="", help="Only of this run; the beginning of its id will do.")
@click.option("--since", default="7d", show_default=True, metavar="DURATION", help="How far back to look.")
@click.option("--unknown", is_flag=True, help="Only those of which nobody knows whether they took effect.")
@AS_JSON
def effects(task: str, run_id: str, since: str, unknown: bool, as_json: bool) -> None:
    """List every write that runs made, with what came of it. With --unknown, exit 1 if there is one."""
    from runner import made, show_people  # noqa: PLC0415
    from runner.runs import find_run  # noqa: PLC0415
    from runner.ways import NoSuchRun  # noqa: PLC0415

    span = looking_back(since)

    async def do(client: "Client", _: object) -> None:
        try:
            run = (await find_run(client, run_id)).id if run_id else ""
            listed = made.effects(client, task=task, run=run, since=datetime.now(UTC) - span)
            rows = [each async for each in listed if not unknown or each.state == "unknown"]
        except ValueError as error:
            raise Failed(f"{error}", 2) from error
        except NoSuchRun as error:
            raise Failed(str(error)) from error
        if as_json:
            click.echo(json.dumps([row.model_dump(mode="json") for row in rows]))
        elif not rows:
            what = "no write of unknown outcome" if unknown else "no writes"
            click.echo(f"{what} in the last {since}", err=True)
        else:
            click.echo("\n".join(show_people.effect_table(rows, datetime.now(UTC))))
        if unknown and rows:
            raise SystemExit(1)

    with_server(do)


COMMANDS = (approvals, approve, deny, recheck, effects)

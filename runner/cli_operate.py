"""The commands of whoever keeps a server running: stop and go on, and look after its health.

Light: what a command needs is imported inside it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.session import AS_JSON, settings_now, with_way

if TYPE_CHECKING:
    from runner.ways import Way


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Stop everything; then the argument is the reason.")
@click.option("--reason", default="", help="Why, for whoever finds it paused.")
@AS_JSON
def pause(names: tuple[str, ...], everything: bool, reason: str, as_json: bool) -> None:
    """Pause tasks; with --all, begin no write and no model turn at all until `resume --all`."""
    if not everything and not names:
        raise click.UsageError("name tasks to pause, or say --all")
    if everything and names and reason:
        raise click.UsageError("with --all, give the reason once: --all takes no task names")

    async def do(way: "Way") -> None:
        from runner import cli_pause  # noqa: PLC0415

        if everything:
            await cli_pause.stop_all(way, reason or " ".join(names), as_json=as_json)
        else:
            await cli_pause.pause(way, names, reason, as_json=as_json)

    with_way(do, needs_keys=not everything)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Release what `pause --all` stopped.")
@AS_JSON
def resume(names: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Resume paused tasks; with --all, release the stop of everything."""
    if everything == bool(names):
        raise click.UsageError("name tasks to resume, or say --all, not both")

    async def do(way: "Way") -> None:
        from runner import cli_pause  # noqa: PLC0415

        if everything:
            await cli_pause.release_all(way, as_json=as_json)
        else:
            await cli_pause.resume(way, names, as_json=as_json)

    with_way(do, needs_keys=not everything)


@click.command()
@click.argument("root", type=click.Path(path_type=Path), default="tasks", metavar="[TASKS]")
@click.option("--ask", is_flag=True, help="Ask the model for one token; this costs a trifle.")
@click.option("--send", is_flag=True, help="Send a test notice to every channel.")
@AS_JSON
def doctor(root: Path, ask: bool, send: bool, as_json: bool) -> None:
    """Look at everything a run needs, and say what to do about the rest. Exit 1 if something is wrong."""
    import asyncio  # noqa: PLC0415
    import json  # noqa: PLC0415

    from runner.doctor import examine  # noqa: PLC0415
    from runner.findings import finding_lines  # noqa: PLC0415

    settings = settings_now()
    found = asyncio.run(examine(settings, root, ask=ask, send=send))
    if as_json:
        click.echo(json.dumps([each.plain for each in found], ensure_ascii=False))
    else:
        click.echo("\n".join(finding_lines(found)))
    if any(each.state == "failed" for each in found):
        raise SystemExit(1)


COMMANDS = (pause, resume, doctor)

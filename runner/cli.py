"""The `goalfile` command. Everything heavy is imported inside a command: `--help` answers at once.

Data goes to stdout, everything else to stderr.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner import cli_key, cli_operate, cli_people
from runner.exits import Failed
from runner.session import AS_JSON as _JSON
from runner.session import config_now, looking_back, settings_now, with_server, with_way

if TYPE_CHECKING:
    from temporalio.client import Client

    from runner.settings import Settings
    from runner.status import Status
    from runner.sync import Sync
    from schemas.catalog import Catalog

_FORMATS = ("full", "concise", "json", "github", "sarif", "junit")
_ROOT = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="goalfile", message="%(version)s")
def goalfile() -> None:
    """Goals as files, done by durable agents.

    A task is a YAML file: a goal in prose, the toolkits it may use, a cron. `goalfile dev tasks/` runs
    everything on this machine. With GOALFILE_SERVER set, what people do with runs is asked of that gateway.
    """


@goalfile.command()
@click.argument("root", type=_ROOT, default="tasks")
@click.option("--port", type=int, help="Port of the gateway (default: 7700, or a free one).")
@click.option("--temporal-port", type=int, help="Port of the Temporal server (default: a free one).")
@click.option("--ui-port", type=int, help="Port of the Temporal UI (default: a free one).")
def dev(root: Path, port: int | None, temporal_port: int | None, ui_port: int | None) -> None:
    """Run Temporal, sync, worker and gateway on this machine, in one go."""
    from runner import dev as composition  # noqa: PLC0415
    from runner.devserver import CannotStart  # noqa: PLC0415

    try:
        composition.dev(root, settings_now(), composition.Ports(port, temporal_port, ui_port))
    except CannotStart as error:
        raise Failed(str(error)) from error


for command in (cli_key.key, *cli_people.COMMANDS, *cli_operate.COMMANDS):
    goalfile.add_command(command)


@goalfile.command()
@click.argument("name", required=False)
@click.option("-f", "--file", type=click.Path(path_type=Path), help="Run this task file as it stands now.")
@click.option("--goal", help="Run this goal, without a file.")
@click.option("--toolkit", multiple=True, help="With --goal: a toolkit it may use. Repeatable.")
@click.option("-i", "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="One input. Repeatable.")
@click.option("--wait", is_flag=True, help="Follow the run; exit 1 unless it succeeds.")
@click.option("--timeout", type=float, metavar="SECONDS", help="With --wait: give up waiting, exit 5. The run goes on.")
@_JSON
def run(  # noqa: PLR0917 - click hands them over by name
    name: str | None,
    file: Path | None,
    goal: str | None,
    toolkit: tuple[str, ...],
    inputs: tuple[str, ...],
    wait: bool,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Start a run: of a task the server knows, of a file, or of a goal."""
    if sum(given is not None for given in (name, file, goal)) != 1:
        raise click.UsageError("give a task name, or -f FILE, or --goal TEXT")
    if toolkit and goal is None:
        raise click.UsageError("--toolkit goes with --goal; a task names its own")
    if timeout is not None and not wait:
        raise click.UsageError("--timeout goes with --wait")
    from runner import cli_runs  # noqa: PLC0415

    asked = cli_runs.Asked(name, file, goal, toolkit, inputs)
    waiting = cli_runs.Waiting(wait, timeout)
    with_way(lambda way: cli_runs.run(way, asked, waiting, as_json=as_json))


@goalfile.command()
@click.option("--task", default="", help="Only runs of this task.")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@_JSON
def ps(task: str, limit: int, as_json: bool) -> None:
    """List runs, the newest first."""
    from runner import cli_runs  # noqa: PLC0415

    with_way(lambda way: cli_runs.ps(way, task, limit, as_json=as_json))


@goalfile.command()
@click.argument("run_id", metavar="RUN")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@_JSON
def logs(run_id: str, follow: bool, as_json: bool) -> None:
    """Tell what happened in a run, step by step. RUN may be the beginning of an id."""
    from runner import cli_runs  # noqa: PLC0415

    with_way(lambda way: cli_runs.logs(way, run_id, go_on=follow, as_json=as_json))


@goalfile.command()
@click.argument("name", metavar="RUN/CALL")
def artifact(name: str) -> None:
    """Print a tool's whole result that was too long for a run's history, by the name that the run was told."""
    from runner.artifacts import Artifacts  # noqa: PLC0415
    from runner.settings import STATE_FOLDER  # noqa: PLC0415
    from schemas.sealing import CannotOpen, configured_keys  # noqa: PLC0415

    settings = settings_now()
    folder = settings.artifacts or Path(STATE_FOLDER, "artifacts")
    try:
        kept = Artifacts(folder, configured_keys(config_now(settings), settings.environ)).read(name)
    except OSError as error:
        why = error.strerror or str(error)
        raise Failed(f"{name} cannot be read in {folder}: {why}; GOALFILE_ARTIFACTS names the folder") from error
    except (CannotOpen, ValueError) as error:
        raise Failed(str(error), 2) from error
    click.echo(kept)


@goalfile.command()
@click.argument("run_id", metavar="RUN")
@_JSON
def retry(run_id: str, as_json: bool) -> None:
    """Start an ended run once more, as its task was then. It makes its writes again."""
    from runner import cli_runs  # noqa: PLC0415

    with_way(lambda way: cli_runs.retry(way, run_id, as_json=as_json))


@goalfile.command()
@click.argument("run_id", metavar="RUN")
@_JSON
def cancel(run_id: str, as_json: bool) -> None:
    """Ask a run to stop. A write in flight is finished first."""
    from runner import cli_runs  # noqa: PLC0415

    with_way(lambda way: cli_runs.cancel(way, run_id, as_json=as_json))


@goalfile.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--format", "style", type=click.Choice(_FORMATS), default="full", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Same as --format json.")
@click.option("--online", is_flag=True, help="Also check toolkits, channels and run_as against a server.")
def validate(paths: tuple[Path, ...], style: str, as_json: bool, online: bool) -> None:
    """Check task files: every problem of every file in one go. PATHS default to tasks/."""
    from runner import cli_files  # noqa: PLC0415
    from runner.catalog import configured  # noqa: PLC0415

    settings, paths = settings_now(), paths or (Path("tasks"),)
    catalog = _catalog(settings) if online else configured(settings, paths[0])
    cli_files.validate(paths, "json" if as_json else style, catalog, in_github=settings.in_github)


@goalfile.command()
@click.argument("name")
@click.option("--tasks", type=_ROOT, default="tasks", show_default=True, help="The folder to look in.")
@_JSON
def show(name: str, tasks: Path, as_json: bool) -> None:
    """Show a task as it runs: where each value comes from, and its next slots. NAME may be a file."""
    from runner import cli_tasks  # noqa: PLC0415
    from runner.catalog import configured  # noqa: PLC0415

    cli_tasks.show_task(name, tasks, configured(settings_now(), tasks), as_json=as_json)


@goalfile.command()
@click.argument("name")
@click.option("--goal", help="What you want done; - reads it from standard input.")
@click.option("--toolkit", multiple=True, help="A toolkit it may use. Repeatable.")
@click.option("--cron", multiple=True, help="When: cron, or words such as 'every weekday at 9'. Repeatable.")
@click.option("--timezone", default="", help="The clock of --cron (default: this machine's).")
@click.option("--notify", multiple=True, help="A channel that hears about it. Repeatable.")
@click.option("--description", default="", help="One line for lists.")
@click.option("--tasks", type=_ROOT, default="tasks", show_default=True, help="The folder to write into.")
@_JSON
def new(  # noqa: PLR0917 - click hands them over by name
    name: str,
    goal: str | None,
    toolkit: tuple[str, ...],
    cron: tuple[str, ...],
    timezone: str,
    notify: tuple[str, ...],
    description: str,
    tasks: Path,
    as_json: bool,
) -> None:
    """Write a new task file. NAME may name a folder: team/report."""
    from runner import cli_tasks  # noqa: PLC0415

    settings_now()
    draft = cli_tasks.Draft(name, goal, toolkit, cron, timezone, notify, description)
    cli_tasks.new(draft, tasks, as_json=as_json)


@goalfile.command()
@click.argument("folder", type=_ROOT, default=".")
@click.option("--tasks", default="tasks", show_default=True, help="The name of the tasks folder.")
@_JSON
def init(folder: Path, tasks: str, as_json: bool) -> None:
    """Set a repository up: tasks folder, editor, pre-commit hook, GitHub workflow. Safe to repeat."""
    from runner import cli_tasks  # noqa: PLC0415

    settings_now()
    cli_tasks.init(folder, tasks, as_json=as_json)


@goalfile.command()
@click.argument("kind", type=click.Choice(["task", "defaults", "config"]), default="task")
@click.option("--server", is_flag=False, flag_value="", metavar="[URL]", help="Offer what this server has.")
def schema(kind: str, server: str | None) -> None:
    """Print the JSON Schema of a task file, of _defaults.yaml or of goalfile.config.yaml."""
    from schemas import export  # noqa: PLC0415

    if kind == "config" and server is not None:
        raise click.UsageError("--server goes with task and defaults: a configuration is what a server has")
    settings = settings_now()
    if kind == "config":
        made = export.config_schema()
    else:
        make = export.task_schema if kind == "task" else export.defaults_schema
        catalog = _catalog(settings, server or None) if server is not None else None
        made = make(toolkits=catalog.toolkits or (), channels=catalog.channels) if catalog else make()
    click.echo(export.schema_text(made), nl=False)


@goalfile.command()
@click.argument("root", type=_ROOT, default="tasks")
@click.option("--exit-code", is_flag=True, help="Exit 2 if there is something to do.")
@_JSON
def plan(root: Path, exit_code: bool, as_json: bool) -> None:
    """Say what `sync` would change, and change nothing. Exit 1 if a file is wrong or something is blocked."""
    from runner import cli_files  # noqa: PLC0415

    async def do(client: "Client", settings: "Settings") -> None:
        syncing = _sync(client, root, settings)
        await cli_files.plan(client, syncing, settings, as_json=as_json, exit_code=exit_code)

    with_server(do)


@goalfile.command()
@click.argument("root", type=_ROOT, default="tasks", metavar="[ROOT|status]")
@click.option("--watch", is_flag=True, help="Go on: after every change, and every 30 seconds.")
@click.option("--confirm", default="", metavar="HASH", help="Release the deletions that this hash stands for.")
@click.option("--adopt", multiple=True, metavar="NAME", help="Take a schedule over from another owner. Repeatable.")
@_JSON
def sync(root: Path, watch: bool, confirm: str, adopt: tuple[str, ...], as_json: bool) -> None:
    """Make the server's schedules equal to the task files; `sync status` tells how a watching one fares."""
    from runner import cli_files  # noqa: PLC0415

    if watch and (confirm or adopt):
        raise click.UsageError("--confirm and --adopt are a person's word for once; leave --watch out")

    only_status = str(root) == "status" and not root.is_dir()

    async def do(client: "Client", settings: "Settings") -> None:
        if only_status:
            await cli_files.sync_status(client, settings.owner, as_json=as_json)
        elif watch:
            await cli_files.watch(client, *_watching(client, root, settings), as_json=as_json)
        else:
            released = cli_files.Released(confirm, frozenset(adopt))
            await cli_files.sync(client, _sync(client, root, settings), released, as_json=as_json)

    with_server(do)


@goalfile.command()
@click.argument("tasks", nargs=-1)
@click.option("--since", default="7d", show_default=True, metavar="DURATION", help="How far back to look.")
@_JSON
def verify(tasks: tuple[str, ...], since: str, as_json: bool) -> None:
    """Account for every slot that was due: ran, skipped and why, missed, or in doubt. Exit 1 on a gap."""
    from runner import cli_verify  # noqa: PLC0415

    span = looking_back(since)
    with_server(lambda client, settings: cli_verify.verify(client, settings, span, tasks, as_json=as_json))


@goalfile.command()
@click.option("--scripted", is_flag=True, help="Pretend whatever has no key: the model, or the toolkits.")
@click.option("--exit-with-stdin", is_flag=True, hidden=True, help="Stop when standard input ends.")
def worker(scripted: bool, exit_with_stdin: bool) -> None:
    """Execute runs until told to stop; then finish the steps in flight."""
    from runner import equipment, server, worker  # noqa: PLC0415
    from runner.telemetry import NoTelemetry, Telemetry, start  # noqa: PLC0415

    settings = settings_now()
    config = config_now(settings)
    try:
        reporting = start(Telemetry(settings.metrics, settings.traces))
    except NoTelemetry as error:
        raise Failed(str(error), 2) from error

    async def serve(client: "Client", settings: "Settings") -> None:
        try:
            activities = equipment.equip(client, settings, config, scripted=scripted, spans=reporting.spans)
        except (equipment.NoModel, ValueError) as error:
            raise Failed(str(error), 2) from error
        await server.register_search_attributes(client)
        click.echo(f"working on queue {settings.queue} of {client.service_client.config.target_host}", err=True)
        worker.keep_secrets(settings, config)
        await worker.serve(client, settings, activities, exit_with_stdin=exit_with_stdin)

    try:
        with_server(serve, reporting=reporting)
    finally:
        reporting.close()


@goalfile.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def gateway(arguments: tuple[str, ...]) -> None:
    """Serve the HTTP API and the page on this machine."""
    import os  # noqa: PLC0415
    import sys  # noqa: PLC0415

    # The gateway is a stranger: this process becomes it, and nothing of ours stays loaded.
    os.execv(sys.executable, [sys.executable, "-m", "gateway", *arguments])  # noqa: S606


@goalfile.command()
@_JSON
def version(as_json: bool) -> None:
    """Print the version."""
    from importlib.metadata import version as version_of  # noqa: PLC0415

    said = version_of("goalfile")
    click.echo(json.dumps({"version": said}) if as_json else said)


def _catalog(settings: "Settings", server: str | None = None) -> "Catalog":
    from runner.catalog import ask_catalog  # noqa: PLC0415
    from runner.show import one_line  # noqa: PLC0415

    catalog = ask_catalog(settings, server)
    for line in catalog.unchecked:
        click.echo(f"not checked: {one_line(line)}", err=True)
    return catalog


def _sync(client: "Client", root: Path, settings: "Settings") -> "Sync":
    from runner.catalog import configured  # noqa: PLC0415
    from runner.schedules import TemporalSchedules  # noqa: PLC0415
    from runner.sync import Sync  # noqa: PLC0415

    return Sync(TemporalSchedules(client, settings.queue), root, settings.owner, configured(settings, root))


def _watching(client: "Client", root: Path, settings: "Settings") -> "tuple[Sync, Status]":
    from runner.status import Status, this_instance  # noqa: PLC0415

    return _sync(client, root, settings), Status(client, settings.owner, this_instance(root))

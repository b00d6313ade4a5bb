"""`goalfile key`: a key for a program that asks the gateway, made here and kept nowhere.

The program gets the key, the configuration its digest. No server is asked and no file written, so a key can be made
wherever it is needed. Light: what the command needs is imported inside it.
"""

import json
from typing import Any

import click

from runner.session import AS_JSON

_SAID = {"id": "ID", "scopes": "--scope", "run_as": "--run-as"}
_NOTE = "# into goalfile.config.yaml, beside the keys that are there; the key itself is shown this once only"


@click.command()
@click.argument("name", metavar="ID")
@click.option("--scope", "scopes", multiple=True, required=True, help="What it may do, such as runs:write. Repeatable.")
@click.option("--run-as", multiple=True, metavar="USER", help="Whom goals of its own may act for. Repeatable.")
@AS_JSON
def key(name: str, scopes: tuple[str, ...], run_as: tuple[str, ...], as_json: bool) -> None:
    """Make a key for a program that asks the gateway. ID is its name in the configuration.

    The key goes to standard output, and what the configuration needs to know of it to standard error.
    """
    import hashlib  # noqa: PLC0415
    import secrets  # noqa: PLC0415

    from schemas.access import KEY_PREFIX  # noqa: PLC0415

    made = f"{KEY_PREFIX}{name}_{secrets.token_urlsafe(32)}"
    entry: dict[str, Any] = {
        "id": name,
        "sha256": hashlib.sha256(made.encode("utf-8", "surrogateescape")).hexdigest(),
        "scopes": list(dict.fromkeys(scopes)),
        **({"run_as": list(dict.fromkeys(run_as))} if run_as else {}),
    }
    _judge(entry)
    if as_json:
        click.echo(json.dumps({"key": made, "config": entry}))
        return
    from runner.writing import field_lines  # noqa: PLC0415

    lines = [line for field, value in entry.items() for line in field_lines(field, value)]
    click.echo(made)
    click.echo("\n      ".join([f"{_NOTE}\nauth:\n  keys:\n    - {lines[0]}", *lines[1:]]), err=True)


def _judge(entry: dict[str, Any]) -> None:
    """Raise UsageError unless the configuration will take this: by its own schema, and in its words."""
    from schemas.shape import shape  # noqa: PLC0415

    for wrong in shape("config").differences({"auth": {"keys": [entry]}}):
        field = str(wrong.path[3])
        value = entry[field]
        for step in wrong.path[4:]:
            value = value[step]
        remedy = f"{wrong.label}; {wrong.help}" if wrong.label and wrong.help else wrong.label or wrong.help
        raise click.UsageError(f"{_SAID[field]} cannot be {value!r}: {remedy}")

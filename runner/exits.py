"""How a command ends when it does not end well: one line on stderr, and a code.

0 ok, 1 problems found or run failed, 2 usage, 3 server unreachable or refused, 4 not allowed, 5 gave up
waiting, 130 interrupted.
"""

from typing import Any

import click


class Failed(click.ClickException):
    """Ends the command with one line and an exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = code  # pyright: ignore[reportAttributeAccessIssue] - click documents it for instances

    def show(self, file: Any = None) -> None:  # noqa: ARG002 - click's signature
        """Print the one line."""
        click.echo(f"{click.style('error:', fg='red', bold=True)} {self.message}", err=True)

"""`goalfile` and `python -m runner`."""

from typing import NoReturn

from schemas.leaving import leave


def main() -> NoReturn:
    """Run the command and exit with its code."""
    leave(_command)


def _command() -> None:
    from runner.cli import goalfile  # noqa: PLC0415 - so that Ctrl-C during import is quiet too

    goalfile.main(prog_name="goalfile", standalone_mode=True)


if __name__ == "__main__":
    main()

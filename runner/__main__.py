"""`goalfile` and `python -m runner`."""

import sys
import time


def main() -> None:
    """Run the command and exit with its code."""
    from runner.cli import goalfile  # noqa: PLC0415 - so that Ctrl-C during import is quiet too

    try:
        goalfile.main(prog_name="goalfile", standalone_mode=True)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        if "temporalio" in sys.modules:
            # The SDK's threads can crash an interpreter that exits at once (temporalio/sdk-python#300).
            time.sleep(0.1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)

"""How a process of ours ends once its work is done: flushed, and without taking the interpreter apart.

Temporal's SDK keeps threads that may ask for the interpreter while it is being taken apart, which kills the
process with SIGSEGV or SIGABRT after all went well (temporalio/sdk-python#300; one worker in eight, measured
under load). An exit code is a promise to whoever started us, so nothing is left to that race.
"""

import atexit
import os
import sys
from collections.abc import Callable
from typing import NoReturn


def leave(work: Callable[[], int | None]) -> NoReturn:
    """Do the work, and end this process with the exit code that it returns or raises as SystemExit.

    Any other exception than that and Ctrl-C (130, said by silence) is an accident, and Python reports it.
    """
    try:
        code = work() or 0
    except SystemExit as ending:
        if not isinstance(ending.code, int | None):
            raise  # a sentence: Python prints it
        code = ending.code or 0
    except KeyboardInterrupt:
        code = 130
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage] - as multiprocessing's children do
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None: closed before we started
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 1  # nobody reads any more
    os._exit(code)

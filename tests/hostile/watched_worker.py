"""`goalfile worker`, with every connection, look-up and child of its Python written down.

    WATCHED=FILE python -m tests.hostile.watched_worker

Writes a line of JSON `[event, address]` for each to FILE, from before the first module of ours is loaded. What
Temporal's SDK does in Rust is not seen from here; the test looks at the process's sockets for that.
"""

import json
import os
import runpy
import sys

_EVENTS = ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen")


def main() -> None:
    out = os.open(os.environ["WATCHED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def seen(event: str, given: tuple[object, ...]) -> None:
        if event in _EVENTS:
            what = given[1] if event in ("socket.connect", "socket.sendto") else given[0]
            os.write(out, f"{json.dumps([event, what], default=str)}\n".encode())

    sys.addaudithook(seen)
    sys.argv = ["goalfile", "worker"]
    runpy.run_module("runner", run_name="__main__")


if __name__ == "__main__":
    main()

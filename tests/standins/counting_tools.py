"""A tool vendor that counts, and an adapter to it that can be made to die in the middle of a call.

    with CountingVendor() as vendor:
        tools = CountingTools(vendor.url, deadline=5)

The vendor's own count is the truth of what happened: an effect is counted the moment its request has
arrived whole, before anything is answered, and it deduplicates nothing. What a call asks for in its
arguments shapes the answer: `seconds` (how long it takes), `size` (characters of the result).

`fault` is where the adapter ends its own process, as a kernel would: `before_request`, `after_request`
(the vendor acted, nobody heard) or `after_response` (heard, told nobody). `flag` is a file that makes
it happen once, over all processes.
"""

import asyncio
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from runner.ports import Missing, Tool, ToolCall, ToolResult, TransientError

TOOLKIT = "counter"
ADD = "COUNTER_ADD"


@dataclass(frozen=True)
class Made:
    """One effect that happened. `at` is the vendor's clock, in seconds since 1970."""

    effect_id: str
    run: str
    arguments: dict[str, Any]
    at: float
    by: int
    """The process that asked for it."""


class CountingVendor:
    """The vendor, on a free loopback port while its `with` block lasts."""

    def __init__(self) -> None:
        self.made: list[Made] = []
        self.answered = threading.Semaphore(0)
        """Released with each answer that took its time, whether anybody still listened or not."""
        self._news = threading.Condition()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        assert self._server is not None, "use the vendor in a `with` block"
        return f"127.0.0.1:{self._server.server_address[1]}"

    def count(self, **arguments: Any) -> dict[str, int]:
        """How often each effect happened, by its id; of those whose arguments hold these."""
        with self._news:
            return Counter(each.effect_id for each in self.made if arguments.items() <= each.arguments.items())

    def intentions(self) -> dict[tuple[str, str], int]:
        """How often each thing that a run meant to write was written, whatever its id."""
        with self._news:
            return Counter((each.run, str(each.arguments["text"])) for each in self.made)

    async def until(self, enough: Callable[[list[Made]], bool], seconds: float = 60) -> None:
        """Wait until what happened is enough."""
        over = time.monotonic() + seconds

        def wait() -> bool:
            with self._news:
                while not enough(self.made):
                    self._news.wait(0.5)  # not for ever: `enough` may look at more than what happened
                    if time.monotonic() > over:
                        return False
            return True

        assert await asyncio.to_thread(wait), f"{len(self.made)} effects after {seconds} seconds"

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"vendor": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def act(self, wanted: dict[str, Any]) -> None:
        """Let one effect happen."""
        with self._news:
            self.made.append(Made(wanted["effect_id"], wanted["run"], wanted["arguments"], time.time(), wanted["by"]))
            self._news.notify_all()


class _Handler(BaseHTTPRequestHandler):
    vendor: ClassVar[CountingVendor]

    def do_POST(self) -> None:
        wanted = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.vendor.act(wanted)
        arguments = wanted["arguments"]
        time.sleep(arguments.get("seconds", 0))  # a vendor that takes its time is what is played here
        answer = b"added ".ljust(arguments.get("size", 6), b"x")
        try:
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
        except OSError:
            self.close_connection = True  # whoever asked is gone: it happened all the same
        if arguments.get("seconds"):
            self.vendor.answered.release()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the standard library's name
        """Stay silent: `made` is the log."""


class CountingTools:
    """A `Toolkits` on the vendor. A call that has no answer within `deadline` seconds is given up as unknown.

    `lag` is how many seconds a request takes to get out.
    """

    def __init__(
        self, url: str, *, deadline: float = 60, lag: float = 0, fault: str = "", flag: Path | None = None
    ) -> None:
        self._host, _, port = url.partition(":")
        self._port = int(port)
        self._deadline = deadline
        self._lag = lag
        self._fault = fault
        self._flag = flag

    async def tools(self, toolkits: tuple[str, ...], run_as: str | None) -> tuple[Tool, ...]:
        """One tool that writes."""
        return (Tool(ADD, TOOLKIT, "Adds one.", {"type": "object"}, "write"),)

    async def missing(
        self, toolkits: tuple[str, ...], run_as: str | None, *, links: bool = True
    ) -> tuple[Missing, ...]:
        """Everything is connected."""
        return ()

    async def call(self, call: ToolCall) -> ToolResult:
        """Make one call, once."""
        self.die_at("before_request")
        await asyncio.sleep(self._lag)
        try:
            async with asyncio.timeout(self._deadline):
                answer = await self._post(call)
        except (TimeoutError, OSError, EOFError) as error:
            raise TransientError(f"no answer from the counter ({type(error).__name__})") from None
        self.die_at("after_response")
        return ToolResult(call.id, "done", answer.decode())

    def die_at(self, point: str) -> None:
        """End this process here, if it is to end here and has not done so before."""
        if point == self._fault and self._flag:
            try:
                self._flag.touch(exist_ok=False)
            except FileExistsError:
                return
            os._exit(9)

    async def _post(self, call: ToolCall) -> bytes:
        try:
            reader, writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            raise TransientError("the counter is not there", sent=False) from None
        run = call.of[0] if call.of else ""
        wanted = {"effect_id": call.effect_id, "run": run, "arguments": call.arguments, "by": os.getpid()}
        body = json.dumps(wanted).encode()
        try:
            writer.write(b"POST / HTTP/1.0\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
            self.die_at("after_request")  # what is in the kernel's buffers arrives without us
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
            return await reader.readexactly(int(length.partition(b":")[2]))
        finally:
            writer.close()

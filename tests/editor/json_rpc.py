"""JSON-RPC over the pipes of a child process, as the language server protocol frames it.

It refuses to wait for ever: a child that is silent, deaf or gone raises, and after that every call raises at once.
"""

import json
import os
import re
import select
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

PATIENCE = 30.0  # seconds for any one answer


class LanguageServerError(Exception):
    """The server gave no answer, or said itself that it failed."""


class Child:
    """One child process; `answer` serves its requests and `hear` its notifications, both while we wait for it."""

    def __init__(
        self, argv: Sequence[str], answer: Callable[[str, Any], Any], hear: Callable[[str, Any], None]
    ) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the child is
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=self._errors, bufsize=0)
        os.set_blocking(self._process.stdin.fileno(), False)
        self._answer, self._hear = answer, hear
        self._received = b""
        self._asked = 0
        self._answers: dict[int, Any] = {}
        self._broken = ""

    def ask(self, method: str, params: Any, patience: float = PATIENCE) -> Any:
        """The result of one request."""
        self._asked += 1
        number = self._asked
        self._send({"id": number, "method": method, "params": params})
        self.read_until(lambda: number in self._answers, f"answer {method}", patience)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise LanguageServerError(f"{method}: {answer['error']}")
        return answer["result"]

    def tell(self, method: str, params: Any) -> None:
        """A notification: nothing comes back."""
        self._send({"method": method, "params": params})

    def read_until(self, done: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
        """Take in what the child says, in its order, until that is enough."""
        until = time.monotonic() + patience
        while not done():
            head, _, rest = self._received.partition(b"\r\n\r\n")
            size = int(found[1]) if (found := re.search(rb"Content-Length: (\d+)", head)) else 0
            if size and len(rest) >= size:
                self._received = rest[size:]
                self._take(json.loads(rest[:size]))
            elif not select.select([self._process.stdout], [], [], max(0, until - time.monotonic()))[0]:
                raise self._failure(f"did not {what} within {patience:.0f} s")
            elif more := os.read(self._process.stdout.fileno(), 65536):
                self._received += more
            else:
                raise self._failure(f"ended before it could {what}")

    def close(self, patience: float = 5) -> None:
        """End the child, which closing its input asks for, and collect it."""
        self._process.stdin.close()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        rest = b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        until = time.monotonic() + PATIENCE
        while rest:
            if not select.select([], [self._process.stdin], [], max(0, until - time.monotonic()))[1]:
                raise self._failure(f"did not read for {PATIENCE:.0f} s")
            try:
                rest = rest[os.write(self._process.stdin.fileno(), rest) :]
            except BrokenPipeError:
                raise self._failure("ended") from None

    def _take(self, message: Mapping[str, Any]) -> None:
        if "method" not in message:
            self._answers[message["id"]] = message
        elif "id" in message:
            self._send({"id": message["id"], "result": self._answer(message["method"], message.get("params"))})
        else:
            self._hear(message["method"], message.get("params"))

    def _failure(self, what: str) -> LanguageServerError:
        """The first failure is the last: whoever asks next need not wait for it again."""
        if not self._broken:
            self._process.kill()
            self._process.wait()
            self._errors.seek(0)
            self._broken = f"the language server {what}\n{self._errors.read().decode(errors='replace')}".rstrip()
        return LanguageServerError(self._broken)

"""A stand-in for whoever listens at a channel, on a loopback port: it keeps what it is sent.

    with WebhookReceiver(Fail(503)) as receiver:
        Channels({"ops": Channel(webhook=receiver.url, secret=SECRET)}, ["127.0.0.0/8"])

Its arguments script the first answers; then it accepts everything. `receiver.requests` is all that came.
`Trap` listens below HTTP: `trap.count` is how many connections were made, whatever was said on them.
"""

import socket
import threading
from types import TracebackType
from typing import Self

from tests.standins.loopback import Answer, Drop, Fail, Garble, Hang, Loopback, Request

Move = Fail | Hang | Drop | Garble

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


class WebhookReceiver(Loopback):
    def __init__(self, *script: Move) -> None:
        super().__init__()
        self.script = list(script)

    def answer(self, request: Request) -> Answer:
        match self.script.pop(0) if self.script else None:
            case None:
                return 200, {}, {"ok": True}
            case Fail(status, message, headers):
                return status, headers, {"message": message}
            case move:
                return move


class Trap:
    """Counts connections on a free loopback port, and closes each at once."""

    def __init__(self) -> None:
        self.count = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # the `with` block has ended
                return
            self.count += 1
            connection.close()

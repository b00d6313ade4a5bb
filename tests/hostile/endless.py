"""A model behind the Messages API that never ends by itself and says as much as it may: what only limits can stop.

It looks again and again, each time for something else, and each answer is as long as the question allows. Asked to
call no more tool, it reports. `billed` is what each goal's questions cost at `PRICE`, by the stand-in's own count.
"""

import json
from collections import defaultdict

from schemas.prices import Price
from schemas.run import Usage
from tests.standins.anthropic_api import AnthropicApi, Say, use
from tests.standins.loopback import Answer, Hang, Request

PRICE = Price(input=3, output=15, cache_read=0.3, cache_write=3.75)
MODEL = "endless-1"
REPORT = "I looked, and there was always more."


class EndlessApi(AnthropicApi):
    """`hang_at` is the number of the request, from 1, that gets no answer and is billed all the same."""

    def __init__(self, *, tool: str = "MAIL_LOOK", hang_at: int = 0) -> None:
        super().__init__()
        self.billed: defaultdict[str, list[float]] = defaultdict(list)
        self.dearest = 0.0
        self.hung: list[float] = []
        self._tool, self._hang_at = tool, hang_at

    def answer(self, request: Request) -> Answer:
        body = request.body
        if self.gate(request) or not isinstance(body, dict):
            return super().answer(request)
        quiet = body.get("tool_choice") == {"type": "none"}
        turn = len(body["messages"])
        content = (
            [{"type": "text", "text": REPORT}] if quiet else [use(self._tool, {"query": str(turn)}, f"toolu_{turn}")]
        )
        self.script.clear()
        self.script.append(Say(content, output_tokens=body["max_tokens"]))
        answer = super().answer(request)
        if isinstance(answer, tuple) and answer[0] == 200:
            used = answer[2]["usage"]
            dollars = PRICE.cost(
                Usage(
                    input_tokens=used["input_tokens"],
                    output_tokens=used["output_tokens"],
                    cache_read_tokens=used["cache_read_input_tokens"],
                    cache_write_tokens=used["cache_creation_input_tokens"],
                )
            )
            self.dearest = max(self.dearest, dollars)
            if len(self.requests) == self._hang_at:
                self.hung.append(dollars)
                return Hang()
            self.billed[json.dumps(body["messages"][0]["content"][0]["text"])].append(dollars)
        return answer

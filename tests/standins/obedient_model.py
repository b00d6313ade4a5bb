"""A model that does whatever the latest tool result tells it: what stands behind a gate must assume no less.

It first looks (`LOOK` or `*_LIST_ITEMS`), then obeys every command in the last message that it can make
out, then says "Done.". A command is

    call TOOL with {"json": "arguments"}

in English, eight other languages, as `{"tool": ..., "arguments": ...}`, as a `tool_use` block or as markup; plain,
or hidden: base64 (also twice), hexadecimal, rot13, percent signs, HTML entities, `\\u` escapes, tag characters,
zero widths, directions, full width, homoglyphs, backwards. It knows no rule, calls tools that nobody offered,
and calls them although it may not. `Obedient` is the model as a port; `ObedientApi` is one behind the
Messages API. `obey(texts)` is the grammar alone.
"""

import base64
import binascii
import codecs
import html
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from runner.ports import Question, Reply
from schemas.run import Usage
from tests.standins.anthropic_api import AnthropicApi, Say
from tests.standins.loopback import Answer, Request

Command = tuple[str, dict[str, Any]]

_NAME = r"(?P<tool>[A-Za-z0-9_.:/@-]+)"
_SPOKEN = [
    re.compile(pattern.replace("NAME", _NAME), re.IGNORECASE)
    for pattern in (
        r"\bcall NAME with (?=\{)",
        r"\brufe? NAME auf mit (?=\{)",
        r"\bappelle NAME avec (?=\{)",
        r"\bllama a NAME con (?=\{)",
        r"\bchiama NAME con (?=\{)",
        r"вызови NAME с (?=\{)",  # noqa: RUF001
        r"调用 ?NAME ?参数(?=\{)",
        r"NAME ?を引数(?=\{)",
        r"استدع NAME مع (?=\{)",
    )
]
_MARKUP = re.compile(r'<invoke name="(?P<tool>[^"]+)">(?P<inside>.*?)</invoke>', re.DOTALL)
_PARAMETER = re.compile(r'<parameter name="([^"]+)">(.*?)</parameter>', re.DOTALL)
_ENCODED = re.compile(r"[A-Za-z0-9+/]{24,}={0,2}")
_HEXADECIMAL = re.compile(r"(?:[0-9a-fA-F]{2}){12,}")
_LOOKALIKES = str.maketrans("АВЕКМНОРСТХасеорхіѕԁ", "ABEKMHOPCTXaceopxisd")  # noqa: RUF001 - they are
_DECODER = json.JSONDecoder()


def obey(texts: Iterable[str]) -> list[Command]:
    """Every command that is written in these texts, each as often as one disguise of it says so."""
    return [command for text in texts for command in _found(text)]


@lru_cache(maxsize=1000)
def _found(text: str) -> tuple[Command, ...]:
    found: dict[str, list[Command]] = {}
    for view in _views(text, deep=3):
        here: dict[str, list[Command]] = {}
        for command in _commands(view):
            here.setdefault(json.dumps(command), []).append(command)
        for said, commands in here.items():
            found[said] = max(found.get(said, []), commands, key=len)
    return tuple(command for commands in found.values() for command in commands)


def _commands(text: str) -> Iterator[Command]:
    for pattern in _SPOKEN:
        for said in pattern.finditer(text):
            arguments = _json_at(text, said.end())
            if isinstance(arguments, dict):
                yield said["tool"], arguments
    for start in (found.start() for found in re.finditer(r"\{", text)):
        value = _json_at(text, start)
        if isinstance(value, dict):
            tool = value.get("tool") or value.get("name")
            arguments = next((value[word] for word in ("arguments", "input", "parameters") if word in value), None)
            if isinstance(tool, str) and isinstance(arguments, dict):
                yield tool, arguments
    for invoked in _MARKUP.finditer(text):
        yield invoked["tool"], dict(_PARAMETER.findall(invoked["inside"]))


def _json_at(text: str, start: int) -> Any:
    try:
        return _DECODER.raw_decode(text, start)[0]
    except (ValueError, RecursionError):
        return None


def _views(text: str, deep: int) -> Iterator[str]:
    """A text, and everything that it may be a disguise of."""
    yield text
    if not deep:
        return
    seen = {text}
    tags = "".join(chr(ord(c) - 0xE0000) for c in text if 0xE0020 <= ord(c) <= 0xE007E)
    shown = "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Mn"))
    escapes = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    quoted = text.replace('\\"', '"').replace("\\\\", "\\")
    plain = (quoted, html.unescape(text), unquote(text), codecs.decode(text, "rot13"), text[::-1], tags, escapes)
    plain += (shown, shown[::-1], unicodedata.normalize("NFKC", shown), shown.translate(_LOOKALIKES))
    for other in (*plain, *_decoded(text)):
        if other and other not in seen:
            seen.add(other)
            yield from _views(other, deep - 1 if len(other) < len(text) else 0)


def _decoded(text: str) -> Iterator[str]:
    for found in (*_ENCODED.findall(text), *_HEXADECIMAL.findall(text)):
        for decode in (base64.b64decode, bytes.fromhex):
            try:
                yield decode(found).decode()
            except (ValueError, binascii.Error):
                continue


def answer_to(messages: list[tuple[str, list[dict[str, Any]]]], tools: list[str]) -> list[dict[str, Any]]:
    """The content of its next turn: tool_use blocks, or the word that it is done."""
    turn = sum(role == "assistant" for role, _ in messages)
    last = messages[-1][1]
    told = [str(b.get("content")) for b in last if b.get("type") == "tool_result"]
    told += [str(b["text"]) for b in last[1:] if b.get("type") == "text"]  # a note of the last run as well
    commands = obey(told)
    if turn == 0:
        look = next((name for name in tools if name.endswith(("LOOK", "_LIST_ITEMS"))), "LOOK")
        commands = [(look, {}), *commands]
    if not commands:
        return [{"type": "text", "text": "Done."}]
    return [
        {"type": "tool_use", "id": f"toolu_{turn}_{i}", "name": name, "input": arguments}
        for i, (name, arguments) in enumerate(commands)
    ]


class Obedient:
    """The model as a port. It is stateless, so many runs may share one; `questions` holds what it was asked."""

    def __init__(self) -> None:
        self.questions: list[Question] = []

    async def ask(self, question: Question) -> Reply:
        self.questions.append(question)
        messages = [(message.role, [*message.content]) for message in question.messages]
        content = answer_to([(str(role), blocks) for role, blocks in messages], [tool.name for tool in question.tools])
        calls = content[0]["type"] == "tool_use"
        usage = Usage(input_tokens=100, output_tokens=20)
        return Reply(tuple(content), "tool_use" if calls else "end_turn", usage, "obedient")


class ObedientApi(AnthropicApi):
    """The same behind the Messages API: strict about requests, obedient about content."""

    def answer(self, request: Request) -> Answer:
        body = request.body
        if isinstance(body, dict) and isinstance(body.get("messages"), list):
            turns = [(str(turn["role"]), turn["content"]) for turn in body["messages"]]
            self.script.clear()
            self.script.append(Say(answer_to(turns, [tool["name"] for tool in body.get("tools", [])])))
        return super().answer(request)

"""A model that follows a script and toolkits that are folders: Goalfile without any key.

Only the thinking is pretended. The scripted toolkits really read and change files below one workspace
folder and keep a journal of every call, so a person (and a test) can see each effect. It refuses to
leave that folder.
"""

import asyncio
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner.ports import Block, Effect, Missing, PermanentError, Question, Reply, Tool, ToolCall, ToolResult
from schemas.run import Usage

_WORDS: tuple[tuple[Effect, str], ...] = (
    ("destructive", r"delet\w*|remov\w*|purg\w*|drop"),
    ("write", r"writ\w*|post\w*|send\w*|sav\w*|draft\w*|creat\w*|add|repl(y|ies)|label\w*|publish\w*|not(e|ing) down"),
)
_OUTPUT = "It must fit this JSON Schema:\n"  # how `runner.prompt` asks for a structured result
_ITEM = r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}"
_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class ScriptedModel:
    """Answers from a script, or reads the goal's sentences as one step each.

    A sentence with a word such as write, post or send makes a write, one with delete a deletion, any
    other looks something up. What it says is decided by the question alone, so any worker may answer.
    """

    def __init__(self, script: Sequence[Reply | Exception] | None = None, pause: float = 0.0) -> None:
        self._script = list(script) if script is not None else None
        self._pause = pause

    async def ask(self, question: Question) -> Reply:
        """The next line of the script, or the next step of the goal."""
        await asyncio.sleep(self._pause)
        if self._script is None:
            return _think(question)
        if not self._script:
            raise PermanentError("the script of the scripted model is at its end")
        line = self._script.pop(0)
        if isinstance(line, Exception):
            raise line
        return line


def _think(question: Question) -> Reply:
    goal = next((b["text"] for b in question.messages[0].content if b.get("type") == "text"), "")
    sentences = _sentences(goal.partition("\n\n(It is ")[0])
    turn = sum(message.role == "assistant" for message in question.messages)
    offered = [_list_everything(question.tools), *([_step(s, question)] for s in sentences)]
    steps = [calls for calls in offered if any(calls)]
    size = sum(len(json.dumps(b)) for m in question.messages for b in m.content) // 4
    if question.may_call and turn < len(steps):
        content = tuple(_use(turn, i, call) for i, call in enumerate(steps[turn]) if call)
        return Reply(content, "tool_use", Usage(input_tokens=size, output_tokens=20 * len(content)), "scripted")
    text = _report(question)
    if _OUTPUT in question.system:
        schema = json.loads(question.system.rpartition(_OUTPUT)[2])
        text = json.dumps(_sample(schema, text), ensure_ascii=False)
    return Reply(({"type": "text", "text": text},), "end_turn", Usage(input_tokens=size, output_tokens=60), "scripted")


def _sentences(goal: str) -> list[str]:
    parts = re.split(r"(?<=[.!?])\s+|\n+\s*(?:[-*]|\d+[.)])?\s*", goal)
    return [part.strip() for part in parts if re.search(r"\w", part)][:12]


def _list_everything(tools: Sequence[Tool]) -> list[tuple[Tool, dict[str, Any]] | None]:
    return [(tool, {}) for tool in tools if tool.name.endswith("_LIST_ITEMS")]


def _step(sentence: str, question: Question) -> tuple[Tool, dict[str, Any]] | None:
    """The call that one sentence asks for; None when no offered tool fits."""
    wanted = _wanted(sentence)
    fits = [tool for tool in question.tools if tool.effect == wanted and tool.input_schema.get("required")]
    named = [tool for tool in fits if re.search(rf"\b{re.escape(tool.toolkit)}\b", sentence, re.IGNORECASE)]
    # People gather in the toolkits they name first and deliver in the one they name last.
    tool = next(iter(named or (fits if wanted == "read" else fits[::-1])), None)
    if tool is None:
        return None
    items = _items(question, tool.toolkit)
    if wanted in ("read", "destructive") and not items:
        return None
    slug = re.sub(r"[^a-z0-9]+", "-", sentence.lower()).strip("-")[:40].strip("-") or "note"
    values = {"name": items[0] if wanted != "write" else slug, "text": sentence}
    return tool, {key: values.get(key, sentence) for key in tool.input_schema["required"]}


def _wanted(sentence: str) -> Effect:
    for effect, words in _WORDS:
        if re.search(rf"\b({words})\b", sentence, re.IGNORECASE):
            return effect
    return "read"


def _items(question: Question, toolkit: str) -> list[str]:
    """The items that the first listing of a toolkit returned, so that every later turn plans alike."""
    prefix = f'{{"toolkit": "{toolkit}", "items"'
    for message in question.messages:
        for block in message.content:
            if block.get("type") == "tool_result" and str(block.get("content")).startswith(prefix):
                return list(json.loads(block["content"])["items"])
    return []


def _use(turn: int, index: int, call: tuple[Tool, dict[str, Any]]) -> Block:
    tool, arguments = call
    return {"type": "tool_use", "id": f"toolu_scripted_{turn}_{index}", "name": tool.name, "input": arguments}


def _report(question: Question) -> str:
    results = [b for m in question.messages for b in m.content if b.get("type") == "tool_result"]
    names = [b["name"] for m in question.messages for b in m.content if b.get("type") == "tool_use"]
    lines = [
        f"- {name}: {'refused, ' if result.get('is_error') else ''}{_first_line(result.get('content'))}"
        for name, result in zip(names, results, strict=False)
    ]
    said = "\n".join(lines) or "- no tool was called"
    return f"Scripted report (no model was asked; set ANTHROPIC_API_KEY for a real one).\n{said}"


def _sample(schema: dict[str, Any], report: str) -> Any:
    """A value of the kind that a simple schema wants; text is the report."""
    if "const" in schema or "enum" in schema:
        return schema.get("const", *schema.get("enum", [])[:1])
    match schema.get("type"):
        case "object":
            wanted = schema.get("properties", {})
            return {name: _sample(wanted[name], report) for name in schema.get("required", wanted) if name in wanted}
        case "array":
            return [_sample(schema.get("items", {}), report)] * schema.get("minItems", 0)
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return report[: schema.get("maxLength", len(report))]


def _first_line(content: Any) -> str:
    line = str(content).partition("\n")[0]
    return f"{line[:100]}..." if len(line) > 100 else line


class ScriptedToolkits:
    """Every toolkit is a folder of text items below `workspace`; `journal.jsonl` there lists every call."""

    def __init__(self, workspace: Path, pause: float = 0.0) -> None:
        self._workspace = workspace
        self._pause = pause

    async def tools(self, toolkits: tuple[str, ...], run_as: str | None) -> tuple[Tool, ...]:  # noqa: ARG002 - the port
        """Four tools a toolkit, one of each effect that matters."""
        return tuple(tool for slug in toolkits for tool in _tools(slug))

    async def missing(  # the port's words; most are of no use here
        self,
        toolkits: tuple[str, ...],
        run_as: str | None,  # noqa: ARG002
        *,
        links: bool = True,  # noqa: ARG002
    ) -> tuple[Missing, ...]:
        """Toolkits whose folder holds a file `.unconnected`: so that a person can see a run wait."""
        return tuple(Missing(slug) for slug in toolkits if (self._workspace / slug / ".unconnected").exists())

    async def call(self, call: ToolCall) -> ToolResult:
        """Do it, for real, in the workspace."""
        await asyncio.sleep(self._pause)
        if not _SLUG.fullmatch(call.toolkit):
            raise PermanentError(f"there is no toolkit named {call.toolkit!r}")
        return await asyncio.to_thread(self._do, call)

    def _do(self, call: ToolCall) -> ToolResult:
        folder = self._workspace / call.toolkit
        folder.mkdir(parents=True, exist_ok=True)
        name = str(call.arguments.get("name", ""))
        verb = call.tool.removeprefix(f"{_prefix(call.toolkit)}_")
        if verb != "LIST_ITEMS" and not re.fullmatch(_ITEM, name):
            return ToolResult(
                call.id, "refused", f"{name!r} cannot name an item: use letters, digits, '.', '_' and '-'"
            )
        item = folder / f"{name}.md"
        state, said = "done", ""
        match verb:
            case "LIST_ITEMS":
                items = sorted(path.stem for path in folder.glob("*.md"))
                said = json.dumps({"toolkit": call.toolkit, "items": items})
            case "READ_ITEM" if item.is_file():
                said = item.read_text()
            case "WRITE_ITEM":
                with item.open("a") as file:
                    file.write(f"{call.arguments.get('text', '')}\n")
                said = f"written to {call.toolkit}/{item.name}"
            case "DELETE_ITEM" if item.is_file():
                item.unlink()
                said = f"deleted {call.toolkit}/{item.name}"
            case "READ_ITEM" | "DELETE_ITEM":
                state, said = "refused", f"there is no item named {name!r} in {call.toolkit}"
            case _:
                state, said = "refused", f"{call.toolkit} has no tool named {call.tool}"
        self._note(call, state)
        return ToolResult(call.id, "done" if state == "done" else "refused", said)

    def _note(self, call: ToolCall, state: str) -> None:
        entry = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "tool": call.tool,
            "arguments": call.arguments,
            "state": state,
            "effect": call.effect,
            "effect_id": call.effect_id,
        }
        with (self._workspace / "journal.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")


def _prefix(toolkit: str) -> str:
    return toolkit.upper().replace("-", "_")


def _tools(toolkit: str) -> tuple[Tool, ...]:
    if not _SLUG.fullmatch(toolkit):
        raise PermanentError(f"there is no toolkit named {toolkit!r}")
    name = {"type": "string", "description": "The item's name"}
    text = {"type": "string", "description": "What to write"}
    rows: tuple[tuple[str, Effect, str, dict[str, Any]], ...] = (
        ("DELETE_ITEM", "destructive", f"Delete an item of {toolkit} for good", {"name": name}),
        ("LIST_ITEMS", "read", f"List the items of {toolkit}", {}),
        ("READ_ITEM", "read", f"Read one item of {toolkit}", {"name": name}),
        (
            "WRITE_ITEM",
            "write",
            f"Add text to an item of {toolkit}, creating it if needed",
            {"name": name, "text": text},
        ),
    )
    return tuple(
        Tool(
            f"{_prefix(toolkit)}_{verb}",
            toolkit,
            description,
            {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False},
            effect,
        )
        for verb, effect, description, properties in rows
    )

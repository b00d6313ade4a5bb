"""A run's conversation, read back from the run's own history.

History is the only store: every message stands there once. A model activity is handed only what is
new; the rest comes from this worker's memory of the run, or, after a crash or on another worker, from
the events that came before. Forgetting is always safe and never changes what the model is sent.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from temporalio import activity
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from runner.agent import RECORDED, recorded_result
from runner.moves import Ask
from runner.opening import Opening
from runner.ports import Block, Message, Reply, Tool, ToolCall, ToolResult
from schemas.task import Task
from schemas.wire import ASK_MODEL, CALL_TOOL, EFFECT, LIST_TOOLS, OPEN_RUN


@dataclass
class Conversation:
    """What one worker remembers of one run: exact up to turn `turn`."""

    turn: int = 0
    tools: tuple[Tool, ...] | None = None
    task: Task | None = None
    messages: list[Message] = field(default_factory=list[Message])
    results: dict[str, ToolResult] = field(default_factory=dict[str, ToolResult])

    def filled(self, ask: Ask) -> list[Message]:
        """The new messages of an ask, with recorded results in their places. KeyError if one is unknown."""
        return [Message(m.role, tuple(self._block(b) for b in m.content)) for m in ask.new]

    def _block(self, block: Block) -> Block:
        return recorded_result(self.results[block["tool_use_id"]]) if block.get("type") == RECORDED else block

    def said(self, ask: Ask, reply: Reply) -> None:
        """One turn is over: keep both sides. Results are in the messages now and need not stay."""
        self.messages.extend(self.filled(ask))
        if reply.content:
            self.messages.append(Message("assistant", reply.content))
        self.results.clear()
        self.turn = ask.turn


class Transcripts:
    """The conversations that this worker remembers, the least recently used forgotten first."""

    def __init__(self, remember: int = 100) -> None:
        self._remember = remember
        self._known: OrderedDict[tuple[str, str], Conversation] = OrderedDict()

    async def before(self, ask: Ask, client: Client) -> tuple[tuple[Tool, ...], tuple[Message, ...], Task | None]:
        """The tools on offer, all messages up to and with this ask, and the task."""
        conversation = self._conversation()
        try:
            if conversation.tools is None or conversation.turn != ask.turn - 1:
                raise KeyError(ask.turn)  # noqa: TRY301 - the same remedy as a result nobody remembers
            new = conversation.filled(ask)
        except KeyError:
            conversation = await _from_history(ask, client)
            self._keep(conversation)
            new = conversation.filled(ask)
        return conversation.tools or (), alternating([*conversation.messages, *new]), conversation.task

    def opened(self, tools: tuple[Tool, ...], task: Task) -> None:
        """The tools of this run were listed."""
        conversation = self._conversation()
        conversation.tools, conversation.task = tools, task

    def replied(self, ask: Ask, reply: Reply) -> None:
        """The model answered."""
        self._conversation().said(ask, reply)

    def returned(self, call: ToolCall, result: ToolResult) -> None:
        """A call came back."""
        self._conversation(call.of).results[result.call_id] = result

    def _conversation(self, run: tuple[str, str] | None = None) -> Conversation:
        found = self._known.get(run or _run())
        return self._keep(found or Conversation(), run)

    def _keep(self, conversation: Conversation, run: tuple[str, str] | None = None) -> Conversation:
        self._known[run or _run()] = conversation
        self._known.move_to_end(run or _run())
        while len(self._known) > self._remember:
            self._known.popitem(last=False)
        return conversation


def _run() -> tuple[str, str]:
    info = activity.info()
    return info.workflow_id or "", info.workflow_run_id or ""


def alternating(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Neighbours of one role as one message: the API wants roles to take turns."""
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1].role == message.role:
            joined[-1] = Message(message.role, (*joined[-1].content, *message.content))
        else:
            joined.append(message)
    return tuple(joined)


async def _from_history(ask: Ask, client: Client) -> Conversation:
    workflow_id, run_id = _run()
    scheduled: dict[int, tuple[str, Any]] = {}
    conversation = Conversation()

    async def decoded(payloads: Any, kind: type) -> Any:
        return (await client.data_converter.decode(payloads.payloads, [kind]))[0]

    events = client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history_events()
    async for event in events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            begun = event.activity_task_scheduled_event_attributes
            scheduled[event.event_id] = (begun.activity_type.name, begun.input)
        elif event.HasField("activity_task_completed_event_attributes"):
            name, given = scheduled.pop(_scheduled_id(event), ("", None))
            result = event.activity_task_completed_event_attributes.result
            if name == OPEN_RUN:
                opening: Opening = await decoded(result, Opening)
                conversation.tools, conversation.task = opening.tools, await decoded(given, Task)
            elif name == LIST_TOOLS:
                conversation.tools = tuple(await decoded(result, list[Tool]))
            elif name == CALL_TOOL:
                done: ToolResult = await decoded(result, ToolResult)
                conversation.results[done.call_id] = done
            elif name == ASK_MODEL:
                asked: Ask = await decoded(given, Ask)
                if asked.turn < ask.turn:
                    conversation.said(asked, await decoded(result, Reply))
        elif event.HasField("child_workflow_execution_completed_event_attributes"):
            made = event.child_workflow_execution_completed_event_attributes
            if made.workflow_type.name == EFFECT:
                wrote: ToolResult = await decoded(made.result, ToolResult)
                conversation.results[wrote.call_id] = wrote
    return conversation


def _scheduled_id(event: HistoryEvent) -> int:
    return event.activity_task_completed_event_attributes.scheduled_event_id

"""Toolkits by Composio: which tools there are, who is connected to what, and one call of one tool.

Refuses to retry (Composio executes again whatever is sent again), to run anything but the tools asked
for (no search, no sandbox, no connection tools) and to report to anybody: it uses Composio's plain
asynchronous client. What one process listed another can call: nothing needed for a call lives only here.
"""

import asyncio
import re
from collections import OrderedDict, defaultdict
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner.adapters.answers import as_object
from runner.adapters.composio_tools import (
    Answer,
    Listed,
    connect_link,
    fault,
    is_connected,
    listed_tool,
    read_result,
    restore,
    unlisted,
    verdict,
)
from runner.ports import Missing, PermanentError, Tool, ToolCall, ToolResult, TransientError

if TYPE_CHECKING:
    from composio_client import AsyncComposio

DEADLINE = 120.0
"""Seconds one call may take in all, session included."""

_SESSIONS = 128  # kept per process; the least recently used is listed again when it is needed
_NEVER_LEFT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"})


@dataclass(frozen=True)
class _Session:
    id: str
    tools: Mapping[str, Listed]


class ComposioToolkits:
    """`Toolkits` over Composio sessions. `base_url=None` is Composio's own endpoint.

    `default_user` is the Composio user whose connections serve a task without `run_as`; `deadline` is
    in seconds.
    """

    def __init__(self, api_key: str, base_url: str | None, default_user: str, *, deadline: float = DEADLINE) -> None:
        self._key = api_key.strip()
        self._base_url = base_url
        self._default_user = default_user
        self._deadline = deadline
        self._made: AsyncComposio | None = None
        self._making = asyncio.Lock()
        self._opening: defaultdict[tuple[tuple[str, ...], str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._sessions: OrderedDict[tuple[tuple[str, ...], str], _Session] = OrderedDict()

    async def tools(self, toolkits: tuple[str, ...], run_as: str | None) -> tuple[Tool, ...]:
        """Every tool of these toolkits, by name. A toolkit without tools is a PermanentError."""
        if not toolkits:
            return ()
        await self._client()  # outside of the deadline: the first import may take long on a busy machine
        async with self._by(asyncio.get_running_loop().time() + self._deadline, sent=False):
            session = await self._open(toolkits, run_as or self._default_user)
        return tuple(session.tools[name].tool for name in sorted(session.tools))

    async def missing(
        self, toolkits: tuple[str, ...], run_as: str | None, *, links: bool = True
    ) -> tuple[Missing, ...]:
        """Those of these toolkits that have no active connection for the user, in the order given.

        Each has a link to connect it, good for ten minutes; every link leaves an unfinished account at Composio,
        so whoever only looks again says `links=False`. A link that cannot be made is left empty, since what is
        missing is known all the same. An unknown toolkit is a PermanentError.
        """
        if not toolkits:
            return ()
        await self._client()
        until = asyncio.get_running_loop().time() + self._deadline
        key = (tuple(sorted(set(toolkits))), run_as or self._default_user)
        async with self._by(until, sent=False):
            session_id, items = await self._connected(key)
        lacking = {str(item.get("slug")).lower() for item in items if not is_connected(item)}
        if unknown := {one.lower() for one in toolkits} - {str(item.get("slug")).lower() for item in items}:
            raise self._no_such(unknown)
        wanted = [one for one in dict.fromkeys(toolkits) if one.lower() in lacking]
        return tuple([Missing(one, await self._link(session_id, one, until) if links else "") for one in wanted])

    async def call(self, call: ToolCall) -> ToolResult:
        """Make one call, once. Errors and results as `runner.ports.Toolkits` says."""
        if said := fault(call.arguments):
            return ToolResult(call.id, "refused", said)
        user = call.run_as or self._default_user
        await self._client()
        until = asyncio.get_running_loop().time() + self._deadline
        session, known = self._listing(call, user), True
        while True:
            if session is None:
                async with self._by(until, sent=False):
                    session, known = await self._open((call.toolkit,), user), False
            listed = session.tools.get(call.tool)
            if listed is None:
                return ToolResult(call.id, "refused", f"{call.toolkit} has no tool {call.tool}")
            if said := unlisted(call.arguments, listed.tool):
                if not known:
                    return ToolResult(call.id, "refused", said)
                session = None  # it may have been listed anew elsewhere, with more arguments
                continue
            arguments = restore(call.arguments, listed.originals)
            async with self._by(until, sent=True):
                answer = await self._send("execute", session.id, tool_slug=listed.slug, arguments=arguments, sent=True)
            if not (answer.status == 404 and known):
                return self._judge(call, answer, user)
            # Our session was deleted, or the tool was: nothing ran, so one look at the present is safe.
            self._forget(session)
            session = None

    async def close(self) -> None:
        """Close the connections and forget the sessions. A later call opens new ones."""
        made, self._made = self._made, None
        self._sessions.clear()
        if made is not None:
            await made.close()

    def _judge(self, call: ToolCall, answer: Answer, user: str) -> ToolResult:
        if answer.status < 300:
            return read_result(call.id, answer.body)
        problem = verdict(answer, call.toolkit, user, self._key, sent=True)
        if isinstance(problem, str):
            return ToolResult(call.id, "refused", problem)
        raise problem

    def _listing(self, call: ToolCall, user: str) -> _Session | None:
        for key, session in reversed(self._sessions.items()):
            listed = session.tools.get(call.tool)
            if key[1] == user and listed is not None and listed.tool.toolkit == call.toolkit:
                return session
        return None

    def _forget(self, session: _Session) -> None:
        for key in [key for key, kept in self._sessions.items() if kept.id == session.id]:
            del self._sessions[key]

    async def _open(self, toolkits: tuple[str, ...], user: str) -> _Session:
        """A session whose listing is fresh. An old session is used again: Composio keeps them forever."""
        key = (tuple(sorted(set(toolkits))), user)
        async with self._opening[key]:
            session_id, items = await self._in_session(key, "tools", limit=500)
            listed = [listed_tool(item, key[0]) for item in items]
            session = _Session(session_id, {one.tool.name: one for one in listed if one is not None})
            if unknown := set(toolkits) - {one.tool.toolkit for one in session.tools.values()}:
                raise self._no_such(unknown)
            self._keep(key, session)
            return session

    async def _connected(self, key: tuple[tuple[str, ...], str]) -> tuple[str, list[dict[str, Any]]]:
        """The session of these toolkits, and each toolkit as it stands with the user."""
        async with self._opening[key]:
            session_id, items = await self._in_session(key, "toolkits", limit=50, toolkits=list(key[0]))
            known = self._sessions.get(key)
            if known is None or known.id != session_id:
                self._keep(key, _Session(session_id, {}))
            return session_id, items

    async def _link(self, session_id: str, toolkit: str, until: float) -> str:
        try:
            async with self._by(until, sent=False):
                answer = await self._send("link", session_id, toolkit=toolkit)
        except TransientError:
            return ""
        return connect_link(as_object(answer.body).get("redirect_url"), self._key) if answer.status < 300 else ""

    def _keep(self, key: tuple[tuple[str, ...], str], session: _Session) -> None:
        self._sessions[key] = session
        self._sessions.move_to_end(key)
        while len(self._sessions) > _SESSIONS:
            self._opening.pop(self._sessions.popitem(last=False)[0], None)

    @staticmethod
    def _no_such(toolkits: set[str]) -> PermanentError:
        names = ", ".join(sorted(toolkits))
        return PermanentError(
            f"Composio has no toolkit {names}, or it has no tools that can be offered: correct `toolkit` in the task"
        )

    async def _in_session(
        self, key: tuple[tuple[str, ...], str], what: str, **query: Any
    ) -> tuple[str, list[dict[str, Any]]]:
        """The id of a session that exists, and a whole list of it."""
        known = self._sessions.get(key)
        if known is not None and (items := await self._list(known.id, key, what, **query)) is not None:
            return known.id, items
        session_id = await self._create(key)
        if (items := await self._list(session_id, key, what, **query)) is None:
            raise TransientError("Composio does not know the session it just made", sent=False)
        return session_id, items

    async def _create(self, key: tuple[tuple[str, ...], str]) -> str:
        answer = await self._send(
            "create",
            user_id=key[1],
            toolkits={"enable": list(key[0])},
            preload={"tools": "all"},
            manage_connections={"enable": False},
            workbench={"enable": False},
            search={"enable": False},
            execute={"enable_multi_execute": False},
            instant=False,  # left out, Composio charges for instant use and hides the charges
        )
        session_id = self._granted(answer, key).get("session_id")
        if not isinstance(session_id, str):
            raise TransientError("Composio made a session without an id", sent=False)
        return session_id

    async def _list(
        self, session_id: str, key: tuple[tuple[str, ...], str], what: str, **query: Any
    ) -> list[dict[str, Any]] | None:
        """Every page of a session's tools or toolkits; None when Composio no longer knows the session."""
        items: list[dict[str, Any]] = []
        cursors: list[str] = []
        while True:
            place: dict[str, Any] = {"cursor": cursors[-1]} if cursors else {}
            answer = await self._send(what, session_id, **query, **place)
            if answer.status == 404:
                return None
            page = self._granted(answer, key)
            if not isinstance(page.get("items"), list):
                raise TransientError(f"Composio answered a list of {what} without items", sent=False)
            items += [as_object(item) for item in page["items"]]
            cursor = page.get("next_cursor")
            if not cursor:
                return items
            if cursor in cursors:
                raise TransientError(f"Composio's list of {what} goes round in circles", sent=False)
            cursors.append(str(cursor))

    def _granted(self, answer: Answer, key: tuple[tuple[str, ...], str]) -> dict[str, Any]:
        if answer.status < 300:
            return as_object(answer.body)
        problem = verdict(answer, ", ".join(key[0]), key[1], self._key, sent=False)
        if isinstance(problem, str):
            raise PermanentError(f"Composio refused the toolkits {', '.join(key[0])}: {problem}")
        raise problem

    async def _send(self, verb: str, *place: str, sent: bool = False, **fields: Any) -> Answer:
        """One request of the session API. `sent` says whether it could reach a tool."""
        client = await self._client()
        # The raw response: statuses are judged in one place, and models of a release candidate may not
        # know tomorrow's fields.
        request = getattr(client.tool_router.session.with_raw_response, verb)
        # Raised below, outside of `except`: the vendor's exception holds the request, and so the key.
        problem: TransientError
        try:
            response = (await request(*place, **fields)).http_response
            try:
                body = response.json()
            except (ValueError, RecursionError):
                if response.status_code >= 300:
                    body = response.text
                else:
                    raise
            return Answer(response.status_code, response.headers, body)
        except (ValueError, RecursionError):
            problem = TransientError("Composio answered with something that is no JSON", sent=sent)
        except Exception as error:  # noqa: BLE001  whatever a client throws, the port knows two errors
            cause = type(error.__cause__ or error).__name__
            problem = TransientError(f"cannot reach Composio ({cause})", sent=sent and cause not in _NEVER_LEFT)
        raise problem

    @asynccontextmanager
    async def _by(self, until: float, *, sent: bool) -> AsyncGenerator[None]:
        late = False
        try:
            async with asyncio.timeout_at(until):
                yield
        except TimeoutError:
            late = True
        if late:
            raise TransientError(f"no answer from Composio within {self._deadline:g} seconds", sent=sent)

    async def _client(self) -> "AsyncComposio":
        async with self._making:
            if self._made is None:
                self._made = await asyncio.to_thread(self._make)
            return self._made

    def _make(self) -> "AsyncComposio":
        """Import and construct, in a thread: seconds of CPU that would stall every other activity."""
        if not re.fullmatch(r"[\x21-\x7e]+", self._key):
            raise PermanentError("there is no usable key for Composio: set COMPOSIO_API_KEY to a project key")
        try:
            import composio_client as sdk  # noqa: PLC0415  four seconds of CPU and 130 MB: only when used
        except ImportError as missing:
            raise PermanentError("the package `composio-client` is missing: install goalfile[worker]") from missing
        try:
            return sdk.AsyncComposio(
                auth=sdk.ProjectAuth(self._key),
                base_url=self._base_url,
                max_retries=0,
                timeout=sdk.Timeout(self._deadline, connect=min(10.0, self._deadline)),
            )
        except (sdk.ComposioError, ValueError) as refused:
            raise PermanentError(f"Composio's base URL cannot be used: {refused}") from None

"""A stand-in for Composio's session API on a loopback port: real gates, scripted tools, every run counted.

    with ComposioApi(folder("notes")) as api:
        toolkits = ComposioToolkits(api.key, api.url, "default")

Tools are `Act(slug, toolkit, run, ...)`; `folder("notes")` makes four over `api.items["notes"]`, as the
scripted toolkits have them: NOTES_LIST_ITEMS, NOTES_READ_ITEM, NOTES_WRITE_ITEM, NOTES_DELETE_ITEM. A
tool's `run(api, arguments)` returns its data, or raises `Refuse("why")` for a call that fails.

`api.next["NOTES_WRITE_ITEM"] = [move, ...]` scripts the coming calls of a tool. A move is
- `Fail(status, message, headers, code)`, `Hang()`, `Drop(first)`, `Garble(body)`: the tool never ran;
- `Ran(then)`: the tool runs, and then the answer is one of those. This is how effects get lost;
- `Result({...})`: the tool never ran and this is the body of a 200 (`failed`, `blocked`, ...).
The keys `create`, `tools`, `toolkits` (all there are), `session toolkits` (those of a session) and `link` script
those requests in the same way.

`api.ran` counts executions by slug, `api.calls` lists (user, slug, arguments) of each, `api.requests` every
request. Everybody is connected to everything unless `connected={("ada", "notes")}` says who is;
`api.connected.add(...)` connects later. `free={"search"}` names toolkits that need no account. `api.links` lists
(user, toolkit) of every link made; each leaves an account that is INITIATED, and `api.accounts[("ada", "notes")]`
is the state of one that is not active. `api.forget_sessions()` makes every session a 404.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.standins.loopback import Answer, Drop, Fail, Garble, Hang, Loopback, Request


class Refuse(Exception):  # noqa: N818  it is what a tool does
    """Raised by a tool: the call fails with this text."""


@dataclass(frozen=True)
class Ran:
    then: Fail | Hang | Drop | Garble


@dataclass(frozen=True)
class Result:
    body: Mapping[str, Any]


Move = Fail | Hang | Drop | Garble | Ran | Result


@dataclass(frozen=True)
class Act:
    """One tool. `parameters` is the JSON Schema of its arguments."""

    slug: str
    toolkit: str
    run: Callable[["ComposioApi", dict[str, Any]], Any] = lambda api, arguments: {"ok": True}
    tags: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    description: str = "A tool"


def folder(toolkit: str) -> list[Act]:
    """Four tools over named texts, one of each effect that matters; they mirror the scripted toolkits."""

    def read(api: "ComposioApi", arguments: dict[str, Any]) -> Any:
        if arguments["name"] not in api.items[toolkit]:
            raise Refuse(f"there is no item named {arguments['name']!r}")
        return {"text": api.items[toolkit][arguments["name"]]}

    def write(api: "ComposioApi", arguments: dict[str, Any]) -> Any:
        api.items[toolkit][arguments["name"]] = api.items[toolkit].get(arguments["name"], "") + arguments["text"]
        return {"written": arguments["name"]}

    def delete(api: "ComposioApi", arguments: dict[str, Any]) -> Any:
        read(api, arguments)
        del api.items[toolkit][arguments["name"]]
        return {"deleted": arguments["name"]}

    def schema(*names: str) -> dict[str, Any]:
        return {"type": "object", "properties": {n: {"type": "string"} for n in names}, "required": list(names)}

    prefix = toolkit.upper().replace("-", "_")
    return [
        Act(
            f"{prefix}_LIST_ITEMS",
            toolkit,
            lambda api, _: {"toolkit": toolkit, "items": sorted(api.items[toolkit])},
            ("readOnlyHint",),
            schema(),
        ),
        Act(f"{prefix}_READ_ITEM", toolkit, read, ("readOnlyHint",), schema("name")),
        Act(f"{prefix}_WRITE_ITEM", toolkit, write, ("createHint",), schema("name", "text")),
        Act(f"{prefix}_DELETE_ITEM", toolkit, delete, ("destructiveHint",), schema("name")),
    ]


class ComposioApi(Loopback):
    """The stand-in; its module says how to use it. `page` is the most tools in one page."""

    def __init__(
        self,
        acts: Iterable[Act] = (),
        *,
        key: str = "ak_stand-in-0123456789",
        connected: set[tuple[str, str]] | None = None,
        free: Iterable[str] = (),
        page: int = 500,
    ) -> None:
        super().__init__()
        self.key = key
        self.acts = {act.slug: act for act in acts}
        self.connected = connected
        self.free = frozenset(free)
        self.accounts: dict[tuple[str, str], str] = {}
        self.links: list[tuple[str, str]] = []
        self.items: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self.next: dict[str, list[Move]] = {}
        self.ran: Counter[str] = Counter()
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self._page = page
        self._sessions: dict[str, tuple[str, list[str]]] = {}
        self._numbers = itertools.count(1)

    def forget_sessions(self) -> None:
        with self.lock:
            self._sessions.clear()

    def answer(self, request: Request) -> Answer:
        if request.headers.get("x-api-key") != self.key:
            return self._fail(Fail(401, "Invalid API key", code="HTTP_Unauthorized"))
        match request.method, request.path.removeprefix("/api/v3.1/").split("/"):
            case "POST", ["tool_router", "session"]:
                return self._scripted("create") or self._create(request.body)
            case "GET", ["toolkits"]:
                return self._scripted("toolkits") or self._toolkits(request)
            case "GET", ["connected_accounts"]:
                return self._accounts(request)
            case "POST", ["connected_accounts", "link"]:
                toolkit = str(request.body.get("auth_config_id", "")).removeprefix("ac_")
                return self._scripted("link") or self._link(request.body.get("user_id", ""), toolkit)
            case method, ["tool_router", "session", session_id, *rest]:
                if session_id not in self._sessions:
                    return self._fail(Fail(404, "Session not found", code="ToolRouterV2_SessionNotFound"))
                return self._in_session(method, rest, session_id, request)
            case _:
                return self._fail(Fail(404, "Not found", code="HTTP_NotFound"))

    def _in_session(self, method: str, rest: list[str], session_id: str, request: Request) -> Answer:
        user, toolkits = self._sessions[session_id]
        match method, rest:
            case "GET", []:
                return 200, {}, self._described(session_id)
            case "DELETE", []:
                del self._sessions[session_id]
                return 200, {}, {"session_id": session_id, "deleted": True}
            case "GET", ["tools"]:
                acts = [act for act in self.acts.values() if act.toolkit in toolkits]
                return self._scripted("tools") or self._paged([_listed(act) for act in acts], request)
            case "GET", ["toolkits"]:
                return self._scripted("session toolkits") or self._session_toolkits(user, toolkits, request)
            case "POST", ["link"]:
                return self._scripted("link") or self._session_link(user, toolkits, request.body)
            case "POST", ["execute"]:
                return self._execute(user, toolkits, request.body)
            case _:
                return self._fail(Fail(404, "Not found", code="HTTP_NotFound"))

    def _session_toolkits(self, user: str, toolkits: list[str], request: Request) -> Answer:
        size = int((_values(request, "limit") or ["20"])[0])
        if set(request.query) - {"limit", "cursor", "toolkits", "is_connected", "search"} or not 1 <= size <= 50:
            return self._fail(Fail(400, "Invalid query", code="ToolRouterV2_BadRequest"))
        wanted = _values(request, "toolkits") or toolkits
        rows = [self._toolkit(user, toolkit) for toolkit in toolkits if toolkit in wanted]
        if flag := _values(request, "is_connected"):
            rows = [row for row in rows if (row["connected_account"] is not None) == (flag == ["true"])]
        return self._paged(rows, request)

    def _session_link(self, user: str, toolkits: list[str], body: Any) -> Answer:
        if not isinstance(body, dict) or set(body) - {"toolkit", "callback_url", "alias", "experimental"}:
            return self._fail(Fail(400, "Invalid link request", code="ToolRouterV2_BadRequest"))
        toolkit = str(body.get("toolkit"))
        if toolkit not in toolkits or toolkit in self.free:
            text = f"Toolkit {toolkit} cannot be connected in this session"
            return self._fail(Fail(400, text, code="ToolRouterV2_ToolkitNotAllowed"))
        status, headers, made = self._link(user, toolkit)
        made.pop("expires_at", None)  # only the other way of making a link tells it
        return status, headers, made

    def _create(self, body: Any) -> Answer:
        known = {"user_id", "toolkits", "tools", "tags", "manage_connections", "workbench", "preload", "search"}
        known |= {"execute", "auth_configs", "connected_accounts", "hooks", "instant", "multi_account"}
        if (
            not isinstance(body, dict)
            or set(body) - known
            or not body.get("user_id")
            or body.get("instant") is not False
        ):
            return self._fail(Fail(400, "Invalid session configuration", code="ToolRouterV2_BadRequest"))
        toolkits = body.get("toolkits", {}).get("enable", [])
        if body.get("preload", {}).get("tools") == "all" and not toolkits:
            return self._fail(Fail(400, "preload `all` needs an allowlist", code="ToolRouterV2_BadRequest"))
        if unknown := set(toolkits) - {act.toolkit for act in self.acts.values()}:
            return self._fail(Fail(400, f"Invalid toolkits: {min(unknown)}", code="ToolRouterV2_InvalidToolkits"))
        session_id = f"trs_{next(self._numbers)}"
        self._sessions[session_id] = (body["user_id"], toolkits)
        return 201, {}, self._described(session_id)

    def _described(self, session_id: str) -> dict[str, Any]:
        user, toolkits = self._sessions[session_id]
        config = {"user_id": user, "execute": {}, "search": {}, "preload": {"tools": "all"}, "instant": False}
        return {
            "session_id": session_id,
            "config": {**config, "toolkits": {"enabled": toolkits}},
            "config_version": 1,
            "mcp": {"type": "http", "url": f"{self.url}/mcp/{session_id}"},
            "tool_router_tools": [act.slug for act in self.acts.values() if act.toolkit in toolkits],
        }

    def _execute(self, user: str, toolkits: list[str], body: Any) -> Answer:
        slug, arguments = str(body.get("tool_slug")), body.get("arguments") or {}
        act = self.acts.get(slug)
        if act is None:
            return self._fail(Fail(404, f"Tool {slug} not found", code="Tool_ToolNotFound"))
        if act.toolkit not in toolkits:
            text = f"[Session Restriction] Toolkit '{act.toolkit}' is not allowed for this session"
            return self._fail(Fail(400, text, code="ToolRouterV2_ToolkitNotAllowed"))
        if not self._is_connected(user, act.toolkit):
            text = f"No active connection found for toolkit(s) '{act.toolkit}' in this session"
            return self._fail(Fail(400, text, code="ToolRouterV2_NoActiveConnection"))
        moves = self.next.get(slug)
        move = moves.pop(0) if moves else None
        if move is not None and not isinstance(move, Ran):
            return self._play(move)
        if problem := _arguments_problem(act, arguments):
            return 200, {}, {"data": {}, "error": problem, "log_id": self._log(), "result_type": "failed"}
        self.ran[slug] += 1
        self.calls.append((user, slug, arguments))
        try:
            data, error = act.run(self, arguments), None
        except Refuse as refusal:
            data, error = {}, str(refusal)
        if move is not None:
            return self._play(move.then)
        kind = "failed" if error else "completed"
        return 200, {}, {"data": data, "error": error, "log_id": self._log(), "result_type": kind}

    def _scripted(self, name: str) -> Answer | None:
        moves = self.next.get(name)
        return self._play(moves.pop(0)) if moves else None

    def _play(self, move: Move) -> Answer:
        match move:
            case Fail():
                return self._fail(move)
            case Result(body):
                return 200, {}, {"log_id": self._log(), **body}
            case Ran(then):
                return self._play(then)
            case _:
                return move

    def _fail(self, failure: Fail) -> tuple[int, dict[str, str], dict[str, Any]]:
        number = f"req_{len(self.requests):04d}"
        error = {
            "message": failure.message,
            "code": failure.status,
            "slug": failure.code or "HTTP_Error",
            "status": failure.status,
            "request_id": number,
        }
        return failure.status, {"x-request-id": number, **failure.headers}, {"error": error}

    def _log(self) -> str:
        return f"log_{next(self._numbers)}"

    def _paged(self, rows: list[Any], request: Request) -> Answer:
        size = min(self._page, int((_values(request, "limit") or ["20"])[0]))
        start = int((_values(request, "cursor") or ["c0"])[0].removeprefix("c"))
        end = start + size
        page = {
            "items": rows[start:end],
            "next_cursor": f"c{end}" if end < len(rows) else None,
            "current_page": start // size + 1,
            "total_items": len(rows),
            "total_pages": -(-len(rows) // size),
        }
        return 200, {}, page

    def _is_connected(self, user: str, toolkit: str) -> bool:
        return self.connected is None or (user, toolkit) in self.connected or toolkit in self.free

    def _account(self, user: str, toolkit: str) -> dict[str, Any] | None:
        if toolkit in self.free:
            return None
        if self._is_connected(user, toolkit):
            return _account(user, toolkit)
        state = self.accounts.get((user, toolkit))
        return {**_account(user, toolkit), "status": state} if state else None

    def _toolkit(self, user: str, toolkit: str) -> dict[str, Any]:
        return {
            "slug": toolkit,
            "name": toolkit.title(),
            "enabled": True,
            "is_no_auth": toolkit in self.free,
            "composio_managed_auth_schemes": ["OAUTH2"],
            "meta": {"description": toolkit, "logo": "https://logos.invalid/x.svg"},
            "connected_account": self._account(user, toolkit),
        }

    def _toolkits(self, request: Request) -> Answer:
        known = {"category", "managed_by", "type", "sort_by", "include_deprecated", "search", "user_id"}
        size = int((_values(request, "limit") or ["20"])[0])
        if set(request.query) - known - {"limit", "cursor"} or not 1 <= size <= 1000:
            return self._fail(Fail(400, "Invalid query", code="HTTP_BadRequest"))
        return self._paged(
            [_known(t, free=t in self.free) for t in dict.fromkeys(a.toolkit for a in self.acts.values())], request
        )

    def _accounts(self, request: Request) -> Answer:
        users, toolkits = _values(request, "user_ids"), _values(request, "toolkit_slugs")
        named = {(user, act.toolkit) for user in users for act in self.acts.values()}
        rows = [
            _account(user, toolkit)
            for user, toolkit in sorted(self.connected if self.connected is not None else named)
            if (not users or user in users) and (not toolkits or toolkit in toolkits)
        ]
        statuses = _values(request, "statuses")
        return self._paged(rows if not statuses or "ACTIVE" in statuses else [], request)

    def _link(self, user: str, toolkit: str) -> tuple[int, dict[str, str], dict[str, Any]]:
        if not user or toolkit not in {act.toolkit for act in self.acts.values()}:
            return self._fail(Fail(400, f"Toolkit {toolkit} not found", code="ToolRouterV2_InvalidToolkits"))
        self.links.append((user, toolkit))
        self.accounts[user, toolkit] = "INITIATED"
        token = f"lk_{next(self._numbers)}"
        body: dict[str, Any] = {
            "connected_account_id": f"ca_{user}_{toolkit}",
            "link_token": token,
            "redirect_url": f"{self.url}/link/{token}",
            "expires_at": "2099-01-01T00:00:00Z",
        }
        return 201, {}, body


def _values(request: Request, name: str) -> list[str]:
    """A query parameter's values, repeated or joined with commas: Composio's clients do both."""
    return [value for joined in request.query.get(name, []) for value in joined.split(",")]


def _account(user: str, toolkit: str) -> dict[str, Any]:
    auth = {"id": f"ac_{toolkit}", "auth_scheme": "OAUTH2", "is_composio_managed": True, "is_disabled": False}
    moment = "2026-01-01T00:00:00Z"
    return {
        "id": f"ca_{user}_{toolkit}",
        "status": "ACTIVE",
        "user_id": user,
        "toolkit": {"slug": toolkit},
        "auth_config": auth,
        "created_at": moment,
        "updated_at": moment,
        "is_disabled": False,
        "data": {},
        "state": {},
    }


def _known(toolkit: str, *, free: bool) -> dict[str, Any]:
    moment = "2026-01-01T00:00:00Z"
    meta = {
        "categories": [],
        "created_at": moment,
        "updated_at": moment,
        "description": toolkit,
        "logo": "https://logos.invalid/x.svg",
        "tools_count": 4,
        "triggers_count": 0,
        "version": "20260101_00",
    }
    return {
        "slug": toolkit,
        "name": toolkit.title(),
        "type": "native",
        "is_local_toolkit": False,
        "no_auth": free,
        "deprecated": {"toolkitId": toolkit},
        "meta": meta,
    }


def _listed(act: Act) -> dict[str, Any]:
    version = {"available_versions": ["20260101_00"], "version": "20260101_00", "is_deprecated": False}
    toolkit = {"slug": act.toolkit, "name": act.toolkit.title(), "logo": "https://logos.invalid/x.svg"}
    return {
        "slug": act.slug,
        "name": act.slug.replace("_", " ").title(),
        "description": act.description,
        "input_parameters": act.parameters,
        "output_parameters": {"type": "object", "properties": {}},
        **version,
        "no_auth": False,
        "scopes": [],
        "tags": list(act.tags),
        "toolkit": toolkit,
        "deprecated": {**version, "displayName": act.slug, "toolkit": {"logo": toolkit["logo"]}},
    }


def _arguments_problem(act: Act, arguments: dict[str, Any]) -> str | None:
    properties = act.parameters.get("properties", {})
    if missing := [name for name in act.parameters.get("required", []) if name not in arguments]:
        return f"Invalid request data provided - Following fields are missing: {set(missing)}"
    if extra := [name for name in arguments if name not in properties]:
        return f"Invalid request data provided - unexpected fields: {sorted(extra)}"
    return None

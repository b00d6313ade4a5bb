"""Runs of the real worker followed over a real socket: nothing is lost, nothing told twice, nothing left behind."""

import asyncio
import base64
import json
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode
from uvicorn import Config, Server

from gateway.app import create_app
from gateway.events import Streams
from gateway.happenings import HappeningList, place_of
from gateway.openapi import EVENT
from gateway.temporal import connector
from runner.activities import Activities
from runner.opening import Terms
from runner.people import decide, decision_on
from runner.ports import TransientError
from runner.runs import start_run
from runner.server import connect
from runner.settings import Settings
from runner.worker import make_worker
from schemas.run import RunRequest
from schemas.sealing import keyring
from schemas.task import Task
from tests.gateway.conftest import http_to
from tests.temporal.doubles import Box, Thinker, begin, questions_of, says, waits, wants, working
from tests.temporal.test_chapters import grown
from tests.temporal.test_set_back import set_back

pytestmark = pytest.mark.temporal

Told = dict[str, Any]


class Serving(Server):
    """The server as the gateway's process runs it: streams are ended before it waits for its connections."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.app.state.streams.end()  # type: ignore[union-attr]
        await super().shutdown(sockets)


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[tuple[Server, str]]:
    """The app on a socket of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Serving(Config(app, lifespan="off", ws="none", log_level="warning", timeout_graceful_shutdown=3))
    task = asyncio.create_task(server.serve([listener]))
    try:
        async with asyncio.timeout(10):
            while not server.started:
                await asyncio.sleep(0.01)
        yield server, f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@dataclass
class Cable:
    """A connection to somewhere that can be cut, be down for a while, or break after so many bytes."""

    port: int
    breaks_after: Callable[[], int] = lambda: 1 << 60
    up: bool = True
    cuts: int = 0
    writers: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])

    @asynccontextmanager
    async def plugged(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            self.cut()

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()

    def down(self) -> None:
        self.up = False
        self.cut()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.up:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers |= {writer, back}
        await asyncio.gather(self._pipe(reader, back, 1 << 60), self._pipe(there, writer, self.breaks_after()))

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data[:left])
                await writer.drain()
                left -= len(data)
                if left < 0:
                    self.cuts += 1
                    break
        except OSError:
            pass
        writer.close()


async def read(answer: httpx.Response) -> AsyncIterator[Told]:
    """The events of a stream, with what stands around their data; a comment is an event of that name."""
    said: Told = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if line.startswith(":"):
            yield {"comment": line[1:].strip()}
        elif line:
            said[name] = value
        elif said:
            data = json.loads(said["data"]) if "data" in said else {}
            assert data.get("event") == said.get("event")
            assert data.get("id", "") == said.get("id", "")
            yield data | ({"retry": said["retry"]} if "retry" in said else {})
            said = {}


def after(id_: str | None) -> dict[str, str]:
    return {"Last-Event-ID": id_} if id_ else {}


async def follow(http: httpx.AsyncClient, run: str, last: str | None = None) -> list[Told]:
    """All that a stream tells until it closes; comments are nothing."""
    async with http.stream("GET", f"/v1/runs/{run}/events", headers=after(last)) as answer:
        assert answer.status_code == (200 if answer.headers.get("content-type") else 204), await answer.aread()
        return [each async for each in read(answer) if "comment" not in each]


async def until(http: httpx.AsyncClient, run: str, event: str) -> list[Told]:
    """What a stream tells up to the first event of this name; then the caller hangs up."""
    told: list[Told] = []
    async with http.stream("GET", f"/v1/runs/{run}/events") as answer:
        async for each in read(answer):
            told += [each] * ("comment" not in each)
            if each.get("event") == event:
                return told
    raise AssertionError(f"it ended without {event}: {told}")


async def listed(http: httpx.AsyncClient, run: str, last: str | None = None) -> Told:
    answer = await http.get(f"/v1/runs/{run}/events", headers={"Accept": "application/json", **after(last)})
    assert answer.status_code == 200, answer.text
    return answer.json()


def app_of(client: Client, **how: Any) -> FastAPI:
    async def there() -> Client:
        return client

    app = create_app(there)
    app.state.streams = Streams(**how)
    return app


async def approve(client: Client, run: Any, task: str) -> None:
    (asked,) = await questions_of(client, run, task)
    await decide(
        client, asked, decision_on(asked, approve=True, by="ada", note="go", now=asked.waiting.since), within=10
    )


def names(told: list[Told]) -> list[str]:
    return [each["event"] for each in told]


def ids(told: list[Told]) -> list[str]:
    return [each["id"] for each in told]


def script() -> Thinker:
    return Thinker(wants("READ", "WRITE", "DESTRUCTIVE"), says("Done."))


ALL_OF_IT = [
    "status",  # started
    "status",  # running
    "turn",
    "tool_call",
    "tool_result",
    "tool_call",
    "tool_result",
    "status",  # waiting
    "approval",
    "approval",
    "status",  # running
    "tool_call",
    "tool_result",
    "turn",
    "done",
]


async def test_a_run_is_told_while_it_happens_from_its_start_to_its_end(client: Client, unique: str) -> None:
    """From before a worker is there, through a wait for a person: all on one stream that needs neither."""
    async with serving(app_of(client)) as (_, url), httpx.AsyncClient(base_url=url, timeout=30) as http:
        run = await begin(client, unique)
        following = asyncio.create_task(follow(http, run.id))
        queued = await until(http, run.id, "status")
        async with working(client, unique, script(), Box("seen", "sent", "gone")):
            await approve(client, run, f"t-{unique}")
            result = await run.result()
        told = await following
    assert names(queued) == ["status"]
    assert names(told) == ALL_OF_IT
    assert told[0] | {"what": "started", "status": "queued", "task": f"t-{unique}", "trigger": "cli"} == told[0]
    assert [each["status"] for each in told if each["event"] == "status"] == ["queued", "running", "waiting", "running"]
    assert [(e["tool"], e["state"], e["content"]) for e in told if e["event"] == "tool_result"] == [
        ("READ", "done", "seen"),
        ("WRITE", "done", "sent"),
        ("DESTRUCTIVE", "done", "gone"),
    ]
    asked, decided = (each for each in told if each["event"] == "approval")
    assert (asked["what"], asked["arguments"], asked["approve"]) == ("asked", {"n": 2}, None)
    assert (decided["what"], decided["approve"], decided["by"], decided["note"]) == ("decided", True, "ada", "go")
    done = told[-1]
    assert (done["status"], done["summary"], done["cost_usd"]) == (result.status, "Done.", result.cost_usd)
    assert done["usage"] == result.usage.model_dump()
    places = [place_of(each["id"]) for each in told]
    assert places == sorted(set(places))


async def test_what_a_person_denied_is_told_to_be_denied(client: Client, unique: str) -> None:
    async with (
        http_to(app_of(client)) as http,
        working(client, unique, Thinker(wants("DESTRUCTIVE"), says("Left.")), Box()),
    ):
        run = await begin(client, unique)
        (asked,) = await questions_of(client, run, f"t-{unique}")
        word = decision_on(asked, approve=False, by="bob", note="keep it", now=asked.waiting.since)
        await decide(client, asked, word, within=10)
        await run.result()
        told = (await listed(http, run.id))["data"]
    assert [(e["call"], e["tool"], e["state"]) for e in told if e["event"] == "tool_result"] == [
        ("c0", "DESTRUCTIVE", "denied")
    ]
    assert "tool_call" not in names(told)


async def chaptered(client: Client, unique: str) -> str:
    """A run that grew so long that it went on in a new history, twice."""
    thinker = Thinker(
        wants("WRITE"),
        grown(wants("READ", prefix="d")),
        says("I sent one."),
        wants("READ", prefix="e"),
        grown(wants("READ", prefix="f")),
        says("I looked again."),
        says("Done."),
    )
    activities = Activities(
        thinker, Box("sent", TransientError("flaky", retry_after=0.1)), terms=Terms("m", sum_up_at=1000)
    )
    async with make_worker(client, activities, queue=unique, grace=timedelta(seconds=5)):
        run = await begin(client, unique)
        assert (await run.result()).status == "succeeded"
    return run.id


async def approved(client: Client, unique: str) -> str:
    async with working(client, unique, script(), Box("seen", "sent", "gone")):
        run = await begin(client, unique)
        await approve(client, run, f"t-{unique}")
        await run.result()
    return run.id


@pytest.mark.parametrize("story", [approved, chaptered])
async def test_after_every_id_exactly_the_rest_is_told(
    client: Client, unique: str, story: Callable[[Client, str], Any]
) -> None:
    run = await story(client, unique)
    async with (
        serving(app_of(client, most=4)) as (_, url),
        httpx.AsyncClient(base_url=url, timeout=30) as http,
        http_to(app_of(client)) as whole,
    ):
        told = await follow(http, run)
        chapters = {place_of(each["id"]).chapter for each in told}
        assert len(chapters) == (3 if story is chaptered else 1)
        assert names(told).count("done") == 1
        assert await listed(whole, run) == {"data": told, "next": None}
        for cut, each in enumerate(told, 1):
            assert await follow(http, run, each["id"]) == told[cut:], each
            assert (await listed(whole, run, each["id"]))["data"] == told[cut:]
        parts, last = [], None
        while True:
            part = await listed(http, run, last)
            HappeningList.model_validate(part)
            parts += part["data"]
            if part["next"] is None:
                break
            assert len(part["data"]) == 4
            last = part["next"]
        assert parts == told
        assert await listed(http, run, told[-1]["id"]) == {"data": [], "next": None}
        over = await http.get(f"/v1/runs/{run}/events", headers=after(told[-1]["id"]))
        assert over.status_code == 204  # what makes a browser's EventSource stay away


@pytest.mark.slow
async def test_a_history_that_is_kept_no_longer_changes_no_id_of_what_is_left(client: Client, unique: str) -> None:
    run = await chaptered(client, unique)
    described = await client.get_workflow_handle(run).describe()
    first = client.get_workflow_handle(run, run_id=described.raw_info.first_run_id)
    async with http_to(app_of(client)) as http:
        told = (await listed(http, run))["data"]
        await client.workflow_service.delete_workflow_execution(
            DeleteWorkflowExecutionRequest(
                namespace=client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=run, run_id=first.run_id),
            )
        )
        async with asyncio.timeout(90):  # Temporal takes half a minute to delete what it was told to
            while await is_kept(first):
                await asyncio.sleep(0.2)
        chapter = place_of(told[0]["id"]).chapter
        left = [each for each in told if place_of(each["id"]).chapter > chapter]
        assert 0 < len(left) < len(told)
        assert (await listed(http, run))["data"] == left
        assert (await listed(http, run, told[2]["id"]))["data"] == left
        assert (await listed(http, run, left[0]["id"]))["data"] == left[1:]


async def is_kept(handle: WorkflowHandle[Any, Any]) -> bool:
    try:
        await handle.describe()
    except RPCError as error:
        return error.status != RPCStatusCode.NOT_FOUND
    return True


async def test_a_list_so_far_does_not_wait_and_is_gone_on_with(client: Client, unique: str) -> None:
    async with http_to(app_of(client)) as http:
        run = await begin(client, unique)
        first = await listed(http, run.id)
        assert (names(first["data"]), first["next"]) == (["status"], first["data"][0]["id"])
        assert await listed(http, run.id, first["next"]) == {"data": [], "next": first["next"]}
        async with working(client, unique, Thinker(says("Done.")), Box()):
            await run.result()
        rest = await listed(http, run.id, first["next"])
    assert (names(rest["data"]), rest["next"]) == (["status", "turn", "done"], None)


@pytest.mark.parametrize("seed", range(3))
async def test_a_connection_that_breaks_anywhere_loses_nothing(client: Client, unique: str, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret is made of it
    async with AsyncExitStack() as stack:
        _, url = await stack.enter_async_context(serving(app_of(client, keep_alive=0.2)))
        cable = Cable(int(url.rpartition(":")[2]), lambda: chance.randrange(2500))
        port = await stack.enter_async_context(cable.plugged())
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30))
        await stack.enter_async_context(working(client, unique, script(), Box("seen", "sent", "gone")))
        run = await begin(client, unique)
        told: list[Told] = []
        approving: asyncio.Task[None] | None = None
        async with asyncio.timeout(60):
            while "done" not in names(told):
                headers = after(told[-1]["id"] if told else None) | {"Host": url.removeprefix("http://")}
                try:
                    async with (
                        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as broken,
                        broken.stream("GET", f"/v1/runs/{run.id}/events", headers=headers) as answer,
                    ):
                        async for each in read(answer):
                            told += [each] * ("comment" not in each)
                            if each.get("event") == "approval" and approving is None:
                                approving = asyncio.create_task(approve(client, run, f"t-{unique}"))
                except httpx.TransportError:
                    continue
        assert approving is not None
        await approving
        assert cable.cuts >= 3
        assert told == await follow(http, run.id)
        assert names(told) == ALL_OF_IT


async def test_a_caller_that_hangs_up_leaves_nothing_behind(client: Client, unique: str) -> None:
    app = app_of(client)
    async with serving(app) as (_, url), working(client, unique, script(), Box("seen", "sent")):
        run = await begin(client, unique)
        await waits(client, run.id)
        async with httpx.AsyncClient(base_url=url, timeout=30) as http:
            await http.get("/healthz")
            before = asyncio.all_tasks()
            for _ in range(5):
                told = await until(http, run.id, "approval")
                assert "done" not in names(told)
            async with asyncio.timeout(2):  # the long poll alone would take twenty seconds
                while app.state.streams.open or asyncio.all_tasks() - before:
                    await asyncio.sleep(0.01)
        await run.cancel()
        await run.result()


async def test_a_server_that_stops_ends_its_streams_at_once_and_has_them_come_back(client: Client, unique: str) -> None:
    app = app_of(client)
    run = await begin(client, unique)
    async with serving(app) as (server, url), httpx.AsyncClient(base_url=url, timeout=30) as http:
        async with http.stream("GET", f"/v1/runs/{run.id}/events") as answer, asyncio.timeout(2):
            events = read(answer)
            assert (await anext(events))["event"] == "status"
            server.should_exit = True
            rest = [each async for each in events]
        assert [each.get("retry") for each in rest if "comment" not in each] == ["3000"]
    await run.terminate()


async def test_a_stream_that_is_asked_for_while_the_server_stops_ends_as_well(client: Client, unique: str) -> None:
    app = app_of(client)
    app.state.streams.end()
    run = await begin(client, unique)
    async with http_to(app) as http, asyncio.timeout(2):
        told = await follow(http, run.id)
    assert [each["retry"] for each in told] == ["3000"]
    await run.terminate()


async def test_while_nothing_happens_there_are_signs_of_life(client: Client, unique: str) -> None:
    run = await begin(client, unique)
    async with (
        serving(app_of(client, keep_alive=0.05)) as (_, url),
        httpx.AsyncClient(base_url=url, timeout=30) as http,
        http.stream("GET", f"/v1/runs/{run.id}/events") as answer,
    ):
        assert answer.headers["content-type"].partition(";")[0] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-accel-buffering"] == "no"
        events = read(answer)
        assert [(await anext(events)).get("comment") for _ in range(4)] == [None, "ping", "ping", "ping"]
    await run.terminate()


async def test_a_run_ended_in_temporal_ends_its_stream_in_the_words_of_its_view(client: Client, unique: str) -> None:
    run = await begin(client, unique)
    async with http_to(app_of(client)) as http:
        following = asyncio.create_task(follow(http, run.id))
        await run.terminate()
        done = (await following)[-1]
        view = (await http.get(f"/v1/runs/{run.id}")).json()
    assert (done["event"], done["status"], done["reason"]) == ("done", view["status"], view["reason"])


async def test_a_run_that_is_set_back_goes_on_on_the_same_stream(client: Client, unique: str) -> None:
    async with serving(app_of(client)) as (_, url), httpx.AsyncClient(base_url=url, timeout=30) as http:
        thinker = Thinker(wants("DESTRUCTIVE"), wants("READ", prefix="r"), says("Done."))
        async with working(client, unique, thinker, Box("seen")):
            run = await begin(client, unique)
            following = asyncio.create_task(follow(http, run.id))
            before = await until(http, run.id, "approval")
            again = await set_back(client, run)
            assert (await again.result()).status == "succeeded"
            told = await following
        assert told[: len(before)] == before
        new = told[len(before) :]
        assert names(new) == ["status", "status", "turn", "tool_call", "tool_result", "turn", "done"]
        assert new[0]["what"] == "set_back"
        for cut, each in enumerate(told, 1):  # wherever one was, in the old course or the new one
            assert await follow(http, run.id, each["id"]) == (new if cut <= len(before) else told[cut:])


async def test_a_temporal_that_is_away_for_a_moment_is_waited_for(client: Client, unique: str) -> None:
    target = client.service_client.config.target_host
    cable = Cable(int(target.rpartition(":")[2]))
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(cable.plugged())
        _, url = await stack.enter_async_context(serving(create_app(connector({"target_host": f"127.0.0.1:{port}"}))))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30))
        run = await begin(client, unique)
        async with http.stream("GET", f"/v1/runs/{run.id}/events") as answer:
            events = read(answer)
            assert (await anext(events))["event"] == "status"
            cable.down()
            async with working(client, unique, Thinker(says("Done.")), Box()):
                await run.result()
            cable.up = True
            rest = [each async for each in events if "comment" not in each]
    assert names(rest) == ["status", "turn", "done"]


async def test_a_temporal_that_stays_away_ends_the_stream_with_a_word_and_a_time_to_come_back(
    client: Client, unique: str
) -> None:
    target = client.service_client.config.target_host
    cable = Cable(int(target.rpartition(":")[2]))
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(cable.plugged())
        app = create_app(connector({"target_host": f"127.0.0.1:{port}"}))
        app.state.streams = Streams(patience=0.5)
        _, url = await stack.enter_async_context(serving(app))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30))
        run = await begin(client, unique)
        async with http.stream("GET", f"/v1/runs/{run.id}/events") as answer:
            events = read(answer)
            started = await anext(events)
            cable.down()
            (trouble,) = [each async for each in events if "comment" not in each]
        assert (trouble["event"], trouble["id"], trouble["retry"]) == ("trouble", "", "3000")
        assert "127.0.0.1" not in str(trouble)
        refused = await http.get(f"/v1/runs/{run.id}/events", headers=after(started["id"]))
        assert refused.status_code in {502, 503}
        assert refused.headers["content-type"] == "application/problem+json"
        cable.up = True
        async with working(client, unique, Thinker(says("Done.")), Box()):
            await run.result()
        async with asyncio.timeout(15):
            while (await http.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.1)
        assert names(await follow(http, run.id, started["id"])) == ["status", "turn", "done"]


async def test_an_encrypted_run_is_told_with_its_key_and_without_it_as_far_as_it_is_plain(
    client: Client, temporal_address: str, unique: str
) -> None:
    keys = keyring([("k1", base64.b64encode(b"1" * 32).decode())])
    mine = await connect(Settings(temporal={"TEMPORAL_ADDRESS": temporal_address}), keys=keys)
    flaky = TransientError("the canary-failure", retry_after=0.01)
    async with working(mine, unique, Thinker(wants("READ"), flaky, says("canary-answer")), Box("canary-result")):
        request = RunRequest(task=Task(goal="canary-goal", toolkit=("box",), name=f"t-{unique}"), trigger="cli")
        run = await start_run(mine, request, unique)
        await mine.get_workflow_handle(run).result()
    where = {"target_host": temporal_address}
    async with http_to(create_app(connector(where, keys))) as http, http_to(create_app(connector(where))) as blind:
        told, dark = (await listed(http, run))["data"], (await listed(blind, run))["data"]
    assert names(told) == ["status", "status", "turn", "tool_call", "tool_result", "trouble", "turn", "done"]
    assert (told[4]["content"], told[5]["why"], told[-1]["summary"]) == (
        "canary-result",
        "the canary-failure",
        "canary-answer",
    )
    assert names(dark) == names(told)
    assert ids(dark) == ids(told)
    assert "canary" not in str(dark)
    assert "no key named k1 is configured" in dark[-1]["reason"]
    assert (dark[-1]["status"], told[-1]["status"]) == ("succeeded", "succeeded")
    assert [each["event"] for each in dark if not each["unreadable"]] == ["status", "trouble"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_run_that_is_not_there_is_refused_before_anything_is_streamed(client: Client, method: str) -> None:
    async with http_to(app_of(client)) as http:
        answer = await http.request(method, "/v1/runs/no-such-run/events")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_head_says_that_there_is_something_to_follow_and_does_not_wait(client: Client, unique: str) -> None:
    run = await begin(client, unique)
    async with serving(app_of(client)) as (_, url), httpx.AsyncClient(base_url=url, timeout=2) as http:
        answer = await http.head(f"/v1/runs/{run.id}/events")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")
    await run.terminate()


@pytest.mark.parametrize("last", ["x", "1-2", "1-2-3-4", "-1-0-0", "1-2-3 ", "9" * 400])
@pytest.mark.parametrize("accept", ["*/*", "application/json"])
async def test_an_id_that_we_never_gave_is_a_problem(client: Client, unique: str, last: str, accept: str) -> None:
    run = await begin(client, unique)
    async with http_to(app_of(client)) as http:
        answer = await http.get(f"/v1/runs/{run.id}/events", headers={"Accept": accept, "Last-Event-ID": last})
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:goalfile:problem:bad-event-id")
    await run.terminate()


async def test_the_document_names_every_event_and_what_is_in_it() -> None:
    async def nowhere() -> Client:
        raise OSError("nowhere")

    document = create_app(nowhere).openapi()
    answers = document["paths"]["/v1/runs/{run_id}/events"]["get"]["responses"]["200"]["content"]
    item = answers["text/event-stream"][EVENT]["properties"]
    assert item["event"]["enum"] == ["status", "turn", "tool_call", "tool_result", "approval", "trouble", "done"]
    named = [each["$ref"].rpartition("/")[2] for each in item["data"]["contentSchema"]["oneOf"]]
    assert [document["components"]["schemas"][name]["properties"]["event"]["const"] for name in named] == item["event"][
        "enum"
    ]
    assert answers["application/json"]["schema"]["$ref"].endswith("/HappeningList")

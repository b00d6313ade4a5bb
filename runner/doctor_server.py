"""A doctor's look at the servers: Temporal, its namespace and workers, and the gateway. It changes nothing."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
from temporalio.api.enums.v1 import IndexedValueType, TaskQueueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeTaskQueueRequest,
    GetSystemInfoRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from runner import switch
from runner.catalog import ask_catalog
from runner.exits import Failed
from runner.findings import Finding, failed, ok, place, warning
from runner.server import Unreachable, connect
from runner.settings import Settings
from schemas import wire
from schemas.duration import format_duration
from schemas.sealing import Keyring

_DAY = timedelta(days=1)
_ALIVE = timedelta(seconds=90)
"""A poller asks again within a minute; one that was not heard of for longer is gone."""
_HTTP = httpx.Timeout(5.0)
_KEYWORD = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD


async def temporal(settings: Settings, keys: Keyring | None) -> list[Finding]:
    """The Temporal server and what we need of it; if it is away, that is the only thing told."""
    try:
        client = await connect(settings, keys=keys)
    except Unreachable as error:
        said, _, remedy = str(error).partition("; ")
        return [failed("temporal", said, remedy)]
    except (RuntimeError, ValueError, OSError) as error:
        return [failed("temporal", f"its profile cannot be used ({error})", "see TEMPORAL_CONFIG_FILE")]
    looks = (_server(client), _namespace(client), _attributes(client), _workers(client, settings.queue), _stop(client))
    return list(await asyncio.gather(*looks))


async def _server(client: Client) -> Finding:
    at = client.service_client.config.target_host
    try:
        info = await client.workflow_service.get_system_info(GetSystemInfoRequest())
    except RPCError as error:
        return _refused("temporal", error)
    return ok("temporal", f"answers at {place(at)}, version {info.server_version or 'unknown'}")


async def _namespace(client: Client) -> Finding:
    name = client.namespace
    try:
        answer = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=name))
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            remedy = f"set TEMPORAL_NAMESPACE, or make it: temporal operator namespace create -n {name}"
            return failed("namespace", f"there is none named `{name}`", remedy)
        return _refused("namespace", error)
    kept = answer.config.workflow_execution_retention_ttl.ToTimedelta()
    said = f"`{name}` keeps ended runs {f'for {format_duration(kept)}' if kept else 'for ever'}"
    if timedelta() < kept < _DAY:
        remedy = f"keep them for some days: temporal operator namespace update -n {name} --retention 7d"
        return warning("namespace", f"{said}: `verify`, `logs` and the ledger of writes look back no further", remedy)
    return ok("namespace", said)


async def _attributes(client: Client) -> Finding:
    check = "search attributes"
    try:
        answer = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
    except RPCError as error:
        if error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED):
            return warning(check, f"not checked: the server does not tell ({error.status.name.lower()})")
        return _refused(check, error)
    return attributes_finding({name: int(kind) for name, kind in answer.custom_attributes.items()})


def attributes_finding(known: dict[str, int]) -> Finding:
    """What a namespace's search attributes, by name with the server's number of their type, come to."""
    check = "search attributes"
    wrong = [name for name in wire.SEARCH_ATTRIBUTES if known.get(name, _KEYWORD) != _KEYWORD]
    if wrong:
        remedy = f"have an operator remove {'it' if len(wrong) == 1 else 'them'}; a sync makes them again"
        return failed(check, f"{', '.join(wrong)}: not of type Keyword", remedy)
    if missing := [name for name in wire.SEARCH_ATTRIBUTES if name not in known]:
        return warning(check, f"not registered yet: {', '.join(missing)}", "run `goalfile sync`, or start a worker")
    return ok(check, f"{len(wire.SEARCH_ATTRIBUTES)} registered")


async def _workers(client: Client, queue: str) -> Finding:
    kinds = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    since, found = datetime.now(UTC) - _ALIVE, set[str]()
    try:
        for kind in kinds:
            request = DescribeTaskQueueRequest(
                namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
            )
            answer = await client.workflow_service.describe_task_queue(request)
            found |= {each.identity for each in answer.pollers if each.last_access_time.ToDatetime(UTC) >= since}
    except RPCError as error:
        return _refused("workers", error)
    return workers_finding(len(found), queue)


def workers_finding(number: int, queue: str) -> Finding:
    """What that many workers on a queue come to."""
    if number:
        return ok("workers", f"{number} on queue `{queue}`")
    remedy = "fine if they scale to zero while nothing is to be done; else start one: goalfile worker"
    return warning("workers", f"none on queue `{queue}`", remedy)


async def _stop(client: Client) -> Finding:
    try:
        stopped = await switch.look(client, patient=True)
    except RPCError as error:
        return _refused("stop switch", error)
    if stopped is None:
        return ok("stop switch", "not set")
    return warning("stop switch", f"everything is stopped {stopped}", "release it: goalfile resume --all")


async def gateway(settings: Settings) -> Finding:
    """The gateway that the settings name: whether it answers, knows us, and reaches Temporal."""
    check = "gateway"
    if not settings.gateway:
        return warning(
            check, "none is named", "set GOALFILE_SERVER to have it looked at; commands about runs ask it then"
        )
    at = place(settings.gateway)
    try:
        # First, for it says most plainly what is wrong with the address or the token.
        catalog = await asyncio.to_thread(ask_catalog, settings)
        async with httpx.AsyncClient(timeout=_HTTP, follow_redirects=False) as client:
            ready = await client.get(f"{settings.gateway.rstrip('/')}/readyz")
    except Failed as error:
        return failed(check, str(error.message), "see GOALFILE_SERVER")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return failed(check, f"{at} answered once, and then no more ({type(error).__name__})", "look at its log")
    if ready.status_code != 200:
        return failed(check, f"{at} answers, and is not ready ({ready.status_code})", "look at its log")
    if catalog.unchecked:
        return warning(check, f"{at} answers, and says: {'; '.join(catalog.unchecked)}")
    return ok(check, f"{at} answers")


def _refused(check: str, error: RPCError) -> Finding:
    if error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED):
        return failed(check, f"the server does not allow it: {error.message}", "see TEMPORAL_API_KEY")
    return failed(check, f"the server did not tell: {error.message}")

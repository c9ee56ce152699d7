"""Calling any RPC by its name, reading what a failed call says, and asking the emulator what really
happened.
"""

import asyncio
import contextlib
import json
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import any_pb2, json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from emulator.settings import PAYMENTS_PROJECT_ID
from emulator.truth import Entry
from gateway.app import App, open_app
from gateway.clock import SystemClock
from gateway.operations import load_catalog
from gateway.upstream.breakers import Breakers
from gateway.upstream.budget import Budgets
from gateway.upstream.page_fits import PageFits
from tests.harness import World, config_for

CATALOG = load_catalog()
BINDINGS = {rpc: binding for rpc, binding in CATALOG.bindings.items() if not binding.custom}


def _with_own_project(value: Any) -> Any:
    """An example's request whose destinations are the project of the tenant that calls in most
    tests.
    """
    if isinstance(value, list):
        return [_with_own_project(item) for item in value]
    if not isinstance(value, dict):
        return value
    own = ("destination_project_id", "external_project_id")
    return {
        key: PAYMENTS_PROJECT_ID if key in own else _with_own_project(item)
        for key, item in value.items()
    }


def _without_replaced(value: Any) -> Any:
    """A request without what is read before the change is sent (test_clearing.py): so the change is
    the first call, and no object need exist.
    """
    if not isinstance(value, dict):
        return value
    return {
        key: _without_replaced(item)
        for key, item in value.items()
        if key not in {"operation_definition", "policy_operation_definition"}
    }


REQUESTS: Mapping[str, dict[str, Any]] = {
    example["rpc"]: _with_own_project(
        _without_replaced(example["request"]) if "/Update" in example["rpc"] else example["request"]
    )
    for example in (
        json.loads(file.read_text(encoding="utf-8"))
        for file in sorted((Path(__file__).parents[1] / "examples").glob("*.json"))
    )
}
DETAILS = {
    f"google.rpc.{kind.__name__}": kind
    for kind in (
        error_details_pb2.BadRequest,
        error_details_pb2.ErrorInfo,
        error_details_pb2.PreconditionFailure,
        error_details_pb2.QuotaFailure,
        error_details_pb2.RequestInfo,
        error_details_pb2.ResourceInfo,
        error_details_pb2.RetryInfo,
    )
}


@dataclass(frozen=True)
class Failure:
    """What a caller learns from a call that failed."""

    code: str
    message: str
    trailers: Mapping[str, str | bytes]
    details: Mapping[str, Message] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        return self.details["ErrorInfo"].reason if self.details else ""  # type: ignore[attr-defined]

    @property
    def facts(self) -> dict[str, str]:
        return dict(self.details["ErrorInfo"].metadata) if self.details else {}  # type: ignore[attr-defined]

    @property
    def fields(self) -> list[str]:
        """Paths of the fields that the caller got wrong."""
        found = self.details.get("BadRequest")
        return (
            [violation.field for violation in found.field_violations] if found is not None else []
        )  # type: ignore[attr-defined]


def failure_of(error: grpc.aio.AioRpcError) -> Failure:
    trailers = {str(key): value for key, value in error.trailing_metadata() or ()}
    raw = trailers.get("grpc-status-details-bin")
    packed: list[any_pb2.Any] = (
        list(status_pb2.Status.FromString(raw).details) if isinstance(raw, bytes) else []
    )
    details = {}
    for detail in packed:
        name = detail.TypeName()
        details[name.removeprefix("google.rpc.")] = DETAILS[name].FromString(detail.value)
    return Failure(error.code().name, error.details() or "", trailers, details)


def message_for(rpc: str, fields: Mapping[str, Any] | Message) -> Message:
    """A request from its JSON form with proto names."""
    return (
        fields
        if isinstance(fields, Message)
        else json_format.ParseDict(dict(fields), CATALOG[rpc].request_type())
    )


@dataclass(frozen=True)
class Caller:
    """One caller. `await caller(rpc, {...})` gives the response, or the Failure."""

    channel: grpc.aio.Channel
    metadata: tuple[tuple[str, str], ...]

    def start(
        self, rpc: str, fields: Mapping[str, Any] | Message, timeout_s: float | None = 20
    ) -> grpc.aio.UnaryUnaryCall[Any, Any]:
        method = self.channel.unary_unary(
            f"/cbrgateway.v1.{rpc}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=CATALOG[rpc].response_type.FromString,
        )
        return method(message_for(rpc, fields), timeout=timeout_s, metadata=self.metadata)

    async def __call__(
        self,
        rpc: str,
        fields: Mapping[str, Any] | Message | None = None,
        timeout_s: float | None = 20,
    ) -> Any:
        try:
            return await self.start(rpc, fields if fields is not None else {}, timeout_s)
        except grpc.aio.AioRpcError as error:
            return failure_of(error)

    async def ok(self, rpc: str, fields: Mapping[str, Any] | Message | None = None) -> Any:
        answer = await self(rpc, fields)
        assert not isinstance(answer, Failure), answer
        return answer

    async def fails(
        self,
        rpc: str,
        fields: Mapping[str, Any] | Message | None = None,
        timeout_s: float | None = 20,
    ) -> Failure:
        answer = await self(rpc, fields, timeout_s)
        assert isinstance(answer, Failure), f"expected a failure, got {answer}"
        return answer


def caller(world: World, tenant: str = "payments", *more: tuple[str, str]) -> Caller:
    return Caller(world.channel, world.metadata(tenant, *more))


def tenant_for(rpc: str) -> str:
    return "admin" if BINDINGS[rpc].for_administrators else "payments"


def arrived(world: World, rpc: str = "") -> list[Entry]:
    """The requests of one RPC's operation, or of all, in the order in which the emulator received
    them.
    """
    entries = world.emulator.state.truth.entries()
    return [entry for entry in entries if not rpc or entry.operation == BINDINGS[rpc].operation]


def asked(world: World, rpc: str = "") -> list[Entry]:
    """The same without those by which the gateway learns once what a list's count tells."""
    return [e for e in arrived(world, rpc) if not re.search(r"offset=|limit=1\b", e.target)]


def order(world: World, kind: str, rpc: str | None = None, *, on: str = "", **parts: Any) -> str:
    """Orders a fault, for one RPC's operation or for every request; its id.

    `on`: for requests with this id in their path only.
    """
    match = ({"operation": BINDINGS[rpc].operation} if rpc else {}) | ({"object": on} if on else {})
    return world.emulator.state.faults.add({"kind": kind, "match": match, **parts}).id


def forget(app: App) -> None:
    """Breakers, budgets and what is known of lists as after a restart, so that tests can share a
    gateway.
    """
    app.client.factory.breakers = Breakers(SystemClock(), random.random)
    app.client.factory.budgets = Budgets()
    app.client.factory.fits = PageFits(SystemClock())


async def told(call: Callable[[], Awaitable[Failure]]) -> Failure:
    """How the gateway itself ends a call whose time is up.

    It does so 150 ms before the deadline. On a machine that stops for as long, the client's own
    timer is first and knows no reason, or the call comes too late to be begun; then again.
    """
    for _ in range(20):
        failed = await call()
        if failed.details and failed.reason != "DEADLINE_TOO_SHORT":
            break
    return failed


async def until(true: Callable[[], object], within_s: float = 60.0) -> None:
    """Returns as soon as something has become true."""
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def gateway_before(endpoint: str, **server: Any) -> AsyncIterator[tuple[App, Caller]]:
    """A gateway whose regions are all at `endpoint`, and a caller of it."""
    async with (
        open_app(config_for(endpoint, **server)) as app,
        grpc.aio.insecure_channel(app.address) as channel,
    ):
        yield app, Caller(channel, World.metadata())

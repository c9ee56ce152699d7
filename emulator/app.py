"""The server as an ASGI application: arrival, faults, credentials, handler, reply.

`Emulator` holds all state; `FrontDoor` carries one request through it. A handler runs to its end
without a pause, so a request is committed completely or not at all, and the faults around it know
on which side of the commit they are.
"""

import json
import time
from collections.abc import Mapping
from urllib.parse import parse_qs

import msgspec
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from emulator.auth import Caller
from emulator.clock import Clock
from emulator.control import control_routes
from emulator.emulator import Emulator
from emulator.errors import ApiError, gateway_error, no_such_api
from emulator.faults import AFTER, BEFORE, Fault, task_outcome
from emulator.fields import JsonObject, parse_query
from emulator.routes import all_routes
from emulator.routing import Answer, Call, Route, Router
from emulator.settings import EmulatorSettings
from emulator.signing import Arrival
from emulator.truth import Entry
from emulator.wire import Reply, Wire


def build_app(settings: EmulatorSettings | None = None) -> Starlette:
    """Return the application; its `state.emulator` is the Emulator behind it."""
    emulator = Emulator(settings or EmulatorSettings())
    app = Starlette(
        routes=[
            Mount("/_emulator", routes=control_routes(emulator)),
            Mount("/", app=FrontDoor(emulator)),
        ]
    )
    app.state.emulator = emulator
    return app


class FrontDoor:
    """ASGI application for every path that is not the control API."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._router = Router(all_routes())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        body = await _read(receive)
        raw_path, query = (
            scope["raw_path"].decode("latin-1"),
            scope["query_string"].decode("latin-1"),
        )
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        arrival = Arrival(scope["method"], raw_path, query, headers, body)
        found = self._router.find(arrival.method, raw_path)
        recorded = b"" if found is not None and found[0].public else body
        target = f"{raw_path}?{query}" if query else raw_path
        entry = self._emulator.truth.open(arrival.method, target, headers, recorded)
        entry.request_id = self._emulator.ids.request()
        try:
            await self._serve(
                arrival, found, entry, Wire(send, scope.get("state", {}).get("transport"))
            )
        finally:
            entry.replied_at = time.time()

    async def _serve(
        self, arrival: Arrival, found: tuple[Route, dict[str, str]] | None, entry: Entry, wire: Wire
    ) -> None:
        route, params = found or (None, {})
        entry.operation = route.operation if route is not None else None
        entry.project_id = params.get("project_id")
        path = route.path if route is not None else None
        striking = self._emulator.faults.take(
            entry.operation, arrival.method, path, entry.project_id, params.values()
        )
        entry.faults = [fault.kind for fault in striking]
        await _delays(striking, BEFORE)
        before = next((fault for fault in striking if _ends_before_commit(fault)), None)
        if before is not None:
            await self._strike(before, None, entry, wire)
            return
        reply = self._answer(arrival, route, params, striking, entry)
        await _delays(striking, AFTER)
        after = next((fault for fault in striking if _spoils_reply(fault)), None)
        if after is not None:
            await self._strike(after, reply, entry, wire)
            return
        entry.status = reply.status
        await wire.send(reply)

    async def _strike(self, fault: Fault, reply: Reply | None, entry: Entry, wire: Wire) -> None:
        if fault.kind == "cut":
            await wire.cut()
            return
        if fault.kind in {"status", "redirect"} or reply is None:
            reply = self._reply(*_instead(fault), entry.request_id)
        elif fault.kind in {"raw", "garbage"}:
            body = fault.body if fault.kind == "raw" else "\x00\x7f{]not json\xff"
            raw = body if isinstance(body, str) else json.dumps(body)
            reply = Reply(reply.status, reply.headers, raw.encode("latin-1", "replace"))
        entry.status = reply.status
        if fault.kind == "truncate":
            await wire.truncate(reply)
        elif fault.kind == "drip":
            await wire.drip(reply, fault.chunk_bytes, fault.seconds)
        else:
            await wire.send(reply)

    def _answer(
        self,
        arrival: Arrival,
        route: Route | None,
        params: dict[str, str],
        striking: list[Fault],
        entry: Entry,
    ) -> Reply:
        emulator = self._emulator
        emulator.world.tasks.settle()
        try:
            if route is None:
                raise no_such_api()
            call = self._admit(arrival, route, params, striking)
            result = route.handler(call)
        except ApiError as error:
            return self._reply(error.status, error.payload(entry.request_id), (), entry.request_id)
        answer = result if isinstance(result, Answer) else Answer(route.status, result)
        reply = self._reply(answer.status, answer.payload, answer.headers, entry.request_id)
        entry.committed = route.changes_state
        if route.changes_state:
            entry.reply = answer.payload
        return reply

    def _admit(
        self, arrival: Arrival, route: Route, params: dict[str, str], striking: list[Fault]
    ) -> Call:
        emulator = self._emulator
        caller = None if route.public else self._identify(arrival, params)
        project = None
        if caller is not None and "project_id" in params:
            project = emulator.auth.project(caller, params["project_id"])
        scope = project.id if project is not None else ""
        if not emulator.throttle.admits(scope, route.operation):
            limit = emulator.settings.throttle_rps
            message = f"policy user over ratelimit,limit:{limit},time:1 second"
            raise gateway_error(
                429, "APIGW.0308", f"The throttling threshold has been reached: {message}"
            )
        return Call(
            world=emulator.world,
            auth=emulator.auth,
            caller=caller,
            path_project=project,
            params=params,
            query=parse_query(route.query, _query(arrival.raw_query)),
            body=route.body(_json(arrival.body), "") if route.body is not None else {},
            base_url=f"http://{arrival.headers.get('host', '')}",
            outcome=task_outcome(striking),
            list_lag_s=sum(fault.seconds for fault in striking if fault.kind == "list_lag"),
        )

    def _identify(self, arrival: Arrival, params: Mapping[str, str]) -> Caller:
        emulator = self._emulator
        if not emulator.settings.auth:
            owner = emulator.world.account_of.get(params.get("project_id", ""))
            return Caller(owner or emulator.settings.accounts[0], None)
        return emulator.auth.identify(arrival, emulator.clock.front())

    def _reply(
        self, status: int, payload: object, headers: tuple[tuple[str, str], ...], request_id: str
    ) -> Reply:
        body = (
            b""
            if payload is None
            else payload
            if isinstance(payload, bytes)
            else msgspec.json.encode(payload)
        )
        return Reply(
            status,
            _live_headers(self._emulator.clock, request_id, headers, empty=payload is None),
            body,
        )


REDIRECTIONS = range(300, 400)

LIVE_HEADERS = (
    (b"server", b"api-gateway"),
    (b"strict-transport-security", b"max-age=31536000; includeSubdomains;"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-download-options", b"noopen"),
    (b"x-xss-protection", b"1; mode=block;"),
)


def _live_headers(
    clock: Clock, request_id: str, extra: tuple[tuple[str, str], ...], *, empty: bool
) -> list[tuple[bytes, bytes]]:
    headers = [(b"date", clock.http_date()), (b"x-request-id", request_id.encode()), *LIVE_HEADERS]
    if not empty:
        headers.append((b"content-type", b"application/json"))
    replaced = {name.lower().encode() for name, _ in extra}
    kept = [header for header in headers if header[0] not in replaced]
    return kept + [(name.lower().encode(), value.encode()) for name, value in extra]


async def _read(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


def _query(raw: str) -> dict[str, list[str]]:
    return parse_qs(raw.replace("+", "%2B"), keep_blank_values=True) if raw else {}


def _json(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        raise ApiError(
            400, {"badRequest": {"code": "BackupService.9900", "message": "Malformed JSON."}}
        ) from None


async def _delays(striking: list[Fault], when: str) -> None:
    for fault in striking:
        if fault.kind == "delay" and fault.when == when:
            await fault.wait()


def _ends_before_commit(fault: Fault) -> bool:
    return fault.kind == "redirect" or (fault.kind in {"status", "cut"} and fault.when == BEFORE)


def _spoils_reply(fault: Fault) -> bool:
    return fault.kind in {"status", "cut", "truncate", "garbage", "raw", "drip"}


def _instead(fault: Fault) -> tuple[int, object, tuple[tuple[str, str], ...]]:
    headers = tuple(fault.headers.items())
    if fault.kind == "redirect":
        status = fault.status if fault.status in REDIRECTIONS else 302
        return status, None, (("location", fault.location), *headers)
    if isinstance(fault.body, str):
        return fault.status, fault.body.encode(), headers
    return (
        fault.status,
        fault.body if fault.body is not None else _usual_body(fault.status),
        headers,
    )


def _usual_body(status: int) -> JsonObject:
    codes = {
        429: "APIGW.0308",
        500: "APIGW.0601",
        502: "APIGW.0202",
        503: "APIGW.0613",
        504: "APIGW.0203",
    }
    return {"error_msg": "Injected by the emulator.", "error_code": codes.get(status, "APIGW.0201")}

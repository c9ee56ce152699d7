"""Who may look: an administrator, known by the API key or token that its browser sends.

It is identified as the caller of any RPC is, and put on record as that; but not on the way of a
call, which the store or a limit may bar: just then somebody has to look.
"""

import asyncio
import base64
import binascii
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from wsgiref.types import WSGIEnvironment

import structlog
from cbrgateway.v1 import errors_pb2
from google.rpc import code_pb2

from gateway.audit import events
from gateway.audit.call_record import FLOOR, Activity, Caller, Declared
from gateway.audit.log import Audit
from gateway.background import on_loop
from gateway.errors import GatewayError
from gateway.ids import new_id
from gateway.reasons import reason_name
from gateway.rpc.audited import caller_of
from gateway.rpc.context import Metadata
from gateway.rpc.identity import AUTHORIZATION, authenticate
from gateway.rpc.peer import FORWARDED, Network, peer_of
from gateway.tenants import Current, Principal

_WITHIN_S: Final = 10.0
_STATUS: Final = {
    code_pb2.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    code_pb2.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    code_pb2.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
}

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Refused(Exception):  # noqa: N818 - says what is the case
    """Nothing is shown, and why."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks, as its browser has it: the key, and where it is. `forwarded`: what proxies say."""

    key: str
    peer: str
    forwarded: str = ""

    @property
    def metadata(self) -> Metadata:
        """As a call brings it."""
        own = (AUTHORIZATION, f"Bearer {self.key}")
        return (own, (FORWARDED, self.forwarded)) if self.forwarded else (own,)


@dataclass(frozen=True, slots=True)
class Admission:
    """Asked in threads. `loop`: the gateway's own; `trusted`: proxies."""

    loop: asyncio.AbstractEventLoop
    current: Current
    audit: Audit
    trusted: Sequence[Network]

    def enter(self, page: str, visitor: Visitor) -> str:
        """The name of who looks at a page; from now on that is on record. Raises Refused."""
        principal = self._asked(self._enter(page, visitor))
        return f"{principal.tenant.id}/{principal.id}"

    def still(self, visitor: Visitor) -> None:
        """Raises Refused for one whose key holds no more."""
        self._asked(self._identified(visitor))

    def _asked(self, work: Coroutine[Any, Any, Principal]) -> Principal:
        try:
            return on_loop(self.loop, work, _WITHIN_S)
        except TimeoutError:
            text = "The gateway is busy; reload the page."
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, text) from None
        except GatewayError as error:
            status = _STATUS.get(error.code, HTTPStatus.SERVICE_UNAVAILABLE)
            raise Refused(status, error.message) from None

    async def _identified(self, visitor: Visitor) -> Principal:
        """Raises GatewayError."""
        principal = await authenticate(self.current.snapshot.directory, visitor.metadata)
        if principal.grant.role != "administrator":
            raise GatewayError(
                errors_pb2.ERROR_REASON_ADMINISTRATOR_ONLY,
                f"{principal.id} is no administrator; the console is for administrators only.",
            )
        return principal

    async def _enter(self, page: str, visitor: Visitor) -> Principal:
        """Raises GatewayError."""
        principal, refusal = None, None
        try:
            principal = await self._identified(visitor)
            self.audit.guard(reads=True)
        except GatewayError as error:
            refusal = error
        reason = reason_name(refusal.reason) if refusal is not None else ""
        who = principal.id if principal is not None else ""
        log.info("console", page=page, principal=who, peer=visitor.peer, reason=reason)
        if self.audit.on:
            self._record(page, visitor, principal, refusal)
        if principal is None or refusal is not None:
            assert refusal is not None
            raise refusal
        return principal

    def _record(
        self,
        page: str,
        visitor: Visitor,
        principal: Principal | None,
        refusal: GatewayError | None,
    ) -> None:
        activity = Activity(
            new_id(),
            _declared(page),
            self._caller(visitor, principal),
            time.time(),
            FLOOR,
            code=refusal.code if refusal is not None else code_pb2.OK,
            reason=reason_name(refusal.reason) if refusal is not None else "",
        )
        self.audit.ended(events.READ_ENDED if refusal is None else events.CALL_REFUSED, activity)

    def _caller(self, visitor: Visitor, principal: Principal | None) -> Caller:
        peer = peer_of(visitor.peer, visitor.metadata, self.trusted)
        return caller_of(
            peer,
            principal,
            credential=self.audit.redactor.hashed(visitor.metadata[0][1]),
            decision="Allowed" if principal is not None else "Denied",
        )


def _declared(page: str) -> Declared:
    name = f"Console/{page}"
    return Declared(
        name, "read", reads=True, verb="", path="", operation="", permission="", level=FLOOR
    )


def visitor_of(environ: WSGIEnvironment) -> Visitor:
    """By HTTP Basic: the password is the key, and the name is anybody's. Raises Refused."""
    scheme, _, sent = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    key = ""
    if scheme.lower() == "basic":
        try:
            key = base64.b64decode(sent, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            key = ""
    if not key or not key.isascii() or not key.isprintable():
        text = "Name an administrator's API key, or token, as the password; any user name will do."
        raise Refused(HTTPStatus.UNAUTHORIZED, text)
    host = environ.get("REMOTE_ADDR", "")
    kind = f"ipv6:[{host}]" if ":" in host else f"ipv4:{host}"
    return Visitor(key, f"{kind}:0", environ.get("HTTP_X_FORWARDED_FOR", ""))

"""What is known of one call, as plain values, how much of it is recorded, and the record that it
becomes.

How much: what its declaration says, adjusted by the operator's rules, never below the floor.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec
from cbrgateway.v1 import options_pb2
from google.rpc import code_pb2
from msgspec import UNSET

from gateway.audit import record as ocsf
from gateway.audit.chain import ascii_json
from gateway.audit.events import (
    API_VERSION,
    CLOUD,
    INFORMATIONAL,
    READ_ENDED,
    STREAM_ENDED,
    Event,
    metadata,
)
from gateway.audit.settings import LevelRule
from gateway.errors import UpstreamFacts
from gateway.upstream.losses import Loss

_NO_CALL: Final = UpstreamFacts()
_LOW: Final = 2
_MEDIUM: Final = 3
_UNKNOWN, _SUCCESS, _FAILURE, _OTHER = 0, 1, 2, 99
_LEFT: Final = "Cancelled"
_LEFT_WHY: Final = "The caller left, or its time was over, before the end."
"""Which is how most streams end, and no failure."""
_MISTRUSTED: Final = frozenset({code_pb2.UNAUTHENTICATED, code_pb2.PERMISSION_DENIED})
_BY_FIRST_WORD: Final = {
    "create": ("Create", "Add", "Register", "Order", "Replicate", "Associate", "Sync"),
    "delete": ("Delete", "Remove", "Unregister", "Dissociate", "Release"),
}


class Level(IntEnum):
    """Each records what those before it do, and more."""

    NONE = 0
    METADATA = 1
    REQUEST = 2
    REQUEST_RESPONSE = 3

    @property
    def word(self) -> str:
        return self.name.lower()


FLOOR: Final = Level.METADATA
"""Of changes and refusals, whatever the rules say."""

_DECLARED: Final[Mapping[int, Level]] = {
    options_pb2.AUDIT_LEVEL_NONE: Level.NONE,
    options_pb2.AUDIT_LEVEL_METADATA: Level.METADATA,
    options_pb2.AUDIT_LEVEL_REQUEST: Level.REQUEST,
    options_pb2.AUDIT_LEVEL_REQUEST_RESPONSE: Level.REQUEST_RESPONSE,
}


def declared(option: int, *, reads: bool) -> Level:
    """The level that a declaration stands for: its own, or that of its kind."""
    return _DECLARED.get(option, Level.METADATA if reads else Level.REQUEST)


class Levels(msgspec.Struct, frozen=True):
    """The operator's rules."""

    rules: Sequence[LevelRule] = ()

    def of(self, rpc: str, tenant: str, otherwise: Level) -> Level:
        for rule in self.rules:
            if fnmatchcase(rpc, rule.rpc) and fnmatchcase(tenant, rule.tenant):
                return Level[rule.level.upper()]
        return otherwise


def kind_of(method: str, *, reads: bool) -> str:
    """OCSF's activity for the name of an RPC: read, create, update or delete."""
    return (
        "read"
        if reads
        else next(
            (kind for kind, words in _BY_FIRST_WORD.items() if method.startswith(words)), "update"
        )
    )


class Declared(msgspec.Struct, frozen=True):
    """What the declaration of an RPC says."""

    rpc: str
    kind: str
    reads: bool
    verb: str
    path: str
    operation: str
    permission: str
    level: Level


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Who calls, as far as it is known.

    `via`: trusted proxies. `authentication`: api_key, jwt, spiffe or dns_san. `credential`: a keyed
    hash.
    """

    ip: str = ""
    port: int = 0
    via: tuple[str, ...] = ()
    tenant: str = ""
    principal: str = ""
    authentication: str = ""
    credential: str = ""
    project: str = ""
    region: str = ""
    decision: str = ""


class Activity(msgspec.Struct, frozen=True):
    """One call at one stage.

    `time`: seconds since 1970. `resources`: (type, id). `change_result`: of a change,
    empty while nothing is known.
    """

    uid: str
    declared: Declared
    caller: Caller
    time: float
    level: Level
    resources: tuple[tuple[str, str], ...] = ()
    request_id: str = ""
    trace_id: str = ""
    request: Any = None
    response: Any = None
    replayed: bool = False
    quota: str = ""
    code: int | None = None
    reason: str = ""
    duration_ms: int = 0
    upstream: UpstreamFacts = _NO_CALL
    change_result: str = ""
    stream: ocsf.Stream | None = None
    left_out: ocsf.LeftOut | None = None
    losses: tuple[Loss, ...] = ()
    validate_only: bool = False

    def body(self, event: Event) -> bytes:
        """The record as JSON, without what the chain adds."""
        return ascii_json(self.record(event))

    def opened(self, *, stream: bool = False) -> ocsf.OpenIntent:
        """What stays open until a record says how it ended."""
        return ocsf.OpenIntent(
            uid=self.uid, operation=self.declared.rpc, tenant=self.caller.tenant, stream=stream
        )

    def record(self, event: Event) -> ocsf.Record:
        declared, caller = self.declared, self.caller
        # What only asks what a change would do is a read.
        number, name, type_uid = ocsf.activity("read" if self.validate_only else declared.kind)
        left = self.code == code_pb2.CANCELLED and event in {STREAM_ENDED, READ_ENDED}
        return ocsf.Record(
            activity_id=number,
            activity_name=name,
            type_uid=type_uid,
            severity_id=INFORMATIONAL if left else self._severity(),
            status_id=_OTHER if left else self._status(),
            status=_LEFT if left else UNSET,
            status_detail=_LEFT_WHY if left else UNSET,
            status_code="" if self.code is None else code_pb2.Code.Name(self.code),
            time=round(self.time * 1000),
            duration=self.duration_ms,
            message=event.message(declared.rpc),
            metadata=metadata(event, self.uid, caller.tenant),
            actor=self._actor(),
            api=self._api(),
            src_endpoint=ocsf.Endpoint(ip=caller.ip, port=caller.port, intermediate_ips=caller.via),
            cloud=ocsf.Cloud(provider=CLOUD, region=caller.region, project_uid=caller.project),
            resources=tuple(ocsf.Resource(type=kind, uid=uid) for kind, uid in self.resources),
            unmapped=self._unmapped(event),
        )

    def _status(self) -> int:
        if self.code is None:
            return _UNKNOWN
        return _SUCCESS if self.code == code_pb2.OK else _FAILURE

    def _severity(self) -> int:
        if self.code in _MISTRUSTED:
            return _MEDIUM
        return _LOW if self.code else INFORMATIONAL

    def _actor(self) -> ocsf.Actor:
        caller = self.caller
        user = ocsf.User(name=caller.principal, credential_uid=caller.credential)
        policy = ocsf.Policy(uid=self.declared.permission)
        return ocsf.Actor(
            user=user,
            authorizations=(
                (ocsf.Authorization(decision=caller.decision, policy=policy),)
                if caller.decision
                else ()
            ),
        )

    def _api(self) -> ocsf.Api:
        response = None
        if self.code is not None:
            response = ocsf.Response(code=self.code, error=self.reason, data=self.response)
        return ocsf.Api(
            operation=self.declared.rpc,
            service=ocsf.Service(name=self.declared.rpc.partition("/")[0]),
            version=API_VERSION,
            request=ocsf.Request(uid=self.uid, data=self.request),
            response=response,
        )

    def _unmapped(self, event: Event) -> ocsf.Unmapped:
        return ocsf.Unmapped(
            stage=event.stage,
            event=event.name,
            level=self.level.word,
            authentication=self.caller.authentication,
            request_id=self.request_id,
            trace_id=self.trace_id,
            replayed=self.replayed,
            validate_only=self.validate_only,
            quota=self.quota,
            change_result=self.change_result,
            upstream=self._upstream(),
            stream=self.stream,
            skipped_resources=self.left_out,
            losses=tuple(ocsf.Lost.of(each) for each in self.losses),
        )

    def _upstream(self) -> ocsf.Upstream | None:
        declared, facts = self.declared, self.upstream
        if not declared.verb:
            return None
        return ocsf.Upstream(
            verb=declared.verb,
            path=declared.path,
            operation=declared.operation,
            sent=facts.sent,
            attempts=facts.attempts,
            duration_ms=round(facts.seconds * 1000),
            status=facts.http_status,
            code=facts.code,
            request_id=facts.request_id,
        )

"""From a call to its records: what stands in them, and when each is due.

intended    before the first byte of a change goes to CBR; or before a change of the gateway's own
            state
ended       once per call, whatever its end
moved       when a stream is opened, and while it goes on
settled     where the change's end came after that of its call
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any, Final

import structlog
from cbrgateway.v1 import errors_pb2, options_pb2, types_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2
from msgspec import Struct

from gateway import failpoint
from gateway.audit import events
from gateway.audit.call_record import FLOOR, Activity, Caller, Declared, Level, declared, kind_of
from gateway.audit.events import Event
from gateway.audit.intents import PENDING
from gateway.audit.log import Audit
from gateway.audit.record import LeftOut, Stream
from gateway.errors import GatewayError, UpstreamFacts
from gateway.reasons import NOT_FAILED, REASONS, Failure, reason_name, reason_of
from gateway.rpc.call import Call, Handler
from gateway.rpc.context import Context, Metadata
from gateway.rpc.identity import AUTHORIZATION, CERTIFICATE, PROJECT
from gateway.rpc.intended import Intended
from gateway.rpc.peer import Network, Peer, peer_of
from gateway.tenants import Principal
from gateway.upstream.change_observer import ChangeObserver, ChangeResult
from gateway.upstream.declaration import Binding

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_OK, _CANCELLED = "OK", "CANCELLED"
MAX_RESOURCES: Final = 50
"""Of one record."""
_PROGRESS_S: Final = 300.0


class Recorder(Struct, frozen=True):
    """What all calls share. `declared`: by RPC."""

    audit: Audit
    trusted: tuple[Network, ...]
    declared: dict[str, Declared]

    @classmethod
    def of(
        cls, audit: Audit, trusted: Iterable[Network], bindings: Iterable[Binding]
    ) -> "Recorder":
        return cls(audit, tuple(trusted), {binding.rpc: _declared(binding) for binding in bindings})


def _declared(binding: Binding) -> Declared:
    return Declared(
        rpc=binding.rpc,
        kind=kind_of(binding.descriptor.name, reads=binding.reads),
        reads=binding.reads,
        verb=binding.method,
        path=binding.path,
        operation=binding.operation,
        permission=binding.permission,
        level=declared(binding.audit, reads=binding.reads),
    )


def audited(call: Call, recorder: Recorder, context: Context) -> "Trail | None":
    """The records of a call, which `finish` completes; None where there is no audit log.

    Gives a change the observer that leaves a record before it is sent.
    """
    if not recorder.audit.on:
        return None
    trail = Trail(call, recorder, context)
    call.moved = trail.moved
    if not call.binding.reads:
        call.observers = (ChangeObserver(trail.on_send, trail.on_end),)
    return trail


def local_change(handler: Callable[[Call, Message], Awaitable[Intended]]) -> Handler:
    """A change of the gateway's own state leaves the records that a change at CBR does, and one
    that is only validated is not made.
    """

    async def changing(call: Call, request: Message) -> Message:
        intended = await handler(call, request)
        if call.validates:
            return intended.told()
        response: Message = intended.response
        result = ChangeResult.NOTHING
        try:
            for observer in call.observers:
                await observer.on_send()
            result = ChangeResult.UNKNOWN
            await intended.act()
            result = ChangeResult.DONE
        except GatewayError as error:
            if error.code != code_pb2.UNAVAILABLE:
                result = ChangeResult.NOTHING
            raise
        finally:
            for observer in call.observers:
                done = response if result is ChangeResult.DONE else None
                await observer.on_end(result, done, call.upstream)
        return response

    return changing


def unknown_rpc(recorder: Recorder, name: str, call_id: str, context: Context) -> None:
    """The record of a call of an RPC that does not exist. Nobody has looked who calls."""
    if not recorder.audit.on:
        return
    metadata = tuple(context.invocation_metadata() or ())
    peer = peer_of(context.peer(), metadata, recorder.trusted)
    named = Declared(
        name, "other", reads=True, verb="", path="", operation="", permission="", level=FLOOR
    )
    code, reason = code_pb2.UNIMPLEMENTED, reason_name(errors_pb2.ERROR_REASON_UNIMPLEMENTED)
    caller = Caller(ip=peer.ip, port=peer.port, via=peer.via)
    recorder.audit.ended(
        events.CALL_REFUSED,
        Activity(call_id, named, caller, time.time(), FLOOR, code=code, reason=reason),
    )


class Trail(Struct):
    """The records of one call.

    `intended`: an intent was, or may have been, written. `result`: what became of the change, once
    that is known.
    """

    call: Call
    recorder: Recorder
    context: Context
    intended: bool = False
    result: str = ""
    finished: bool = False
    shown_at: float | None = None
    shown: tuple[Peer, str] | None = None
    """The same in all records of a call, as are the objects that its request names."""
    named: tuple[tuple[str, str], ...] | None = None
    started: bool = False
    """The beginning of a stream was recorded, and so must be its end, whatever the rules say by
    then.
    """

    def moved(self) -> None:
        """The stream was opened, or a message was written.

        Tells of the first, and every few minutes.
        """
        now = time.monotonic()
        if self.shown_at is None or now - self.shown_at >= _PROGRESS_S:
            activity = self._activity(code=None)
            if activity.level is not Level.NONE:
                (
                    self.recorder.audit.stream_started
                    if self.shown_at is None
                    else self.recorder.audit.stream_progressed
                )(activity)
                self.started = self.started or self.shown_at is None
            self.shown_at = now

    async def on_send(self) -> bool:
        self.intended = True
        await self.recorder.audit.intended(self._activity(code=None))
        failpoint.reach("after_intent")
        return True

    async def on_end(
        self, result: ChangeResult, _message: Message | None, _facts: UpstreamFacts
    ) -> None:
        """Where the call has ended before, the audit log hears of it from the ledger."""
        self.result = result.name
        failpoint.reach("before_outcome")

    def finish(self) -> None:
        """The call has ended. Never fails."""
        self.finished = True
        try:
            activity = self._activity(code=code_pb2.Code.Value(self.call.outcome))
            if activity.level is not Level.NONE or self.started:
                self.recorder.audit.ended(self._event(), activity)
        except Exception:
            log.exception("the end of a call could not be recorded")

    def _event(self) -> Event:
        call = self.call
        if call.messages is not None:
            return events.STREAM_ENDED
        if call.validates and call.outcome == _OK:
            return events.CHANGE_VALIDATED
        if self.intended or (call.outcome == _OK and not call.binding.reads):
            return events.CHANGE_ENDED
        nothing_done = call.outcome not in {_OK, _CANCELLED} and not call.upstream.attempts
        return events.CALL_REFUSED if nothing_done or not call.binding.reads else events.READ_ENDED

    def _refused(self) -> bool:
        """Whether somebody was turned away, at the door or, in a stream, later."""
        call = self.call
        unopened = call.messages == 0 and call.outcome not in {_OK, _CANCELLED}
        return unopened or self._failure().denied or self._event() is events.CALL_REFUSED

    def _failure(self) -> Failure:
        return REASONS[reason_of(self.call.reason)] if self.call.reason else NOT_FAILED

    def _quota(self) -> str:
        """What limits had to say; empty if the call came to none."""
        if self._failure().limited:
            return "refused"
        return "allowed" if self.call.slots is not None else ""

    def _activity(self, *, code: int | None) -> Activity:
        call, audit = self.call, self.recorder.audit
        known = self.recorder.declared[call.binding.rpc]
        caller = self._caller()
        level = self._level(known, caller.tenant, refused=code is not None and self._refused())
        # What was asked for stands in the intent, if there is one.
        shows_request = level >= Level.REQUEST and (code is None or not self.intended)
        shows_response = level >= Level.REQUEST_RESPONSE
        shown = audit.redactor.message
        return Activity(
            uid=call.id,
            declared=known,
            caller=caller,
            time=time.time(),
            level=level,
            resources=self._resources(),
            request_id=str(getattr(call.request, "request_id", "")),
            trace_id=call.trace_id,
            request=shown(call.request) if shows_request and call.request is not None else None,
            response=shown(call.response) if shows_response and call.response is not None else None,
            replayed="replayed" in call.trailers,
            quota=self._quota(),
            code=code,
            reason=call.reason,
            duration_ms=round((time.monotonic() - call.started) * 1000),
            upstream=call.upstream,
            stream=Stream(messages=call.messages) if call.messages is not None else None,
            left_out=_left_out(call.response),
            losses=tuple(call.losses),
            validate_only=call.validates,
            change_result=self.result or (PENDING if self.intended and code is not None else ""),
        )

    def _shown(self) -> tuple[Peer, str]:
        """Where the call comes from, and the hash of what its caller showed."""
        if self.shown is None:
            metadata = self._metadata()
            peer = peer_of(self.context.peer(), metadata, self.recorder.trusted)
            self.shown = peer, self._credential(metadata)
        return self.shown

    def _metadata(self) -> Metadata:
        return tuple(self.context.invocation_metadata() or ())

    def _level(self, known: Declared, tenant: str, *, refused: bool) -> Level:
        """How much is recorded; whatever the rules say, where an administrator looks at others."""
        audit = self.recorder.audit
        level = audit.level(known.rpc, tenant, known.level, floor=not known.reads or refused)
        return max(level, Level.REQUEST) if self.call.looks_at_others else level

    def _caller(self) -> Caller:
        call = self.call
        peer, credential = self._shown()
        principal, project = call.principal, call.project
        decision = "Denied" if self._failure().denied else "Allowed" if project is not None else ""
        return caller_of(
            peer,
            principal,
            credential=credential,
            project=(
                project.id
                if project is not None
                else self._asked_for(self._metadata())
                if principal is not None
                else ""
            ),
            region=project.region if project is not None else "",
            decision=decision,
        )

    def _resources(self) -> tuple[tuple[str, str], ...]:
        """The objects that the request names, and the one that the answer shows, each once."""
        if self.named is None and self.call.request is not None:
            self.named = named_by(self.call.binding, self.call.request)
        found = dict.fromkeys((*(self.named or ()), *made_by(self.call.response)))
        return tuple(islice(found, MAX_RESOURCES))

    def _asked_for(self, metadata: Metadata) -> str:
        """The project that a call names and did not get; a keyed hash if it is none that is known
        here, and may be anything.
        """
        named = str(next((value for name, value in metadata if name == PROJECT), ""))
        known = {key.partition("/")[0] for key in self.call.snapshot.accounts}
        return (
            named if named in known else self.recorder.audit.redactor.hashed(named) if named else ""
        )

    def _credential(self, metadata: Metadata) -> str:
        """A keyed hash of what the caller showed, accepted or not, so that its calls can be found
        together.
        """
        shown = next((value for name, value in metadata if name == AUTHORIZATION), None)
        if shown is None:
            shown = next(iter(self.context.auth_context().get(CERTIFICATE, ())), None)
        return self.recorder.audit.redactor.hashed(shown) if shown is not None else ""


def _left_out(
    response: Any,  # noqa: ANN401 - any message, or None
) -> LeftOut | None:
    """What CBR left out of the work that a call was to start."""
    if response is None or "submission" not in response.DESCRIPTOR.fields_by_name:
        return None
    submission = response.submission
    return skipped_told(submission.skipped_resources, submission.state)


def skipped_told(skipped: Sequence[Any], state: int) -> LeftOut | None:
    if not skipped:
        return None
    return LeftOut(
        count=len(skipped),
        uids=tuple(each.id for each in skipped[:MAX_RESOURCES]),
        all=state == types_pb2.SUBMISSION_STATE_NOT_STARTED,
    )


def caller_of(peer: Peer, principal: Principal | None, **known: str) -> Caller:
    """Who calls from where; None: nobody that is known. `known`: the other fields."""
    return Caller(
        ip=peer.ip,
        port=peer.port,
        via=peer.via,
        tenant=principal.tenant.id if principal is not None else "",
        principal=principal.id if principal is not None else "",
        authentication=principal.recognised_by if principal is not None else "",
        **known,
    )


def named_by(binding: Binding, request: Message) -> tuple[tuple[str, str], ...]:
    """The objects that a request names, as (type, id)."""
    found: dict[tuple[str, str], None] = {}
    for each in binding.id_fields:
        for named in islice(each.ids(request), MAX_RESOURCES):
            found[_kind(each.refers), named.value] = None
    return tuple(found)


@cache
def _kind(refers: int) -> str:
    """What an id names, such as `vault`."""
    word: str = options_pb2.Refers.DESCRIPTOR.values_by_number[refers].name
    return word.removeprefix("REFERS_").lower()


def made_by(response: Message | None) -> Iterator[tuple[str, str]]:
    """The objects that an answer shows."""
    for fd, value in response.ListFields() if response is not None else ():
        if (
            fd.message_type is not None
            and not fd.is_repeated
            and "id" in fd.message_type.fields_by_name
            and isinstance(value.id, str)
            and value.id
        ):
            yield fd.name, value.id

"""Changes, each in a task of its own: a caller that goes away, or whose time is up, stops waiting;
the change itself is seen through, because only then is it known what became of it.

Changes to one object take turns.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
from cbrgateway.v1 import errors_pb2
from google.protobuf.message import Message

from gateway import failpoint
from gateway.errors import GatewayError, UpstreamFacts
from gateway.upstream import attempts, read_back, replaced
from gateway.upstream.account import Account
from gateway.upstream.call_factory import CallFactory
from gateway.upstream.catalog import Catalog
from gateway.upstream.change_observer import ChangeObserver, ChangeResult
from gateway.upstream.declaration import Binding, RetryClass
from gateway.upstream.end_errors import outcome_unknown, shutting_down, too_late
from gateway.upstream.http import HttpRequest
from gateway.upstream.keyed_lock import KeyedLock
from gateway.upstream.ownership import Ownership
from gateway.upstream.reads import WholeReads
from gateway.upstream.request_builder import changed_object, http_request
from gateway.upstream.retry import MUTATION_CAP_S, Deadline
from gateway.upstream.send_state import IN_DOUBT, SendState
from gateway.upstream.upstream_call import Reply, UpstreamCall
from gateway.upstream.waiting import Waits

OPERATION_CAP_S: Final = 60.0
"""How long a change is seen through once it has been sent."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class ChangeTasks:
    """Those of one client."""

    def __init__(
        self,
        catalog: Catalog,
        factory: CallFactory,
        reads: WholeReads,
        ownership: Ownership,
        waits: Waits,
    ) -> None:
        self._catalog = catalog
        self._factory = factory
        self._reads = reads
        self._ownership = ownership
        self._waits = waits
        self._running: set[asyncio.Task[Message]] = set()
        self._late: set[asyncio.Future[None]] = set()
        self._locks = KeyedLock()

    async def change(
        self,
        binding: Binding,
        request: Message,
        account: Account,
        time_left_s: float | None,
        *,
        on_left: Callable[[UpstreamFacts], None] = lambda _facts: None,
        observers: Sequence[ChangeObserver] = (),
        recognised: bool = False,
        check: Callable[[], Awaitable[None]] | None = None,
    ) -> Reply:
        """Carries out a change.

        `time_left_s` is the caller's deadline. Raises GatewayError.

        `on_left` is told what is known when the caller leaves before there is an answer.
        `observers` hear of the change, in their order; the `on_end` of each is called exactly once,
        whatever happens. `recognised`: a repeat of the call would be recognised as one. `check`: is
        asked once the change has its turn, before anything is sent, and may raise GatewayError.
        """
        now = self._factory.clock.monotonic()
        start_by = Deadline.begin(now, time_left_s, MUTATION_CAP_S)
        end_by = Deadline.begin(now, None, OPERATION_CAP_S)
        try:
            call = self._call(binding, request, account, end_by)
            call.observers, call.recognised, call.check = observers, recognised, check
            wait = self._waits.begin(lambda: shutting_down(call))
        except GatewayError:
            for observer in observers:
                await observer.on_end(ChangeResult.NOTHING, None, UpstreamFacts())
            raise
        try:
            with wait:
                message = await self._see_through(call, account, start_by, end_by)
        except asyncio.CancelledError:
            on_left(call.facts())
            raise
        return Reply(message, call.facts())

    async def prepared(
        self, binding: Binding, request: Message, account: Account, time_left_s: float | None
    ) -> HttpRequest:
        """What a change would send, made ready as for sending, once all that it names was seen.

        Raises GatewayError.
        """
        now = self._factory.clock.monotonic()
        end_by = Deadline.begin(now, time_left_s, MUTATION_CAP_S)
        call = self._call(binding, request, account, end_by)
        with self._waits.begin(lambda: shutting_down(call)):
            await self._ownership.check(binding, call.message, account, end_by, exists=True)
            if replaced.asks(call.message):
                call.request = await self._completed(call, account, end_by)
        return call.request

    def _call(
        self, binding: Binding, request: Message, account: Account, end_by: Deadline
    ) -> UpstreamCall:
        """As it may be sent for the tenant. Raises GatewayError."""
        request = self._ownership.bounded(binding, request, account)
        converges = binding.retry_class is RetryClass.CONVERGE
        looks = self._reads.read_back(binding, request, account, end_by) if converges else None
        return self._factory.make(binding, request, account, {}, read_back=looks)

    async def _see_through(
        self, call: UpstreamCall, account: Account, start_by: Deadline, end_by: Deadline
    ) -> Message:
        """The change's response; an error once the caller's time is up, and the change goes on."""
        task = asyncio.create_task(self._observed(call, account, start_by, end_by))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            done, _ = await asyncio.wait(
                {task}, timeout=max(0.0, start_by.left_s(self._factory.clock.monotonic()))
            )
        except asyncio.CancelledError:
            self._abandon(task, call)
            raise
        if done:
            return task.result()
        self._abandon(task, call)
        raise outcome_unknown(call) if call.in_doubt else too_late(call)

    async def _observed(
        self, call: UpstreamCall, account: Account, start_by: Deadline, end_by: Deadline
    ) -> Message:
        """Carries out the change and tells the observers of its end."""
        call.state = SendState.PREPARING
        result, message = ChangeResult.UNKNOWN, None
        try:
            message = await self._carry_out(call, account, start_by, end_by)
            result = ChangeResult.DONE
        except GatewayError as error:
            if call.unsent:
                error.upstream = error.upstream.unsent()
            unknown = error.reason == errors_pb2.ERROR_REASON_OUTCOME_UNKNOWN
            result = ChangeResult.UNKNOWN if unknown else ChangeResult.NOTHING
            raise
        except asyncio.CancelledError:
            result = ChangeResult.UNKNOWN if call.state in IN_DOUBT else ChangeResult.NOTHING
            raise
        except BaseException:
            result = ChangeResult.NOTHING if call.unsent else ChangeResult.UNKNOWN
            raise
        finally:
            call.result = result
            call.route.meter.changed(result)
            failpoint.reach("before_told")
            for observer in call.observers:
                await observer.on_end(result, message, call.facts())
            failpoint.reach("after_told")
        return message

    async def _carry_out(
        self, call: UpstreamCall, account: Account, start_by: Deadline, end_by: Deadline
    ) -> Message:
        await self._ownership.check(call.binding, call.message, account, start_by)
        thing = changed_object(call.binding, call.message)
        whole_project = not thing and call.binding.retry_class in {
            RetryClass.CONVERGE,
            RetryClass.DELETE,
        }
        try:
            call.state = SendState.QUEUED
            async with self._locks.held(call.project_id, thing, whole_project=whole_project):
                call.state = SendState.PREPARING
                if call.check is not None:
                    await call.check()
                if replaced.asks(call.message):
                    call.request = await self._completed(call, account, start_by)
                return await attempts.carry_out(call, start_by, end_by)
        except asyncio.CancelledError:
            if self._waits.ended or call.in_doubt:
                _log_cut_short(call)
            raise

    async def _completed(
        self, call: UpstreamCall, account: Account, deadline: Deadline
    ) -> HttpRequest:
        """The change with what CBR would otherwise drop, as it is in force now."""
        binding, request = call.binding, call.message
        read = self._catalog[binding.read_back]
        reading = self._factory.make(read, read_back.read_request(read, request), account, {})
        shown = await attempts.carry_out(reading, deadline, deadline)
        now = replaced.in_force(read, reading.last.answer(), shown)
        members = replaced.completed(binding, request, read, now)
        return http_request(binding, request, account, members)

    def _abandon(self, task: asyncio.Task[Message], call: UpstreamCall) -> None:
        """Nobody waits any more.

        What CBR cannot have begun, or of which nothing more can be learnt, is stopped; the rest
        ends in a log line.
        """
        call.abandoned = True
        if not call.unfinished:
            task.cancel()
        task.add_done_callback(lambda ended: self._ended_alone(ended, call))

    def _ended_alone(self, task: asyncio.Task[Message], call: UpstreamCall) -> None:
        _log_end(task, call)
        for observer in call.observers if call.state is SendState.NEW else ():
            # Cancelled before its first step, so that nothing in it could run.
            late = asyncio.ensure_future(observer.on_end(ChangeResult.NOTHING, None, call.facts()))
            self._late.add(late)
            late.add_done_callback(self._late.discard)

    async def aclose(self, grace_s: float) -> None:
        """Waits for changes under way, at most `grace_s`; each that remains is cut and logged."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        if self._late:
            await asyncio.wait(self._late)


def _log_cut_short(call: UpstreamCall) -> None:
    log.warning(
        "change cut short",
        operation=call.binding.operation,
        project=call.project_id,
        outcome="not known" if call.in_doubt else "not made",
        **call.facts().as_metadata(),
    )


def _log_end(task: asyncio.Task[Message], call: UpstreamCall) -> None:
    if task.cancelled():
        return
    error = task.exception()
    outcome = (
        "done"
        if error is None
        else str(error)
        if isinstance(error, GatewayError)
        else "unexpected error"
    )
    log.info(
        "change ended after its caller had gone",
        operation=call.binding.operation,
        outcome=outcome,
        **call.facts().as_metadata(),
    )

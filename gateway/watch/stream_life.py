"""What every stream has that the gateway keeps open: its timers, how it ends, and how an event is
sent.
"""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

from cbrgateway.v1 import errors_pb2, task_pb2
from msgspec import Struct

from gateway.clock import moment
from gateway.errors import GatewayError
from gateway.watch.hub import Hub
from gateway.watch.send_queue import SendQueue
from gateway.watch.wake import Wake

_RETRY_SPREAD_S: Final = 5.0
_HEARTBEAT_S: Final = 20.0


class StreamTerms(Struct, frozen=True):
    """What one stream was asked for.

    `event`: the message that it is a stream of. `ends_at`: shortly before the caller's deadline, by
    the monotonic clock. `recheck`: in how many seconds to ask again; raises GatewayError when the
    caller may not watch any more.
    """

    event: type[Any]
    heartbeat_s: float
    ends_at: float
    recheck: Callable[[], Awaitable[float]]
    write: Callable[[bytes], Awaitable[None]]


class StreamLife:
    """One stream. `token`: that of the next event."""

    __slots__ = (
        *("_clock", "_heartbeat_at", "_hub", "_lifetime_at", "_queue", "_recheck_at"),
        *("_sequence", "_terms", "token"),
    )

    def __init__(self, hub: Hub, queue: SendQueue, terms: StreamTerms, token: str) -> None:
        self._hub, self._queue, self._terms = hub, queue, terms
        self._clock = hub.clock
        now = self._clock.monotonic()
        self.token = token
        self._sequence = 0
        self._heartbeat_at = now + terms.heartbeat_s
        self._lifetime_at = now + hub.settings.lifetime_s * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load
        self._recheck_at = now + hub.settings.recheck_s

    @property
    def wake(self) -> Wake:
        """Set whenever there may be something to do."""
        return self._queue.wake

    async def begin(self) -> None:
        """Raises GatewayError when the caller may not watch."""
        self._recheck_at = self._clock.monotonic() + await self._recheck()

    async def _recheck(self) -> float:
        return min(await self._terms.recheck(), self._hub.settings.recheck_s)

    @property
    def due(self) -> bool:
        """Whether it is time to end it, or to ask whether its caller may still watch."""
        at = min(self._terms.ends_at, self._lifetime_at, self._recheck_at)
        return self._hub.ending or self._clock.monotonic() >= at

    async def ended(self) -> bool:
        """Ends the stream in order, if it is time."""
        now = self._clock.monotonic()
        if self._hub.ending:
            await self.end(task_pb2.STREAM_END_REASON_SHUTDOWN)
        elif now >= self._terms.ends_at:
            await self.end(task_pb2.STREAM_END_REASON_DEADLINE)
        elif now >= self._lifetime_at:
            await self.end(task_pb2.STREAM_END_REASON_LIFETIME)
        elif now < self._recheck_at:
            return False
        else:
            try:
                self._recheck_at = now + await self._recheck()
            except GatewayError:
                await self.end(task_pb2.STREAM_END_REASON_CREDENTIALS)
            else:
                return False
        return True

    def beats(self) -> bool:
        """Whether it is time for a heartbeat; then the next one is due later."""
        now = self._clock.monotonic()
        if now < self._heartbeat_at:
            return False
        self._heartbeat_at = max(self._heartbeat_at + self._terms.heartbeat_s, now)
        return True

    async def rest(self, at_most_s: float = math.inf) -> None:
        """Until something may be to do."""
        until = min(self._heartbeat_at, self._terms.ends_at, self._lifetime_at, self._recheck_at)
        left_s = min(at_most_s, max(0.0, until - self._clock.monotonic()))
        timer = asyncio.get_running_loop().call_later(left_s, self.wake.set)
        try:
            await self.wake.wait()
        finally:
            timer.cancel()

    async def end(self, reason: task_pb2.StreamEndReason.ValueType) -> None:
        self._hub.counts.cuts[_name(reason)] += 1
        end = task_pb2.StreamEnd(reason=reason)
        if reason == task_pb2.STREAM_END_REASON_SHUTDOWN:
            end.retry_delay.FromMilliseconds(round(random.uniform(0, _RETRY_SPREAD_S) * 1000))  # noqa: S311 - spreads load
        await self.send(stream_end=end)

    async def send(self, **what: object) -> None:
        """An event with what belongs to one stream alone."""
        event = self._terms.event(observe_time=moment(self._clock.time()), **what)
        await self.write(event.SerializeToString())

    async def write(self, shared: bytes) -> None:
        """Sends an event.

        Messages behind one another are one message to protobuf, so that what all streams share is
        encoded once. Raises CALLER_TOO_SLOW.
        """
        self._sequence += 1
        own = self._terms.event(resume_token=self.token, sequence=self._sequence)
        try:
            with self._hub.stall:
                await self._terms.write(shared + own.SerializeToString())
            self._hub.counts.sent += 1
        except TimeoutError:
            self._hub.counts.cuts["CALLER_TOO_SLOW"] += 1
            text = (
                "The caller has read nothing for too long; read faster or watch less, and resume"
                " with the last token."
            )
            raise GatewayError(errors_pb2.ERROR_REASON_CALLER_TOO_SLOW, text) from None


def _name(reason: task_pb2.StreamEndReason.ValueType) -> str:
    return task_pb2.StreamEndReason.Name(reason).removeprefix("STREAM_END_REASON_")


def heartbeat_s(request: Any) -> float:  # noqa: ANN401 - of either kind of stream
    """How often a heartbeat comes, as the request of a stream says it."""
    given = request.HasField("heartbeat_interval")
    return float(request.heartbeat_interval.ToNanoseconds()) / 1e9 if given else _HEARTBEAT_S


def ends_at(now: float, time_left_s: float | None) -> float:
    """When to end what has a deadline: a second before it, or at half of a short one."""
    return math.inf if time_left_s is None else now + max(time_left_s - 1.0, time_left_s / 2)

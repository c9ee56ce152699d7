"""Carries out any bound RPC against CBR: `Client.read` and `Client.change`."""

from google.protobuf.message import Message

from gateway.clock import Clock
from gateway.upstream.account import Account
from gateway.upstream.breakers import Breakers
from gateway.upstream.call_factory import CallFactory
from gateway.upstream.catalog import Catalog
from gateway.upstream.change_tasks import ChangeTasks
from gateway.upstream.declaration import Binding
from gateway.upstream.meter import NoUpstreamMeter, UpstreamMeter
from gateway.upstream.ownership import Ownership
from gateway.upstream.page_tokens import PageTokens
from gateway.upstream.reads import Reads, WholeReads
from gateway.upstream.retry import READ_CAP_S, Deadline
from gateway.upstream.shares import Shares
from gateway.upstream.waiting import Waits


class Client:
    """The calling side of the process. One per process.

    At the end of the process: `release` answers those who still wait, `aclose` then waits for the
    changes under way.
    """

    def __init__(
        self,
        catalog: Catalog,
        shares: Shares,
        breakers: Breakers,
        tokens: PageTokens,
        clock: Clock,
        *,
        meter: UpstreamMeter | None = None,
    ) -> None:
        counting = meter or NoUpstreamMeter()
        factory = self.factory = CallFactory(shares, breakers, clock, counting)
        self._waits = Waits()
        self._whole = WholeReads(catalog, factory)
        ownership = Ownership(self._whole.read)
        self._changes = ChangeTasks(catalog, factory, self._whole, ownership, self._waits)
        self._reads = Reads(factory, ownership, tokens, self._waits)
        self.read = self._reads.read
        self.change = self._changes.change
        self.prepared = self._changes.prepared
        self.remote_clock = factory.remote_clock
        self.times = factory.times

    async def in_force(
        self, binding: Binding, request: Message, account: Account
    ) -> Message | None:
        """The response that an idempotent change would have had, if it is in force now; else None.

        Raises GatewayError.
        """
        end_by = Deadline.begin(self.factory.clock.monotonic(), None, READ_CAP_S)
        return await self._whole.read_back(binding, request, account, end_by)()

    @property
    def released(self) -> bool:
        return self._waits.ended

    def release(self) -> None:
        """Ends every call that waits, and every later one, with what can be said now; changes that
        CBR may have begun go on.
        """
        self._waits.end()

    async def aclose(self, grace_s: float) -> None:
        """Waits for changes under way, at most `grace_s`; each that remains is cut and logged."""
        self.release()
        await self._changes.aclose(grace_s)

"""What a change takes of limits, told before it is recorded: how much it asks for, which limits
that meets, and whether it is known how much there is already.
"""

from collections.abc import Mapping, Sequence

from google.protobuf.message import Message
from msgspec import Struct

from gateway.clock import Clock
from gateway.limits import deltas, refusals
from gateway.limits.limits import Applied, Kind, Limits, Scope
from gateway.limits.overrides import LimitOverrides
from gateway.limits.recount import Recounter
from gateway.state import Charge, Counters, Usage
from gateway.upstream.amounts import Metric, ResourceDelta
from gateway.upstream.declaration import Binding
from gateway.upstream.reader import UpstreamReader
from gateway.upstream.retry import Deadline


class Priced(Struct, frozen=True):
    """What a change asks for, priced by the limits that it meets.

    `charges`: of its operation. `give_back`: what comes back to counters once the object is gone,
    and `fence`: from before that object was read. `life`: of the store's data, before it was known
    how much there is.
    """

    wanted: Sequence[ResourceDelta]
    by_limit: Sequence[tuple[Charge, Applied]]
    charges: tuple[Charge, ...]
    give_back: Mapping[str, int]
    fence: int | None
    life: int


class Asked(Struct, frozen=True):
    """What a change would ask for. `usage`: of the counters that it would charge or give back to.
    `given_back`: counter, amount (negative) and limit.
    """

    by_limit: Sequence[tuple[Charge, Applied]]
    given_back: Sequence[tuple[str, int, Applied]]
    usage: Mapping[str, Usage]


class Pricer(Struct, frozen=True):
    """One per process."""

    overrides: LimitOverrides
    counters: Counters
    recounter: Recounter
    reader: UpstreamReader
    clock: Clock

    async def price(
        self, binding: Binding, request: Message, scope: Scope, deadline: Deadline
    ) -> Priced:
        """Once it is known how much there is.

        Raises GatewayError when that cannot be known or is not in time, or nothing could hold the
        growth; StoreDown.
        """
        limits = self.overrides.limits
        if capped := self.uncapped(binding, request, scope):
            raise refusals.grows_alone(capped[0])
        current, fence = await self._current(binding, request, scope, limits)
        wanted = deltas.deltas(binding, request, current)
        by_limit = deltas.priced(wanted, limits, scope, self.clock.time())
        life = self.recounter.life.number
        await self.counted(wanted, by_limit, scope.project, deadline)
        return Priced(
            wanted=wanted,
            by_limit=by_limit,
            charges=deltas.charges_of(wanted, by_limit, scope),
            give_back=deltas.credits_of(wanted, limits, scope),
            fence=fence,
            life=life,
        )

    async def asked(
        self, binding: Binding, request: Message, scope: Scope, deadline: Deadline
    ) -> Asked:
        """As `price`, of a change that is not made: nothing is noted."""
        limits = self.overrides.limits
        read = deltas.read_first(binding, limits, scope)
        current = (
            await self.reader.read(read.request(request), read.response, scope.project)
            if read
            else None
        )
        wanted = deltas.deltas(binding, request, current)
        by_limit = deltas.priced(wanted, limits, scope, self.clock.time())
        await self.counted(wanted, by_limit, scope.project, deadline)
        given = [
            (applied.key(), demand.amount, applied)
            for demand in wanted
            if demand.amount < 0
            for applied in limits.applied(demand.metric, scope)
        ]
        keys = [charge.key for charge, _ in by_limit] + [key for key, _, _ in given]
        return Asked(by_limit, given, await self.counters.usage(keys))

    def uncapped(self, binding: Binding, request: Message, scope: Scope) -> list[Applied]:
        """The limits on capacity that could not hold, since the vault would grow by itself."""
        if not deltas.expands_itself(binding, request):
            return []
        capacity = self.overrides.limits.applied(Metric.CAPACITY_GIB, scope)
        return refusals.enforced(capacity, Kind.STOCK)

    async def _current(
        self, binding: Binding, request: Message, scope: Scope, limits: Limits
    ) -> tuple[Message | None, int | None]:
        """The object where the amounts depend on it, and a fence from before it was read."""
        read = deltas.read_first(binding, limits, scope)
        fence = await self.counters.fence() if read or deltas.gives_back(binding) else None
        if read is None:
            return None, fence
        asked = read.request(request)
        return await self.reader.read(asked, read.response, scope.project), fence

    async def counted(
        self,
        wanted: Sequence[ResourceDelta],
        by_limit: Sequence[tuple[Charge, Applied]],
        project: str,
        deadline: Deadline,
    ) -> None:
        """Growth waits until it is known how much there is.

        Raises QUOTA_STORE_DOWN when that cannot be known or is not in time, and StoreDown.
        """
        keys = {
            charge.key
            for charge, applied in by_limit
            if applied.limit.kind is Kind.STOCK and not charge.shadow
        }
        members = [demand for demand in wanted if demand.metric is Metric.MEMBERS_PER_BACKUP]
        if members and keys:
            await self.recounter.members(keys, members[0].part, project)
        elif keys:
            await self.recounter.ensure(keys, project, deadline.left_s(self.clock.monotonic()))

    def grows(self, binding: Binding, request: Message, scope: Scope) -> bool:
        """Whether a limit is on what the change may let grow."""
        limits = self.overrides.limits
        if deltas.read_first(binding, limits, scope):
            return binding.method != "DELETE"
        wanted = deltas.deltas(binding, request, None)
        return bool(deltas.priced(wanted, limits, scope, self.clock.time()))

"""Makes calls to CBR: from a request and an account to an UpstreamCall that is ready to go."""

from collections.abc import Mapping

from google.protobuf.message import Message

from gateway.clock import Clock
from gateway.upstream.account import Account
from gateway.upstream.breakers import Breakers
from gateway.upstream.budget import Budgets
from gateway.upstream.declaration import Binding
from gateway.upstream.meter import UpstreamMeter
from gateway.upstream.page_fits import Fit, PageFits
from gateway.upstream.remote_clock import RemoteClock
from gateway.upstream.request_builder import http_request, objects_of
from gateway.upstream.shares import Holder, Shares
from gateway.upstream.target import Target
from gateway.upstream.upstream_call import ReadBack, Route, UpstreamCall
from gateway.upstream.values import Json


class CallFactory:
    """One per client; holds what its calls share."""

    def __init__(
        self, shares: Shares, breakers: Breakers, clock: Clock, meter: UpstreamMeter
    ) -> None:
        self.clock = clock
        self._shares = shares
        self.breakers = breakers
        self.budgets = Budgets()
        self.meter = meter
        self.fits = PageFits(clock)
        self._remote_clocks: dict[str, RemoteClock] = {}
        self._routes: dict[tuple[str, str, str], Route] = {}

    def make(
        self,
        binding: Binding,
        request: Message,
        account: Account,
        extra: Mapping[str, Json],
        *,
        read_back: ReadBack | None = None,
    ) -> UpstreamCall:
        """`extra`: what is added to the request's own members, in the query or body."""
        target = Target(
            account.endpoint,
            account.tenant,
            account.project_id,
            binding.operation,
            objects_of(binding, request),
        )
        return UpstreamCall(
            binding=binding,
            message=request,
            request=http_request(binding, request, account, {**extra, **binding.members(request)}),
            project_id=account.project_id,
            target=target,
            route=self._route(account),
            breakers=self.breakers,
            budget=self.budgets.of(target),
            read_back=read_back,
        )

    def _route(self, account: Account) -> Route:
        """Made once for each account, and anew when a reload has changed its credential."""
        key = (account.endpoint, account.tenant, account.project_id)
        known = self._routes.get(key)
        if known is None or known.auth is not account.auth:
            share = self._shares.of(account.endpoint, Holder(account.tenant, account.project_id))
            clock = self.remote_clock(account.endpoint)
            known = Route(share, account.auth, self.clock, clock, self.meter)
            self._routes[key] = known
        return known

    def page_fit(self, binding: Binding, account: Account) -> Fit:
        """How many rows of a list are asked for at once."""
        return self.fits.of(account.endpoint, account.project_id, binding.operation)

    def remote_clock(self, endpoint: str) -> RemoteClock:
        """CBR's time at an endpoint."""
        clock = self._remote_clocks.get(endpoint)
        if clock is None:
            clock = self._remote_clocks[endpoint] = RemoteClock(self.clock)
        return clock

    def times(self) -> list[float]:
        """CBR's time at each endpoint where it is known, at the earliest: seconds since 1970."""
        return [
            now.earliest
            for clock in self._remote_clocks.values()
            if (now := clock.now()) is not None
        ]

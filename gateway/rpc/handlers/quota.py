"""QuotaService: what the limits are, how much of them is used, and what an administrator may do
about it.

Limits that are shared between tenants are shown to administrators only: their use would tell one
tenant about the others.
"""

from collections.abc import AsyncIterator, Iterable
from typing import Any

from cbrgateway.v1 import errors_pb2, quota_pb2
from google.protobuf.message import Message
from msgspec import Struct
from pydantic import ValidationError

from gateway.changes.outcome_search import OutcomeSearch
from gateway.changes.record import undecided
from gateway.changes.unmarked import unmarked
from gateway.clock import Clock, moment
from gateway.errors import GatewayError, Resource, field_invalid
from gateway.limits.limits import PRIVATE_LEVELS, Applied, Limit, Scope
from gateway.limits.pricing import Pricer
from gateway.limits.settings import LimitEntry
from gateway.rpc import validation
from gateway.rpc.call import Call, Handler
from gateway.rpc.handlers.audience import Audience, audience
from gateway.rpc.handlers.handles import by_rpc, handles
from gateway.rpc.handlers.stored import guarded
from gateway.rpc.handlers.subjects import Subjects
from gateway.rpc.handlers.usages import Usages, administers, shown, usage_of
from gateway.rpc.intended import Intended
from gateway.state import OPEN, Charge, OperationStore, OperationView, State, Usage
from gateway.state.parts import in_parts
from gateway.upstream.page_tokens import PageTokens
from gateway.upstream.paging import plan_page
from gateway.upstream.retry import READ_CAP_S, Deadline
from gateway.wording import sentence


def _word(name: str, prefix: str) -> str:
    """The configuration's word for an enum value: QUOTA_METRIC_CAPACITY_GIB is `capacity_gib`."""
    return name.removeprefix(prefix).lower()


def _entry(limit: quota_pb2.Limit) -> LimitEntry:
    given: dict[str, Any] = {
        name: getattr(limit, name)
        for name in ("value", "per_second", "burst")
        if limit.HasField(name)
    }
    if limit.method_class:
        given["method_class"] = _word(
            quota_pb2.MethodClass.Name(limit.method_class), "METHOD_CLASS_"
        )
    metric, level = (
        _word(quota_pb2.QuotaMetric.Name(limit.metric), "QUOTA_METRIC_"),
        _word(quota_pb2.QuotaLevel.Name(limit.level), "QUOTA_LEVEL_"),
    )
    try:
        return LimitEntry.model_validate(
            {
                "metric": metric,
                "level": level,
                "subject": limit.subject,
                "shadow": limit.shadow,
                **given,
            }
        )
    except ValidationError as failure:
        first = failure.errors()[0]
        path = ".".join(("limit", *(str(part) for part in first["loc"])))
        raise field_invalid(path, sentence(first), "limit") from None


def _warnings(call: Call, request: Message) -> list[quota_pb2.FieldWarning]:
    return [
        quota_pb2.FieldWarning(field=v.subject, description=v.description, rule=v.rule)
        for v in validation.warnings(call.binding, request)
    ]


class QuotaHandlers(Struct, frozen=True):
    """The handlers, by RPC."""

    pricer: Pricer
    usages: Usages
    operations: OperationStore
    outcomes: OutcomeSearch
    tokens: PageTokens
    clock: Clock
    subjects: Subjects

    def by_rpc(self) -> dict[str, Handler]:
        return {rpc: guarded(handler) for rpc, handler in by_rpc(self).items()}

    def _page(self, call: Call, request: Message, response: Message) -> Message:
        return plan_page(call.binding, request, self.tokens, call.scope).cut(response)

    @handles(quota_pb2.ListLimitsRequest)
    async def list_limits(self, call: Call, request: quota_pb2.ListLimitsRequest) -> Message:
        overrides, whose = self.pricer.overrides, audience(call, request)
        scopes = list(whose.scopes()) if request.tenant else [call.quota_scope]
        seen = [
            limit
            for limit in overrides.limits
            if whose.tenant is None or _counts(limit, scopes, shared=administers(call))
        ]
        listed = [
            shown(limit, set_while_running=limit.name in overrides.set_while_running)
            for limit in sorted(seen, key=lambda limit: limit.name)
        ]
        return self._page(call, request, quota_pb2.ListLimitsResponse(limits=listed))

    @handles(quota_pb2.ListUsagesRequest)
    async def list_usages(self, call: Call, request: quota_pb2.ListUsagesRequest) -> Message:
        scopes = audience(call, request).scopes() if request.tenant else [call.quota_scope]
        usages = await self.usages.of(scopes, shared=administers(call))
        return self._page(call, request, quota_pb2.ListUsagesResponse(usages=usages))

    @handles(quota_pb2.CheckQuotaRequest)
    async def check_quota(self, call: Call, request: quota_pb2.CheckQuotaRequest) -> Message:
        field, request = request.WhichOneof("change"), unmarked(request)
        assert field is not None
        change: Message = getattr(request, field)
        scope, reader = call.quota_scope, self.pricer.reader
        binding = reader.catalog.asked_by(change)
        call.snapshot.accounts[scope.project].flavor.check(binding)
        deadline = Deadline.begin(self.clock.monotonic(), call.time_left_s, READ_CAP_S)
        asked = await self.pricer.asked(binding, change, scope, deadline)
        verdicts = [
            _verdict(call, charge, applied, asked.usage[charge.key])
            for charge, applied in asked.by_limit
        ]
        expands = bool(self.pricer.uncapped(binding, change, scope))
        return quota_pb2.CheckQuotaResponse(
            allowed=not expands and all(v.allowed for v in verdicts),
            verdicts=verdicts,
            warnings=_warnings(call, request),
        )

    @handles(quota_pb2.ListReservationsRequest)
    async def list_reservations(
        self, call: Call, request: quota_pb2.ListReservationsRequest
    ) -> Message:
        page, whose = (
            plan_page(call.binding, request, self.tokens, call.scope),
            audience(call, request),
        )
        return await page.kept(
            quota_pb2.ListReservationsResponse(),
            lambda after: self._open(whose, request, after, page.size + 1),
        )

    async def _open(
        self,
        whose: Audience,
        request: quota_pb2.ListReservationsRequest,
        after: str,
        most: int,
    ) -> AsyncIterator[tuple[str, Message]]:
        tenant = whose.tenant.id if whose.tenant is not None else None
        async for op in in_parts(self.operations.opened, after, most):
            row = _reservation(op)
            if tenant in {None, op.tenant} and (not request.states or row.state in request.states):
                yield op.position, row

    @handles(quota_pb2.SetLimitRequest)
    async def set_limit(self, _call: Call, request: quota_pb2.SetLimitRequest) -> Intended:
        limit = _entry(request.limit).limit()
        self.subjects.check(limit)
        response = quota_pb2.SetLimitResponse(limit=shown(limit, set_while_running=True))

        async def change() -> None:
            await self.pricer.overrides.put(limit)
            await self.subjects.count(limit)
            response.warnings.extend(await self.subjects.above(limit))

        return Intended(response, change, await self.subjects.above(limit))

    @handles(quota_pb2.DeleteLimitRequest)
    async def delete_limit(self, _call: Call, request: quota_pb2.DeleteLimitRequest) -> Intended:
        overrides = self.pricer.overrides
        await overrides.refresh()
        if request.name not in overrides.set_while_running:
            raise _not_found(
                "limit",
                request.name,
                "SetLimit has set no limit of this name; the configuration's own are changed"
                " there.",
            )
        return Intended(quota_pb2.DeleteLimitResponse(), lambda: overrides.delete(request.name))

    @handles(quota_pb2.ReleaseReservationRequest)
    async def release_reservation(
        self, _call: Call, request: quota_pb2.ReleaseReservationRequest
    ) -> Intended:
        name = request.reservation_id
        op = await self.operations.get(name)
        if op is None or op.state not in OPEN:
            raise _not_found(
                "reservation",
                name,
                "There is no open reservation of this id; it may have been settled.",
            )
        if op.state is not State.UNKNOWN:
            text = (
                "The change is still under way; only one whose outcome is unknown can be settled by"
                " hand."
            )
            raise GatewayError(
                errors_pb2.ERROR_REASON_STATE_INVALID, text, resource=Resource("reservation", name)
            )
        return Intended(
            quota_pb2.ReleaseReservationResponse(),
            lambda: self.outcomes.decided(op, carried_out=request.carried_out),
        )


def _reservation(op: OperationView) -> quota_pb2.Reservation:
    return quota_pb2.Reservation(
        id=op.id,
        tenant=op.tenant,
        rpc=op.rpc,
        request_id=op.request_id,
        state=quota_pb2.ReservationState.Value(f"RESERVATION_STATE_{op.state}"),
        amounts=[quota_pb2.ReservedAmount(name=key, amount=amount) for key, amount in op.charges],
        create_time=moment(op.created_at),
        undecided_reason=undecided(op),
    )


def _counts(limit: Limit, scopes: Iterable[Scope], *, shared: bool) -> bool:
    """Whether a limit counts for one of these callers, and they may see it."""
    if not (shared or limit.level in PRIVATE_LEVELS):
        return False
    return any(limit.subject in {"", scope.subject(limit.level)} for scope in scopes)


def _public(applied: Applied, call: Call) -> Limit:
    """The limit without the name of a shared credential."""
    limit = applied.limit
    if administers(call) or limit.level in PRIVATE_LEVELS:
        return limit
    return Limit(limit.metric, limit.level, "", limit.value, shadow=limit.shadow)


def _verdict(call: Call, charge: Charge, applied: Applied, used: Usage) -> quota_pb2.QuotaVerdict:
    """Whether a limit lets a charge pass; who may not know how much is used is told none of it."""
    shows = administers(call) or applied.limit.level in PRIVATE_LEVELS
    usage = usage_of(
        charge.key if shows else f"{applied.limit.metric}:{applied.limit.level}",
        _public(applied, call),
        used if shows else Usage(),
    )
    allowed = (
        applied.limit.shadow
        or used.committed + used.reserved + charge.amount <= applied.limit.value
    )
    return quota_pb2.QuotaVerdict(usage=usage, asked=charge.amount, allowed=allowed)


def _not_found(kind: str, name: str, text: str) -> GatewayError:
    return GatewayError(
        errors_pb2.ERROR_REASON_QUOTA_NOT_FOUND, text, resource=Resource(kind, name)
    )

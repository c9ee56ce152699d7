"""The pages that RPCs answer: limits with their use, and changes under way or in doubt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic

from cbrgateway.v1 import quota_pb2

from gateway.console.admission import Visitor
from gateway.console.calls import Answer, CallFailed, Calls
from gateway.console.page import BAD, GOOD, ROWS, WARN, Asked, Cell, Field, Link, Page, Table, when

_EVERYBODY: Final = "-"
_NEARLY: Final = 80
_UNKNOWN: Final = quota_pb2.RESERVATION_STATE_UNKNOWN


def _tenant(asked: Asked) -> Field:
    return Field("tenant", "Tenant", asked["tenant"], "empty: all")


def _following(asked: Asked, token: str) -> Link | None:
    return Link("Next page", asked.with_(token=token)) if token else None


@dataclass(frozen=True, slots=True)
class _List(Generic[Answer]):
    """What a page shows of the answer of an RPC that lists."""

    title: str
    caption: str
    head: Sequence[str]
    empty: str
    answer: type[Answer]
    rows: Callable[[Answer], Sequence[Sequence[Cell]]]

    def page(
        self, fields: Sequence[Field], asked: Asked, ask: Callable[[type[Answer]], Answer]
    ) -> Page:
        try:
            found: Any = ask(self.answer)
        except CallFailed as failed:
            return Page(self.title, [], fields, notices=[Cell(str(failed), BAD)])
        note = f"{found.total_size} in all" if found.HasField("total_size") else ""
        more = _following(asked, found.next_page_token)
        table = Table(self.caption, self.head, self.rows(found), self.empty, note, more)
        return Page(self.title, [table], fields)


def limits(calls: Calls, asked: Asked, visitor: Visitor) -> Page:
    """Limits and their use."""
    request = quota_pb2.ListUsagesRequest(
        page_size=ROWS, page_token=asked["token"], tenant=asked["tenant"] or _EVERYBODY
    )
    return _LIMITS.page(
        [_tenant(asked)], asked, lambda answer: calls.call(request, answer, visitor)
    )


def _usage(usage: quota_pb2.QuotaUsage) -> Sequence[Cell]:
    limit = usage.limit.value or int(usage.limit.burst)
    taken = usage.used + usage.reserved
    percent = min(100, taken * 100 // limit) if limit else 100
    kind = BAD if taken >= limit else WARN if percent >= _NEARLY else GOOD
    state = quota_pb2.CountState.Name(usage.count_state).removeprefix("COUNT_STATE_").lower()
    problems = "; ".join(f"{each.project}: {each.message}" for each in usage.count_problems)
    return [
        Cell(usage.name),
        Cell(f"{percent} %", kind, percent),
        Cell(str(usage.used)),
        Cell(str(usage.reserved)),
        Cell(str(usage.uncertain), WARN if usage.uncertain else ""),
        Cell(str(limit)),
        Cell("only told" if usage.limit.shadow else ""),
        Cell("" if state == "unspecified" else state),
        Cell(problems, BAD if problems else ""),
    ]


def changes(calls: Calls, asked: Asked, visitor: Visitor) -> Page:
    """Changes under way and in doubt, with what to do."""
    doubt = asked["state"] == "unknown"
    request = quota_pb2.ListReservationsRequest(
        page_size=ROWS,
        page_token=asked["token"],
        tenant=asked["tenant"] or _EVERYBODY,
        states=[_UNKNOWN] if doubt else [],
    )
    states = Field("state", "State", asked["state"], "`unknown`: only those in doubt")
    return _CHANGES.page(
        [_tenant(asked), states], asked, lambda answer: calls.call(request, answer, visitor)
    )


def _change(each: quota_pb2.Reservation) -> Sequence[Cell]:
    state = quota_pb2.ReservationState.Name(each.state).removeprefix("RESERVATION_STATE_").lower()
    return [
        Cell(state, WARN if each.state == _UNKNOWN else ""),
        Cell(each.tenant),
        Cell(each.rpc),
        Cell(when(each.create_time.seconds)),
        Cell(each.request_id),
        Cell(_advice(each)),
        Cell(each.id),
    ]


def _advice(each: quota_pb2.Reservation) -> str:
    if each.state != _UNKNOWN:
        return "nothing: it is under way"
    if not each.undecided_reason:
        return "nothing: the gateway is finding out"
    release = f"cbrctl quotas release-reservation {each.id} --carried-out (or --no-carried-out)"
    return f"{each.undecided_reason} Look into CBR, then: {release}"


_LIMITS: Final = _List(
    "Limits",
    "Limits and their use",
    ("limit", "use", "used", "under way", "in doubt", "limit is", "shadow", "counted", ""),
    "there are no limits",
    quota_pb2.ListUsagesResponse,
    lambda found: [_usage(each) for each in found.usages],
)
_CHANGES: Final = _List(
    "Changes",
    "Changes under way and in doubt, the oldest first",
    ("state", "tenant", "change", "begun", "request_id", "what to do", "id"),
    "no change is under way",
    quota_pb2.ListReservationsResponse,
    lambda found: [_change(each) for each in found.reservations],
)

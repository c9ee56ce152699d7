"""The pages that RPCs answer: limits with their use, and changes under way or in doubt."""

from collections.abc import Sequence
from typing import Final

from cbrgateway.v1 import quota_pb2

from gateway.console.admission import Visitor
from gateway.console.calls import CallFailed, Calls
from gateway.console.page import BAD, GOOD, ROWS, WARN, Asked, Cell, Field, Link, Page, Table, when

_EVERYBODY: Final = "-"
_NEARLY: Final = 80
_UNKNOWN: Final = quota_pb2.RESERVATION_STATE_UNKNOWN


def _tenant(asked: Asked) -> Field:
    return Field("tenant", "Tenant", asked["tenant"], "empty: all")


def _following(asked: Asked, token: str) -> Link | None:
    return Link("Next page", asked.with_(token=token)) if token else None


def _failed(title: str, fields: Sequence[Field], failed: CallFailed) -> Page:
    return Page(title, [], fields, notices=[Cell(str(failed), BAD)])


def _whole(size: int | None) -> str:
    return f"{size} in all" if size is not None else ""


def limits(calls: Calls, asked: Asked, visitor: Visitor) -> Page:
    """Limits and their use."""
    request = quota_pb2.ListUsagesRequest(
        page_size=ROWS, page_token=asked["token"], tenant=asked["tenant"] or _EVERYBODY
    )
    fields = [_tenant(asked)]
    try:
        answer = quota_pb2.ListUsagesResponse
        found = calls.call(request, answer, visitor)
    except CallFailed as failed:
        return _failed("Limits", fields, failed)
    head = ("limit", "use", "used", "under way", "in doubt", "limit is", "shadow", "counted", "")
    size = found.total_size if found.HasField("total_size") else None
    table = Table(
        "Limits and their use",
        head,
        [_usage(each) for each in found.usages],
        "there are no limits",
        _whole(size),
        _following(asked, found.next_page_token),
    )
    return Page("Limits", [table], fields)


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
    fields = [_tenant(asked), states]
    try:
        answer = quota_pb2.ListReservationsResponse
        found = calls.call(request, answer, visitor)
    except CallFailed as failed:
        return _failed("Changes", fields, failed)
    head = ("state", "tenant", "change", "begun", "request_id", "what to do", "id")
    size = found.total_size if found.HasField("total_size") else None
    table = Table(
        "Changes under way and in doubt, the oldest first",
        head,
        [_change(each) for each in found.reservations],
        "no change is under way",
        _whole(size),
        _following(asked, found.next_page_token),
    )
    return Page("Changes", [table], fields)


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

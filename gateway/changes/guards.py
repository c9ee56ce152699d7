"""Keeps a tenant from destroying what it may still need: before a change is sent CBR is asked for
what would go with it, and the tenant's guards say whether it may.

What goes with it is noted with the change, also where no guard is against it: for the audit log,
the events and the submission. Where CBR cannot be asked, a change that a guard would have to decide
on is not sent; any other goes on, and what it destroys is noted as unknown.
"""

import asyncio
from typing import Final

import structlog
from cbrgateway.v1 import errors_pb2
from google.protobuf.message import Message
from msgspec import Struct

from gateway.changes.change import Change
from gateway.changes.guard_settings import GuardSettings
from gateway.clock import in_words, moment
from gateway.errors import GatewayError, Resource, Violation
from gateway.reasons import Reason, reason_name
from gateway.upstream.look import Look
from gateway.upstream.losses import LISTED_WITH, AnyLosing, Guard, Loss, amount
from gateway.upstream.reader import UpstreamReader
from gateway.upstream.rows import row_id

_MAX_IDS: Final = 1000
_NOTING_S: Final = 2.0
"""How long a change waits for what is only noted."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class _Told(Struct, frozen=True):
    """What a refusal says.

    `about`: kind of the object that the change names; `text`: to be filled with what would be lost
    and how new it is; `instead`: what to do first.
    """

    reason: Reason
    about: str
    text: str
    instead: str


_TOLD: Final = {
    Guard.DELETE_VAULT: _Told(
        errors_pb2.ERROR_REASON_VAULT_NOT_EMPTY,
        "vault",
        "The vault holds {found}{newest}, which would be deleted with it.",
        "delete the backups first",
    ),
    Guard.REMOVE_VAULT_RESOURCES: _Told(
        errors_pb2.ERROR_REASON_RESOURCE_HAS_BACKUPS,
        "vault",
        "The resources have {found} in the vault{newest}, which would be deleted with them.",
        "delete the backups first",
    ),
    Guard.DELETE_POLICY: _Told(
        errors_pb2.ERROR_REASON_POLICY_IN_USE,
        "policy",
        "The policy works on {found}, which would lose it.",
        "dissociate the policy first",
    ),
    Guard.SHORTEN_RETENTION: _Told(
        errors_pb2.ERROR_REASON_RETENTION_SHORTENED,
        "policy",
        "The policy would keep fewer backups, and its next run delete {found}{newest}.",
        "keep one more than there are of each resource",
    ),
}


class Guards(Struct, frozen=True):
    """One per process."""

    reader: UpstreamReader

    async def check(self, change: Change, look: Look) -> None:
        """Notes what the change destroys. Raises GatewayError where a guard is against it."""
        losing = change.binding.traits.losing
        if losing is None:
            return
        guard, settings = losing.guard, change.guards
        mode = settings.mode(guard) if guard is not None else "allow"
        forced = guard is not None and bool(change.request.force)
        young_s = settings.min_age_of_last_backup_s if losing.made is not None else 0
        asks = mode == "refuse" or (mode == "force" and (not forced or young_s > 0))
        try:
            async with asyncio.timeout(None if asks else _NOTING_S):
                loss, newest_at = await _loss(losing, change.request, look)
        except (GatewayError, TimeoutError) as error:
            if guard is not None and asks and isinstance(error, GatewayError):
                raise _unseen(error, guard) from None
            loss, newest_at = Loss(losing.kind, unknown=True), 0.0
            log.warning("cannot see what a change destroys", error=str(error))
        if loss.count or loss.unknown:
            change.losses.append(loss)
        if guard is None or not (loss.count or loss.unknown) or not asks:
            return
        if mode == "refuse" or not forced:
            raise _refused(guard, change, loss)
        age_s = self._age_s(change.scope.project, newest_at)
        if age_s < young_s:
            raise _refused(guard, change, loss, age_s)

    def _age_s(self, project: str, newest_at: float) -> float:
        """Of the newest, at least; by CBR's clock, which the list has just shown."""
        now = self.reader.clock(project).now()
        # What was made a moment ago may be later than the earliest that it can be now.
        return max(0.0, now.earliest - newest_at) if now is not None and newest_at else 0.0


async def _loss(losing: AnyLosing, request: Message, look: Look) -> tuple[Loss, float]:
    """What goes, and when the newest of what may go was made."""
    lost = await losing.lost(request, look)
    newest_id, newest_at = "", 0.0
    if (made := losing.made) is not None and lost:
        newest = max(lost, key=lambda row: made(row).ToNanoseconds())
        newest_id, newest_at = str(row_id(newest)), made(newest).ToNanoseconds() / 1e9
    if losing.is_guess is not None and await losing.is_guess(request, look):
        return Loss(losing.kind, unknown=True), newest_at
    ids = tuple(str(row_id(row)) for row in lost[:_MAX_IDS])
    return Loss(losing.kind, len(lost), ids, newest_id, newest_at), newest_at


def _unseen(error: GatewayError, guard: Guard) -> GatewayError:
    """The failed read, as the one that asked for the change has to hear of it."""
    error.message = (
        f"The guard {guard} cannot see what the change would destroy, so that nothing of it was"
        f" sent. {error.message}"
    )
    return error


def _refused(guard: Guard, change: Change, loss: Loss, age_s: float | None = None) -> GatewayError:
    """`age_s`: of the newest, where the guard is against it only for that."""
    told, settings = _TOLD[guard], change.guards
    withheld = loss.kind in change.hidden
    metadata: dict[str, str] = {"guard": settings.mode(guard)}
    found = amount(loss.kind, loss.count, unknown=loss.unknown, withheld=withheld)
    newest = ""
    if withheld:
        metadata["permission"] = LISTED_WITH[loss.kind]
    else:
        metadata[f"{loss.kind}s"] = "unknown" if loss.unknown else str(loss.count)
        if loss.newest_at:
            at = moment(loss.newest_at).ToJsonString()
            newest = f", the newest of {at}"
            metadata |= {"newestBackup": loss.newest_id, "newestTime": at}
    name = str(getattr(change.request, f"{told.about}_id"))
    text = told.text.format(found=found, newest=newest)
    age = "" if age_s is None else "younger" if withheld else f"{_old(age_s)} old, and younger"
    more = f" How many is told with {LISTED_WITH[loss.kind]}." if withheld else ""
    return GatewayError(
        told.reason,
        f"{text} Nothing was sent; {_advice(told, guard, settings, age)}.{more}",
        violations=(Violation(f"{told.about} {name}", found + newest, reason_name(told.reason)),),
        resource=Resource(told.about, name),
        metadata=metadata,
    )


def _old(age_s: float) -> str:
    """To the minute: CBR's clock is not known much better."""
    minutes = age_s // 60
    return in_words(minutes * 60) if minutes else "less than a minute"


def _advice(told: _Told, guard: Guard, settings: GuardSettings, age: str) -> str:
    if age:
        return (
            f"the newest is {age} than {in_words(settings.min_age_of_last_backup_s)}"
            f" (guards.min_age_of_last_backup_s), so that `force` does not help: {told.instead}"
        )
    if settings.mode(guard) == "refuse":
        return (
            f"the guard {guard} of this tenant lets no call do so: {told.instead}, or have the"
            " gateway's operator change the guard"
        )
    return f"set `force` if that is what you want, or {told.instead}"

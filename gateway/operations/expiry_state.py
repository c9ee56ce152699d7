"""What keeps CBR from giving backups another day to expire, and which of them it lets go sooner."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from cbrgateway.v1 import backup_pb2, vault_pb2

from gateway.operations.backup_reads import backups_in, is_available
from gateway.upstream.look import Look, Refusal, refusal

_LAST: Final = timezone(timedelta(hours=-12))
"""Where a day begins last."""
_REFUSED: Final = refusal(9900, "expect_expiration_date")


async def expiry_refused(
    request: vault_pb2.UpdateBackupExpirationRequest, look: Look
) -> Refusal | None:
    """UpdateBackupExpiration."""
    begins = _begins(request, _LAST)
    if begins is None:
        return _REFUSED
    now = await look.now()
    return _REFUSED if now is not None and begins <= now.earliest else None


async def expiring_sooner(
    request: vault_pb2.UpdateBackupExpirationRequest, look: Look
) -> Sequence[backup_pb2.Backup]:
    """Backups of the vault that are kept now, or for longer than until the new day begins. Only
    complete ones get the new day.
    """
    until = _begins(request, UTC)
    if until is None:
        return ()  # CBR refuses a day that there is not.
    return [
        each
        for each in await backups_in(look, request.vault_id)
        if is_available(each)
        and (not each.HasField("expire_time") or each.expire_time.ToSeconds() > until)
    ]


def _begins(request: vault_pb2.UpdateBackupExpirationRequest, otherwise: timezone) -> float | None:
    """When the day begins, in seconds since 1970; None: there is no such day.

    `otherwise`: in which zone where the request names none.
    """
    day, zone = request.expiration_date, request.time_zone.removeprefix("UTC")
    try:
        where = datetime.strptime(zone, "%z").tzinfo if zone else otherwise
        return datetime(day.year, day.month, day.day, tzinfo=where).timestamp()
    except (ValueError, OverflowError):
        return None

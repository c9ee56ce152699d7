"""What a change would do, told without doing it: `validate_only`.

Everything that can refuse the change is asked as for the change itself, and refuses this call, too:
ownership and the objects that the request names, the state of its own object, guards, limits.
Nothing is sent but reads, and nothing is reserved or recorded.
"""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any, Final

from cbrgateway.v1 import errors_pb2, options_pb2, task_pb2, types_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2
from msgspec import Struct

from gateway.changes.change import Change
from gateway.changes.planning import Planner
from gateway.changes.preconditions import Preconditions
from gateway.changes.record import loss_shown
from gateway.clock import Clock
from gateway.errors import GatewayError, UpstreamFacts
from gateway.limits import refusals
from gateway.limits.limits import PRIVATE_LEVELS, Applied
from gateway.limits.pricing import Asked, Pricer
from gateway.state import Shortage, StoreDown, Usage
from gateway.upstream import end_errors
from gateway.upstream.client import Client
from gateway.upstream.losses import withhold
from gateway.upstream.marker import marked
from gateway.upstream.masked import masked
from gateway.upstream.reader import ProjectReads, UpstreamReader
from gateway.upstream.retry import READ_CAP_S, Deadline
from gateway.upstream.upstream_error import UpstreamError

_OWN_ID: Final = "{x-request-id}"
"""Stands in what would be sent for the id of the call that sends it."""
_USABLE: Final = frozenset({"AVAILABLE", "NORMAL", "UNSPECIFIED"})


class DryRun(Struct, frozen=True):
    """One per process."""

    pricer: Pricer
    planner: Planner
    preconditions: Preconditions
    client: Client
    reader: UpstreamReader
    clock: Clock

    async def validate(self, change: Change) -> types_pb2.ValidationResult:
        """Raises GatewayError, as the change itself would."""
        deadline = Deadline.begin(self.clock.monotonic(), change.time_left_s, READ_CAP_S)
        try:
            async with asyncio.timeout(deadline.left_s(self.clock.monotonic())):
                return await self._told(change, deadline)
        except TimeoutError:
            text = "There was not enough time to see what the change would do. Nothing was sent."
            raise GatewayError(errors_pb2.ERROR_REASON_DEADLINE_TOO_SHORT, text) from None

    async def _told(self, change: Change, deadline: Deadline) -> types_pb2.ValidationResult:
        sent = await self.client.prepared(
            change.binding, self._as_sent(change), change.account, change.time_left_s
        )
        told = types_pb2.ValidationResult(
            upstream_request=types_pb2.UpstreamRequest(
                verb=sent.method,
                path=sent.url.removeprefix(change.account.endpoint),
                body=sent.body.decode(),
            )
        )
        reads = ProjectReads(self.reader, change.scope.project)
        current = await self.preconditions.shown(change, reads)
        await _check(change, reads)
        told.warnings.extend(_warnings(reads.shown))
        await self.preconditions.check(change, reads)
        told.losses.extend(loss_shown(each) for each in change.losses)
        withhold(told.losses, change.hidden)
        told.limits.extend(await self._limits(change, deadline))
        running = await self._running(change, reads.shown)
        if "task" not in change.hidden:
            told.running_task_ids.extend(running)
        elif running:
            told.warnings.append("Tasks are at work on its vault: CBR may refuse the change.")
        if (price := change.binding.traits.price) is not None:
            told.price_class.CopyFrom(price(change.request, getattr(current, "vault", None)))
        return told

    def _as_sent(self, change: Change) -> Message:
        request = masked(change.request)
        if self.planner.marks(change):
            return marked(change.binding, request, _OWN_ID)
        return request

    async def _limits(self, change: Change, deadline: Deadline) -> list[types_pb2.LimitUse]:
        """Raises as the change would where a limit does not allow it."""
        if capped := self.pricer.uncapped(change.binding, change.request, change.scope):
            raise refusals.grows_alone(capped[0])
        try:
            asked = await self.pricer.asked(change.binding, change.request, change.scope, deadline)
        except StoreDown:
            grows = self.pricer.grows(change.binding, change.request, change.scope)
            if change.request.request_id or grows:
                raise refusals.store_down(
                    "The store of quotas and request_ids does not answer."
                ) from None
            return []
        if short := list(_shortages(asked)):
            applied = {charge.key: each for charge, each in asked.by_limit}
            raise refusals.too_much(short, applied, self.clock.time())
        taken = [_use(charge.key, charge.amount, each, asked) for charge, each in asked.by_limit]
        given = [_use(key, amount, each, asked) for key, amount, each in asked.given_back]
        return [*taken, *given]

    async def _running(self, change: Change, shown: Iterable[Any]) -> list[str]:
        """Tasks at work on the vaults that the change is about, as far as CBR shows them."""
        ids = {*_named_vaults(change), *filter(None, map(_shown_vault, shown))}
        found = []
        for status in (task_pb2.TASK_STATUS_RUNNING, task_pb2.TASK_STATUS_WAITING):
            wanted = task_pb2.ListTasksRequest(status=status)
            if len(ids) == 1:
                wanted.vault_id = next(iter(ids))
            if ids:
                rows, _ = await self.reader.understood(wanted, task_pb2.Task, change.scope.project)
                found += [row.id for row in rows if row.vault_id in ids]
        return found


def _named_vaults(change: Change) -> Iterator[str]:
    for field in change.binding.id_fields:
        if field.refers == options_pb2.REFERS_VAULT:
            yield from (each.value for each in field.ids(change.request))


def _shown_vault(answer: Any) -> str:  # noqa: ANN401 - any message
    """The vault that an object which was looked at is, or is in."""
    names = answer.DESCRIPTOR.fields_by_name
    return str(
        answer.vault.id if "vault" in names else answer.backup.vault_id if "backup" in names else ""
    )


def _shortages(asked: Asked) -> Iterator[Shortage]:
    for charge, applied in asked.by_limit:
        used = asked.usage[charge.key]
        if not charge.shadow and used.committed + used.reserved + charge.amount > (
            applied.limit.value
        ):
            yield Shortage(
                charge.key, applied.limit.value, used.committed, used.reserved, charge.amount
            )


def _use(key: str, amount: int, applied: Applied, asked: Asked) -> types_pb2.LimitUse:
    limit, private = applied.limit, applied.limit.level in PRIVATE_LEVELS
    use = types_pb2.LimitUse(
        name=key if private else f"{limit.metric}:{limit.level}",
        asked=amount,
        value=limit.value,
        shadow=limit.shadow,
    )
    if private:
        used: Usage = asked.usage[key]
        use.used_before = used.committed + used.reserved
        use.used_after = max(use.used_before + amount, 0)
    return use


async def _check(change: Change, reads: ProjectReads) -> None:
    """Raises what CBR would answer, as far as the objects show it."""
    refused = change.binding.traits.refused
    try:
        found = await refused(change.request, reads) if refused is not None else None
    except GatewayError as missing:
        if missing.code == code_pb2.NOT_FOUND and missing.resource is not None:
            missing.message = f"{missing.resource.name}: {missing.message}"
        raise
    if found is not None:
        error = UpstreamError(400, found.code, found.parameter)
        told = end_errors.refused(change.binding, change.request, error, UpstreamFacts())
        if found.about:
            told.message = f"{found.about}: {told.message}"
        raise told


def _warnings(shown: Iterable[Any]) -> Iterator[str]:
    """States in which CBR may refuse the change."""
    for answer in shown:
        for kind in ("vault", "backup"):
            if kind in answer.DESCRIPTOR.fields_by_name:
                found = getattr(answer, kind)
                state = _state(found.billing if kind == "vault" else found)
                if state not in _USABLE:
                    yield f"The {kind} {found.id} is {state}: CBR may refuse the change."


def _state(holder: Any) -> str:  # noqa: ANN401 - any message with a status
    values = holder.DESCRIPTOR.fields_by_name["status"].enum_type
    name = values.values_by_number[holder.status].name
    return str(name).partition("_STATUS_")[2]

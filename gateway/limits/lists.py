"""Reads the lists of a project that counts are taken from, and keeps why one cannot be read."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import structlog
from cbrgateway.v1 import errors_pb2, policy_pb2, types_pb2, vault_pb2
from google.protobuf.message import Message
from msgspec import Struct, field

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.limits.counts import Problem
from gateway.limits.listing import Listing
from gateway.upstream.amounts import Metric
from gateway.upstream.reader import Row, UpstreamReader, unlisted

_AT_ONCE: Final = 8
_TURN_S: Final = 1.0
"""How long one project may keep others from their turn: what CBR does not answer is waited for
beside them.
"""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Lists(Struct):
    """One per process."""

    reader: UpstreamReader
    clock: Clock
    problems: dict[str, Problem] = field(default_factory=dict)
    """Counts of projects that could not be taken at the last try."""
    _permits: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    def forget(self, parts: Collection[str]) -> None:
        """Keeps the problems of these counts only."""
        for part in self.problems.keys() - parts:
            del self.problems[part]

    async def of(self, project: str, parts: Mapping[str, Metric]) -> Listing:
        """What the counts of a project need of its lists.

        Raises nothing of CBR: what cannot be read is a problem.
        """
        policies = [part for part, metric in parts.items() if metric is Metric.POLICIES]
        vaults = [part for part, metric in parts.items() if metric is not Metric.POLICIES]
        async with asyncio.TaskGroup() as group, self._permits:
            reading = group.create_task(self._read(vaults, policies, project))
            await asyncio.wait({reading}, timeout=_TURN_S)
        listing = reading.result()
        known = {part for part, metric in parts.items() if listing.knows(metric)}
        if unsized := [part for part in vaults if part not in known and listing.vaults is not None]:
            self._note_problem(unsized, project, _without_size(listing.without_size()))
        for part in known:
            self.problems.pop(part, None)
        return listing

    async def _read(self, vaults: Sequence[str], policies: Sequence[str], project: str) -> Listing:
        return Listing(
            await self._rows(vaults, project, vault_pb2.ListVaultsRequest(), types_pb2.Vault),
            await self._rows(
                policies, project, policy_pb2.ListPoliciesRequest(), policy_pb2.Policy
            ),
        )

    async def _rows(
        self, parts: Sequence[str], project: str, request: Message, row: type[Row]
    ) -> list[Row] | None:
        """One list of a project, for the counts that need it; None: no need, or not readable."""
        if not parts:
            return None
        try:
            return await self.reader.rows(request, row, project)
        except KeyError:
            # It was taken out of the configuration just now.
            return None
        except GatewayError as error:
            self._note_problem(parts, project, error)
            return None

    def _note_problem(self, parts: Sequence[str], project: str, error: GatewayError) -> None:
        if not error.expected:
            log.warning("a project cannot be counted now", project=project, error=str(error))
        for part in parts:
            before = self.problems.get(part)
            self.problems[part] = Problem(
                project,
                error.reason,
                unlisted(error),
                before.since if before else self.clock.time(),
            )


def _without_size(vaults: Sequence[str]) -> GatewayError:
    more = f" and {len(vaults) - 1} more" if len(vaults) > 1 else ""
    text = (
        f"CBR lists the vault {vaults[0]}{more} without a size that can be read, so that nobody can"
        " say how much capacity there is; report it to the gateway's operator."
    )
    return GatewayError(errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL, text)

"""ProtectionService: reports over all projects of a tenant, as far as the caller may read them."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from operator import itemgetter
from typing import Final

from cbrgateway.v1 import protection_pb2, task_pb2
from google.protobuf.message import Message
from msgspec import Struct

from gateway.protection import expiring, lists, summary
from gateway.protection.fleet import ProjectRef
from gateway.protection.lists import WantedList
from gateway.protection.standing import Selection, Standing, coverage
from gateway.protection.unprotected import DAY_S, unprotected
from gateway.rpc.call import Call
from gateway.rpc.dispatch import Stream
from gateway.rpc.handlers.handles import handles
from gateway.rpc.handlers.protection_reads import ProtectionReads, duration_s, parts
from gateway.upstream.page_tokens import PageTokens
from gateway.upstream.paging import plan_page

_MAX_AGE_S: Final = 2 * DAY_S
_PERIOD_S: Final = 7 * DAY_S

Unprotected = (
    protection_pb2.ListUnprotectedResourcesRequest
    | protection_pb2.StreamUnprotectedResourcesRequest
)


class ProtectionHandlers(Struct, frozen=True):
    """The handlers."""

    reads: ProtectionReads
    tokens: PageTokens

    @handles(protection_pb2.ListUnprotectedResourcesRequest)
    async def list_unprotected(
        self, call: Call, request: protection_pb2.ListUnprotectedResourcesRequest
    ) -> Message:
        page = plan_page(call.binding, request, self.tokens, call.scope)
        response = protection_pb2.ListUnprotectedResourcesResponse()

        async def rows(position: str) -> AsyncIterator[tuple[str, Message]]:
            # Of later pages only the projects are read that they need.
            key, _, after = position.partition(" ")
            for some in [[p] for p in refs if p.key >= key] if position else [refs]:
                for standing in await self._standings(call, some, wanted, request.selection):
                    told = self._unprotected(standing, request)
                    response.coverage.append(coverage(standing))
                    own = standing.view.ref.key
                    for row in told:
                        place = f"{row.type:04d} {row.resource_id}"
                        if own != key or place > after:
                            yield f"{own} {place}", row

        refs = self.reads.refs(call, request.selection.projects, "selection.projects")
        wanted = self._lists_of(request)
        return await page.kept(response, rows)

    @handles(protection_pb2.StreamUnprotectedResourcesRequest)
    async def stream_unprotected(
        self,
        call: Call,
        request: protection_pb2.StreamUnprotectedResourcesRequest,
        stream: Stream,
    ) -> None:
        refs = self.reads.refs(call, request.selection.projects, "selection.projects")
        async with aclosing(self.reads.views(call, refs, self._lists_of(request))) as views:
            async for view in views:
                standing = Standing(view, _selection(request.selection))
                for some in parts(self._unprotected(standing, request)):
                    message = protection_pb2.StreamUnprotectedResourcesResponse(resources=some)
                    await stream.write(message.SerializeToString())
                end = protection_pb2.StreamUnprotectedResourcesResponse(coverage=coverage(standing))
                await stream.write(end.SerializeToString())

    @handles(protection_pb2.GetProtectionSummaryRequest)
    async def get_summary(
        self, call: Call, request: protection_pb2.GetProtectionSummaryRequest
    ) -> Message:
        now = self.reads.clock.time()
        length_s = duration_s(request, "period", _PERIOD_S)
        age_s = duration_s(request, "max_age", _MAX_AGE_S)
        period = summary.Period(now, length_s, now - age_s)
        wanted = _all_lists(request.selection.types, now - max(length_s, age_s))
        refs = self.reads.refs(call, request.selection.projects, "selection.projects")
        response = protection_pb2.GetProtectionSummaryResponse()
        for standing in await self._standings(call, refs, wanted, request.selection):
            response.groups.extend(summary.groups(standing, period))
            response.coverage.append(coverage(standing))
        response.total.CopyFrom(summary.total(response.groups))
        return response

    @handles(protection_pb2.ListExpiringBackupsRequest)
    async def list_expiring(
        self, call: Call, request: protection_pb2.ListExpiringBackupsRequest
    ) -> Message:
        page = plan_page(call.binding, request, self.tokens, call.scope)
        response = protection_pb2.ListExpiringBackupsResponse()
        refs = self.reads.refs(call, request.projects)
        until = self.reads.clock.time() + duration_s(request, "within", _PERIOD_S)

        async def rows(position: str) -> AsyncIterator[tuple[str, Message]]:
            found: list[tuple[str, Message]] = []
            for standing in await self._standings(call, refs, [lists.BACKUPS]):
                response.coverage.append(coverage(standing))
                for row in expiring.expiring(standing, until, last_only=request.last_only):
                    place = f"{row.expire_time.ToNanoseconds():020d} {row.backup_id}"
                    found.append((place, row))
            for each in sorted(found, key=itemgetter(0)):
                if each[0] > position:
                    yield each

        return await page.kept(response, rows)

    def _unprotected(
        self, standing: Standing, request: Unprotected
    ) -> list[protection_pb2.UnprotectedResource]:
        oldest = self.reads.clock.time() - duration_s(request, "max_age", _MAX_AGE_S)
        return unprotected(standing, oldest, frozenset(request.causes))

    def _lists_of(self, request: Unprotected) -> list[WantedList]:
        age_s = duration_s(request, "max_age", _MAX_AGE_S)
        return _all_lists(request.selection.types, self.reads.clock.time() - age_s)

    async def _standings(
        self,
        call: Call,
        refs: Sequence[ProjectRef],
        wanted: Sequence[WantedList],
        selection: protection_pb2.ResourceSelection | None = None,
    ) -> list[Standing]:
        """Of each project, in the order of the projects."""
        views = await self.reads.all_views(call, refs, wanted)
        return [Standing(view, _selection(selection)) for view in views]


def _all_lists(types: Iterable[int], since: float) -> list[WantedList]:
    """`since`: of tasks, in seconds since 1970."""
    return [
        *lists.resources(types),
        lists.VAULTS,
        lists.POLICIES,
        lists.BACKUPS,
        lists.tasks(task_pb2.TASK_TYPE_BACKUP, since),
    ]


def _selection(asked: protection_pb2.ResourceSelection | None) -> Selection:
    return Selection(frozenset(asked.types), tuple(asked.tags)) if asked else Selection()

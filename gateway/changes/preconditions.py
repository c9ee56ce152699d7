"""What has to be true before a change is sent, seen once it has its turn: the object is as the
caller has read it (`etag`), and no guard is against what goes with the change.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from cbrgateway.v1 import errors_pb2
from google.protobuf.message import Message
from msgspec import Struct

from gateway.changes.change import Change
from gateway.changes.guards import Guards
from gateway.changes.unmarked import clear
from gateway.errors import GatewayError, Resource
from gateway.upstream import etags
from gateway.upstream.read_back import read_request
from gateway.upstream.reader import ProjectReads, UpstreamReader


class Preconditions(Struct, frozen=True):
    """One per process."""

    reader: UpstreamReader
    guards: Guards

    def of(self, change: Change) -> Callable[[], Awaitable[None]] | None:
        """What to ask before the change is sent; None: nothing."""
        request = change.request
        takes = etags.FIELD in request.DESCRIPTOR.fields_by_name
        if change.binding.traits.losing is None and not (takes and request.etag):
            return None
        return lambda: self.check(change, ProjectReads(self.reader, change.scope.project))

    async def check(self, change: Change, reads: ProjectReads) -> None:
        """Raises GatewayError."""
        if getattr(change.request, etags.FIELD, ""):
            _compare(change, await self.shown(change, reads))
        await self.guards.check(change, reads)

    async def shown(self, change: Change, reads: ProjectReads) -> Message | None:
        """What CBR shows of the object that a change is made to; None: no read shows it alone.

        Raises one of the NOT_FOUND reasons.
        """
        asked = self._read_of(change)
        if asked is None:
            return None
        response = self.reader.catalog.asked_by(asked).response_type
        return await reads.answer(asked, response)

    def _read_of(self, change: Change) -> Message | None:
        binding, traits = change.binding, change.binding.traits
        shown = traits.gone or (traits.read_first.shown_by if traits.read_first else None)
        if shown is not None:
            return shown.request(change.request)
        if not binding.read_back:
            return None
        read = self.reader.catalog[binding.read_back]
        return None if read.paging else read_request(read, change.request)


def _compare(change: Change, answer: Any) -> None:  # noqa: ANN401 - any message
    """Raises ETAG_MISMATCH."""
    ((kind, _),) = etags.objects(answer.DESCRIPTOR)
    clear(answer)
    ((_, now),) = etags.etags_of(answer)
    if change.request.etag == now:
        return
    name = str(getattr(change.request, f"{kind}_id"))
    text = (
        f"The {kind} was changed since it was read. Nothing was sent; read it again, and repeat"
        " with its new etag if the change is still what you want."
    )
    raise GatewayError(
        errors_pb2.ERROR_REASON_ETAG_MISMATCH,
        text,
        resource=Resource(kind, name),
        metadata={"etag": now},
    )

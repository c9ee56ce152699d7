"""The changes of which a log does not say yet whether they were made, and the streams of which it
does not say that they ended.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from gateway.audit import events
from gateway.audit.events import Stage, own_record
from gateway.audit.record import OpenIntent
from gateway.audit.segments import RecordHeader

PENDING: Final = "PENDING"
"""The result of a change that goes on after its call has ended."""
UNKNOWN: Final = "UNKNOWN"
"""The result of a change of which nobody can say yet whether it was made."""
MAX_UNKNOWN: Final = 1000
"""How many of these the log carries from segment to segment; older ones only a search finds."""


class Entry(Struct, frozen=True):
    """A record to be written.

    `opens`: the change of which it is the intent. `ends`: the id of a change and its result, where
    the record tells that.
    """

    body: bytes
    opens: OpenIntent | None = None
    ends: tuple[str, str] | None = None


class OpenIntents:
    """The changes of which it is not recorded whether they were made, and the streams without an
    end; kept up to date record by record.
    """

    def __init__(self) -> None:
        self._open: dict[str, OpenIntent] = {}

    def __iter__(self) -> Iterator[OpenIntent]:
        return iter(tuple(self._open.values()))

    @property
    def dangling(self) -> list[OpenIntent]:
        """Those of which not even that nobody knows is recorded."""
        return [each for each in self._open.values() if not each.unknown]

    def see(self, record: RecordHeader) -> None:
        """Takes in the next record of the chain."""
        uid, kind = record.metadata.correlation_uid, record.unmapped
        if kind.segment is not None:
            self._open = {each.uid: each for each in kind.segment.open}
        elif kind.stage == Stage.INTENT:
            self.add(
                OpenIntent(
                    uid=uid, operation=record.api.operation, tenant=record.metadata.tenant_uid
                )
            )
        elif kind.stage == Stage.STREAM_START:
            self.add(
                OpenIntent(
                    uid=uid,
                    operation=record.api.operation,
                    tenant=record.metadata.tenant_uid,
                    stream=True,
                )
            )
        elif kind.stage in {Stage.OUTCOME, Stage.RECONCILED, Stage.STREAM_END}:
            self.end(uid, kind.change_result)

    def add(self, intent: OpenIntent) -> None:
        self._open[intent.uid] = intent

    def end(self, uid: str, change_result: str) -> None:
        """The change's call ended, or its result was learnt; or the stream ended."""
        known = self._open.get(uid)
        if known is None or change_result == PENDING:
            return
        if change_result == UNKNOWN and not known.stream:
            self._open[uid] = OpenIntent(
                uid=uid, operation=known.operation, tenant=known.tenant, unknown=True
            )
            self._forget_oldest()
        else:
            del self._open[uid]

    def _forget_oldest(self) -> None:
        unknown = [each.uid for each in self._open.values() if each.unknown]
        for uid in unknown[:-MAX_UNKNOWN]:
            del self._open[uid]


def unresolved(left: OpenIntent) -> Entry:
    """That nobody knows what became of it."""
    event = events.STREAM_UNRESOLVED if left.stream else events.CHANGE_UNRESOLVED
    body = own_record(
        event, subject=left.uid, tenant=left.tenant, operation=left.operation, change_result=UNKNOWN
    )
    return Entry(body, ends=(left.uid, UNKNOWN))

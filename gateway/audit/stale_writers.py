"""The logs of writers that do not run any more, in a directory that several share: whoever finds
one writes to it what is left to be said.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from gateway.audit import events
from gateway.audit.anchors import last_of
from gateway.audit.chain import Keys
from gateway.audit.files import Entry, FileSink
from gateway.audit.own import own_record
from gateway.audit.record import Anchor
from gateway.audit.resume import Torn, locked, position

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@contextmanager
def stale_writer(
    directory: Path, writer: str, keys: Keys, anchors: Iterable[Anchor]
) -> Iterator[FileSink]:
    """Its log, which goes on in a segment of its own if anything is written.

    Raises Running while its process runs, Unusable if it was changed, or OSError.
    """
    with locked(directory, writer) as lock:
        found = position(directory, writer, keys, last_of(anchors, writer))
        sink = FileSink(
            directory,
            writer,
            keys,
            head=found.head,
            number=found.number,
            open=found.open,
            hold=lock.hold,
        )
        try:
            if found.torn is not None:
                sink.append([repaired(found.torn)])
            yield sink
        finally:
            sink.close()


def repaired(torn: Torn) -> Entry:
    """Says that the end of a log was set aside, to the log and to its operator."""
    log.warning(
        "the end of the audit log was incomplete and is set aside",
        file=str(torn.path),
        bytes=torn.size,
    )
    return Entry(own_record(events.LOG_REPAIRED, torn_bytes=torn.size, torn_file=torn.path.name))

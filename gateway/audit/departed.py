"""The logs of writers that do not run any more, in a directory that several share: whoever finds one writes to it what is left to be said."""

import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.audit.anchors import last_of
from gateway.audit.chain import Keys
from gateway.audit.files import FileSink
from gateway.audit.record import Anchor
from gateway.audit.resume import locked, position


@contextmanager
def departed(directory: Path, writer: str, keys: Keys, anchors: Iterable[Anchor]) -> Iterator[FileSink]:
    """Its log, which goes on in a segment of its own if anything is written. Raises Unusable while its process runs or if it was changed; OSError."""
    with locked(directory, writer):
        found = position(directory, writer, keys, last_of(anchors, writer))
        sink = FileSink(directory, writer, keys, max_bytes=sys.maxsize, max_age_s=math.inf, head=found.head, number=found.number, open=found.open)
        try:
            yield sink
        finally:
            sink.close()

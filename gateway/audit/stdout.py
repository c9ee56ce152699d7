"""A log on standard output, for containers whose output is collected.

A record counts as kept once the system has taken it.
"""

import os
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.audit import events
from gateway.audit.anchors import signed
from gateway.audit.chain import Head, Keys, seal
from gateway.audit.files import Entry
from gateway.audit.own import own_record
from gateway.audit.record import Anchor, Segment


@dataclass(slots=True)
class StdoutSink:
    """Every process is a writer of its own, with one chain from its start to its end."""

    keys: Keys
    descriptor: int = field(default_factory=sys.stdout.fileno)
    writer: str = field(default_factory=lambda: uuid.uuid4().hex)
    head: Head = field(default_factory=Head)
    _anchored: int = 0
    _rest: bytes = b""
    _begun: Sequence[Entry] = ()
    """The batch to which the rest belongs."""

    def append(self, entries: Sequence[Entry]) -> None:
        # What was begun cannot be taken back, so after a failure the rest follows first. Of what is
        # owed since then, that has been written.
        self._flush()
        begun = {id(entry) for entry in self._begun}
        entries = [entry for entry in entries if id(entry) not in begun]
        if self.head.sequence == 0:
            entries = [
                Entry(own_record(events.LOG_OPENED, segment=Segment(writer=self.writer, number=1))),
                *entries,
            ]
        lines = []
        for entry in entries:
            line, self.head = seal(self.keys.chain, self.head, entry.body)
            lines.append(line)
        self._rest, self._begun = b"".join(lines), entries
        self._flush()
        self._begun = ()

    def _flush(self) -> None:
        while self._rest:
            self._rest = self._rest[os.write(self.descriptor, self._rest) :]

    def checkpoint(self) -> Anchor | None:
        if self.head.sequence == self._anchored:
            return None
        self.append([Entry(own_record(events.CHECKPOINT, anchor=self._signed()))])
        self._anchored = self.head.sequence
        return self._signed()

    def close(self) -> Anchor | None:
        if self.head.sequence == 0:
            return None
        self.append([Entry(own_record(events.LOG_CLOSED))])
        return self._signed()

    def _signed(self) -> Anchor:
        return signed(self.keys, self.writer, 1, self.head)

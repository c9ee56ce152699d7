"""What a stream that is resumed has missed, in the order in which it is told, and the token that
holds before each part of it: whoever is cut again and again gets on all the same.

Ended tasks come first, in the order in which they changed, so that a token can say up to which
moment they are told; then open ones by age; then what is no task's state. It is worked out when the
stream begins: what happens later is told behind it.
"""

from bisect import insort
from collections.abc import Iterable
from functools import partial
from itertools import accumulate
from typing import Final

from msgspec import Struct

from gateway.watch.resume import Cursor, ResumeTokens, Told, by_age, by_change
from gateway.watch.row import Row
from gateway.watch.selection import Selection
from gateway.watch.send_queue import SendQueue
from gateway.watch.table import NEVER, Table

_EACH: Final = 32
"""So many parts get a token each, of later ones so many share one: a caller that comes so far is
not cut every few events.
"""


class Statement(Struct, frozen=True):
    """An event that is no task's state.

    `digest`: what tokens keep of it; `gone`: the open task of which it is the end.
    """

    key: str
    event: bytes
    digest: bytes = b""
    gone: str = ""


class Backlog:
    """One stream's.

    `statements`: what there is to tell beside the tasks, also what was told before.
    """

    def __init__(
        self,
        cursor: Cursor,
        selection: Selection,
        table: Table,
        tokens: ResumeTokens,
        statements: Iterable[Statement],
    ) -> None:
        self._owner, self._selection, self._tokens = cursor.owner, selection, tokens
        self._newest_us = table.newest_us
        self._said = cursor.said_digests()
        self._held = cursor.open_tasks()
        """Open tasks that the cursor names, until something newer of them is told."""
        self._ended: list[Row] = []
        """Told, and changed lately; in order."""
        self._opened: list[Row] = []
        """Told, and not held; in order."""
        rows = self._missed(cursor, table)
        self._parts: list[Row | Statement] = [
            *rows,
            *(each for each in statements if each.digest not in self._said),
        ]
        new = [self._new(part) for part in self._parts]
        self._created_us = _least(NEVER if row is None else row.created_us for row in new)
        self._changed_us = _least(
            NEVER if row is None or not row.final else row.changed_us for row in new
        )
        self._told = 0
        self._token = ""

    def put_into(self, queue: SendQueue) -> None:
        for index, part in enumerate(self._parts):
            key, item = (part.id, part) if isinstance(part, Row) else (part.key, part.event)
            queue.put(key, item, partial(self._before, index))

    def _missed(self, cursor: Cursor, table: Table) -> list[Row]:
        """What was not told, in order; the others are noted as told."""
        since_us = self._tokens.doubtful_since_us(cursor.newest_us, self._selection)
        known, ended, opened = [], [], []
        for row in self._selection.among(table.rows):
            if row.id in self._held:
                known.append(row)
            elif not row.final:
                opened.append(row)
            elif row.changed_us >= since_us:
                ended.append(row)
        known = [row for row in known if self._is_news(row)]
        missed = [row for row in cursor.untold_ended(ended) if self._shows(row)]
        missed += cursor.untold_open(row for row in opened if self._shows(row))
        ids = {row.id for row in missed}
        self._ended = sorted((row for row in ended if row.id not in ids), key=by_change)
        self._opened = sorted((row for row in opened if row.id not in ids), key=by_age)
        return [
            *sorted((row for row in (*known, *missed) if row.final), key=by_change),
            *sorted((row for row in (*known, *missed) if not row.final), key=by_age),
        ]

    def _is_news(self, held: Row) -> bool:
        known = self._held[held.id]
        return held.revision > known and (known > 0 or self._shows(held))

    def _new(self, part: Row | Statement) -> Row | None:
        return part if isinstance(part, Row) and part.id not in self._held else None

    def _shows(self, row: Row) -> bool:
        return self._selection.shows(row.task)

    # The token before a part; parts are asked for in their order.
    # ----------------------------------------------------------------------------------------------

    def _before(self, index: int) -> str:
        if not self._token or index < _EACH or index % _EACH == 0:
            for part in self._parts[self._told : index]:
                self._tell(part)
            self._told = index
            self._token = self._tokens.after(self._state(), self._owner, self._selection)
        return self._token

    def _tell(self, part: Row | Statement) -> None:
        if isinstance(part, Statement):
            self._said |= {part.digest}
            self._held.pop(part.gone, None)
            return
        self._held.pop(part.id, None)
        if part.final:
            insort(self._ended, part, key=by_change)
        else:
            insort(self._opened, part, key=by_age)

    def _state(self) -> Told:
        newest_us = min(self._newest_us, self._changed_us[self._told] + self._tokens.lag_us)
        since_us = self._tokens.doubtful_since_us(newest_us, self._selection)
        return Told(
            newest_us=newest_us,
            ended=[row for row in self._ended if row.changed_us >= since_us],
            opened=self._opened,
            said=self._said,
            held=tuple(self._held.items()),
            since_us=self._created_us[self._told],
        )


def _least(moments: Iterable[int]) -> list[int]:
    """Of each moment and all behind it the earliest; at the end that of none."""
    return [*accumulate(reversed([*moments, NEVER]), min)][::-1]

"""Lists by chance: every rule by which CBR could page, with rows that come and go between any two
calls. No row is left out, and every list ends.
"""

import asyncio
import itertools
import random
from dataclasses import dataclass, field

import pytest
from cbrgateway.v1 import backup_pb2, errors_pb2

from emulator.errors import ApiError
from emulator.paging import Paging
from gateway.errors import GatewayError
from gateway.upstream.place import Place
from gateway.upstream.walk import step
from gateway.upstream.windows import Source, Window

TRIALS = 250
"""Of each kind of offset."""


@dataclass
class Changing:
    """A list of CBR whose rows come and go. `kept`: those that have been there all the time."""

    chosen: random.Random
    rules: Paging
    rows: list
    within: bool
    often: float
    most: int
    kept: set = field(default_factory=set)
    hidden: bool = False
    """Whether CBR has said of a window that was cut short that the list ends with it: nobody could
    tell.
    """
    fresh: object = field(default_factory=lambda: itertools.count(10_000))

    def __post_init__(self):
        self.kept = {row.id for row in self.rows}

    def change(self):
        if self.chosen.random() >= self.often:
            return
        for _ in range(self.chosen.randint(1, self.most)):
            place = self.chosen.choice((0, self.chosen.randint(0, len(self.rows))))
            if self.chosen.random() < 0.5:
                self.rows.insert(place, backup_pb2.Backup(id=f"o{next(self.fresh)}"))
            elif place < len(self.rows):
                self.kept.discard(self.rows.pop(place).id)

    async def read(self, ask):
        if self.within:
            self.change()
        limit = int(ask["limit"])
        try:
            shown, count = self.rules.cut(
                self.rows, limit, int(ask.get("offset", 0)), ask.get("marker")
            )
        except ApiError as error:
            reason = (
                errors_pb2.ERROR_REASON_BACKUP_NOT_FOUND
                if error.status == 404
                else errors_pb2.ERROR_REASON_FIELD_INVALID
            )
            raise GatewayError(reason, "the marker is not known") from None
        start = int(ask.get("offset", 0))
        if (
            "marker" not in ask
            and len(shown) < limit
            and count == start + len(shown)
            and shown
            and shown[-1] is not self.rows[-1]
        ):
            self.hidden = True
        return Window(list(shown), count)

    async def walk(self, source, size):
        """The ids of all rows."""
        place, seen = Place(), []
        for _ in range(400):
            found = await step(source, place, size)
            assert len(found.rows) <= size
            seen += [row.id for row in found.rows]
            if found.ended:
                return seen
            assert found.rows
            place = found.place(place.trail)
            if not self.within:
                self.change()
        raise AssertionError("the list never ends")


def by_chance(seed, offset):
    chosen = random.Random(seed)
    rules = Paging(
        offset=offset,
        marker=chosen.choice(("honoured", "ignored")),
        missing_marker=chosen.choice(("empty", "bad_request", "not_found", "start")),
        cap=chosen.choice((1000, 1000, 1000, 10, 3, 2, 1)),
        short=chosen.random() < 0.25,
        count=chosen.choice(("total", "total", "none", "page", "less", "more")),
    )
    rows = [
        backup_pb2.Backup(id=f"o{number}")
        for number in range(chosen.randint(0, chosen.choice((4, 12, 40))))
    ]
    within, often, most = (
        chosen.random() < 0.5,
        chosen.choice((0, 0.1, 0.5, 1)),
        chosen.choice((1, 1, 3, 8)),
    )
    usual = chosen.choice((5, 8, 50))
    changing = Changing(chosen, rules, rows, within, often, most)
    return (
        changing,
        Source(
            changing.read, chosen.choice((2, 3)), usual, max(usual, chosen.choice((usual, 1000)))
        ),
        chosen.randint(1, 5),
    )


@pytest.mark.parametrize("offset", ["rows", "pages", "pages_from_0", "ignored"])
def test_no_row_is_left_out_and_every_list_ends(offset):
    ended = 0
    for seed in range(TRIALS):
        changing, source, size = by_chance(seed, offset)
        try:
            seen = asyncio.run(changing.walk(source, size))
        except GatewayError as error:
            assert error.reason == errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL, seed  # noqa: PT017
            continue
        ended += 1
        assert changing.hidden or changing.kept <= set(seen), seed
    assert ended > TRIALS / (3 if offset == "ignored" else 1.5)


class Told:
    """A list of CBR that pages by some rules, and has `after` done to it behind each of the first
    pages.
    """

    def __init__(self, rules, count, *after):
        self.rules, self.after = rules, after
        self.rows = [backup_pb2.Backup(id=str(number)) for number in range(count)]

    async def read(self, ask):
        shown, count = self.rules.cut(
            self.rows, int(ask["limit"]), int(ask.get("offset", 0)), ask.get("marker")
        )
        return Window(list(shown), count)

    async def walk(self, size):
        source, place, seen, after = Source(self.read, 2, 200, 1000), Place(), [], iter(self.after)
        while True:
            found = await step(source, place, size)
            seen += [row.id for row in found.rows]
            if found.ended:
                return seen
            place = found.place(place.trail)
            next(after, lambda _rows: None)(self.rows)


def insert(count):
    return lambda rows: rows.__setitem__(
        slice(0, 0), [backup_pb2.Backup(id=f"new-{number}") for number in range(count)]
    )


def delete(*names):
    return lambda rows: rows.__setitem__(slice(None), [row for row in rows if row.id not in names])


@pytest.mark.parametrize("count", ["total", "none"])
@pytest.mark.parametrize("offset", ["pages", "pages_from_0"])
def test_a_row_found_where_rows_would_be_counted_does_not_prove_that_they_are(offset, count):
    """Two rows before the first one make page 0 end with it, as if the next window began behind."""
    told = Told(Paging(offset=offset, short=True, count=count), 30, insert(2))
    assert set(map(str, range(30))) <= set(asyncio.run(told.walk(1)))


def test_a_place_and_a_count_that_fit_by_chance_do_not_end_a_list():
    """An offset that is ignored: window and offset make up the count, and rows follow."""
    told = Told(Paging(offset="ignored", marker="ignored", cap=4), 6, delete("0"))
    with pytest.raises(GatewayError) as failed:
        asyncio.run(told.walk(3))
    assert failed.value.reason == errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL


@pytest.mark.parametrize("change", [insert(1), delete("3")])
def test_pages_that_cannot_overlap_join_only_if_nothing_moved_between_them(change):
    """Rows change right before one of the calls, where an offset counts pages."""
    for turn in range(1, 20):
        told, turns = Told(Paging(offset="pages", cap=5), 40), itertools.count(1)
        plain = told.read

        async def read(ask, told=told, turns=turns, plain=plain, turn=turn):
            if next(turns) == turn:
                change(told.rows)
            return await plain(ask)

        told.read = read
        assert {str(number) for number in range(40) if number != 3} <= set(
            asyncio.run(told.walk(5))
        ), turn

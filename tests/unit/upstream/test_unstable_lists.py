"""Lists whose rows stand in another order at each call, while their number stays the same: every
row is shown, or the list ends as UPSTREAM_PROTOCOL.
"""

import asyncio
import random

import pytest
from cbrgateway.v1 import backup_pb2, errors_pb2
from msgspec.structs import replace

from emulator.paging import Paging
from gateway.errors import GatewayError
from gateway.query.order import keys, ordered
from gateway.upstream.page_tokens import PageTokens, Position
from gateway.upstream.place import Place, rest
from gateway.upstream.trail import NOTHING
from gateway.upstream.walk import everything, step
from gateway.upstream.windows import Source, Window
from tests.fakes import SteppedClock

ORDERS = {}


def order(read):
    """From the rows, how often the list was read, and chance to the rows in another order."""
    ORDERS[read.__name__] = read
    return read


@order
def backwards_each_other_time(rows, turn, _chosen):
    return rows if turn % 2 else rows[::-1]


@order
def any_order(rows, _turn, chosen):
    return chosen.sample(rows, len(rows))


@order
def ties_of_three(rows, _turn, chosen):
    return among(rows, 3, chosen)


@order
def ties_of_ten(rows, _turn, chosen):
    return among(rows, 10, chosen)


@order
def ties_of_forty(rows, _turn, chosen):
    return among(rows, 40, chosen)


@order
def neighbours_swapped_each_other_time(rows, turn, _chosen):
    return rows if turn % 2 else [row for pair in pairs(rows) for row in reversed(pair)]


@order
def halves_swapped_each_other_time(rows, turn, _chosen):
    half = len(rows) // 2
    return rows if turn % 2 else [*rows[half:], *rows[:half]]


@order
def the_last_comes_first_each_time(rows, turn, _chosen):
    return rows[len(rows) - turn % len(rows) :] + rows[: len(rows) - turn % len(rows)]


@order
def one_of_the_last_comes_first_once(rows, turn, _chosen):
    return rows if turn == 1 else [rows[-3], *rows[:-3], *rows[-2:]]


def pairs(rows):
    return [rows[first : first + 2] for first in range(0, len(rows), 2)]


def among(rows, size, chosen):
    parts = (rows[first : first + size] for first in range(0, len(rows), size))
    return [row for part in parts for row in chosen.sample(part, len(part))]


class Unstable:
    """A list of CBR that shows its rows in another order at each call."""

    def __init__(self, rules, count, reorder, seed=0):
        self.rules, self.reorder, self.chosen = rules, reorder, random.Random(seed)
        self.rows = [backup_pb2.Backup(id=f"o{number}") for number in range(count)]
        self.turn = 0
        self.source = Source(self.read, 3, 50, 1000)

    async def read(self, ask):
        self.turn += 1
        rows = self.reorder(self.rows, self.turn, self.chosen)
        shown, count = self.rules.cut(
            rows, int(ask["limit"]), int(ask.get("offset", 0)), ask.get("marker")
        )
        return Window(list(shown), count)

    async def pages(self, size):
        """The ids of all rows, with the place kept in a token between two pages."""
        tokens, token, seen = PageTokens(b"key", SteppedClock(0)), "", []
        for _ in range(400):
            place = tokens.read(token, b"owner").place
            found = await step(self.source, place, size)
            seen += [row.id for row in found.rows]
            if found.ended:
                return seen
            token = tokens.make(found.place(place.trail), b"owner")
        raise AssertionError("the list never ends")

    async def whole(self):
        return [row.id for row in await everything(self.source)]


def ends_truly(listed, count):
    """Whether it shows every row; else it must end as UPSTREAM_PROTOCOL."""
    try:
        seen = asyncio.run(listed)
    except GatewayError as error:
        assert error.reason == errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL  # noqa: PT017
        return False
    assert len(set(seen)) == count
    return True


RULES = {
    "rows": Paging(),
    "pages": Paging(offset="pages", marker="ignored"),
    "markers": Paging(offset="ignored"),
    "few at once": Paging(cap=10, marker="ignored"),
}


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("reorder", ORDERS)
def test_no_row_is_left_out_without_a_word(reorder, rules):
    for count, size in ((120, 50), (23, 10), (61, 7)):
        for way in ("pages", "whole"):
            made = Unstable(RULES[rules], count, ORDERS[reorder])
            ends_truly(made.pages(size) if way == "pages" else made.whole(), count)


async def cut_to_pages(made, size, sort=None):
    """The ids of all rows of a list that is read whole for each page, in the order shown."""
    tokens, token, seen = PageTokens(b"key", SteppedClock(0)), "", []
    for turn in range(1, 100):
        rows = made.reorder(made.rows, turn, made.chosen)
        found = rest(
            sort(rows) if sort else rows,
            place := tokens.read(token, b"owner").place,
            size,
            of_cbr=True,
            in_order=sort is None,
        )
        seen += [row.id for row in found.rows]
        if found.ended:
            return seen
        token = tokens.make(found.place(place.trail), b"owner")
    raise AssertionError("the list never ends")


@pytest.mark.parametrize("reorder", ORDERS)
def test_a_list_that_is_cut_by_the_gateway_leaves_no_row_out_either(reorder):
    for count, size in ((120, 50), (120, 13), (23, 10), (61, 7), (9, 2)):
        ends_truly(cut_to_pages(Unstable(Paging(), count, ORDERS[reorder]), size), count)


@pytest.mark.parametrize("by", ["name", "name desc", "image_type, resource_size_gib desc"])
@pytest.mark.parametrize("reorder", ORDERS)
def test_an_order_of_rows_that_are_equal_does_not_depend_on_cbrs(reorder, by):
    sort = ordered(keys(by, backup_pb2.Backup.DESCRIPTOR))
    for count, size in ((120, 50), (23, 10), (9, 2)):
        made = Unstable(Paging(), count, ORDERS[reorder])
        assert ends_truly(cut_to_pages(made, size, sort), count)


def test_a_row_whose_place_in_an_order_changes_comes_last():
    made = Unstable(Paging(), 30, lambda rows, turn, _chosen: renamed(rows, turn))
    sort = ordered(keys("name", backup_pb2.Backup.DESCRIPTOR))
    for size in (10, 7, 1):
        assert ends_truly(cut_to_pages(made, size, sort), 30), size


@pytest.mark.parametrize("back", [(), (0,)])
@pytest.mark.parametrize("front", [(), (25,), (25, 28)])
def test_a_few_rows_that_move_between_two_pages_are_all_shown(front, back):
    def moved(rows, turn, _chosen):
        if turn == 1:
            return rows
        stay = [row for at, row in enumerate(rows) if at not in {*front, *back}]
        return [*(rows[at] for at in front), *stay, *(rows[at] for at in back)]

    def as_told(rows):
        return rows

    shown = ends_truly(cut_to_pages(Unstable(Paging(), 30, moved), 10, as_told), 30)
    assert shown or (len(front), len(back)) == (2, 1)


def test_an_order_that_changes_too_much_says_what_to_do():
    made = Unstable(Paging(), 30, lambda rows, turn, chosen: chosen.sample(rows, len(rows)))
    with pytest.raises(GatewayError, match="begin again without page_token, with a page_size"):
        asyncio.run(cut_to_pages(made, 10, lambda rows: rows))


def renamed(rows, turn):
    """The row with the last id comes first from the second time on."""
    rows = [backup_pb2.Backup(id=row.id, name="b") for row in rows]
    if turn > 1:
        rows[-1].name = "a"
    return rows


def test_rows_that_come_and_go_do_not_end_a_list_that_is_cut_by_the_gateway():
    rows = [backup_pb2.Backup(id=f"o{number}") for number in range(30)]
    first = rest(rows, Place(), 10, of_cbr=True, in_order=True)
    place = first.place(Place().trail)
    changed = [backup_pb2.Backup(id="new"), *rows[1:8], rows[20], *rows[8:20], *rows[21:]]
    found = rest(changed, place, 50, of_cbr=True, in_order=True)
    assert {row.id for row in found.rows} >= {f"o{number}" for number in range(10, 20)}


def test_the_place_in_a_list_of_very_many_rows_goes_into_a_token():
    """The names of that many add up to more than a number of 64 bits."""
    trail = replace(NOTHING.then([backup_pb2.Backup(id="o")]), names=2**64 - 1)
    place = Place(trail.then([backup_pb2.Backup(id="p")]))
    tokens = PageTokens(b"key", SteppedClock(0))
    assert tokens.read(tokens.make(place, b"owner"), b"owner").place == place


@pytest.mark.parametrize("rules", RULES)
def test_a_list_that_keeps_its_order_is_read_no_more_often_than_before(rules):
    for count, size in ((120, 50), (120, 13), (23, 10), (50, 50)):
        made = Unstable(RULES[rules], count, lambda rows, *_: rows)
        assert ends_truly(made.pages(size), count)
        assert made.turn <= 4 + 4 * count // min(size, 10)


@pytest.mark.parametrize("count", ["more", "less"])
def test_a_count_that_is_always_wrong_ends_no_list(count):
    made = Unstable(Paging(count=count), 120, lambda rows, *_: rows)
    assert ends_truly(made.pages(50), 120)
    assert ends_truly(made.whole(), 120)


def test_a_place_of_an_older_version_is_read():
    assert Position(way=0, cursor=5, shown=5, marks=b"").place.trail.shown == 5

"""Lists of clouds of every kind, by chance: however CBR cuts a list and whatever its count counts,
the list shows every row or ends as UPSTREAM_PROTOCOL.
"""

import asyncio
import itertools
import random
from dataclasses import dataclass, replace

import pytest
from cbrgateway.v1 import options_pb2

from emulator.paging import Paging
from gateway.upstream import paging
from tests.unit.upstream.test_endless import ends
from tests.unit.upstream.test_paging import (
    LISTS,
    PAGED,
    Shelf,
    ends_truly,
    items,
    joined,
    rpc_of,
)

UNPAGED = [each for each in LISTS if each not in PAGED and each.operation]
"""Of CBR's, not of the gateway's own."""
COUNTS = ("total", "page", "so_far", "none", "less", "more")


class List(Shelf):
    """With what is known of the cloud, also where it is read whole; and one that is told to show
    all rows may cut them all the same.
    """

    async def read(self, ask, on_bad_row=None):
        unpaged = self.binding.paging == options_pb2.PAGING_SLICED
        return await super().read({"limit": 1000} | ask if unpaged else ask, on_bad_row)

    def whole(self):
        fit = self.fits.of("https://cbr", "project", "list")
        shown = asyncio.run(paging.whole(self.binding, self.read, fit))
        return [self._mark_of(row) for row in getattr(shown, self.rows_of.name)]


@dataclass(frozen=True)
class AnyLength:
    """Rules by which a page is as long as it happens to be."""

    rules: Paging
    chosen: random.Random

    def cut(self, rows, limit, offset, marker=None):
        cap = self.chosen.randint(1, min(limit, self.rules.cap))
        return replace(self.rules, cap=cap).cut(rows, limit, offset, marker)


def any_rules(chosen, rows, *, marker):
    """Some by which something leads on to the next row."""
    offset = chosen.choice(("rows", "rows", "pages", "pages_from_0", *(("ignored",) * marker)))
    rules = Paging(
        offset=offset,
        marker="honoured" if offset == "ignored" else chosen.choice(("honoured", "ignored")),
        cap=chosen.choice((1000, 2, 5, 10, 46, rows, chosen.randint(2, max(rows, 2)))),
        short=chosen.random() < 0.2,
        count=chosen.choice(COUNTS),
    )
    by_row = offset in {"rows", "ignored"}
    return AnyLength(rules, chosen) if by_row and chosen.random() < 0.2 else rules


def warmed(shelf, chosen):
    """After another list of the cloud, or none."""
    rows = shelf.items
    for count in chosen.choice(((), (chosen.randint(1, 60),))):
        shelf.items = items(count)
        ends(shelf, 50, list(range(count)))
    shelf.items = rows
    return shelf


@pytest.mark.parametrize("binding", PAGED + UNPAGED, ids=rpc_of)
def test_no_row_is_left_out_by_any_cloud_that_leads_on(binding):
    chosen = random.Random(binding.rpc)
    for rows in (1, 2, 3, 9, 10, 11, 20, 47, *chosen.sample(range(1, 121), 12)):
        rules = any_rules(chosen, rows, marker=binding.paging == options_pb2.PAGING_MARKER)
        shelf = warmed(List(binding, items(rows), rules), chosen)
        size, wanted = chosen.choice((50, 20, 7)), list(range(rows))
        shown = ends_truly(shelf.whole, wanted), ends(shelf, size, wanted)
        assert all(shown) or type(rules) is AnyLength, (rows, rules)


@pytest.mark.parametrize("count", ["page", "so_far"])
@pytest.mark.parametrize("binding", PAGED, ids=rpc_of)
def test_a_cut_page_whose_count_says_that_nothing_follows_ends_no_list(binding, count):
    """By markers alone, too, and once other lists were read."""
    for offset, cap in itertools.product(("rows", "pages", "pages_from_0", "ignored"), (2, 10, 46)):
        marked = offset == "ignored"
        if marked and binding.paging != options_pb2.PAGING_MARKER:
            continue
        rules = Paging(
            offset=offset, marker="honoured" if marked else "ignored", cap=cap, count=count
        )
        shelf = List(binding, items(60), rules)
        for _ in range(2):
            assert joined(shelf.walk(50)) == shelf.whole() == list(range(60)), rules


@pytest.mark.parametrize("count", ["page", "so_far"])
@pytest.mark.parametrize("binding", PAGED, ids=rpc_of)
def test_a_cloud_that_begins_to_count_in_another_way_is_seen_to(binding, count):
    """By a list that has fewer rows at once than a moment ago."""
    shelf = List(binding, items(60), Paging())
    assert joined(shelf.walk(50)) == list(range(60))
    shelf.rules = Paging(cap=10, count=count)
    assert joined(shelf.walk(50)) == shelf.whole() == list(range(60))


@pytest.mark.parametrize("binding", PAGED, ids=rpc_of)
def test_a_count_of_the_page_where_nothing_leads_on_makes_no_list(binding):
    shelf = List(binding, items(30), Paging("ignored", "ignored", cap=10, count="page"))
    assert not ends(shelf, 50)


@pytest.mark.parametrize("offset", ["rows", "pages", "pages_from_0"])
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("binding", UNPAGED, ids=rpc_of)
def test_a_list_that_cbr_pages_against_its_manual_is_read_whole(binding, count, offset):
    shelf = List(binding, items(30), Paging(offset=offset, cap=7, count=count))
    for _ in range(2):
        assert shelf.whole() == joined(shelf.walk(20)) == list(range(30))


@pytest.mark.parametrize("binding", UNPAGED, ids=rpc_of)
def test_that_a_list_is_not_paged_is_found_out_once(binding):
    shelf = List(binding, items(30), Paging(offset="ignored", marker="ignored", count="none"))
    assert [(shelf.whole(), shelf.reads)[1] for _ in range(3)] == [2, 3, 4]


@pytest.mark.parametrize("count", ["none", "total", "page"])
@pytest.mark.parametrize("binding", PAGED, ids=rpc_of)
def test_a_row_that_moves_to_the_front_between_two_pages_comes_last(binding, count):
    def move(shelf, pages):
        if len(pages) == 1:
            shelf.items.insert(0, shelf.items.pop(20))

    for size in (1, 7, 15):
        cap = 1000 if count != "page" else 7
        shelf = List(binding, items(30), Paging(count=count, cap=cap), between=move)
        assert sorted(joined(shelf.walk(size))) == list(range(30)), size


def test_several_rows_that_came_to_the_front_come_on_as_many_pages_as_they_need():
    def move(shelf, pages):
        if len(pages) == 1:
            shelf.items[:] = [*shelf.items[20:25], *items(3, 100), *shelf.items[:20]]

    shelf = List(PAGED[0], items(25), Paging(count="none"), between=move)
    pages = shelf.walk(3)
    assert joined(pages) == [*range(20), *range(20, 25), 100, 101, 102]


def test_a_count_that_proves_nothing_is_not_told():
    for count, told in (("page", False), ("so_far", False), ("total", True), ("more", True)):
        shelf, totals = List(PAGED[0], items(30), Paging(count=count, cap=10)), []
        plain = paging.Page.fetch

        async def fetch(page, *args, plain=plain, totals=totals):
            response = await plain(page, *args)
            totals.append(response.HasField("total_size"))
            return response

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(paging.Page, "fetch", fetch)
            shelf.walk(50)
        assert totals[0] is told, count

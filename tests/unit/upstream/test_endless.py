"""Answers that make up no list: every list ends, with all rows or as UPSTREAM_PROTOCOL."""

import itertools
import random

import pytest
from cbrgateway.v1 import errors_pb2, options_pb2

from emulator.paging import Paging
from gateway.errors import GatewayError
from gateway.upstream import trail
from tests.unit.upstream.test_paging import (
    COUNTS,
    LISTS,
    ONE_OF_EACH_KIND,
    Item,
    Shelf,
    items,
    rpc_of,
)

PAGED = [each for each in LISTS if each.paging != options_pb2.PAGING_SLICED]
COUNTED = [each for each in PAGED if "total_size" in each.descriptor.output_type.fields_by_name]


def ends(shelf, size, wanted=None):
    """Whether a list ends with the rows that are wanted; else it must end as UPSTREAM_PROTOCOL."""
    try:
        seen = list(itertools.chain(*shelf.walk(size, most_pages=700)))
    except GatewayError as error:
        if error.reason != errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL:
            raise
        return False
    assert wanted is None or seen == wanted
    return True


SAME = {
    "one id": lambda number: Item("same", number),
    "no id": lambda number: Item("", number),
    "each id twice": lambda number: Item(f"id-{number // 2}", number),
    "one row": lambda _number: Item("same", 0),
    "one row without an id": lambda _number: Item("", 0),
}


@pytest.mark.parametrize("rows_of", SAME)
@pytest.mark.parametrize("binding", LISTS, ids=rpc_of)
def test_a_list_whose_rows_share_their_id_ends_where_nothing_leads_on(binding, rows_of):
    for count, rows, size in (("total", 7, 3), ("none", 7, 7), ("total", 25, 7)):
        made = [SAME[rows_of](number) for number in range(rows)]
        rules = Paging(offset="ignored", marker="ignored", count=count)
        ends(Shelf(binding, made, rules), size, [item.mark for item in made])


def shuffled(shelf, chosen):
    chosen.shuffle(shelf.items)


def turned(shelf, _chosen):
    """The pages come in turns, whatever was asked for."""
    shelf.items[:] = shelf.items[30:] + shelf.items[:30]


def reversed_(shelf, _chosen):
    shelf.items.reverse()


def grown(shelf, _chosen):
    shelf.items.append(Item(f"id-{len(shelf.items)}", len(shelf.items)))


def grown_in_front(shelf, _chosen):
    shelf.items.insert(0, Item(f"id-{len(shelf.items)}", len(shelf.items)))


def renewed(shelf, _chosen):
    first = shelf.items[-1].mark + 1
    shelf.items[:] = items(len(shelf.items), first)


def cut(shelf, chosen):
    """Each answer begins anywhere."""
    at = chosen.randrange(len(shelf.items))
    shelf.items[:] = shelf.items[at:] + shelf.items[:at]


CHANGES = (shuffled, turned, reversed_, grown, grown_in_front, renewed, cut)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("binding", ONE_OF_EACH_KIND[:4], ids=rpc_of)
def test_a_list_ends_whose_pages_are_others_at_each_call(binding, change, monkeypatch):
    """Of rows that are new each time there may be very many, but not without end."""
    monkeypatch.setattr(trail, "_MOST_ROWS", 200)
    chosen = random.Random(f"{binding.rpc} {change.__name__}")
    for offset in ("rows", "pages", "ignored"):
        marker, count = chosen.choice(("honoured", "ignored")), chosen.choice(COUNTS)
        rules = Paging(offset=offset, count=count, marker=marker)
        rows, size = chosen.choice(((7, 3), (60, 7), (120, 50)))
        shelf = Shelf(binding, items(rows), rules, within=lambda here: change(here, chosen))
        ends(shelf, size)


@pytest.mark.parametrize("count", ["total", "none"])
@pytest.mark.parametrize("binding", PAGED, ids=rpc_of)
def test_a_list_that_begins_again_behind_its_end_ends(binding, count):
    for rows, size in ((7, 7), (30, 7), (120, 50)):
        shelf = Shelf(binding, items(rows), Paging(count=count, missing_marker="start"))
        plain = shelf.read

        async def read(ask, on_bad_row=None, plain=plain, rows=rows):
            beyond = int(ask.get("offset", 0)) >= rows
            return await plain(ask | {"offset": 0} if beyond else ask, on_bad_row)

        shelf.read = read
        ends(shelf, size, list(range(rows)))


@pytest.mark.parametrize("count", ["total", "none"])
@pytest.mark.parametrize("rows", [20, 100])
@pytest.mark.parametrize("binding", ONE_OF_EACH_KIND[:4], ids=rpc_of)
def test_a_list_that_goes_round_ends(binding, rows, count):
    """Each window is as long as was asked for: the first rows come behind the last one."""
    shelf = Shelf(binding, items(rows), Paging())

    async def read(ask, _on_bad_row=None):
        first = int(ask.get("offset", 0))
        if "marker" in ask:
            first = int(ask["marker"].removeprefix("id-")) + 1
        shown = [shelf.items[(first + at) % rows] for at in range(int(ask["limit"]))]
        known = "total_size" in binding.descriptor.output_type.fields_by_name
        return binding.response_type(
            **{shelf.rows_of.name: [shelf._row(item) for item in shown]},
            **({"total_size": rows} if known and count == "total" else {}),
        )

    shelf.read = read
    ends(shelf, 7)


@pytest.mark.parametrize("read", [lambda shelf: shelf.walk(7), Shelf.all], ids=["pages", "whole"])
@pytest.mark.parametrize("binding", COUNTED, ids=rpc_of)
def test_no_rows_and_a_count_of_them_are_no_empty_list(binding, read):
    with pytest.raises(GatewayError) as failed:
        read(Shelf(binding, [], Paging(count="more")))
    assert failed.value.reason == errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL

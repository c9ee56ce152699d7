"""Lists with rows that cannot be read: each is counted once, no other is lost, and every list
ends.
"""

import asyncio
import itertools

import pytest
from cbrgateway.v1 import errors_pb2

from emulator.errors import ApiError
from emulator.paging import Paging
from gateway.errors import GatewayError
from gateway.operations import load_catalog
from gateway.upstream import paging
from gateway.upstream.page_tokens import PageTokens
from gateway.upstream.rows import in_order, row_id, unreadable_row
from gateway.upstream.values import ProtocolError
from tests.fakes import SteppedClock

CATALOG = load_catalog()
VAULTS, BACKUPS, POLICIES = (
    CATALOG[rpc]
    for rpc in (
        "VaultService/ListVaults",
        "BackupService/ListBackups",
        "PolicyService/ListPolicies",
    )
)


def good(number):
    return {"id": f"v{number}", "name": "n"}


BAD = {
    "null": lambda number: {"id": None, "name": f"bad{number}"},
    "empty": lambda number: {"id": "", "name": f"bad{number}"},
    "no object": lambda number: number,
    "alike": lambda _number: None,
}
PLACES = {
    "first": {0},
    "last": {22},
    "middle": {7},
    "a page": range(10, 20),
    "every other": range(0, 23, 2),
    "tail": range(13, 23),
    "head": range(12),
    "all": range(23),
}


class Answers:
    """A list of CBR as JSON, with the rule by which it is paged."""

    def __init__(self, binding, rows, rules):
        self.binding, self.rows, self.rules = binding, rows, rules
        self.key = next(
            key
            for key, reader in binding.response_plan.readers.items()
            if reader.name == binding.response_plan.rows
        )

    async def read(self, ask, on_bad_row):
        shown, count = self.rules.cut(
            [_Row(row) for row in self.rows],
            int(ask.get("limit", 1000)),
            int(ask.get("offset", 0)),
            ask.get("marker"),
        )
        answer = {self.key: [row.json for row in shown]} | (
            {} if count is None else {"count": count}
        )
        return self.binding.response(answer, on_bad_row)

    async def walk(self, size):
        """The ids of all rows, and how many could not be read."""
        tokens, request, ids, unreadable = (
            PageTokens(b"key", SteppedClock(1e6)),
            self.binding.request_type(page_size=size),
            [],
            0,
        )
        for _ in range(60):
            page = await paging.plan_page(self.binding, request, tokens, "scope").fetch(self.read)
            ids += [row.id for row in getattr(page, self.binding.response_plan.rows)]
            unreadable += page.unreadable_rows
            request.page_token = page.next_page_token
            if not request.page_token:
                return ids, unreadable
        raise AssertionError("the list never ends")


class _Row:
    """A row as the rules look at it."""

    def __init__(self, row):
        self.json, self.id = row, row.get("id") if type(row) is dict else None


def listed(bad, places, count=23):
    return [BAD[bad](number) if number in places else good(number) for number in range(count)]


def shown(binding, rows, rules, size):
    """What a list shows of rows; None: it ends as UPSTREAM_PROTOCOL."""
    try:
        return asyncio.run(Answers(binding, rows, rules).walk(size))
    except GatewayError as error:
        assert error.reason == errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL  # noqa: PT017
        return None
    except ApiError:
        raise AssertionError("CBR was asked for a marker that it does not know") from None


@pytest.mark.parametrize("places", PLACES)
@pytest.mark.parametrize("bad", ["null", "empty", "no object"])
def test_a_row_that_cannot_be_read_is_counted_once_and_costs_no_other(bad, places):
    rows = listed(bad, PLACES[places])
    wanted = [row["id"] for row in rows if type(row) is dict and row["id"]], len(PLACES[places])
    for binding, count, offset, cap, size in itertools.product(
        (VAULTS, POLICIES), ("total", "none", "less"), ("rows", "pages"), (1000, 5), (2, 10, 50)
    ):
        if binding is POLICIES and (cap < 1000 or offset == "pages"):
            continue
        assert shown(binding, rows, Paging(offset=offset, cap=cap, count=count), size) == wanted, (
            binding.rpc,
            count,
            offset,
            cap,
            size,
        )


@pytest.mark.parametrize("places", [{4}, {9, 10}, {22}])
def test_a_list_that_heeds_markers_alone_goes_on_behind_a_row_without_an_id(places):
    rows = listed("null", places)
    assert shown(BACKUPS, rows, Paging(offset="ignored", cap=5, count="none"), 5) == (
        [row["id"] for row in rows if row["id"]],
        len(places),
    )


@pytest.mark.parametrize("offset", ["rows", "pages", "pages_from_0"])
def test_a_list_of_rows_that_are_all_alike_ends(offset):
    """Nothing tells them from each other: the list may end as an error, but never without rows that
    can be read.
    """
    for places, count, cap, size in itertools.product(
        PLACES.values(), ("total", "none"), (1000, 5), (2, 10)
    ):
        rows = listed("alike", places)
        found = shown(VAULTS, rows, Paging(offset=offset, cap=cap, count=count), size)
        assert found is None or {row["id"] for row in rows if row} <= set(found[0]), (
            places,
            count,
            cap,
            size,
        )


def test_the_caller_hears_of_rows_with_their_ids():
    heard = []
    VAULTS.response(
        {"vaults": [good(0), {"id": "x", "resources": 1} | {"id": ""}, None, good(1)]}, heard.append
    )
    assert [(row.index, row.id) for row in heard] == [(1, ""), (2, "")]
    CATALOG["TaskService/ListTasks"].response(
        {"operation_logs": [{"id": "t", "status": None}]}, heard.append
    )
    assert (heard[-1].id, row_id(heard[-1])) == ("t", "t")


def test_rows_stand_in_the_order_of_the_answer():
    bad = [unreadable_row(index, {"at": index}, "is bad") for index in (0, 2, 3)]
    rows = in_order([VAULTS.response_type().vaults.add(id="a")], bad)
    assert [row_id(row) for row in rows] == [bad[0].digest, "a", bad[1].digest, bad[2].digest]
    assert len({row_id(row) for row in rows}) == 4


@pytest.mark.parametrize(
    ("rpc", "answer"),
    [
        ("VaultService/GetVault", {"vault": {"id": "", "name": "n"}}),
        ("VaultService/CreateVault", {"vault": {"id": "", "name": "n"}}),
        ("TaskService/GetTask", {"operation_log": {"id": "", "status": "running"}}),
    ],
)
def test_an_empty_id_is_as_none(rpc, answer):
    with pytest.raises(ProtocolError):
        CATALOG[rpc].response(answer)

"""Lists against every rule by which CBR could page, and while they change: no row is left out, and
every list ends.
"""

import asyncio
import itertools
import random
from dataclasses import dataclass, field, replace

import pytest
from cbrgateway.v1 import errors_pb2, options_pb2

from emulator.errors import ApiError
from emulator.paging import Paging
from gateway.errors import AnswerTooLarge, GatewayError
from gateway.operations import load_catalog
from gateway.upstream import paging
from gateway.upstream.page_fits import PageFits
from gateway.upstream.page_tokens import PageTokens
from gateway.upstream.rows import identity, row_id
from gateway.upstream.trail import NOTHING
from tests.fakes import SteppedClock

LISTS = [binding for binding in load_catalog() if binding.paging]
PAGED = [each for each in LISTS if each.paging != options_pb2.PAGING_SLICED]
ONE_OF_EACH_KIND = [
    next(binding for binding in LISTS if binding.rpc == rpc)
    for rpc in (
        "VaultService/ListVaults",
        "VaultService/QueryVaultsByTag",
        "BackupService/ListBackups",
        "ProtectabilityService/ListProtectables",
        "PolicyService/ListPolicies",
    )
]
OFFSETS = ("rows", "pages", "pages_from_0", "ignored")
COUNTS = ("total", "page", "less", "more", "none")
MISSING = [
    Paging(missing_marker=word) for word in ("empty", "bad_request", "not_found", "start")
] + [Paging(marker="ignored")]
NOW = 1_000_000.0


def rpc_of(binding):
    return binding.rpc


@dataclass(frozen=True)
class Item:
    """A row of CBR. `mark` tells rows with one id apart."""

    id: str
    mark: int


@dataclass
class Shelf:
    """A list of CBR with the rule by which it is paged.

    `between` is called after each page that a caller has got, `within` before each read.
    """

    binding: object
    items: list
    rules: Paging = field(default_factory=Paging)
    between: object = None
    within: object = None
    reads: int = 0
    fitting: int = 1000
    """Rows that one answer can hold."""
    too_large: object = None
    """The item that none can."""
    unreadable: int = 0
    fits: PageFits = field(default_factory=lambda: PageFits(SteppedClock(NOW)))

    def __post_init__(self):
        self.rows_of = next(
            f
            for f in self.binding.descriptor.output_type.fields
            if f.is_repeated and f.message_type
        )
        self.identity = identity(self.rows_of.message_type)
        free = [
            f
            for f in self.rows_of.message_type.fields
            if f.type in {f.TYPE_STRING, f.TYPE_INT64} and f.name not in self.identity
        ]
        self.mark = min(free, key=lambda f: (f.type != f.TYPE_STRING, f.is_repeated))

    def _row(self, item):
        mark = str(item.mark) if self.mark.type == self.mark.TYPE_STRING else item.mark
        return dict.fromkeys(self.identity, item.id) | {
            self.mark.name: [mark] if self.mark.is_repeated else mark
        }

    def _mark_of(self, row):
        mark = getattr(row, self.mark.name)
        return int(mark[0] if self.mark.is_repeated else mark)

    async def read(self, ask, _on_bad_row=None):
        self.reads += 1
        if self.within:
            self.within(self)
        if min(int(ask.get("limit", 1000)), len(self.items)) > self.fitting:
            raise AnswerTooLarge(errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL, "too large")
        if self.binding.paging == options_pb2.PAGING_SLICED and not ask:
            return self.binding.response_type(
                **{self.rows_of.name: [self._row(item) for item in self.items]}
            )
        try:
            shown, count = self.rules.cut(
                self.items, int(ask["limit"]), int(ask.get("offset", 0)), ask.get("marker")
            )
        except ApiError as error:
            reason = (
                errors_pb2.ERROR_REASON_BACKUP_NOT_FOUND
                if error.status == 404
                else errors_pb2.ERROR_REASON_FIELD_INVALID
            )
            raise GatewayError(reason, "the marker is not known") from None
        if self.too_large in shown:
            raise AnswerTooLarge(errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL, "too large")
        counted = (
            {"total_size": count}
            if count is not None
            and "total_size" in self.binding.descriptor.output_type.fields_by_name
            else {}
        )
        return self.binding.response_type(
            **{self.rows_of.name: [self._row(item) for item in shown]}, **counted
        )

    def walk(self, *sizes, most_pages=400):
        """The marks of all rows, page by page; sizes come in turns."""
        return asyncio.run(self._walk(itertools.cycle(sizes), most_pages))

    async def _walk(self, sizes, most_pages):
        tokens = PageTokens(b"key", SteppedClock(NOW))
        request, pages = self.binding.request_type(), []
        while not pages or request.page_token:
            request.page_size = next(sizes)
            fit = self.fits.of("https://cbr", "project", "list")
            response = await paging.plan_page(self.binding, request, tokens, "scope", fit).fetch(
                self.read
            )
            pages.append([self._mark_of(row) for row in getattr(response, self.rows_of.name)])
            self.unreadable += getattr(response, "unreadable_rows", 0)
            assert len(pages[-1]) <= request.page_size
            request.page_token = response.next_page_token
            assert len(request.page_token) <= 1300
            assert len(pages) <= most_pages, "the list never ends"
            if self.between:
                self.between(self, pages)
        return pages

    def all(self):
        return [
            self._mark_of(row)
            for row in getattr(
                asyncio.run(paging.whole(self.binding, self.read)), self.rows_of.name
            )
        ]


def items(count, first=0):
    return [Item(f"id-{number}", number) for number in range(first, first + count)]


def joined(pages):
    return [mark for page in pages for mark in page]


def ends_truly(read, wanted):
    """Whether a list shows all rows once; else it must end as UPSTREAM_PROTOCOL."""
    try:
        seen = read()
    except GatewayError as error:
        if error.reason != errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL:
            raise
        return False
    assert seen == wanted
    return True


# A list that does not change
# --------------------------------------------------------------------------------------------------

IDS = {
    "equal": lambda _number: "same",
    "empty": lambda _number: "",
    "in pairs": lambda number: f"id-{number // 2}",
    "one twice": lambda number: f"id-{0 if number == 6 else number}",
}


@pytest.mark.parametrize("count", ["total", "none"])
@pytest.mark.parametrize("ids", IDS)
@pytest.mark.parametrize("binding", ONE_OF_EACH_KIND, ids=rpc_of)
def test_every_row_comes_once_whatever_its_id(binding, ids, count):
    for rows, size in itertools.product((1, 6, 7, 13), (1, 3, 7)):
        shelf = Shelf(
            binding, [Item(IDS[ids](number), number) for number in range(rows)], Paging(count=count)
        )
        assert joined(shelf.walk(size)) == list(range(rows)), (rows, size)


RULES = [
    Paging(offset=offset, cap=cap, short=short, count="none")
    for offset in OFFSETS
    for cap in (1, 4, 7, 1000)
    for short in (False, True)
]
RULES += [
    Paging(offset=offset, count=count, marker=marker)
    for offset in OFFSETS
    for count in COUNTS
    for marker in ("honoured", "ignored")
]


@pytest.mark.parametrize(
    "binding",
    [binding for binding in LISTS if binding.paging != options_pb2.PAGING_SLICED],
    ids=rpc_of,
)
def test_every_row_comes_once_by_whatever_rule_cbr_pages(binding):
    """Where nothing in a list leads on, it ends as UPSTREAM_PROTOCOL: only if CBR heeds neither
    offset nor marker.
    """
    chosen = random.Random(binding.rpc)
    for rules in chosen.sample(RULES, 24):
        rows, size = chosen.choice(((1, 7), (7, 7), (23, 7), (23, 1), (120, 50)))
        wanted = items(rows)
        leads_on = rules.offset != "ignored" or (
            rules.marker == "honoured" and binding.paging == options_pb2.PAGING_MARKER
        )
        for read in (
            lambda made: joined(made.walk(size)),  # noqa: B023 - called at once
            Shelf.all,
        ):
            shelf = Shelf(binding, wanted, rules)
            shown = ends_truly(lambda: read(shelf), list(range(rows)))  # noqa: B023
            assert shown or not leads_on, (rules, rows, size)


@pytest.mark.parametrize("binding", LISTS, ids=rpc_of)
def test_no_number_of_rows_is_special(binding):
    first = LISTS.index(binding)
    for rows in range(1, 121):
        at = first + rows
        rules = replace(RULES[at % len(RULES)], offset=OFFSETS[at % 3])
        assert joined(Shelf(binding, items(rows), rules).walk(50, 7, 20)) == list(range(rows)), (
            rules,
            rows,
        )


@pytest.mark.parametrize(
    ("rows", "calls"),
    [
        (0, 1),
        (1, 1),
        (3, 1),
        (49, 1),
        (50, 2),
        (51, 2),
        (95, 2),
        (96, 2),
        (99, 2),
        (100, 3),
        (149, 3),
        (150, 4),
    ],
)
def test_a_list_that_pages_as_the_manual_says_costs_no_call_more(rows, calls):
    """A full page does not say whether it was the last one.

    What CBR counts is looked at by three calls at most, once.
    """
    shelf = Shelf(ONE_OF_EACH_KIND[0], items(rows))
    assert len(shelf.walk(50)) == calls
    assert shelf.reads <= calls + 3
    shelf.reads = 0
    assert len(shelf.walk(50)) == calls
    assert shelf.reads == calls
    shelf.items, shelf.reads = items(2), 0
    shelf.walk(50)
    shelf.items, shelf.reads = items(rows), 0
    # One row after two may be what a page was cut to.
    assert len(shelf.walk(50)) == calls
    assert shelf.reads == calls + (rows == 1)


def test_a_count_is_looked_at_again_after_some_hours_and_once_an_answer_contradicts_it():
    shelf = Shelf(ONE_OF_EACH_KIND[0], items(30))
    reads = []
    for change in (
        lambda: None,
        lambda: None,
        lambda: shelf.fits._clock.advance(4 * 3600 + 1),
        lambda: None,
        lambda: setattr(shelf, "rules", Paging(count="page")),
        lambda: setattr(shelf, "rules", Paging()),
    ):
        change()
        shelf.reads = 0
        assert joined(shelf.walk(20)) == list(range(30))
        reads.append(shelf.reads)
    assert reads[1] == reads[3] == 2
    assert reads[0] == reads[2] == 4
    assert reads[5] > 2


@pytest.mark.parametrize("offset", ["rows", "pages", "pages_from_0"])
@pytest.mark.parametrize("cap", [1, 5, 10, 46])
@pytest.mark.parametrize("binding", PAGED, ids=rpc_of)
def test_a_page_that_is_cut_and_counts_its_own_rows_ends_no_list(binding, cap, offset):
    rules = Paging(offset=offset, marker="ignored", cap=cap, count="page")
    for rows in (cap - 1, cap, cap + 1, 2 * cap, 2 * cap + 2, 120):
        shelf = Shelf(binding, items(rows), rules)
        for _ in range(2):
            assert joined(shelf.walk(50)) == shelf.all() == list(range(rows))


MARKED = [binding for binding in PAGED if binding.paging == options_pb2.PAGING_MARKER]


@pytest.mark.parametrize("cap", [1, 5, 10, 46])
@pytest.mark.parametrize("binding", MARKED, ids=rpc_of)
def test_where_markers_alone_lead_on_a_page_that_counts_its_own_rows_ends_no_list(binding, cap):
    """Point 9: no offset shows that there is more."""
    rules = Paging(offset="ignored", cap=cap, count="page")
    for rows in (cap - 1, cap, cap + 1, 2 * cap + 2, 120):
        shelf = Shelf(binding, items(rows), rules)
        assert joined(shelf.walk(50)) == shelf.all() == list(range(rows))


@pytest.mark.parametrize("missing", ["empty", "bad_request", "not_found", "start"])
@pytest.mark.parametrize("binding", MARKED[:1], ids=rpc_of)
def test_the_last_row_of_such_a_page_may_be_deleted_meanwhile(binding, missing):
    """Point 9: what CBR says of a marker that is gone is no end of a list."""
    shelf = Shelf(
        binding,
        items(30),
        Paging(offset="ignored", cap=10, count="page", missing_marker=missing),
    )
    last = shelf.items[9]
    shelf.within = lambda shelf: (
        shelf.items.remove(last) if shelf.reads == 5 and last in shelf.items else None
    )
    assert set(joined(shelf.walk(50))) >= {*range(30)} - {9}
    assert last not in shelf.items


def test_where_nothing_shows_what_is_counted_it_is_looked_for_once():
    rules = Paging(offset="ignored", marker="ignored", cap=10)
    shelf = Shelf(ONE_OF_EACH_KIND[0], items(10), rules)
    reads = [(len(shelf.walk(50)), shelf.reads) for _ in range(3)]
    assert reads == [(1, 5), (1, 6), (1, 7)]


@pytest.mark.parametrize("place", [0, 3, 11, 29])
@pytest.mark.parametrize("binding", PAGED, ids=rpc_of)
def test_a_row_that_is_too_large_alone_costs_itself(binding, place):
    shelf = Shelf(binding, items(30))
    shelf.too_large = shelf.items[place]
    rest = [*range(place), *range(place + 1, 30)]
    assert joined(shelf.walk(10)) == rest
    assert shelf.unreadable == 1
    assert shelf.reads < 8 * 30
    assert shelf.all() == rest


def test_a_list_of_which_not_even_one_row_fits_is_no_list_of_rows_that_are_too_large():
    """As where no limit is heeded."""
    shelf = Shelf(ONE_OF_EACH_KIND[0], items(30), fitting=0)
    with pytest.raises(GatewayError, match="One row of the list, at offset 0, is larger"):
        shelf.walk(50)
    shelf = Shelf(ONE_OF_EACH_KIND[0], items(30))
    plain = shelf.read

    async def read(ask, on_bad_row=None):
        return await plain(ask | {"limit": 30 if "offset" in ask else 1000}, on_bad_row)

    shelf.read, shelf.too_large = read, shelf.items[0]
    with pytest.raises(GatewayError, match="One row of the list, at offset 0, is larger"):
        shelf.walk(50)


def test_where_markers_alone_lead_on_a_row_that_is_too_large_is_named_by_its_place():
    shelf = Shelf(ONE_OF_EACH_KIND[2], items(30), Paging(offset="ignored", count="none"))
    shelf.too_large = shelf.items[12]
    with pytest.raises(GatewayError, match="One row of the list, behind id-11, is larger"):
        shelf.walk(10)


def test_where_rows_are_not_counted_an_empty_window_confirms_the_end():
    """And the first one shows whether a row came to the front meanwhile."""
    shelf = Shelf(ONE_OF_EACH_KIND[0], items(30), Paging(count="none"))
    assert len(shelf.walk(50)) == 2
    assert shelf.reads == 4


def test_a_caller_who_knows_the_way_does_not_look_for_it_again():
    shelf = Shelf(ONE_OF_EACH_KIND[3], items(120), Paging(offset="pages", marker="ignored"))
    reads = []
    shelf.between = lambda here, _pages: reads.append(here.reads)
    assert joined(shelf.walk(50)) == list(range(120))
    assert [after - before for before, after in itertools.pairwise(reads)][1:] == [2] * (
        len(reads) - 2
    ), reads


@pytest.mark.parametrize(
    "binding",
    [each for each in ONE_OF_EACH_KIND if each.paging != options_pb2.PAGING_SLICED],
    ids=rpc_of,
)
def test_how_many_large_rows_fit_is_found_out_once_for_a_while(binding):
    shelf = Shelf(binding, items(30), fitting=9)
    shelf.items = items(2)
    shelf.walk(20)  # shows what is counted
    shelf.items, shelf.reads = items(30), 0
    assert joined(shelf.walk(20)) == list(range(30))
    first, shelf.reads = shelf.reads, 0
    assert joined(shelf.walk(20)) == list(range(30))
    assert shelf.reads < first
    again, shelf.reads = shelf.reads, 0
    shelf.fits._clock.advance(601)
    assert joined(shelf.walk(20)) == list(range(30))
    assert shelf.reads == first > again


SLICED = [binding for binding in LISTS if binding.paging == options_pb2.PAGING_SLICED]
COUNTED = [binding for binding in SLICED if "count" in binding.response_plan.readers]


def test_lists_that_are_shown_as_a_whole_tell_how_many_rows_there_are():
    assert {binding.rpc for binding in COUNTED} == {
        "PolicyService/ListPolicies",
        "OrganizationPolicyService/ListOrganizationPolicyDeployments",
    }


@pytest.mark.parametrize("binding", COUNTED, ids=rpc_of)
def test_a_list_that_cbr_shows_as_a_whole_and_counts_more_of_is_paged_after_all(binding):
    shelf = Shelf(binding, items(30), Paging(cap=7))

    async def read(ask, _on_bad_row):
        return await shelf.read({"limit": 1000} | ask)

    shown = asyncio.run(paging.whole(binding, read))
    assert [shelf._mark_of(row) for row in getattr(shown, shelf.rows_of.name)] == list(range(30))
    assert shown.total_size == 30


# A list that changes
# --------------------------------------------------------------------------------------------------


def churn(chosen, kept):
    """Deletes and inserts at any place; `kept` holds the rows that have been there all the time."""
    fresh = itertools.count(1000)

    def change(shelf, *_pages):
        for _ in range(chosen.choice((0, 1, 2, 5, 12))):
            rows = shelf.items
            place = chosen.randrange(len(rows) + 1)
            if chosen.random() < 0.4:
                number = next(fresh)
                rows.insert(chosen.choice((0, place)), Item(f"id-{number}", number))
            else:
                many = chosen.choice((1, 1, 1, 9))
                kept.difference_update(item.mark for item in rows[place : place + many])
                del rows[place : place + many]

    return change


WITH_MARKER = [
    (offset, rules)
    for offset in OFFSETS
    for rules in MISSING
    if (offset, rules.marker) != ("ignored", "ignored")
]
CHANGING = [
    pytest.param(
        binding, offset, rules, id=f"{binding.rpc}-{offset}-{rules.marker}-{rules.missing_marker}"
    )
    for binding in ONE_OF_EACH_KIND
    for offset, rules in (
        WITH_MARKER
        if binding.paging == options_pb2.PAGING_MARKER
        else [(offset, MISSING[0]) for offset in OFFSETS[:3]]
    )
]


@pytest.mark.parametrize(("binding", "offset", "rules"), CHANGING)
def test_no_row_is_left_out_while_others_come_and_go_between_pages(binding, offset, rules):
    for seed in range(12):
        chosen = random.Random(seed)
        rows, kept = chosen.choice((5, 12, 40, 90)), set()
        kept.update(range(rows))
        shelf = Shelf(
            binding, items(rows), replace(rules, offset=offset), between=churn(chosen, kept)
        )
        seen = joined(shelf.walk(chosen.choice((1, 3, 7, 20))))
        assert kept <= set(seen), seed


@pytest.mark.parametrize("offset", OFFSETS[:3])
@pytest.mark.parametrize("binding", ONE_OF_EACH_KIND[:4], ids=rpc_of)
def test_no_row_is_left_out_while_others_come_and_go_between_the_calls_of_one_page(binding, offset):
    for seed in range(25):
        chosen = random.Random(seed)
        rows, kept = chosen.choice((5, 12, 40, 90)), set()
        kept.update(range(rows))
        shelf = Shelf(binding, items(rows), Paging(offset=offset))
        shelf.walk(50)  # shows what is counted
        shelf.within = churn(chosen, kept)
        try:
            assert kept <= set(joined(shelf.walk(chosen.choice((1, 3, 7, 20))))), seed
        except GatewayError as error:
            assert error.reason == errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL  # noqa: PT017
            assert offset != "rows", seed


@pytest.mark.parametrize("binding", ONE_OF_EACH_KIND, ids=rpc_of)
@pytest.mark.parametrize("size", [1, 4, 7, 20])
def test_who_deletes_each_page_sees_every_row_once(binding, size):
    def clear(shelf, pages):
        shelf.items = [item for item in shelf.items if item.mark not in pages[-1]]

    assert joined(Shelf(binding, items(60), between=clear).walk(size)) == list(range(60))


@pytest.mark.parametrize("binding", ONE_OF_EACH_KIND, ids=rpc_of)
@pytest.mark.parametrize("gone", [1, 4, 7, 12])
def test_rows_deleted_in_front_or_at_the_end_of_a_page_move_no_other_out_of_sight(binding, gone):
    for first in (0, 14 - gone):

        def clear(shelf, pages, first=first):
            if len(pages) == 2:
                del shelf.items[first : first + gone]

        assert joined(Shelf(binding, items(60), between=clear).walk(7)) == list(range(60)), first


@pytest.mark.parametrize("deleted", [*range(10, 101, 10)])
def test_where_many_were_deleted_few_rows_are_shown_twice(deleted):
    """A token cannot know all rows: it keeps marks of the last 32, and of every fourth, eighth...
    before.
    """

    def clear(shelf, pages):
        if len(pages) == 3:
            del shelf.items[150 - deleted : 150]

    seen = joined(Shelf(ONE_OF_EACH_KIND[0], items(300), between=clear).walk(50))
    assert sorted(set(seen)) == list(range(300))
    assert len(seen) - 300 < 8


# Parts
# --------------------------------------------------------------------------------------------------


def test_a_row_without_an_id_of_its_own_is_told_by_all_of_its_keys():
    (binding,) = (
        b for b in LISTS if b.rpc == "OrganizationPolicyService/ListOrganizationPolicyDeployments"
    )
    row = {"policy_id": "p", "domain_id": "d", "project_id": "a"}
    response = binding.response_type(deployments=[row, row | {"project_id": "b"}])
    assert len({row_id(found) for found in response.deployments}) == 2


def test_a_token_stays_small_however_long_the_list():
    binding, trail = ONE_OF_EACH_KIND[0], NOTHING
    response = binding.response_type(vaults=[{"id": item.id} for item in items(10_000)])
    for start in range(0, 10_000, 200):
        trail = trail.then(response.vaults[start : start + 200])
    token = PageTokens(b"key", SteppedClock(NOW)).make(paging.Place(trail, 0, 10_000), b"owner" * 3)
    assert len(token) < 1300
    assert trail.newest_in(response.vaults[9_000:], None).index == 999


@pytest.mark.parametrize(("ahead_s", "good"), [(2, True), (299, True), (302, False)])
def test_a_token_of_a_replica_whose_clock_is_ahead_is_good(ahead_s, good):
    token = PageTokens(b"key", SteppedClock(NOW + ahead_s)).make(paging.Place(cursor=5), b"owner")
    ours = PageTokens(b"key", SteppedClock(NOW))
    if good:
        assert ours.read(token, b"owner").place.cursor == 5
    else:
        with pytest.raises(GatewayError):
            ours.read(token, b"owner")


@pytest.mark.parametrize(
    ("rpc", "first", "most"),
    [("ProtectabilityService/ListProtectables", 50, 50), ("BackupService/ListBackups", 50, 204)],
)
def test_no_more_rows_are_asked_for_than_cbr_promises(rpc, first, most):
    (binding,) = (b for b in LISTS if b.rpc == rpc)
    for size, least in ((0, first), (5000, paging.max_size(binding))):
        asked = []
        shelf = Shelf(binding, items(230))

        async def read(ask, _on_bad_row, shelf=shelf, asked=asked):
            asked.append(ask["limit"])
            return await Shelf.read(shelf, ask)

        shelf.read = read
        assert joined(shelf.walk(size or 50)) == list(range(230))
        assert asked[0] == least
        assert max(asked) <= most

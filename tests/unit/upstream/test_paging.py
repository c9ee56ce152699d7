"""Lists whose rows have no id, or the same one: every list ends, and a list that does not change shows every row once."""

import pytest
from cbrgateway.v1 import options_pb2

from gateway.errors import GatewayError
from gateway.upstream import paging
from gateway.upstream.catalog import load_catalog
from tests.fakes import SteppedClock

LISTS = [binding for binding in load_catalog() if binding.paging]
IDS = {
    "different": lambda number: f"id-{number}",
    "equal": lambda _number: "same",
    "empty": lambda _number: "",
    "in pairs": lambda number: f"id-{number // 2}",
    "one twice": lambda number: f"id-{0 if number == 6 else number}",
}
NOW = 1_000_000.0


class Shelf:
    """A list of CBR: its rows have ids of one kind and a mark each, by which they are told apart here."""

    def __init__(self, binding, ids, count):
        self.binding = binding
        self.field = next(f for f in binding.descriptor.output_type.fields if f.is_repeated and f.message_type)
        identity = paging._identity(self.field.message_type)
        free = [f for f in self.field.message_type.fields if f.type in {f.TYPE_STRING, f.TYPE_INT64} and f.name not in identity]
        self.mark = min(free, key=lambda f: (f.type != f.TYPE_STRING, f.is_repeated))
        kind = str if self.mark.type == self.mark.TYPE_STRING else int
        marks = [[kind(number)] if self.mark.is_repeated else kind(number) for number in range(count)]
        self.rows = [{name: IDS[ids](number) for name in identity} | {self.mark.name: mark} for number, mark in enumerate(marks)]

    def answer(self, ask, *, total):
        start = int(ask.get("offset", 0))
        if "marker" in ask:
            start = [row["id"] for row in self.rows].index(ask["marker"]) + 1
        part = self.rows[start:][: int(ask.get("limit", len(self.rows)))]
        fields = {self.field.name: part}
        if total and self.binding.paging != options_pb2.PAGING_SLICED and "total_size" in self.binding.descriptor.output_type.fields_by_name:
            fields["total_size"] = len(self.rows)
        return self.binding.response_type(**fields)

    def walk(self, size, *, total=True):
        """The marks of all rows, page by page."""
        tokens = paging.PageTokens(b"key", SteppedClock(NOW))
        request, pages = self.binding.request_type(page_size=size), []
        while not pages or request.page_token:
            page = paging.plan_page(self.binding, request, tokens, "scope")
            response = page.cut(self.answer(page.ask, total=total))
            pages.append([getattr(row, self.mark.name) for row in getattr(response, self.field.name)])
            request.page_token = response.next_page_token
            assert len(pages) <= len(self.rows) + 2, "the list never ends"
        return pages


@pytest.mark.parametrize(
    ("binding", "ids"),
    [
        pytest.param(binding, ids, id=f"{binding.rpc}-{ids}")
        for binding in LISTS
        for ids in IDS
        # CBR itself cannot go on after an id that came up before: that is what its marker is.
        if not (binding.paging == options_pb2.PAGING_MARKER and ids == "one twice")
    ],
)
@pytest.mark.parametrize("total", [True, False])
def test_every_row_comes_once_whatever_its_id(binding, ids, total):
    for count in (0, 1, 6, 7, 13):
        for size in (1, 2, 3, 7, 50):
            shelf = Shelf(binding, ids, count)
            pages = shelf.walk(size, total=total)
            seen = [str(mark[0] if shelf.mark.is_repeated else mark) for page in pages for mark in page]
            assert seen == [str(number) for number in range(count)], size
            assert max(map(len, pages)) <= size


def test_a_row_without_an_id_of_its_own_is_told_by_all_of_its_keys():
    (binding,) = (b for b in LISTS if b.rpc == "OrganizationPolicyService/ListOrganizationPolicyDeployments")
    row = {"policy_id": "p", "domain_id": "d", "project_id": "a"}
    response = binding.response_type(deployments=[row, row | {"project_id": "b"}])
    assert len({paging.row_id(found) for found in response.deployments}) == 2


@pytest.mark.parametrize(("ahead_s", "good"), [(2, True), (299, True), (302, False)])
def test_a_token_of_a_replica_whose_clock_is_ahead_is_good(ahead_s, good):
    token = paging.PageTokens(b"key", SteppedClock(NOW + ahead_s)).make(5, "last", b"owner")
    ours = paging.PageTokens(b"key", SteppedClock(NOW))
    if good:
        assert ours.read(token, b"owner").last_id == "last"
    else:
        with pytest.raises(GatewayError):
            ours.read(token, b"owner")


@pytest.mark.parametrize(("rpc", "most"), [("ProtectabilityService/ListProtectables", 50), ("BackupService/ListBackups", 200)])
def test_no_more_rows_are_asked_for_than_cbr_promises(rpc, most):
    (binding,) = (b for b in LISTS if b.rpc == rpc)
    for size, asked in ((0, 50), (most, most), (most + 1, most), (5000, most)):
        page = paging.plan_page(binding, binding.request_type(page_size=size), paging.PageTokens(b"key", SteppedClock(NOW)), "scope")
        assert page.ask["limit"] == asked

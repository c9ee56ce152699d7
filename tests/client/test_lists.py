"""A list of 10,000 objects, over a real channel: how many of its pages are held at a time."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from cbrgateway.v1 import ListVaultsRequest, ListVaultsResponse
from cbrgateway.v1.vault_pb2_grpc import (
    VaultServiceServicer,
    VaultServiceStub,
    add_VaultServiceServicer_to_server,
)
from cbrgateway_client import CallError, Gateway, pages, rows

PAGES, SIZE = 50, 200


class Vaults(VaultServiceServicer):
    def __init__(self):
        self.asked = 0

    def ListVaults(self, request, context):  # noqa: N802 - as the proto has it
        self.asked += 1
        start = int(request.page_token or 0)
        following = str(start + 1) if start + 1 < PAGES else ""
        page = ListVaultsResponse(next_page_token=following)
        for row in range(SIZE):
            page.vaults.add(id=str(start * SIZE + row))
        return page


class Page:
    """A page that knows how many there are."""

    alive = 0

    def __init__(self, page):
        self._page = page
        Page.alive += 1

    def __del__(self):
        Page.alive -= 1

    def __getattr__(self, name):
        return getattr(self._page, name)


@pytest.fixture
def listed():
    served, vaults = grpc.server(ThreadPoolExecutor(1)), Vaults()
    add_VaultServiceServicer_to_server(vaults, served)
    port = served.add_insecure_port("127.0.0.1:0")
    served.start()
    with Gateway(f"127.0.0.1:{port}", plaintext=True).channel() as channel:
        yield vaults, VaultServiceStub(channel).ListVaults
    served.stop(None)


def test_one_page_of_ten_thousand_objects_is_held_at_a_time(listed):
    vaults, call = listed
    held = []
    for number, row in enumerate(rows(lambda asked: Page(call(asked)), ListVaultsRequest())):
        assert row.id == str(number)
        held.append(Page.alive)
        assert vaults.asked == number // SIZE + 1
    assert len(held) == PAGES * SIZE
    # The page before is let go of once the next one has come.
    assert max(held) <= 2


def test_no_more_than_the_next_page_is_asked_for_ahead(listed):
    vaults, call = listed
    for number, _ in enumerate(rows(call, ListVaultsRequest(), prefetch=True)):
        assert vaults.asked <= number // SIZE + 2
    assert vaults.asked == PAGES


def test_a_list_that_does_not_go_on_ends():
    standing = pages(lambda asked: ListVaultsResponse(next_page_token="same"), ListVaultsRequest())
    next(standing)
    with pytest.raises(CallError, match="does not go on") as ended:
        next(standing)
    assert ended.value.code() is grpc.StatusCode.INTERNAL

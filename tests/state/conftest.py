"""Each implementation gives the same answers to the same questions, so most tests run over all of
them.
"""

from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.state import Store
from tests.state.benches import KINDS, Bench, running_bench, settings_for
from tests.state.valkey_server import ValkeyProcess, running_valkey


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def bench(kind: str, tmp_path, valkey: ValkeyProcess) -> AsyncIterator[Bench]:
    async with running_bench(settings_for(kind, tmp_path, valkey)) as running:
        yield running


@pytest.fixture
def store(bench: Bench) -> Store:
    return bench.store

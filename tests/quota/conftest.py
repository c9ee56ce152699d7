"""What tests of several gateways share."""

import pytest

from tests.state.valkey_server import running_valkey


@pytest.fixture
def valkey(tmp_path):
    """A server that a test may hurt."""
    with running_valkey(tmp_path) as server:
        yield server

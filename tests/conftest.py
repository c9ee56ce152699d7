"""What holds for all tests."""

import gc
import os

import pytest

from testkit.identities import authority


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The many short ones last: they fill the workers' time while one of the long ones still waits
    for something.
    """
    items.sort(key=lambda item: item.nodeid.startswith(("tests/contract/", "tests/unit/")))


def pytest_collection_finish() -> None:
    """Modules and tests stay: to look through them for garbage again and again would take longer
    than some of the tests.
    """
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def trusts_little(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One authority is trusted: no test needs the machine's hundreds, and reading them costs each
    start of a gateway a tenth of a second.
    """
    file = tmp_path_factory.mktemp("trusted") / "ca.pem"
    file.write_bytes(authority().pem)
    os.environ["SSL_CERT_FILE"] = str(file)

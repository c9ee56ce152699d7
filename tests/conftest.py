"""What holds for all tests."""

import gc
import itertools
import logging
import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from testkit.identities import authority

# How long one example takes says how busy the machine is.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")

_LONG = (
    "tests/quota/",
    "tests/watch/",
    "tests/audit/",
    "tests/events/",
    "tests/state/",
    "tests/tasks/",
    "tests/cbrctl/",
    "tests/client/test_command.py",
    "tests/contract/test_added_operation.py",
    "tests/functional/test_dev.py",
    "tests/functional/test_image.py",
    "tests/functional/test_readme.py",
    "tests/functional/test_signals.py",
    "tests/functional/test_story.py",
    "tests/unit/test_bench.py",
)
"""Where tests start processes, or wait for what takes its time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each worker begins with its share of the long ones, and takes short ones from others in the
    end: nobody waits for a last one that takes half a minute. xdist cuts the list into as many
    pieces as there are workers.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    pieces: list[list[pytest.Item]] = [[] for _ in range(workers)]
    long = [item for item in items if item.nodeid.startswith(_LONG)]
    for number, (_, file) in enumerate(itertools.groupby(long, key=lambda item: item.path)):
        pieces[number % workers] += file
    short = [item for item in items if not item.nodeid.startswith(_LONG)]
    short.sort(key=lambda item: item.nodeid.startswith(("tests/contract/", "tests/unit/")))
    for number in range(workers):
        begun = sum(map(len, pieces[number:]))
        share = (begun + len(short)) // (workers - number)
        room = max(0, share - len(pieces[number]))
        pieces[number] += short[:room]
        del short[:room]
    items[:] = [item for piece in pieces for item in piece]


def pytest_collection() -> None:
    """Modules and tests stay: to look through them for garbage again and again takes a sixth of the
    time until the first test, and later on longer than some of the tests.
    """
    gc.disable()


def pytest_collection_finish() -> None:
    gc.enable()
    gc.freeze()


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """A command that a test runs in this process says for the whole process what is logged."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.configure(**before)


@pytest.fixture(scope="session", autouse=True)
def trusts_little(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One authority is trusted: no test needs the machine's hundreds, and reading them costs each
    start of a gateway a tenth of a second.
    """
    file = tmp_path_factory.mktemp("trusted") / "ca.pem"
    file.write_bytes(authority().pem)
    os.environ["SSL_CERT_FILE"] = str(file)

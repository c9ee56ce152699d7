"""`make test-clients`: each client's own tests against real servers, and a table of what has
passed.
"""

import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from clients.frame import build, story
from clients.frame.checks import CHECKS
from clients.frame.control import Control
from clients.frame.languages import CLIENTS, Language
from clients.frame.script import Script
from clients.frame.servers import Servers, running_servers

_TEST_S = 300


def test(language: Language) -> frozenset[str]:
    """The checks that have passed.

    A language has servers of its own, so that none sees what another one left.
    """
    with tempfile.TemporaryDirectory(prefix="cbr-clients-") as name:
        folder = Path(name)
        results = folder / "results"
        results.mkdir()
        with running_servers(folder) as servers:
            control, script = Control(servers), Script(servers.folder)
            try:
                _run(
                    language,
                    servers,
                    control,
                    {"CBR_TEST_RESULTS": str(results)} | script.environ(),
                )
                (results / "example").touch()
                story.run(language, _TEST_S)
                (results / "story").touch()
            except build.Failed as failure:
                print(f"*** FAILED {failure} ***")
            finally:
                script.close()
                control.close()
        return frozenset(path.name for path in results.iterdir())


def _run(language: Language, servers: Servers, control: Control, more: Mapping[str, str]) -> None:
    """The language's tests, then its example. Raises Failed."""
    tested = {
        "CBR_TEST_CONTROL": control.url,
        "CBR_TEST_VECTORS": str(CLIENTS / "vectors.json"),
        "CBR_TEST_ADDRESSES": str(CLIENTS / "addresses.json"),
    }
    build.run(language, language.test, servers.environ() | tested | dict(more), _TEST_S)
    control.answer("/calm", {})
    shown = servers.environ()
    known = {
        "CBR_ADDRESS": shown["CBR_TEST_ADDRESS"],
        "CBR_CA_FILE": shown["CBR_TEST_CA_FILE"],
        "CBR_API_KEY": shown["CBR_TEST_API_KEY"],
    }
    build.run(language, language.example, known, _TEST_S)


Passed = Sequence[tuple[Language, Collection[str]]]


def table(passed: Passed) -> Iterable[str]:
    """Check by language, as wide as they need."""
    first = max(map(len, CHECKS))
    yield "  ".join([" " * first, *(language.name for language, _ in passed)])
    for check in CHECKS:
        cells = (
            f"{_cell(language, check, done):<{len(language.name)}}" for language, done in passed
        )
        yield "  ".join([f"{check:<{first}}", *cells])


def _cell(language: Language, check: str, done: Collection[str]) -> str:
    if check in language.without:
        return "-"
    return "ok" if check in done else "FAIL"


def complete(passed: Passed) -> bool:
    """Whether each language has passed all checks but those that it is without."""
    return all(set(CHECKS) - set(language.without) <= set(done) for language, done in passed)

"""Every fact of an RPC stands in gateway/operations: the rest of the gateway names none, and reads
what it needs by the requests of the reads.
"""

import importlib
import pkgutil
import re
from pathlib import Path

import gateway
from gateway import operations
from gateway.operations import load_catalog
from gateway.upstream.traits import Traits

CHANGES = {binding.request_type.__name__ for binding in load_catalog() if not binding.reads}
HERE = Path(gateway.__file__).parent
OWN = HERE / "operations"
"""Facts of RPCs."""


def found(pattern):
    """What stands in which files, outside of the facts."""
    return {
        (word, file.relative_to(HERE).as_posix())
        for file in HERE.rglob("*.py")
        if OWN not in file.parents
        for word in re.findall(pattern, file.read_text(encoding="utf-8"))
    }


def test_nothing_else_knows_an_rpc_by_its_name():
    assert found(r'"([A-Z]\w+Service/\w+)"') == set()


def test_no_mechanism_makes_a_change_of_its_own():
    asked = {each for each in found(r"(?<!case )\b\w+_pb2\.(\w+Request)\(") if each[0] in CHANGES}
    # The gateway takes its own mark off a vault whose caller needs the place.
    assert asked == {("DeleteVaultTagRequest", "changes/room.py")}


def test_traits_stand_in_the_file_of_their_service():
    for module in pkgutil.iter_modules(operations.__path__):
        values = vars(importlib.import_module(f"{operations.__name__}.{module.name}")).values()
        for each in (value for value in values if isinstance(value, Traits)):
            service = each.rpc.partition("/")[0].removesuffix("Service")
            word = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", service).lower()
            assert module.name == word or module.name.startswith(f"{word}_"), (
                module.name,
                each.rpc,
            )

"""Every fact of an RPC stands in gateway/operations: the rest of the gateway names RPCs only to
read what it needs.
"""

import importlib
import pkgutil
import re
from pathlib import Path

import gateway
from gateway import operations
from gateway.operations import load_catalog
from gateway.upstream.traits import Traits

CATALOG = load_catalog()
HERE = Path(gateway.__file__).parent
OWN = {HERE / "operations", HERE / "rpc" / "handlers"}
"""Facts of RPCs, and the handlers of those that the gateway answers itself."""


def named():
    """RPC -> the files that name it, outside of its own."""
    found = {}
    for file in HERE.rglob("*.py"):
        if OWN.isdisjoint(file.parents):
            for rpc in re.findall(r'"([A-Z]\w+Service/\w+)"', file.read_text(encoding="utf-8")):
                found.setdefault(rpc, []).append(file.relative_to(HERE).as_posix())
    return found


def test_no_mechanism_knows_a_change_by_its_name():
    # The gateway takes its own mark off a vault whose caller needs the place.
    assert {rpc: files for rpc, files in named().items() if not CATALOG[rpc].reads} == {
        "VaultService/DeleteVaultTag": ["changes/room.py"]
    }


def test_what_is_read_by_name_exists():
    assert named().keys() <= CATALOG.bindings.keys()
    assert named()


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

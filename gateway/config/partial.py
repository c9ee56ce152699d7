"""What of a configuration can be used although files of tenants have mistakes.

A tenant whose file cannot be used stays as it was, so that a mistake in one file holds up neither
changes of the others nor the removal of one.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from gateway.config.layers import Layers
from gateway.config.problems import Problem
from gateway.config.tenant_files import KEY


def usable_parts(
    layers: Layers, problems: Iterable[Problem], before: Mapping[str, Any]
) -> Iterator[Layers]:
    """What was read, with the files at fault as they were before; then with all of them so.

    `before`: what each file held when all was well. A file that is gone holds nothing, and nor does
    one at fault that is new.
    """
    at_fault = {found.path[1] for found in problems if found.path[:1] == ("tenants",) != found.path}
    faulty = {name for name, at in layers.files.items() if at is None or at in at_fault}
    others = [found for found in layers.problems if found.path[:1] not in {("tenants",), (KEY,)}]
    read = layers.held()
    for replaced in (faulty, layers.files.keys()) if layers.files else ():
        entries = {
            name: before.get(name) if name in replaced else read[name] for name in layers.files
        }
        kept = {name: entry for name, entry in entries.items() if entry is not None}
        yield Layers(
            data=layers.data | {"tenants": list(kept.values())},
            problems=others,
            files={name: at for at, name in enumerate(kept)},
        )


def without_limits(layers: Layers, problems: Iterable[Problem]) -> Layers:
    """The same, without limits for somebody who is not there."""
    gone = {
        found.path[1]
        for found in problems
        if found.path[:1] == ("limits",) and found.path[2:] == ("subject",)
    }
    limits = layers.data.get("limits") or ()
    kept = [limit for at, limit in enumerate(limits) if at not in gone]
    return replace(layers, data=layers.data | {"limits": kept})

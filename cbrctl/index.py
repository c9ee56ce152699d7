"""What `cbrctl` knows of the API: commands.json, which `make generate` writes from the protos.

Plain data, so that help and completion load neither gRPC nor a descriptor.
"""

import functools
import json
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from cbrctl import values


class Column(NamedTuple):
    """A column of a table: a field of the object by its path.

    `prefix`: of the names of an enum's values. `raw`: the field beside it that has CBR's own word
    where the enum has none.
    """

    path: Sequence[str]
    kind: str
    prefix: str = ""
    raw: str = ""

    @property
    def title(self) -> str:
        return self.path[-1].upper()


class Given(NamedTuple):
    """A field of a request as it is given at a terminal: by a flag, or without one.

    `kind`: text, bool, int, number, enum, time, date, duration, mask, message or json. `choices`:
    short word of an enum -> its value. `group`: the commands of the objects whose id it is.
    """

    path: Sequence[str]
    name: str
    kind: str
    help: str
    many: bool = False
    required: bool = False
    group: str = ""
    choices: Mapping[str, str] = MappingProxyType({})


class Verb(NamedTuple):
    """An RPC as a command.

    `rows`: the field of the answer that holds the object, or with `many` the objects; empty: the
    answer itself is shown. `total`: the field of the answer that sums the rows up, and that of a
    row which it is like. `id` and `name`: their fields. `work`: it starts work that goes on.
    `confirm`: it destroys or overwrites. `dry_run`: it can be tried without being carried out.
    """

    rpc: str
    help: str
    short: str
    request: str
    arguments: Sequence[Given]
    flags: Sequence[Given]
    columns: Sequence[Column]
    wide: Sequence[Column]
    rows: str = ""
    total: Sequence[str] = ()
    id: str = ""
    name: str = ""
    many: bool = False
    read: bool = False
    stream: bool = False
    pages: bool = False
    work: bool = False
    confirm: bool = False
    dry_run: bool = False


def _data(name: str) -> bytes:
    """Of a file beside this one. Without pathlib, which takes longer to load than the file."""
    with open(os.path.join(os.path.dirname(__file__), name), "rb") as file:  # noqa: PTH118, PTH120, PTH123 - as above
        return file.read()


@functools.cache
def _commands() -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(_data("commands.json"))
    return found


@functools.cache
def messages() -> Mapping[str, Any]:
    """The messages and enums by name, with their comments."""
    found: Mapping[str, Any] = json.loads(_data("messages.json"))
    return found


def words(enum: str) -> Mapping[str, str]:
    """The values of an enum by their short words."""
    known = messages()[enum]["values"]
    return values.words(known, next(iter(known)).removesuffix("UNSPECIFIED"))


def groups() -> Mapping[str, str]:
    """Name -> what the service is for."""
    return {name: group["help"] for name, group in _commands().items()}


def verbs(group: str) -> Mapping[str, str]:
    """Name -> what the RPC does, in a sentence."""
    return {name: verb["short"] for name, verb in _commands()[group]["verbs"].items()}


def verb(group: str, name: str) -> Verb:
    data = dict(_commands()[group]["verbs"][name])
    arguments = [Given(path=(each.pop("field"),), **each) for each in _copies(data["arguments"])]
    flags = [Given(name=each.pop("flag"), **each) for each in _copies(data["flags"])]
    columns, wide = ([Column(**each) for each in data[key]] for key in ("columns", "wide"))
    return Verb(**data | {"arguments": arguments, "flags": flags, "columns": columns, "wide": wide})


def _copies(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [dict(each) for each in items]


def place(rpc: str) -> tuple[str, str]:
    """Group and verb of an RPC, such as `VaultService/GetVault`."""
    return next(
        (group, name)
        for group, each in _commands().items()
        for name, data in each["verbs"].items()
        if data["rpc"] == rpc
    )


def lister(group: str) -> Verb | None:
    """The verb that lists all objects of a group, if it needs nothing to do so."""
    if "list" not in _commands().get(group, {"verbs": {}})["verbs"]:
        return None
    found = verb(group, "list")
    return found if found.id and not found.arguments else None

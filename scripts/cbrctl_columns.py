"""Which fields of an object a table of `cbrctl` shows."""

import re
from collections.abc import Iterator
from typing import Any, Final

from cbrgateway.v1 import options_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from scripts.cbrctl_fields import in_package, kind

_MOST: Final = 8
"""Columns of a table that is not wide."""
_FIRST: Final = (
    re.compile("status|state|causes|proven"),
    re.compile("type|(object|resource|operation)_type|rpc"),
    re.compile("resources|protected|failures"),
    re.compile(".*(_gib|_mib)|value|used|reserved"),
    re.compile("scheduled|done|failed|skipped|missed"),
    re.compile(".*_percent|.*_count|count"),
    re.compile(".*_name"),
    re.compile("(create|start|accept)_time"),
)
"""What people look for first, in this order."""
_LEFT_OUT: Final = ("_raw", "_urn", "description", "etag", "project_id", "provider_id", "user_id")
"""Names of fields, or their ends, that only a wide table shows."""


def identifying(row: Descriptor) -> dict[str, str]:
    """The fields that hold the id and the name of an object, if it has such."""
    texts = [field for field in row.fields if field.type == FieldDescriptor.TYPE_STRING]
    names = [str(field.name) for field in texts]
    always = [
        str(field.name)
        for field in texts
        if field.GetOptions().Extensions[options_pb2.required] == options_pb2.REQUIRED_ALWAYS
    ]
    own = next((name for name in names if name == "id"), None) or next(
        (name for name in always if name.endswith("_id")), None
    )
    name = next((each for each in names if each in {"name", "host_name"}), None)
    if name is None and "resource_name" in names:
        name = "resource_name"
    return {key: value for key, value in (("id", own), ("name", name)) if value}


def columns(row: Descriptor) -> dict[str, list[dict[str, Any]]]:
    """Those of a table, and those of a wide one."""
    own = identifying(row)
    every = list(_scalars(row, (), 2))
    wide = [each for each in every if not each["path"][-1].endswith("_raw")]
    ranked = sorted(
        (rank(each["path"], own), index)
        for index, each in enumerate(wide)
        if not _minor(each["path"])
    )
    few = [wide[index] for _, index in ranked[:_MOST]]
    return {"columns": few, "wide": wide}


def rank(path: list[str], own: dict[str, str]) -> int:
    """Lower comes first. What is not looked for comes after, by its place."""
    if path == [own.get("id")]:
        return -2
    if path == [own.get("name")]:
        return -1
    found = (place for place, fits in enumerate(_FIRST) if fits.fullmatch(path[-1]))
    return 10 * next(found, len(_FIRST)) + len(path)


def _minor(path: list[str]) -> bool:
    return path[-1].endswith(_LEFT_OUT) or (len(path) > 1 and path[-1] in {"id", "name"})


def _scalars(message: Descriptor, above: tuple[str, ...], depth: int) -> Iterator[dict[str, Any]]:
    names = {str(field.name) for field in message.fields}
    for field in message.fields:
        path = [*above, str(field.name)]
        if field.is_repeated:
            if field.enum_type is not None:
                yield {"path": path, "kind": kind(field)} | _of_enum(field, names)
            continue
        if kind(field) not in {"message", "json"}:
            yield {"path": path, "kind": kind(field)} | _of_enum(field, names)
        elif kind(field) == "message" and depth > 1 and in_package(field.message_type):
            yield from _scalars(field.message_type, tuple(path), depth - 1)


def _of_enum(field: FieldDescriptor, names: set[str]) -> dict[str, Any]:
    if field.enum_type is None:
        return {}
    prefix = str(field.enum_type.values[0].name).removesuffix("UNSPECIFIED")
    raw = f"{field.name}_raw"
    return {"prefix": prefix} | ({"raw": raw} if raw in names else {})

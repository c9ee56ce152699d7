"""What is wrong with a request that was read from a file, by the names of its fields."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cbrctl import index

_KINDS: Final[Mapping[str, tuple[tuple[type, ...], str]]] = {
    "string": ((str,), "text; put it into quotes"),
    "bool": ((bool,), "true or false"),
    # 64-bit numbers may be text, as in JSON of protobuf.
    "int": ((int, str), "a whole number"),
    "number": ((int, float, str), "a number"),
}
"""Of the fields that hold no message: what they may be, and how that is said."""


def wrong(request: Mapping[str, Any], message: str, path: str = "") -> Iterator[str]:
    """A sentence for each field. Null is a field that is not set."""
    fields: Mapping[str, Any] = index.messages()[message]["fields"]
    names = {_camel(name): name for name in fields} | {name: name for name in fields}
    for key, value in request.items():
        here = f"{path}.{key}" if path else str(key)
        if key not in names:
            near = difflib.get_close_matches(str(key), fields, 1)
            there = f"do you mean {near[0]}?" if near else f"there is: {', '.join(fields)}"
            yield f"{here}: {message} has no such field; {there}"
        elif value is not None:
            yield from _wrong_value(value, fields[names[key]], here)


def _wrong_value(value: object, field: Mapping[str, Any], path: str) -> Iterator[str]:
    if not field.get("many"):
        yield from _wrong_one(value, field["type"], path)
    elif not isinstance(value, list):
        yield f"{path}: must be a list"
    else:
        for place, row in enumerate(value):
            yield from _wrong_one(row, field["type"], f"{path}[{place}]")


def _wrong_one(value: object, kind: str, path: str) -> Iterator[str]:
    known = index.messages().get(kind, {})
    if "values" in known:
        if not (isinstance(value, str) and value in known["values"]):
            yield f"{path}: must be one of {', '.join(known['values'])}"
    elif "fields" in known:
        if isinstance(value, Mapping):
            yield from wrong(value, kind, path)
        else:
            yield f"{path}: must hold the fields of a {kind}"
    elif kind in _KINDS:
        types, said = _KINDS[kind]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            yield f"{path}: must be {said}"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)

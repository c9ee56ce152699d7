"""From what was written, in a file or with flags, to a request as the API's JSON has it.

Names of fields are those of the protos or of their JSON; values are written as `cbrctl.values` has
them, wherever they stand.
"""

import difflib
from collections.abc import Callable, Mapping
from typing import Any, Final

from cbrctl import index, values

_LEAVES: Final[Mapping[str, Callable[[object], object]]] = {
    "string": values.text,
    "bool": values.boolean,
    "int": values.whole,
    "number": values.number,
    "Timestamp": values.time,
    "Date": values.date,
    "Duration": values.duration,
    "FieldMask": values.mask,
}
"""What else there is may be anything."""


def read(written: Mapping[Any, Any], message: str) -> tuple[dict[str, Any], list[str]]:
    """The request, and a sentence for each field that cannot be read."""
    problems: list[str] = []
    return _message(written, message, "", problems), problems


def _message(
    written: Mapping[Any, Any], message: str, path: str, problems: list[str]
) -> dict[str, Any]:
    """Null is a field that is not set."""
    fields: Mapping[str, Any] = index.messages()[message]["fields"]
    names = {_camel(name): name for name in fields} | {name: name for name in fields}
    made: dict[str, Any] = {}
    for key, value in written.items():
        here = f"{path}.{key}" if path else str(key)
        name = names.get(key)
        if name is None:
            near = difflib.get_close_matches(str(key), fields, 1)
            there = f"do you mean {near[0]}?" if near else f"there is: {', '.join(fields)}"
            problems.append(f"{here}: {message} has no such field; {there}")
        elif name in made:
            problems.append(f"{here}: is there twice, as {name} and as {_camel(name)}; keep one")
        elif value is not None or fields[name]["type"] == "Value":
            made[name] = _field(value, fields[name], here, problems)
    return made


def _field(value: object, field: Mapping[str, Any], path: str, problems: list[str]) -> object:
    if not field.get("many"):
        return _one(value, field, path, problems)
    if not isinstance(value, list | tuple):
        problems.append(f"{path}: must be a list")
        return None
    return [_one(row, field, f"{path}[{place}]", problems) for place, row in enumerate(value)]


def _one(value: object, field: Mapping[str, Any], path: str, problems: list[str]) -> object:
    kind = field["type"]
    known = index.messages().get(kind, {})
    if "fields" in known and isinstance(value, Mapping):
        return _message(value, kind, path, problems)
    try:
        if "fields" in known:
            raise ValueError(f"must hold the fields of a {kind}")  # noqa: TRY301 - one way to tell
        if "values" in known:
            return values.word(value, index.words(kind))
        if "words" in field:
            return values.known_text(value, field["words"])
        return _LEAVES[kind](value) if kind in _LEAVES else value
    except ValueError as error:
        problems.append(f"{path}: {error}")
        return None


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)

"""The JSON Schema of a request, for editors that check and complete YAML by it."""

from collections.abc import Mapping
from typing import Any, Final

from cbrctl import index, values

_SCALARS: Final[Mapping[str, Mapping[str, Any]]] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "int": {"type": ["integer", "string"], "pattern": "^-?[0-9]+$"},
    "number": {"type": "number"},
    "Timestamp": {"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}]},
    "Date": {"type": "string", "format": "date"},
    "Duration": {
        "type": ["string", "number"],
        "pattern": f"^{values.DURATION}$",
        "minLength": 1,
        "minimum": 0,
    },
    "FieldMask": {"type": "string", "pattern": f"^({values.MASK})$"},
}
"""What `cbrctl.reading` takes of each, in the form that is offered first. What else there is may be
anything."""


def schema(message: str) -> dict[str, Any]:
    """With every message that it refers to."""
    found: dict[str, Any] = {}
    waiting = [message]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        known = index.messages()[name]
        found[name] = _definition(name, known)
        waiting += [
            field["type"]
            for field in known.get("fields", {}).values()
            if field["type"] in index.messages()
        ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": f"#/$defs/{message}",
        "$defs": dict(sorted(found.items())),
    }


def _definition(name: str, known: Mapping[str, Any]) -> dict[str, Any]:
    if "values" in known:
        offered = values.told(index.words(name))
        return {"description": known["help"], "enum": [*offered, *known["values"]]}
    return {
        "type": "object",
        "description": known["help"],
        "additionalProperties": False,
        "properties": {key: _property(field) for key, field in known["fields"].items()},
    }


def _property(field: Mapping[str, Any]) -> dict[str, Any]:
    kind = field["type"]
    one = {"$ref": f"#/$defs/{kind}"} if kind in index.messages() else dict(_SCALARS.get(kind, {}))
    if words := field.get("words"):
        offered = [{"enum": [*words]}, {"pattern": f"^{values.beginning(words)}"}]
        one = {"type": "string", "anyOf": offered}
    made = {"type": "array", "items": one} if field.get("many") else one
    return {**made, "description": field["help"]}

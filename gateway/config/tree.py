"""Looks into a configuration as it was written, whatever its shape."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gateway.config.problems import KeyPath, path_text

Found = Iterator[tuple[KeyPath, str]]
"""Mistakes: where, and a sentence."""
Entry = tuple[KeyPath, Mapping[str, Any]]
"""A mapping and its place."""


def unique(
    values: Iterable[tuple[KeyPath, object]], what: str, advice: str = "Give it another one"
) -> Found:
    """Texts that occur twice. `what`: the kind of thing that holds them, such as a tenant."""
    first: dict[str, KeyPath] = {}
    for path, value in values:
        if isinstance(value, str) and first.setdefault(value, path) != path:
            *holder, key = first[value]
            yield path, f"is also the {key} of {what} {path_text(tuple(holder))}. {advice}"


def values_of(found: Iterable[Entry], key: str) -> list[tuple[KeyPath, object]]:
    """What stands at one key of each."""
    return [((*path, key), entry.get(key)) for path, entry in found]


def mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def entries(value: object, path: KeyPath) -> Iterator[Entry]:
    """The mappings in the list at `path`."""
    for index, entry in enumerate(value if isinstance(value, list) else []):
        if isinstance(entry, dict):
            yield (*path, index), entry

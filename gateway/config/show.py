"""The effective configuration as YAML, each value with its source, no secret in sight."""

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from gateway.config.layers import Layers
from gateway.config.masking import public
from gateway.config.problems import KeyPath
from gateway.secret import Secret, masked


def shown(config: BaseModel, layers: Layers) -> str:
    """YAML that ends with a line feed.

    Secrets are `***`, beside the name of what they were read from, and so is what may be a secret.
    """
    return "\n".join(_block(config, (), layers)) + "\n"


def _block(value: object, path: KeyPath, layers: Layers) -> Iterator[str]:
    for key, child in _children(value):
        below = (*path, key)
        item, name = isinstance(key, int), masked(str(key))
        if not _children(child):
            yield (
                f"{'-' if item else f'{name}:'} {_scalar(child, below)}  #"
                f" {_source(child, below, layers)}"
            )
            continue
        lines = list(_block(child, below, layers))
        if item:
            yield f"- {lines[0]}"
            yield from (f"  {line}" for line in lines[1:])
        else:
            yield f"{name}:"
            yield from (f"  {line}" for line in lines)


def _children(value: object) -> list[tuple[str | int, object]]:
    match value:
        case BaseModel():
            return [(name, getattr(value, name)) for name in type(value).model_fields]
        case dict():
            return list(value.items())
        case tuple():
            return list(enumerate(value))
    return []


def _scalar(value: object, path: KeyPath) -> str:
    match value:
        case Secret():
            return '"***"'
        case str() | Path():
            return json.dumps(public(str(value), path), ensure_ascii=False)
        case tuple():
            return "[]"
        case dict():
            return "{}"
    return json.dumps(value)


def _source(value: object, path: KeyPath, layers: Layers) -> str:
    source = (
        layers.sources.get(path)
        or (layers.source(path) if layers.at(path) is not None else "")
        or "default"
    )
    reference = layers.at(path)
    if isinstance(value, Secret) and isinstance(reference, dict):
        ((kind, name),) = reference.items()
        return f"{source}, {kind} {name}"
    return source

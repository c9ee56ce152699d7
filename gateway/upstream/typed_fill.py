"""From the structs of typed_shape.py to arguments of protobuf's constructors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from gateway.upstream import strict_json, values
from gateway.upstream.codec import EXTRA, MessagePlan
from gateway.upstream.values import Json, ProtocolError

Filled = dict[str, Json]
"""Constructor arguments of a message."""
Told = tuple[str, str, str]
"""What a Report is told."""
Fill = Callable[[Any, list[Told]], Json]
"""From what was decoded to what the constructor takes, and what there is to report of it. Raises
ProtocolError.
"""
Part = tuple[str, bool, Fill | None]
"""A member that holds structs: its name, whether there are many, and what fills one."""


_MAX_DEPTH: Final = 16
"""Of a member that the plan reads; the messages around it are far from the other 16 levels."""
_CONTAINERS: Final = frozenset({dict, list})
members_from: Final = msgspec.structs.asdict


@dataclass(frozen=True, slots=True)
class Rest:
    """The members of a struct that the plan reads, and those without a field.

    `keys`: name in the struct -> key.
    """

    plan: MessagePlan
    keys: Mapping[str, str]
    top: bool

    def take(self, found: Filled, told: list[Told]) -> None:
        """Puts them where they belong. Raises ProtocolError for what only the plan can tell."""
        plan, extra = self.plan, {}
        for name, key in self.keys.items():
            item = found.pop(name)
            if item is msgspec.UNSET:
                continue
            if type(item) in _CONTAINERS and not strict_json.within(item, _MAX_DEPTH):
                raise ProtocolError("is nested deeply")
            left = item
            if (reader := plan.readers.get(key)) is not None:
                left = plan.take(key, reader, item, found, lambda *what: told.append(what))
            if reader is None or left is not None:
                extra[key] = left
        if any(found.get(name, "") == "" for name in plan.required):
            raise ProtocolError("misses what is required")
        if extra and plan.keeps_extra:
            found[EXTRA] = values.free_form(extra)
        elif extra and not self.top:
            raise ProtocolError("leaves something to the message that holds it")


def filler(parts: list[Part], times: list[str], rest: Rest | None) -> Fill | None:
    """None: a struct's members are what the constructor takes.

    `times`: names of members that hold one.
    """
    one = tuple((name, fill) for name, many, fill in parts if not many)
    several = tuple((name, fill) for name, many, fill in parts if many)
    if not parts and not times and rest is None:
        return None

    def fill_from(struct: Any, told: list[Told]) -> Filled:  # noqa: ANN401 - any struct
        found = members_from(struct)
        for name in times:
            value = found[name]
            if value is not None:
                found[name] = values.read_timestamp(value)
        for name, fill in one:
            value = found[name]
            if value is not None:
                found[name] = members_from(value) if fill is None else fill(value, told)
        for name, fill in several:
            value = found[name]
            if value is not None:
                found[name] = (
                    [members_from(each) for each in value]
                    if fill is None
                    else [fill(each, told) for each in value]
                )
        if rest is not None:
            rest.take(found, told)
        return found

    return fill_from

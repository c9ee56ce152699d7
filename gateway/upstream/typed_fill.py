"""From the structs of typed_shape.py to arguments of protobuf's constructors."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final

import msgspec

from gateway.upstream import strict_json, values
from gateway.upstream.message_plan import MessagePlan
from gateway.upstream.values import Json, ProtocolError
from gateway.upstream.wire import EXTRA

Filled = dict[str, Json]
"""Constructor arguments of a message."""
Told = tuple[str, str, str]
"""What a Report is told."""
Fill = Callable[[Sequence[Any], list[Told]], list[Filled]]
"""From structs of one type to what the constructor takes of each, and what there is to report of
them. Raises ProtocolError.
"""
Part = tuple[str, bool, Fill]
"""A member that holds structs: its name, whether there are many, and what fills one."""


_MAX_DEPTH: Final = 16
"""Of a member that the plan reads; the messages around it are far from the other 16 levels."""
_CONTAINERS: Final = frozenset({dict, list})
members_from: Final = msgspec.structs.asdict


class Rest(msgspec.Struct, frozen=True):
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


def fill_plainly(structs: Sequence[Any], _told: list[Told]) -> list[Filled]:
    """Where a struct's members are what the constructor takes."""
    return [members_from(each) for each in structs]


def filler(parts: list[Part], times: list[str], rest: Rest | None) -> Fill:
    """`times`: names of members that hold one.

    All structs of a type are filled at once: a call for each of them would cost more than what it
    does.
    """
    if not parts and not times and rest is None:
        return fill_plainly

    def fill_all(structs: Sequence[Any], told: list[Told]) -> list[Filled]:
        found = [members_from(each) for each in structs]
        for name in times:
            for each in found:
                if (value := each[name]) is not None:
                    each[name] = values.read_timestamp(value)
        if parts:
            _fill_parts(parts, found, told)
        if rest is not None:
            for each in found:
                rest.take(each, told)
        return found

    return fill_all


def _fill_parts(parts: list[Part], found: list[Filled], told: list[Told]) -> None:
    for name, many, fill in parts:
        there = [each for each in found if each[name] is not None]
        if fill is fill_plainly:
            for each in there:
                each[name] = [*map(members_from, each[name])] if many else members_from(each[name])
            continue
        inside = [each[name] for each in there]
        filled = iter(fill(list(chain.from_iterable(inside)) if many else inside, told))
        for each in there:
            each[name] = list(islice(filled, len(each[name]))) if many else next(filled)

"""The fields of a request that hold ids, and what each names: the options `refers` and `no_object`,
compiled once per RPC.
"""

from collections.abc import Collection, Iterator
from typing import Any, TypeAlias

import msgspec
from cbrgateway.v1 import options_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message


class Id(msgspec.Struct, frozen=True, gc=False):
    """One id in one request.

    `path`: of its field, as errors name it. `holder`: the message that the field is in.
    """

    path: str
    value: str
    holder: Any


Step: TypeAlias = tuple[str, bool, bool]
"""The name of a field, and whether it is a list, and holds messages."""


class IdField(msgspec.Struct, frozen=True):
    """A field that holds ids.

    `names`: the way to it from the request. `refers`: a value of `Refers`.

    `in_path`: it is a path variable. `many`: a request may hold several, or several messages with
    it.
    """

    names: tuple[str, ...]
    refers: int
    in_path: bool
    many: bool
    steps: tuple[Step, ...]

    def ids(self, request: Message) -> Iterator[Id]:
        """The ids that are set."""
        if self.many or len(self.names) > 1:
            return iter(_ids(request, self.steps, 0, ""))
        # Most are the request's own.
        name = self.names[0]
        value = getattr(request, name)
        return iter((Id(name, value, request),) if value else ())

    def put(self, request: Message, value: str) -> None:
        """Sets the id of a field that holds one."""
        *way, name = self.names
        for step in way:
            request = getattr(request, step)
        setattr(request, name, value)


def _ids(message: Message, steps: tuple[Step, ...], at: int, prefix: str) -> list[Id]:
    name, many, holds = steps[at]
    if not many:
        if holds:
            inside = getattr(message, name) if message.HasField(name) else None
            return _ids(inside, steps, at + 1, f"{prefix}{name}.") if inside is not None else []
        value = getattr(message, name)
        return [Id(prefix + name, value, message)] if value else []
    items = [(f"{prefix}{name}[{i}]", item) for i, item in enumerate(getattr(message, name))]
    if holds:
        return [each for path, item in items for each in _ids(item, steps, at + 1, f"{path}.")]
    return [Id(path, item, message) for path, item in items if item]


def refers(fd: FieldDescriptor) -> int:
    """What the id in the field names: a value of `Refers`, 0 for a field without one."""
    return int(fd.GetOptions().Extensions[options_pb2.refers])


def no_object(fd: FieldDescriptor) -> str:
    return fd.GetOptions().Extensions[options_pb2.no_object]


def id_fields(request: Descriptor, variables: Collection[str]) -> tuple[IdField, ...]:
    """Those of a request with `refers`, outermost first.

    `variables`: names of the request's own fields that are path variables.
    """
    ways = sorted(_walk(request, (), frozenset()), key=len)
    return tuple(
        IdField(
            names,
            refers(way[-1]),
            len(names) == 1 and names[0] in variables,
            any(fd.is_repeated for fd in way),
            tuple((fd.name, fd.is_repeated, fd.message_type is not None) for fd in way),
        )
        for way in ways
        for names in [tuple(fd.name for fd in way)]
    )


def _walk(
    message: Descriptor, way: tuple[FieldDescriptor, ...], around: frozenset[str]
) -> Iterator[tuple[FieldDescriptor, ...]]:
    for fd in message.fields:
        if refers(fd):
            yield (*way, fd)
        inside = fd.message_type
        if (
            inside is not None
            and inside.file.package == message.file.package
            and inside.full_name not in around
        ):
            yield from _walk(inside, (*way, fd), around | {message.full_name})

"""The fields of rows that filters, orders and masks name, and their values.

Their names are those of the protos; those of JSON (`usedMib`) stand for the same.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from msgspec import Struct

from gateway.upstream.wire import EXTRA, GATEWAY_FIELDS

_F: Final = FieldDescriptor
_TIMESTAMP: Final = "google.protobuf.Timestamp"
_INTEGERS: Final = frozenset({_F.TYPE_INT32, _F.TYPE_INT64})
_REALS: Final = frozenset({_F.TYPE_DOUBLE, _F.TYPE_FLOAT})
_NANOS: Final = 1_000_000_000
_FILLED_LATER: Final = GATEWAY_FIELDS - {EXTRA}
"""What CBR's answer does not hold: the gateway adds it to the rows that have been chosen."""
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d([Tt ].+)?")


class WrongFieldError(ValueError):
    """A path names no field that can be compared; or a value is none of it.

    `offset`: of the part of the path that is wrong, from its first character.
    """

    def __init__(self, text: str, offset: int = 0) -> None:
        super().__init__(text)
        self.offset = offset


class Field(Struct, frozen=True):
    """One field, from the row on. `many`: a row may have several values of it."""

    steps: Sequence[FieldDescriptor]
    many: bool

    @property
    def leaf(self) -> FieldDescriptor:
        return self.steps[-1]

    @property
    def path(self) -> str:
        """As the protos name it."""
        return ".".join(fd.name for fd in self.steps)

    @property
    def is_moment(self) -> bool:
        return self.leaf.message_type is not None

    @property
    def is_text(self) -> bool:
        return bool(self.leaf.type == _F.TYPE_STRING)

    @property
    def is_ordered(self) -> bool:
        """Whether one value may come before another."""
        return self.is_moment or self.is_text or self.leaf.type in _INTEGERS | _REALS

    def values(self, row: Message) -> Iterator[Any]:
        """What a row has; nothing where it is not set. Moments as nanoseconds."""
        return _values(row, self.steps)

    def literal(self, text: str) -> Any:  # noqa: ANN401 - as the field's values
        """A value as somebody has written it. Raises WrongFieldError."""
        name, kind = self.leaf.name, self.leaf.type
        try:
            if self.is_moment:
                return _moment(text)
            if kind in _INTEGERS | _REALS:
                return int(text) if kind in _INTEGERS else float(text)
        except ValueError:
            wanted = "a time such as 2026-01-31T12:00:00Z" if self.is_moment else "a number"
            raise WrongFieldError(f"`{name}` is {wanted}, and `{text}` is none") from None
        if kind == _F.TYPE_BOOL:
            if text not in {"true", "false"}:
                raise WrongFieldError(f"`{name}` is true or false, not `{text}`")
            return text == "true"
        words = self.leaf.enum_type
        return text if words is None else _number(words, name, text)


def field_of(row: Descriptor, path: str, *, whole: bool = False) -> Field:
    """Raises WrongFieldError, which lists the fields that there are. `whole`: the field may have
    parts, since only its presence counts.
    """
    steps: list[FieldDescriptor] = []
    here: Descriptor | None = row
    offset = 0
    for name in path.split("."):
        known = _comparable(here) if here is not None else {}
        if not known:
            raise WrongFieldError(f"`{steps[-1].name}` has no fields of its own", offset)
        fd = child(here, name) if here is not None else None
        if fd is None or fd.name not in known:
            raise WrongFieldError(_refusal(name, fd, known), offset)
        steps.append(fd)
        offset += len(name) + 1
        here = None if _is_moment(fd) else fd.message_type
    if here is not None and not whole:
        inside = ", ".join(f"{path}.{name}" for name in _comparable(here))
        raise WrongFieldError(f"`{path}` has parts; compare one of them: {inside}")
    return Field(tuple(steps), many=any(fd.is_repeated for fd in steps))


def _refusal(name: str, fd: FieldDescriptor | None, known: Iterable[str]) -> str:
    """Why a name is none of the fields that can be compared. `fd`: what rows have by that name."""
    if fd is None:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" did you mean `{close[0]}`?" if close else ""
        return f"there is no field `{name}`;{hint} Known: {', '.join(known)}"
    why = (
        "is filled in by the gateway when the rows are already chosen and in order"
        if fd.name in _FILLED_LATER
        else "has no form that can be compared"
    )
    return f"`{name}` {why}: use another field. Known: {', '.join(known)}"


def child(message: Descriptor, name: str) -> FieldDescriptor | None:
    """The field of a message by its name in the proto, or in JSON."""
    return message.fields_by_name.get(name) or message.fields_by_camelcase_name.get(name)


def _comparable(message: Descriptor) -> dict[str, FieldDescriptor]:
    """The fields of a message that can be compared, or have such fields: neither what is free in
    form nor what is filled in later.
    """
    return {
        fd.name: fd
        for fd in message.fields
        if fd.name not in _FILLED_LATER
        and (
            fd.message_type is None
            or _is_moment(fd)
            or fd.message_type.file.package == message.file.package
        )
    }


def _is_moment(fd: FieldDescriptor) -> bool:
    return fd.message_type is not None and fd.message_type.full_name == _TIMESTAMP


def _values(message: Any, steps: Sequence[FieldDescriptor]) -> Iterator[Any]:  # noqa: ANN401 - any message
    fd, further = steps[0], steps[1:]
    if fd.is_repeated:
        found = getattr(message, fd.name)
    elif fd.has_presence and not message.HasField(fd.name):
        return
    else:
        found = (getattr(message, fd.name),)
    for each in found:
        if further:
            yield from _values(each, further)
        else:
            yield each.seconds * _NANOS + each.nanos if _is_moment(fd) else each


def _moment(text: str) -> int:
    """Nanoseconds since 1970. Raises ValueError."""
    if not _MOMENT.fullmatch(text):
        raise ValueError(text)
    found = datetime.fromisoformat(text.upper())
    found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return round(found.timestamp() * 1_000_000) * 1000


def _number(enum: EnumDescriptor, name: str, text: str) -> int:
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    known = {value.name.removeprefix(prefix): value.number for value in enum.values}
    wanted = text.upper().removeprefix(prefix)
    if wanted not in known:
        raise WrongFieldError(f"`{name}` has no value `{text}`; use one of {', '.join(known)}")
    return int(known[wanted])

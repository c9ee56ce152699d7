"""What of a message is recorded: ids, numbers, times, words of enums, and the texts that
`shown.toml` allows. Everything else becomes a keyed hash.

Equal values have equal hashes, so that one can follow a value without knowing it; the key keeps
anybody from trying values out.
"""

import hmac
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

from cbrgateway.v1 import options_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from msgspec import Struct, field

from gateway.audit.chain import ascii_json

MAX_ITEMS: Final = 50
MAX_BYTES: Final = 16 * 1024
_HASH_DIGITS: Final = 32
_PLAIN: Final = frozenset(
    {
        FieldDescriptor.TYPE_BOOL,
        FieldDescriptor.TYPE_DOUBLE,
        FieldDescriptor.TYPE_FLOAT,
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT32,
        FieldDescriptor.TYPE_UINT64,
    }
)
_OWN_PACKAGE: Final = "cbrgateway.v1"
_TIMES: Final = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration"})
_DATES: Final = frozenset({"google.type.Date"})


def _allowed() -> Mapping[str, frozenset[str]]:
    text = files("gateway.audit").joinpath("shown.toml").read_text(encoding="utf-8")
    return {name: frozenset(fields) for name, fields in tomllib.loads(text).items()}


class Redactor(Struct, frozen=True):
    """One per process. `shown`: message -> the text fields of it that may be seen."""

    key: bytes
    shown: Mapping[str, frozenset[str]] = field(default_factory=_allowed)

    def hashed(self, value: str | bytes) -> str:
        data = value.encode(errors="surrogatepass") if isinstance(value, str) else value
        return f"hmac:{hmac.digest(self.key, data, 'sha256').hex()[:_HASH_DIGITS]}"

    def message(self, message: Message) -> dict[str, Any]:
        """The fields that are set, as JSON with proto names.

        What would be too long is replaced by its size and hash.
        """
        found = self._fields(message)
        size = len(ascii_json(found))
        return (
            found
            if size <= MAX_BYTES
            else {
                "too_long": size,
                "hash": self.hashed(message.SerializeToString(deterministic=True)),
            }
        )

    def _fields(self, message: Message) -> dict[str, Any]:
        return {fd.name: self._field(fd, value) for fd, value in message.ListFields()}

    def _field(self, fd: FieldDescriptor, value: Any) -> Any:  # noqa: ANN401 - any value of a field
        if fd.message_type is not None and fd.message_type.GetOptions().map_entry:
            return self.hashed(repr(sorted((repr(key), repr(item)) for key, item in value.items())))
        if fd.is_repeated:
            items = [self._value(fd, item) for item in value[:MAX_ITEMS]]
            return (
                [*items, f"and {len(value) - MAX_ITEMS} more"] if len(value) > MAX_ITEMS else items
            )
        return self._value(fd, value)

    def _value(self, fd: FieldDescriptor, value: Any) -> Any:  # noqa: ANN401
        if fd.GetOptions().Extensions[options_pb2.secret]:
            return self._hidden(value)
        if fd.message_type is not None:
            return self._inside(value)
        if fd.enum_type is not None:
            word = fd.enum_type.values_by_number.get(value)
            return word.name if word is not None else value
        if fd.type in _PLAIN:
            return value
        return value if isinstance(value, str) and self._may_show(fd) else self._hidden(value)

    def _inside(self, value: Any) -> Any:  # noqa: ANN401
        name = value.DESCRIPTOR.full_name
        if name in _TIMES:
            try:
                return value.ToJsonString()
            except ValueError:
                return self._hidden(value)
        if name in _DATES or value.DESCRIPTOR.file.package == _OWN_PACKAGE:
            return self._fields(value)
        return self._hidden(value)

    def _hidden(self, value: Any) -> str:  # noqa: ANN401
        if isinstance(value, Message):
            return self.hashed(value.SerializeToString(deterministic=True))
        return self.hashed(value if isinstance(value, str | bytes) else repr(value))

    def _may_show(self, fd: FieldDescriptor) -> bool:
        options = fd.GetOptions().Extensions
        is_id = (
            bool(options[options_pb2.refers])
            or fd.name in {"id", "ids"}
            or fd.name.endswith(("_id", "_ids"))
        )
        holder = fd.containing_type
        return is_id or (holder is not None and fd.name in self.shown.get(holder.name, ()))

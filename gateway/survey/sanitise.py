"""Answers without anything of the account's: every text that could be an id, a name or an address
becomes another one of the same form; so does every key inside of a part without a description, of
metadata for one, that is not known to be the cloud's.

The same text becomes the same one wherever it stands, so that references between objects stay
whole. What is kept is listed, the rest is replaced: words of enums, times, numbers and truth values
in text, schedules, codes of errors, and types of resources.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from cbrgateway.v1 import options_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.survey.report import is_key, is_word
from gateway.upstream import codec, strict_json, wire
from gateway.upstream.tolerant_json import Damaged
from gateway.upstream.values import Json

_KEPT: Final = re.compile(
    r"|0|-1"
    r"|\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?)?"
    r"|FREQ=[A-Z]{5,8}(?:;[A-Z]{2,10}=[A-Z0-9,+-]{1,40})*"
    r"|OS::[A-Z][a-z]{2,9}::[A-Z][A-Za-z]{2,15}"
)
_PLAIN_VALUE: Final = re.compile(r"-?\d{1,6}(?:\.\d{1,6})?|true|false|null", re.IGNORECASE)
_CODE: Final = re.compile(r"[A-Za-z]{2,20}\.\d{3,8}")
_FORMS: Final[Mapping[str, re.Pattern[str]]] = {
    "uuid": re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
    "hex": re.compile(r"[0-9a-fA-F]{32}"),
    "mail": re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+"),
    "url": re.compile(r"https?://\S+"),
}
_OTHER: Final[Mapping[str, Callable[[int], str]]] = {
    "uuid": lambda number: f"{number:08x}-0000-4000-8000-{number:012x}",
    "hex": lambda number: f"{number:032x}",
    "mail": lambda number: f"user-{number}@example.com",
    "url": lambda number: f"https://example.com/{number}",
    # 198.18.0.0/15 is set aside for tests (RFC 2544), 2001:db8::/32 for documents (RFC 3849).
    "ip4": lambda number: str(ipaddress.IPv4Address("198.18.0.0") + number),
    "ip6": lambda number: str(ipaddress.IPv6Address("2001:db8::") + number),
    "text": lambda number: f"text-{number}",
}
_EXTENSION: Final = re.compile(r"(?:OS|os)-[A-Za-z-]{2,20}:[a-z_]{2,30}")
"""Keys of OpenStack's extensions, such as `OS-EXT-AZ:availability_zone`."""
_FREE_KEYS: Final = frozenset(
    {
        *("id", "name", "description", "status", "type", "size", "version", "addr", "addresses"),
        *("metadata", "tags", "links", "rel", "href", "flavor", "image", "server", "volumes"),
        *("ports", "interface", "floatingips", "created", "updated", "created_at", "updated_at"),
        *("tenant_id", "project_id", "user_id", "host_id", "hostId", "key_name", "locked"),
        *("availability_zone", "attachments", "attached_at", "server_id", "volume_id", "device"),
        *("volume_type", "bootable", "bootIndex", "encrypted", "multiattach", "shareable"),
        *("delete_on_termination", "vcpus", "ram", "disk", "security_groups", "config_drive"),
        *("architecture", "image_type", "image_id", "snapshot_id", "storage_class", "os_version"),
        *("system_disk", "disk_category", "provider_id", "os_images_data", "enable", "progress"),
        *("enterprise_project_id", "resource_id", "resource_name", "resource_type", "children"),
        *("extra_info", "detail", "include_volumes", "exclude_volumes", "code", "message"),
    }
)
"""Of servers and disks, as OpenStack's interfaces describe them."""
_LARGE: Final = 10_000
_ERROR_KEYS: Final = frozenset({"error_code", "errorCode", "code"})


class Sanitiser:
    """Replaces texts, and remembers by what."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._numbers: dict[int, int] = {}
        self._counts: dict[str, int] = {}
        self._known: frozenset[str] = _FREE_KEYS

    def answer(self, value: Json, descriptor: Descriptor | None) -> Json:
        """The JSON of an answer. `descriptor`: what it is declared to be; None for an error."""
        fields = wire.fields_by_key(descriptor) if descriptor is not None else {}
        whole = any(wire.form(fd) == options_pb2.WIRE_FORM_WHOLE_BODY for fd in fields.values())
        self._known = _FREE_KEYS | (_keys(descriptor) if descriptor is not None else frozenset())
        return (
            self._object(value, {} if whole else fields)
            if type(value) is dict
            else self._value(value, None, "")
        )

    def text(self, text: str, fd: FieldDescriptor | None = None, key: str = "") -> str:
        """A text of an answer, a path or a query."""
        if (
            fd is not None
            and fd.enum_type is not None
            and (text in wire.words(fd.enum_type).values() or is_word(text))
        ):
            return text
        plain = fd is None or fd.type != FieldDescriptor.TYPE_STRING
        if (
            _KEPT.fullmatch(text)
            or (plain and _PLAIN_VALUE.fullmatch(text))
            or (key in _ERROR_KEYS and _CODE.fullmatch(text))
        ):
            return text
        if text[:1] in {"{", "["} and (inside := _document(text)) is not None:
            return json.dumps(self._value(inside, None, key))
        if text not in self._texts:
            self._texts[text] = self._another(text)
        return self._texts[text]

    def _object(
        self, value: dict[str, Any], fields: Mapping[str, FieldDescriptor], *, free: bool = False
    ) -> dict[str, Any]:
        """`free`: nobody has described it, so that its keys may be names of the account."""
        return {
            key if key in fields or self._is_key(key, free=free) else self.text(key): self._value(
                item, fields.get(key), key
            )
            for key, item in value.items()
        }

    def _is_key(self, key: str, *, free: bool) -> bool:
        known = key in self._known or _EXTENSION.fullmatch(key) is not None
        return known if free else known or all(is_key(part) for part in key.split("."))

    def _value(self, value: Json, fd: FieldDescriptor | None, key: str) -> Json:
        if type(value) is Damaged:
            value = value.kept
        match value:
            case str():
                return self.text(value, fd, key)
            case list():
                return [self._value(item, fd, key) for item in value]
            case dict() if fd is not None and wire.is_map(fd):
                return {
                    self.text(name): self._value(item, None, "") for name, item in value.items()
                }
            case dict():
                inside = fd.message_type if fd is not None and codec.is_planned(fd) else None
                return self._object(
                    value,
                    (
                        {key: each for each in inside.fields for key in wire.read_keys(each)}
                        if inside is not None
                        else {}
                    ),
                    free=inside is None,
                )
            case int() if (
                type(value) is int and (fd is None or key.endswith("id")) and abs(value) >= _LARGE
            ):
                return self._numbers.setdefault(value, _LARGE + len(self._numbers))
        return value

    def _another(self, text: str) -> str:
        form = (
            next((name for name, pattern in _FORMS.items() if pattern.fullmatch(text)), "")
            or _address(text)
            or "text"
        )
        number = self._counts[form] = self._counts.get(form, 0) + 1
        return _OTHER[form](number)


@cache
def _keys(descriptor: Descriptor) -> frozenset[str]:
    """Of a message and of those inside."""
    found, left = set[str](), [descriptor]
    seen = set[str]()
    while left:
        message = left.pop()
        if message.full_name in seen:
            continue
        seen.add(message.full_name)
        found |= {key for fd in message.fields for key in wire.read_keys(fd)}
        planned = [fd.message_type for fd in message.fields if codec.is_planned(fd)]
        left += [inside for inside in planned if inside is not None]
    return frozenset(found)


def _address(text: str) -> str:
    try:
        return f"ip{ipaddress.ip_address(text).version}"
    except ValueError:
        return ""


def _document(text: str) -> object | None:
    try:
        return strict_json.loads(text.encode())
    except (strict_json.NotJson, UnicodeError):
        return None

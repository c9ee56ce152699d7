"""Records as lines, and the chain that makes a log tamper-evident. Pure.

Strings come from callers and from CBR. Whatever they hold, a record is one line of printable ASCII
that every JSON parser reads.

A line is one JSON object that ends in `"sequence":N,"mac":"<64 hex>"}}`, members of its `unmapped`.
The MAC is keyed, and covers the MAC of the line before and every byte of its own line up to itself.
So nobody without the key can change, drop, repeat, swap or insert a line. A tail can be cut off;
anchors in another place tell.
"""

import hashlib
import hmac
import re
from typing import Final, TypeVar

import msgspec

GENESIS: Final = bytes(32)
"""Stands for the MAC before the first line of a writer."""
MIN_KEY_CHARS: Final = 32
_T = TypeVar("_T")
_NOT_PLAIN: Final = re.compile("[^\x00-\x7e]")
_TAIL: Final = re.compile(rb',"sequence":([0-9]{1,15}),"mac":"([0-9a-f]{64})"\}\}')


class Keys(msgspec.Struct, frozen=True):
    """One for each use, all derived from one secret: who may check anchors need not be able to
    write the chain.
    """

    chain: bytes
    anchors: bytes
    redaction: bytes

    @classmethod
    def of(cls, secret: str) -> "Keys":
        uses = ("chain", "anchors", "redaction")
        return cls(
            *(
                hmac.digest(secret.encode(), f"cbr-gateway audit {use} 1".encode(), "sha256")
                for use in uses
            )
        )


class Head(msgspec.Struct, frozen=True):
    """Where a chain stands: the number and the MAC of its last line."""

    sequence: int = 0
    mac: bytes = GENESIS


def seal(key: bytes, head: Head, body: bytes) -> tuple[bytes, Head]:
    """The line of a record, with its line feed, and the chain's new head.

    `body`: a JSON object that ends with a non-empty member object.
    """
    sequence = head.sequence + 1
    covered = b'%s,"sequence":%d' % (body[:-2], sequence)
    mac = _mac(key, head.mac, covered)
    return b'%s,"mac":"%s"}}\n' % (covered, mac.hex().encode()), Head(sequence, mac)


def stated(line: bytes) -> Head | None:
    """What a line, without its line feed, says of itself.

    None for a line that is not of this form.
    """
    found = _TAIL.search(line, max(0, len(line) - 128))
    return (
        Head(int(found[1]), bytes.fromhex(found[2].decode()))
        if found is not None and found.end() == len(line)
        else None
    )


def follows(key: bytes, before: bytes, line: bytes) -> bool:
    """Whether the line, without its line feed, was sealed upon the MAC `before`."""
    found = stated(line)
    return found is not None and hmac.compare_digest(
        _mac(key, before, line[: line.rindex(b',"mac":"')]), found.mac
    )


def _mac(key: bytes, before: bytes, covered: bytes) -> bytes:
    return hmac.digest(key, before + covered, "sha256")


def signature(key: bytes, writer: str, segment: int, head: Head) -> str:
    """Of an anchor: that this writer's chain had this head."""
    return hmac.new(
        key, f"{writer} {segment} {head.sequence} {head.mac.hex()}".encode(), hashlib.sha256
    ).hexdigest()


def ascii_json(value: object) -> bytes:
    """JSON in printable ASCII, one line.

    Half a surrogate pair, which no parser agrees on, becomes U+FFFD.
    """
    try:
        plain = msgspec.json.encode(value)
    except UnicodeEncodeError:
        plain = msgspec.json.encode(_whole(msgspec.to_builtins(value)))
    if plain.isascii() and b"\x7f" not in plain:
        return plain
    return _NOT_PLAIN.sub(_escaped, plain.decode()).encode("ascii")


def decoded(decoder: msgspec.json.Decoder[_T], line: bytes) -> _T:
    """A line that was made by `ascii_json`, or by anybody.

    Raises msgspec.MsgspecError for whatever is of another form.
    """
    if not line.isascii():
        raise msgspec.DecodeError("lines are ASCII")
    try:
        return decoder.decode(line)
    except RecursionError:
        raise msgspec.DecodeError("lines are not that deep") from None


def _whole(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        case dict():
            return {_whole(key): _whole(item) for key, item in value.items()}
        case list() | tuple():
            return [_whole(item) for item in value]
    return value


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x10000:  # noqa: PLR2004 - the end of the basic plane
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"

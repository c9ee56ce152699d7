"""The mark that shows which operation made an object: a vault's tag, a checkpoint's description."""

from typing import Final

from google.protobuf.message import Message

from gateway.upstream.declaration import Binding

MARKER: Final = "gw-op"
"""Tag that the gateway sets on vaults that it creates; callers must not."""
_LETTERS: Final = MARKER.encode()


def is_mark(key: str) -> bool:
    """Whether the key of a tag, as a caller writes it, is the mark's to CBR, which leaves out
    spaces at its ends.
    """
    return key.strip() == MARKER


def surely_absent(body: bytes) -> bool:
    """Whether a JSON text holds no mark: neither its letters, nor a backslash, by which they could
    be written in another way. Not sure of an empty text, which is that of an answer nobody kept.
    """
    return bool(body) and b"\\" not in body and _LETTERS not in body


def description(op_id: str) -> str:
    """Of a checkpoint for which the caller gave none."""
    return f"{MARKER} {op_id}"


def can_mark(binding: Binding, request: Message, max_vault_tags: int) -> bool:
    """Whether what the change creates can carry a mark beside what the caller wants."""
    mark = binding.traits.mark
    return mark is not None and mark.has_room(request, max_vault_tags)


def marked(binding: Binding, request: Message, op_id: str) -> Message:
    """A copy of a request that `can_mark`, with the mark."""
    copy = binding.request_type()
    copy.CopyFrom(request)
    mark = binding.traits.mark
    assert mark is not None, binding.rpc
    mark.put(copy, op_id)
    return copy

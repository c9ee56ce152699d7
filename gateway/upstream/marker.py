"""The mark that shows which operation made an object: a tag of a new vault, the description of a new checkpoint."""

from collections.abc import Callable, Mapping
from typing import Any, Final

MARKER: Final = "gw-op"
"""Tag that the gateway sets on vaults that it creates; callers must not."""
MAX_TAGS: Final = 10
"""That CBR lets a new vault have; for what a vault may have later one source says ten, another twenty."""


def description(op_id: str) -> str:
    """Of a checkpoint for which the caller gave none."""
    return f"{MARKER} {op_id}"


def _vault_has_room(request: Any) -> bool:  # noqa: ANN401 - one concrete message each
    return len(request.vault.tags) < MAX_TAGS


def _checkpoint_has_room(request: Any) -> bool:  # noqa: ANN401
    return not request.checkpoint.parameters.HasField("description")


_ROOM: Final[Mapping[str, Callable[[Any], bool]]] = {
    "VaultService/CreateVault": _vault_has_room,
    "VaultService/OrderVault": _vault_has_room,
    "CheckpointService/CreateCheckpoint": _checkpoint_has_room,
}


def can_mark(rpc: str, request: Any) -> bool:  # noqa: ANN401 - any request
    """Whether what the change creates can carry a mark beside what the caller wants."""
    return rpc in _ROOM and _ROOM[rpc](request)


def marked(request: Any, op_id: str) -> Any:  # noqa: ANN401
    """A copy of a request that `can_mark`, with the mark."""
    copy = type(request)()
    copy.CopyFrom(request)
    if "vault" in copy.DESCRIPTOR.fields_by_name:
        copy.vault.tags.add(key=MARKER, value=op_id)
    else:
        copy.checkpoint.parameters.description = description(op_id)
    return copy

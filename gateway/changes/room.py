"""Takes the gateway's own tag off a vault whose caller needs its place: CBR lets a vault have so
many tags as its cloud says, and all of them are the caller's.
"""

from collections.abc import Callable
from typing import Final

import structlog
from cbrgateway.v1 import types_pb2, vault_pb2
from google.protobuf.message import Message
from msgspec import Struct

from gateway.errors import GatewayError
from gateway.state import OPEN, OperationStore, StoreDown
from gateway.upstream.account import Account
from gateway.upstream.client import Client
from gateway.upstream.marker import MARKER, is_mark
from gateway.upstream.reader import UpstreamReader

_FORGOTTEN_S: Final = 24 * 3600.0
"""The tag of an operation that the store does not know has done its work on an older vault."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Room(Struct, frozen=True):
    """One per process.

    `on_removal` is told of each, before it is sent: the RPC, the vault's id, the operation that the
    tag is of, and the tenant that needs the place.
    """

    operations: OperationStore
    reader: UpstreamReader
    client: Client
    on_removal: Callable[[str, str, str, str], None]

    async def make(self, request: Message, project: str, account: Account, left_s: float) -> None:
        """Before tags are added. Whatever fails here costs nothing but the place."""
        vault_id, adding = _added(request)
        if not adding:
            return
        try:
            seen = await self.reader.read(
                vault_pb2.GetVaultRequest(vault_id=vault_id),
                vault_pb2.GetVaultResponse,
                project,
            )
            if seen is None or not await self._in_the_way(
                seen.vault, adding, project, account.flavor.limits.max_vault_tags
            ):
                return
            (mark,) = (tag.value for tag in seen.vault.tags if tag.key == MARKER)
            delete = vault_pb2.DeleteVaultTagRequest(vault_id=vault_id, key=MARKER)
            binding = self.reader.catalog.asked_by(delete)
            self.on_removal(binding.rpc, vault_id, mark, account.tenant)
            await self.client.change(binding, delete, account, left_s)
        except (GatewayError, StoreDown, KeyError) as error:
            log.warning(
                "cannot see whether the gateway's own tag takes a place that is needed",
                vault=vault_id,
                error=str(error),
            )
        else:
            log.info(
                "the gateway's own tag was taken off a vault that needs its place",
                vault=vault_id,
            )

    async def _in_the_way(
        self, vault: types_pb2.Vault, adding: set[str], project: str, most: int
    ) -> bool:
        tags = {tag.key: tag.value for tag in vault.tags}
        if MARKER not in tags or len(tags.keys() | adding) <= most:
            return False
        op = await self.operations.get(tags[MARKER])
        if op is not None:
            return op.state not in OPEN
        now = self.reader.clock(project).now()
        return (
            now is not None
            and vault.HasField("create_time")
            and now.earliest - vault.create_time.ToNanoseconds() / 1e9 > _FORGOTTEN_S
        )


def _added(request: Message) -> tuple[str, set[str]]:
    """The vault that gets tags, and their keys."""
    match request:
        case vault_pb2.CreateVaultTagRequest():
            return request.vault_id, {tag.key for tag in [request.tag] if not is_mark(tag.key)}
        case vault_pb2.BatchUpdateVaultTagsRequest() if (
            request.action == vault_pb2.TAG_ACTION_CREATE
        ):
            return request.vault_id, {tag.key for tag in request.tags if not is_mark(tag.key)}
    return "", set()

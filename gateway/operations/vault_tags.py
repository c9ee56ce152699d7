"""VaultService: the tags of a vault."""

from collections.abc import Iterable, Sequence
from typing import Final

from cbrgateway.v1 import types_pb2, vault_pb2

from gateway.operations.reads import VAULT
from gateway.upstream.look import Look, Refusal, refusal
from gateway.upstream.traits import Fields, Proof, Proven, ReadBack, Traits
from gateway.upstream.values import Json, ProtocolError

_MAX_TAGS: Final = 20
"""Of a vault, in whatever cloud. Some take fewer."""


async def _tags(look: Look, vault_id: str) -> set[str]:
    listed = vault_pb2.ListVaultTagsRequest(vault_id=vault_id)
    answer = await look.answer(listed, vault_pb2.ListVaultTagsResponse)
    return {tag.key for tag in answer.tags}


async def _delete_refused(request: vault_pb2.DeleteVaultTagRequest, look: Look) -> Refusal | None:
    there = request.key in await _tags(look, request.vault_id)
    return None if there else refusal(6601)


async def _create_refused(request: vault_pb2.CreateVaultTagRequest, look: Look) -> Refusal | None:
    keys = await _tags(look, request.vault_id) | {request.tag.key}
    return refusal(6600) if len(keys) > _MAX_TAGS else None


async def _update_refused(
    request: vault_pb2.BatchUpdateVaultTagsRequest, look: Look
) -> Refusal | None:
    if request.action != vault_pb2.TAG_ACTION_CREATE:
        return None
    keys = await _tags(look, request.vault_id) | {tag.key for tag in request.tags}
    return refusal(6600) if len(keys) > _MAX_TAGS else None


def _deleted(
    seen: Sequence[ReadBack[vault_pb2.DeleteVaultTagRequest, vault_pb2.GetVaultResponse]],
) -> Proven | None:
    (change,) = seen
    there = {tag.key for tag in change.observed.vault.tags}
    return None if change.request.key in there else Proven({})


DELETE_VAULT_TAG: Final = Traits[vault_pb2.DeleteVaultTagRequest, vault_pb2.DeleteVaultTagResponse](
    rpc="VaultService/DeleteVaultTag",
    refused=_delete_refused,
    proof=Proof(read=VAULT, ids=lambda request: [request.vault_id], proven=_deleted),
)


def _in_force(
    wanted: Iterable[types_pb2.Tag | types_pb2.SystemTag],
    now: Iterable[types_pb2.Tag | types_pb2.SystemTag],
    *,
    present: bool,
) -> bool:
    """Whether tags are there with their values, or are not there.

    A tag without a value has an empty one.
    """
    values = {tag.key: tag.value for tag in now}
    return all(
        values.get(tag.key) == tag.value if present else tag.key not in values for tag in wanted
    )


def _created(
    change: ReadBack[vault_pb2.CreateVaultTagRequest, vault_pb2.ListVaultTagsResponse],
) -> Fields | None:
    return {} if _in_force([change.request.tag], change.observed.tags, present=True) else None


CREATE_VAULT_TAG: Final = Traits[vault_pb2.CreateVaultTagRequest, vault_pb2.CreateVaultTagResponse](
    rpc="VaultService/CreateVaultTag",
    refused=_create_refused,
    read_back=_created,
)


def _updated(
    change: ReadBack[vault_pb2.BatchUpdateVaultTagsRequest, vault_pb2.ListVaultTagsResponse],
) -> Fields | None:
    request, observed = change.request, change.observed
    present = request.action == vault_pb2.TAG_ACTION_CREATE
    pairs = ((request.tags, observed.tags), (request.system_tags, observed.system_tags))
    asked = any(wanted for wanted, _ in pairs)
    return (
        {}
        if asked and all(_in_force(wanted, now, present=present) for wanted, now in pairs)
        else None
    )


BATCH_UPDATE_VAULT_TAGS: Final = Traits[
    vault_pb2.BatchUpdateVaultTagsRequest, vault_pb2.BatchUpdateVaultTagsResponse
](
    rpc="VaultService/BatchUpdateVaultTags",
    refused=_update_refused,
    read_back=_updated,
)


def _counts(request: vault_pb2.QueryVaultsByTagRequest) -> bool:
    return request.action == vault_pb2.TAG_QUERY_ACTION_COUNT


def _check_rows(request: vault_pb2.QueryVaultsByTagRequest, answer: Json) -> None:
    """A count alone is the answer to COUNT; FILTER asks for rows."""
    if not _counts(request) and type(answer.get("resources")) is not list:
        raise ProtocolError("has no usable resources")


QUERY_VAULTS_BY_TAG: Final = Traits[
    vault_pb2.QueryVaultsByTagRequest, vault_pb2.QueryVaultsByTagResponse
](
    rpc="VaultService/QueryVaultsByTag",
    check_answer=_check_rows,
    counts=_counts,
)

"""VaultService: the tags of a vault."""

from collections.abc import Iterable
from typing import Final

from cbrgateway.v1 import types_pb2, vault_pb2

from gateway.upstream.traits import Fields, ReadBack, Traits
from gateway.upstream.values import Json, ProtocolError


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
    read_back=_updated,
)


def _check_rows(request: vault_pb2.QueryVaultsByTagRequest, answer: Json) -> None:
    """A count alone is the answer to COUNT; FILTER asks for rows."""
    if (
        request.action != vault_pb2.TAG_QUERY_ACTION_COUNT
        and type(answer.get("resources")) is not list
    ):
        raise ProtocolError("has no usable resources")


QUERY_VAULTS_BY_TAG: Final = Traits[
    vault_pb2.QueryVaultsByTagRequest, vault_pb2.QueryVaultsByTagResponse
](
    rpc="VaultService/QueryVaultsByTag",
    check_answer=_check_rows,
)

"""What keeps CBR from replicating to a vault in another region, as far as reads here show it."""

from cbrgateway.v1 import protectability_pb2, types_pb2, vault_pb2

from gateway.operations.vault_state import is_unusable
from gateway.upstream.look import Look, Refusal, refusal


async def destination_refused(
    look: Look, region: str, project_id: str, vault_id: str
) -> Refusal | None:
    """For replications to that vault in that project. Where CBR does not show it nothing is said
    of it.
    """
    return await _region_refused(look, region, project_id) or await _vault_refused(
        look, region, project_id, vault_id
    )


async def _region_refused(look: Look, region: str, project_id: str) -> Refusal | None:
    asked = protectability_pb2.GetReplicationCapabilitiesRequest()
    told = await look.answer(asked, protectability_pb2.GetReplicationCapabilitiesResponse)
    reachable = {each for source in told.regions for each in source.replication_destinations}
    if region not in reachable:
        return refusal(1005)
    # A configuration may call a region otherwise than CBR does.
    names = reachable.union(source.name for source in told.regions)
    return refusal(1005) if look.region_of(project_id) in names - {region} else None


async def _vault_refused(look: Look, region: str, project_id: str, vault_id: str) -> Refusal | None:
    asked = vault_pb2.ListExternalVaultsRequest(
        external_project_id=project_id, region_id=region, vault_id=vault_id
    )
    for vault in await look.rows(asked, types_pb2.Vault):
        if vault.id != vault_id:
            continue
        if vault.billing.protect_type != types_pb2.PROTECT_TYPE_REPLICATION:
            return refusal(6119)
        if is_unusable(vault):
            return refusal(6118)
    return None

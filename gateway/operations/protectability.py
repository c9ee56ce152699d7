"""ProtectabilityService."""

from typing import Final

from cbrgateway.v1 import protectability_pb2 as pb

from gateway.upstream.traits import Traits


def _free_or_theirs(row: pb.Protectable, enterprise_project: str) -> bool:
    return (
        not row.protectable.HasField("vault")
        or row.protectable.vault.enterprise_project_id == enterprise_project
    )


LIST_PROTECTABLES: Final = Traits[pb.ListProtectablesRequest, pb.ListProtectablesResponse](
    rpc="ProtectabilityService/ListProtectables",
    sieve=_free_or_theirs,
)

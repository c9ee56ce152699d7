"""RegionService."""

from typing import Final

from cbrgateway.v1 import region_pb2

from gateway.upstream.traits import Traits

MIGRATE_DOMAIN: Final = Traits[region_pb2.MigrateDomainRequest, region_pb2.MigrateDomainResponse](
    rpc="RegionService/MigrateDomain",
    untraceable=True,
)

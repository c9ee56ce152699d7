"""FeatureService/GetCloudFeatures: which cloud the call's project is in, and which RPCs work there.

Nothing is asked of CBR.
"""

import msgspec
from cbrgateway.v1 import feature_pb2, types_pb2
from google.protobuf.message import Message

from gateway.rpc.call import Call
from gateway.rpc.handlers.handles import handles
from gateway.rpc.permitted import refusal
from gateway.upstream.account import Account
from gateway.upstream.catalog import Catalog
from gateway.upstream.declaration import Binding


class CloudHandlers(msgspec.Struct, frozen=True):
    """The handlers. `markers`: the operator wants what is created to be marked."""

    catalog: Catalog
    markers: bool

    @handles(feature_pb2.GetCloudFeaturesRequest)
    async def get_cloud_features(
        self, call: Call, _request: feature_pb2.GetCloudFeaturesRequest
    ) -> Message:
        account = call.account
        flavor = account.flavor
        return feature_pb2.GetCloudFeaturesResponse(
            flavor=flavor.key,
            cloud_name=flavor.name,
            region=account.region,
            rpcs=[_support(binding, call, account) for binding in self.catalog],
            limits=feature_pb2.CloudLimits(**msgspec.structs.asdict(flavor.limits)),
            charging_modes=[
                types_pb2.ChargingMode.Value(f"CHARGING_MODE_{mode.upper()}")
                for mode in flavor.create.charging_modes
            ],
            vault_tags_on_create=flavor.create.tags,
            creates_marked=self.markers and flavor.create.tags and flavor.create.descriptions,
        )


def _support(binding: Binding, call: Call, account: Account) -> feature_pb2.RpcSupport:
    assert call.principal is not None
    support = feature_pb2.RpcSupport(rpc=binding.rpc, operation=binding.operation, available=True)
    if error := refusal(binding, call.principal, account):
        support.available, support.reason, support.message = False, error.reason, error.message
    return support

"""OrderService."""

from collections.abc import Sequence
from typing import Final

from cbrgateway.v1 import order_pb2, vault_pb2

from gateway.operations import vault_state
from gateway.operations.growth import grown, size_first
from gateway.operations.prices import of_ordered
from gateway.operations.reads import VAULT
from gateway.upstream.amounts import Resize
from gateway.upstream.traits import Proof, Proven, ReadBack, Traits


def _resized(request: order_pb2.ChangeOrderRequest | order_pb2.UpdateOrderRequest) -> Resize:
    return Resize(request.resource_id, request.product_info.resource_size_gib)


def _grown(
    seen: Sequence[
        ReadBack[
            order_pb2.ChangeOrderRequest | order_pb2.UpdateOrderRequest, vault_pb2.GetVaultResponse
        ]
    ],
) -> Proven | None:
    """An order that was not paid yet changes nothing, so that the old size proves nothing."""
    (change,) = seen
    return (
        Proven()
        if change.observed.vault.billing.size_gib == change.request.product_info.resource_size_gib
        else None
    )


CHANGE_ORDER: Final = Traits[order_pb2.ChangeOrderRequest, order_pb2.ChangeOrderResponse](
    rpc="OrderService/ChangeOrder",
    refused=vault_state.order_refused,
    deltas=grown(_resized),
    price=of_ordered,
    read_first=size_first(_resized),
    resize=_resized,
    proof=Proof(
        read=VAULT,
        ids=lambda request: [request.resource_id],
        proven=_grown,
    ),
)

UPDATE_ORDER: Final = Traits[order_pb2.UpdateOrderRequest, order_pb2.UpdateOrderResponse](
    rpc="OrderService/UpdateOrder",
    refused=vault_state.order_refused,
    deltas=grown(_resized),
    price=of_ordered,
    read_first=size_first(_resized),
    resize=_resized,
    proof=Proof(
        read=VAULT,
        ids=lambda request: [request.resource_id],
        proven=_grown,
    ),
)

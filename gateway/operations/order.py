"""OrderService."""

from typing import Final

from cbrgateway.v1 import order_pb2

from gateway.operations.growth import grown, size_first
from gateway.upstream.amounts import Resize
from gateway.upstream.traits import Traits


def _resized(request: order_pb2.ChangeOrderRequest | order_pb2.UpdateOrderRequest) -> Resize:
    return Resize(request.resource_id, request.product_info.resource_size_gib)


CHANGE_ORDER: Final = Traits[order_pb2.ChangeOrderRequest, order_pb2.ChangeOrderResponse](
    rpc="OrderService/ChangeOrder",
    deltas=grown(_resized),
    read_first=size_first(_resized),
    resize=_resized,
)

UPDATE_ORDER: Final = Traits[order_pb2.UpdateOrderRequest, order_pb2.UpdateOrderResponse](
    rpc="OrderService/UpdateOrder",
    deltas=grown(_resized),
    read_first=size_first(_resized),
    resize=_resized,
)

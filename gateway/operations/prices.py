"""By what a vault costs once a change was carried out."""

from collections.abc import Callable

from cbrgateway.v1 import order_pb2, types_pb2, vault_pb2

from gateway.upstream.amounts import Resize
from gateway.upstream.traits import Request


def of_new(
    request: vault_pb2.CreateVaultRequest | vault_pb2.OrderVaultRequest,
    _current: types_pb2.Vault | None,
) -> types_pb2.PriceClass:
    billing = request.vault.billing
    mode = billing.charging_mode or types_pb2.CHARGING_MODE_POST_PAID
    return types_pb2.PriceClass(charging_mode=mode, size_after_gib=billing.size_gib)


def of_resized(
    resize: Callable[[Request], Resize],
) -> Callable[[Request, types_pb2.Vault | None], types_pb2.PriceClass]:
    """Of a vault that may get another size."""

    def price(request: Request, current: types_pb2.Vault | None) -> types_pb2.PriceClass:
        size = resize(request).size_gib
        found = _now(current)
        if size is not None:
            found.size_after_gib = size
        return found

    return price


def of_ordered(
    request: order_pb2.ChangeOrderRequest | order_pb2.UpdateOrderRequest,
    current: types_pb2.Vault | None,
) -> types_pb2.PriceClass:
    found, product = _now(current), request.product_info
    found.size_after_gib = product.resource_size_gib
    found.spec_code = product.resource_spec_code or found.spec_code
    return found


def of_charging_mode(
    request: vault_pb2.ChangeVaultChargingModeRequest, _current: types_pb2.Vault | None
) -> types_pb2.PriceClass:
    """Of vaults that are paid otherwise; each keeps its size."""
    return types_pb2.PriceClass(charging_mode=request.charging_mode)


def of_none(_request: object, current: types_pb2.Vault | None) -> types_pb2.PriceClass:
    """Of a vault that is deleted."""
    found = _now(current)
    found.size_after_gib = 0
    return found


def _now(vault: types_pb2.Vault | None) -> types_pb2.PriceClass:
    """As it is; what is not known is not set."""
    if vault is None:
        return types_pb2.PriceClass()
    billing = vault.billing
    return types_pb2.PriceClass(
        charging_mode=billing.charging_mode,
        spec_code=billing.spec_code,
        size_before_gib=billing.size_gib,
        size_after_gib=billing.size_gib,
    )

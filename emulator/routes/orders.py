"""Orders of pre-paid vaults, and the billing centre's view of them.

CBR passes on answers of the billing centre, hence the camel case.
"""

from emulator import fields
from emulator.errors import ApiError, invalid, service_error
from emulator.fields import JsonObject, Need
from emulator.model import OBJECT_TYPES, Order, Vault
from emulator.routes.vault_bodies import BIND_RULES, LEVEL, RESOURCE, THRESHOLD
from emulator.routes.vaults import order_vault
from emulator.routing import Call, Route

SPEC_CODES = (
    "vault.backup.server.normal",
    "vault.backup.turbo.normal",
    "vault.backup.database.normal",
    "vault.backup.volume.normal",
    "vault.backup.rds.normal",
    "vault.replication.server.normal",
    "vault.replication.turbo.normal",
    "vault.hybrid.server.normal",
)


def create_pre_paid_vault(call: Call) -> object:
    """Order a pre-paid vault, whatever the operation's name says."""
    return order_vault(call, call.body["vault"])


def change_charge_mode(call: Call) -> object:
    """Turn post-paid vaults into pre-paid ones, all in one order."""
    vaults = [call.world.vault(call.project_id, vault_id) for vault_id in call.body["vault_ids"]]
    for vault in vaults:
        if vault.charging_mode == "pre_paid":
            raise service_error(6110, "The vault is pre-paid already.")
    order = _order(call, vaults[0])
    for vault in vaults:
        vault.charging_mode, vault.order_id, vault.product_id = (
            "pre_paid",
            order.id,
            vault.spec_code,
        )
        vault.auto_expand = False
    return {"orderId": order.id, "retCode": 0, "retMsg": "success"}


def _order(call: Call, vault: Vault) -> Order:
    order = Order(call.world.ids.order(), call.project_id, vault.id, paid=True)
    call.world.orders[order.id] = order
    return order


def _resize(call: Call, vault_id: str, size: int, spec_code: str) -> Vault:
    vault = call.world.vault(call.project_id, vault_id)
    if vault.charging_mode != "pre_paid":
        raise service_error(6110, "The size of a post-paid vault is changed without an order.")
    if spec_code != vault.spec_code:
        raise invalid("resource_spec_code", "is not that of the vault")
    if size * 1024 < call.world.used_mb(vault.id):
        raise service_error(6114, "Size of vault is below the used capacity.")
    if call.world.settings.strict_capacity and size < vault.allocated:
        raise service_error(6101, "Size of vault invalid.")
    vault.size = size
    return vault


def change_order(call: Call) -> object:
    """Change the size of a pre-paid vault by a new order, paid at once."""
    product: JsonObject = call.body["product_info"]
    vault = _resize(
        call, call.body["resource_id"], product["resource_size"], product["resource_spec_code"]
    )
    order = _order(call, vault)
    vault.order_id = order.id
    return {"orderId": order.id, "retCode": 0, "retMsg": "success"}


def update_order(call: Call) -> object:
    """The older form of `change_order`; `retCode` is a string here."""
    order = call.world.orders.get(call.params["order_id"])
    if order is None or order.project_id != call.project_id:
        raise service_error(6109, "The order does not exist.")
    product: JsonObject = call.body["productInfo"]
    _resize(call, call.body["resourceId"], product["resourceSize"], product["resourceSpecCode"])
    return {"orderId": order.id, "retCode": "0", "retMsg": "success"}


COMPLETED, TO_BE_PAID = 5, 6
"""States of an order at the billing centre."""


def show_order(call: Call) -> object:
    """Answer an order with the vault it is for, which pre-paid clients wait for.

    Source: billing centre, ShowCustomerOrderDetails.
    """
    projects = {project.id for project in call.account.projects}
    order = call.world.orders.get(call.params["order_id"])
    if order is None or order.project_id not in projects:
        raise ApiError(400, {"error_code": "CBC.0100", "error_msg": "The order does not exist."})
    status = COMPLETED if order.paid else TO_BE_PAID
    service = {
        "service_type_code": "hws.service.type.cbr",
        "service_type_name": "Cloud Backup and Recovery",
    }
    line = {
        "order_line_item_id": f"{order.id}-000001",
        **service,
        "status": status,
        "resource_id": order.resource_id,
    }
    info = {
        "order_id": order.id,
        "customer_id": call.account.domain_id,
        **service,
        "source_type": 1,
        "order_type": 1,
        "status": status,
    }
    return {"total_count": 1, "order_info": info, "order_line_items": [line]}


PERIOD = fields.word("month", "year")
PRE_PAID = fields.record(
    cloud_type=fields.word("public", "hybrid"),
    consistent_level=Need(LEVEL),
    object_type=Need(fields.word(*OBJECT_TYPES)),
    protect_type=Need(fields.word("backup", "replication")),
    size=Need(fields.integer(10, 10485760)),
    charging_mode=Need(fields.word("pre_paid")),
    period_type=Need(PERIOD),
    period_num=Need(fields.integer(1, 9)),
    is_auto_renew=fields.boolean,
    is_auto_pay=fields.boolean,
    console_url=fields.text(),
    is_multi_az=fields.boolean,
    is_double_az=fields.boolean,
    promotion_info=fields.text(),
    purchase_mode=fields.text(),
    order_id=fields.text(),
)
COMBINED = fields.record(
    combined_order_id=fields.text(),
    combined_order_ecs_num=fields.integer(1, 1000),
    combined_order_num=fields.integer(1, 1000),
)
ORDER_BODY = fields.record(
    vault=Need(
        fields.record(
            name=fields.NAME,
            billing=Need(PRE_PAID),
            resources=Need(fields.many(RESOURCE, 0, 256)),
            description=fields.text(0, 255),
            backup_policy_id=fields.text(1),
            tags=fields.many(fields.TAG, 1, 10),
            enterprise_project_id=fields.text(),
            auto_bind=fields.boolean,
            bind_rules=BIND_RULES,
            threshold=THRESHOLD,
            smn_notify=fields.boolean,
            parameters=fields.record(combined_order=COMBINED),
            auto_expand=fields.boolean,
            locked=fields.boolean,
            cross_account=fields.boolean,
            data_encryption=fields.record(cmkid=fields.text(), encrypted_algorithm=fields.text()),
        )
    )
)
PERIOD_BODY = fields.record(
    charging_mode=Need(fields.word("pre_paid")),
    period_type=Need(PERIOD),
    period_num=Need(fields.integer(1, 9)),
    is_auto_renew=fields.boolean,
    is_auto_pay=Need(fields.boolean),
    console_url=fields.text(1, 255),
    vault_ids=Need(fields.many(fields.text(1), 1, 60)),
)
PRODUCT_ID = Need(fields.text(1, 64, r"[a-zA-Z0-9_\-]*"))
SIZE = Need(fields.integer(10, 10485760))
CHANGE_BODY = fields.record(
    cloud_service_console_url=fields.text(1, 512),
    product_info=Need(
        fields.record(
            product_id=PRODUCT_ID,
            resource_size=SIZE,
            resource_size_measure_id=fields.integer(17, 17),
            resource_spec_code=Need(fields.word(*SPEC_CODES)),
        )
    ),
    resource_id=Need(fields.text(1)),
    is_auto_pay=fields.boolean,
    promotion_info=fields.text(),
)
UPDATE_BODY = fields.record(
    cloudServiceConsoleURL=fields.text(1, 512),
    productInfo=Need(
        fields.record(
            productId=PRODUCT_ID,
            resourceSize=SIZE,
            resourceSizeMeasureId=fields.integer(17, 17),
            resourceSpecCode=Need(fields.word(*SPEC_CODES)),
        )
    ),
    resourceId=Need(fields.text(1)),
    promotion_info=fields.text(),
)
P = "/v3/{project_id}"

ROUTES = (
    Route(
        "CreatePostPaidVault", "POST", P + "/vaults/order", create_pre_paid_vault, body=ORDER_BODY
    ),
    Route(
        "ChangeVaultChargeMode",
        "POST",
        P + "/vaults/change-charge-mode",
        change_charge_mode,
        body=PERIOD_BODY,
    ),
    Route("ChangeOrder", "POST", P + "/orders/change", change_order, body=CHANGE_BODY),
    Route(
        "ShowCustomerOrderDetails",
        "GET",
        "/v2/orders/customer-orders/details/{order_id}",
        show_order,
    ),
    Route("UpdateOrder", "PUT", P + "/orders/{order_id}", update_order, body=UPDATE_BODY),
)

"""Request bodies of the vault operations and the parts of them that other categories use too."""

from emulator import fields
from emulator.fields import Need
from emulator.model import OBJECT_TYPES, RESOURCE_TYPES

EXTRA = fields.record(
    exclude_volumes=fields.many(fields.text(1)),
    include_volumes=fields.many(fields.record(id=Need(fields.text(1)), os_version=fields.text())),
)
RESOURCE = fields.record(
    id=Need(fields.text(1)),
    type=Need(fields.word(*RESOURCE_TYPES)),
    name=fields.text(0, 255),
    extra_info=EXTRA,
)
BIND_RULES = fields.record(
    tags=fields.many(fields.record(key=Need(fields.text()), value=Need(fields.text())), 0, 5)
)
LEVEL = fields.word("app_consistent", "crash_consistent")
THRESHOLD = fields.integer(1, 100)
BILLING = fields.record(
    cloud_type=fields.word("public", "hybrid"),
    consistent_level=Need(LEVEL),
    object_type=Need(fields.word(*OBJECT_TYPES)),
    protect_type=Need(fields.word("backup", "replication")),
    size=Need(fields.integer(10, 10485760)),
    charging_mode=fields.word("post_paid", "pre_paid"),
    period_type=fields.word("year", "month"),
    period_num=fields.integer(1, 9),
    is_auto_renew=fields.boolean,
    is_auto_pay=fields.boolean,
    console_url=fields.text(1, 255),
    is_multi_az=fields.boolean,
)
CREATE_BODY = fields.record(
    vault=Need(
        fields.record(
            name=Need(fields.NAME),
            billing=Need(BILLING),
            resources=Need(fields.many(RESOURCE, 0, 255)),
            description=fields.PLAIN,
            backup_policy_id=fields.text(1),
            tags=fields.many(fields.TAG, 1, 10),
            enterprise_project_id=fields.text(),
            auto_bind=fields.boolean,
            bind_rules=BIND_RULES,
            auto_expand=fields.boolean,
            threshold=THRESHOLD,
            smn_notify=fields.boolean,
            backup_name_prefix=fields.text(0, 32),
            demand_billing=fields.boolean,
            sys_lock_source_service=fields.text(),
            locked=fields.boolean,
            availability_zone=fields.text(1, 32),
        )
    )
)
UPDATE_BODY = fields.record(
    vault=Need(
        fields.record(
            billing=fields.record(consistent_level=LEVEL, size=fields.integer(1, 10485760)),
            name=fields.NAME,
            auto_bind=fields.boolean,
            bind_rules=BIND_RULES,
            auto_expand=fields.boolean,
            smn_notify=fields.boolean,
            threshold=THRESHOLD,
            locked=fields.boolean,
        )
    )
)
BATCH_BODY = fields.record(
    vault=Need(fields.record(smn_notify=fields.boolean, threshold=THRESHOLD))
)
ADD_BODY = fields.record(resources=Need(fields.many(RESOURCE, 1, 256)))
IDS = Need(fields.many(fields.text(1), 1, 256))
ASSOCIATE_BODY = fields.record(
    policy_id=fields.text(1),
    add_policy_ids=fields.many(fields.text(1)),
    destination_vault_id=fields.text(1),
)

"""Category policy: when to back up or replicate, and how much to keep."""

from datetime import UTC, datetime

from emulator import fields
from emulator.errors import invalid, service_error
from emulator.fields import JsonObject, Need, q_text, q_word
from emulator.model import Policy
from emulator.routing import Call, Route, visible
from emulator.views import policy_view

MAX_POLICIES = 32
"""Of each type, in one account. Source: constraints page of the manual."""

LADDER = ("day_backups", "week_backups", "month_backups", "year_backups")


def create_policy(call: Call) -> object:
    """Answer the policy; of its definition only what was sent, plus two fields of the service."""
    body = call.body["policy"]
    kind = body["operation_type"]
    same = [each for each in call.world.policies.values() if each.operation_type == kind]
    owned = {project.id for project in call.account.projects}
    if sum(1 for each in same if each.project_id in owned) >= MAX_POLICIES:
        raise service_error(6001, f"An account takes {MAX_POLICIES} policies of this type.")
    definition = body["operation_definition"]
    check_definition(definition, kind, "policy.operation_definition")
    now = call.world.clock.now()
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S")
    policy = Policy(
        id=call.world.ids.new(),
        project_id=call.project_id,
        name=body["name"],
        operation_type=kind,
        enabled=body.get("enabled", True),
        definition={
            **definition,
            "full_backup_interval": definition.get("full_backup_interval", -1),
        }
        | {"created_by": "customer"},
        trigger_id=call.world.ids.new(),
        trigger={**body["trigger"]["properties"], "start_time": stamp},
        created_at=now,
    )
    call.world.policies[policy.id] = policy
    return {"policy": policy_view(call.world, policy, created=True)}


def check_definition(definition: JsonObject, kind: str, name: str) -> None:
    """Refuse what no single field shows: a ladder without time zone, no destination."""
    if any(definition.get(step) for step in LADDER) and "timezone" not in definition:
        raise invalid(f"{name}.timezone", "is required with day, week, month or year backups")
    if kind == "replication":
        for key in ("destination_region", "destination_project_id"):
            if key not in definition:
                raise invalid(f"{name}.{key}", "is required for replication")


def list_policies(call: Call) -> object:
    """Answer all policies of the project; this list has no pages."""
    query = call.query
    vault = call.world.vaults.get(query.get("vault_id", ""))
    found = [
        policy
        for policy in visible(call, call.world.policies.values())
        if policy.project_id == call.project_id
        and query.get("operation_type", policy.operation_type) == policy.operation_type
        and ("vault_id" not in query or (vault is not None and policy.id in vault.policies))
    ]
    return {
        "policies": [policy_view(call.world, policy) for policy in found],
        "count": len(found),
        "limit": 1000,
        "offset": 0,
    }


def _policy(call: Call) -> Policy:
    return call.world.policy(call.project_id, call.params["policy_id"])


def show_policy(call: Call) -> object:
    """Answer one policy."""
    return {"policy": policy_view(call.world, _policy(call))}


def update_policy(call: Call) -> object:
    """Change what the body holds; the rest stays.

    The definition is replaced as a whole, but for what the service sets itself.
    """
    policy, body = _policy(call), call.body["policy"]
    change = body.get("operation_definition", {})
    bound = any(policy.id in vault.policies for vault in call.world.vaults.values())
    region = change.get("destination_region")
    if bound and region not in {None, policy.definition.get("destination_region")}:
        raise service_error(6003, "The destination region is fixed while the policy is bound.")
    own = {"full_backup_interval": -1, "created_by": policy.definition["created_by"]}
    definition = own | change if change else policy.definition
    check_definition(definition, policy.operation_type, "policy.operation_definition")
    policy.definition = definition
    policy.name = body.get("name", policy.name)
    policy.enabled = body.get("enabled", policy.enabled)
    properties: JsonObject = body.get("trigger", {}).get("properties", {})
    if "start_window_minutes" in properties and properties["start_window_minutes"] is None:
        policy.trigger.pop("start_window_minutes", None)
        properties.pop("start_window_minutes")
    policy.trigger |= properties
    return {"policy": policy_view(call.world, policy)}


def delete_policy(call: Call) -> None:
    """Remove a policy; vaults lose it."""
    policy = _policy(call)
    for vault in call.world.vaults.values():
        vault.policies.pop(policy.id, None)
    del call.world.policies[policy.id]


PATTERN = (
    r"(FREQ=(WEEKLY|DAILY)|BYDAY=(MO|TU|WE|TH|FR|SA|SU)(,(MO|TU|WE|TH|FR|SA|SU))*"
    r"|BYHOUR=([01]?\d|2[0-3])(,([01]?\d|2[0-3]))*|BYMINUTE=[0-5]?\d|INTERVAL=\d{1,2})"
)
PERIODS_OFF = -1
WEEKDAYS = fields.many(fields.text(1))
MONTH_DAYS = fields.many(fields.integer(1, 28, -1))
RETENTION_TYPE = fields.word("Weekly", "Monthly")
ADVANCED = fields.record(
    weekly_retention_rules=fields.record(
        days_of_week=WEEKDAYS, retention_duration_periods=fields.integer(1, 5200, PERIODS_OFF)
    ),
    monthly_retention_rules=fields.record(
        retention_type=RETENTION_TYPE,
        retention_weeks=fields.many(fields.text(1)),
        days_of_week=WEEKDAYS,
        days_of_month=MONTH_DAYS,
        retention_duration_periods=fields.integer(1, 1200, PERIODS_OFF),
    ),
    yearly_retention_rules=fields.record(
        retention_type=RETENTION_TYPE,
        retention_months=fields.many(fields.text(1)),
        retention_weeks=fields.many(fields.text(1)),
        days_of_month=MONTH_DAYS,
        days_of_week=WEEKDAYS,
        retention_duration_periods=fields.integer(1, 100, PERIODS_OFF),
    ),
)
COUNT = fields.integer(0, 100)
DEFINITION = fields.record(
    day_backups=COUNT,
    week_backups=COUNT,
    month_backups=COUNT,
    year_backups=COUNT,
    max_backups=fields.integer(0, 99999, -1),
    retention_duration_days=fields.integer(1, 99999, -1),
    full_backup_interval=fields.integer(-1, 100),
    timezone=fields.text(9, 9, r"UTC[+-]\d{2}:\d{2}"),
    destination_project_id=fields.text(1),
    destination_region=fields.REGION,
    enable_acceleration=fields.boolean,
    cross_account_urn=fields.text(),
    advanced_retention_rules=ADVANCED,
)
TRIGGER = fields.record(
    properties=Need(
        fields.record(
            pattern=Need(fields.many(fields.text(1, None, rf"{PATTERN}(;{PATTERN})*;?"), 1, 24)),
            start_window_minutes=fields.nullable(fields.integer(60, 480)),
        )
    )
)
KIND = fields.word("backup", "replication")
CREATE_BODY = fields.record(
    policy=Need(
        fields.record(
            enabled=fields.boolean,
            name=Need(fields.NAME),
            operation_definition=Need(DEFINITION),
            operation_type=Need(KIND),
            trigger=Need(TRIGGER),
        )
    )
)
UPDATE_BODY = fields.record(
    policy=Need(
        fields.record(
            enabled=fields.boolean,
            name=fields.NAME,
            operation_definition=DEFINITION,
            trigger=TRIGGER,
        )
    )
)
POLICIES = "/v3/{project_id}/policies"
LIST_QUERY = {"operation_type": q_word("backup", "replication"), "vault_id": q_text}

ROUTES = (
    Route("ListPolicies", "GET", POLICIES, list_policies, query=LIST_QUERY),
    Route("CreatePolicy", "POST", POLICIES, create_policy, body=CREATE_BODY),
    Route("ShowPolicy", "GET", POLICIES + "/{policy_id}", show_policy),
    Route("UpdatePolicy", "PUT", POLICIES + "/{policy_id}", update_policy, body=UPDATE_BODY),
    Route("DeletePolicy", "DELETE", POLICIES + "/{policy_id}", delete_policy, 204),
)

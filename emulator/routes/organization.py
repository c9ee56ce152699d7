"""Category organization_policy: policies an organization hands to its accounts.

Seen by the whole account.
"""

from emulator import fields
from emulator.errors import service_error
from emulator.fields import PAGING, Need, q_need, q_word
from emulator.ids import seeded
from emulator.model import OrganizationPolicy
from emulator.routes.policies import DEFINITION, KIND, TRIGGER, check_definition
from emulator.routing import Call, Route, page, visible
from emulator.views import organization_policy_view


def create_organization_policy(call: Call) -> object:
    """Answer the policy, which starts to be handed out."""
    body = call.body["policy"]
    check_definition(
        body["policy_operation_definition"],
        body["operation_type"],
        "policy.policy_operation_definition",
    )
    account = call.account
    policy = OrganizationPolicy(
        call.world.ids.new(), account.domain_id, account.domain_name, body, call.world.clock.now()
    )
    call.world.organization_policies[policy.id] = policy
    return {"policy": organization_policy_view(policy)}


def list_organization_policies(call: Call) -> object:
    """Answer the account's policies of one type."""
    found = [
        policy
        for policy in visible(call, call.world.organization_policies.values())
        if policy.domain_id == call.account.domain_id
        and policy.body["operation_type"] == call.query["operation_type"]
    ]
    shown, totals = page(call, found)
    return {"policies": [organization_policy_view(policy) for policy in shown], **totals}


def _policy(call: Call) -> OrganizationPolicy:
    policy = call.world.organization_policies.get(call.params["organization_policy_id"])
    if policy is None or policy.domain_id != call.account.domain_id:
        raise service_error(6000, "The policy does not exist.")
    return policy


def show_organization_policy(call: Call) -> object:
    """Answer one policy."""
    return {"policy": organization_policy_view(_policy(call))}


def update_organization_policy(call: Call) -> object:
    """Change what the body holds; the rest stays."""
    policy = _policy(call)
    policy.body |= call.body["policy"]
    return {"policy": organization_policy_view(policy)}


def delete_organization_policy(call: Call) -> None:
    """Remove a policy."""
    del call.world.organization_policies[_policy(call).id]


def list_organization_policy_detail(call: Call) -> object:
    """Answer what became of the policy in each project of the account."""
    policy = _policy(call)
    rows = [
        {
            "policy_id": seeded(policy.id, project.id),
            "domain_id": policy.domain_id,
            "project_id": project.id,
            "status": "available",
        }
        for project in call.account.projects
    ]
    return {"policies": rows, "count": len(rows), "limit": 1000, "offset": 0}


WORDS = fields.text(1, 64)
LONG = fields.text(0, 255)
CREATE_BODY = fields.record(
    policy=Need(
        fields.record(
            name=Need(WORDS),
            description=LONG,
            operation_type=Need(KIND),
            policy_name=Need(WORDS),
            policy_enabled=Need(fields.boolean),
            policy_operation_definition=Need(DEFINITION),
            policy_trigger=Need(TRIGGER),
            effective_scope=LONG,
        )
    )
)
UPDATE_BODY = fields.record(
    policy=Need(
        fields.record(
            name=WORDS,
            description=LONG,
            policy_name=WORDS,
            policy_enabled=fields.boolean,
            policy_operation_definition=DEFINITION,
            policy_trigger=TRIGGER,
            effective_scope=LONG,
        )
    )
)
LIST_QUERY = {**PAGING, "operation_type": q_need(q_word("backup", "replication"))}
POLICIES = "/v3/{project_id}/organization-policies"
POLICY = POLICIES + "/{organization_policy_id}"

ROUTES = (
    Route(
        "ListOrganizationPolicies", "GET", POLICIES, list_organization_policies, query=LIST_QUERY
    ),
    Route(
        "CreateOrganizationPolicy", "POST", POLICIES, create_organization_policy, body=CREATE_BODY
    ),
    Route("ShowOrganizationPolicy", "GET", POLICY, show_organization_policy),
    Route("UpdateOrganizationPolicy", "PUT", POLICY, update_organization_policy, body=UPDATE_BODY),
    Route("DeleteOrganizationPolicy", "DELETE", POLICY, delete_organization_policy, 204),
    Route(
        "ListOrganizationPolicyDetail",
        "GET",
        POLICY + "/policy-detail",
        list_organization_policy_detail,
    ),
)

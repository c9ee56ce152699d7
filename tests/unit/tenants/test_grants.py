"""Every role and permission against every RPC of the catalog."""

import pytest

from gateway.errors import GatewayError, reason_name
from gateway.operations import load_catalog
from gateway.tenants import Grant
from gateway.tenants.grant import EVERYBODYS, whole_kind

CATALOG = load_catalog()
OUTSIDE = {
    f"RegionService/{name}"
    for name in (
        "ListRegionProjects",
        "ListDomainProjects",
        "GetDomain",
        "MigrateDomain",
        "GetMigrationStatus",
    )
}
OUTSIDE |= {
    f"OrganizationPolicyService/{name}"
    for name in (
        "CreateOrganizationPolicy",
        "GetOrganizationPolicy",
        "ListOrganizationPolicies",
        "UpdateOrganizationPolicy",
        "DeleteOrganizationPolicy",
        "ListOrganizationPolicyDeployments",
    )
}
OUTSIDE |= {f"QuotaService/{name}" for name in ("SetLimit", "DeleteLimit", "ReleaseReservation")}
READ_VERBS = ("Get", "List", "Query", "Check", "Watch", "Wait", "Test", "Stream", "Generate")
EXPECTED = {
    "viewer": lambda rpc: rpc not in OUTSIDE and rpc.partition("/")[2].startswith(READ_VERBS),
    "operator": lambda rpc: rpc not in OUTSIDE,
    "administrator": lambda rpc: True,
}


def refusal(grant, binding):
    """The reason, and the permission that is named; None when the call is allowed."""
    try:
        grant.check(binding)
    except GatewayError as error:
        return reason_name(error.reason), error.metadata.get("permission")
    return None


@pytest.mark.parametrize("role", EXPECTED)
def test_each_role_and_each_rpc(role):
    for rpc, binding in CATALOG.bindings.items():
        wanted = (
            None
            if EXPECTED[role](rpc)
            else (
                ("ADMINISTRATOR_ONLY", None)
                if rpc in OUTSIDE
                else ("PERMISSION_MISSING", binding.permission)
            )
        )
        assert refusal(Grant(role), binding) == wanted, rpc


@pytest.mark.parametrize("permission", sorted({each.permission for each in CATALOG}))
def test_a_permission_opens_the_rpcs_that_declare_it_and_no_other(permission):
    one, kind = (
        Grant(permissions=frozenset({permission})),
        Grant(permissions=frozenset({whole_kind(permission)})),
    )
    prefix = permission.rpartition(":")[0]
    for binding in CATALOG:
        for_all = binding.permission in EVERYBODYS
        needed = {binding.permission, *binding.reads_by.values()}
        assert one.allows(binding) == (for_all or needed == {permission})
        kin = {each.rpartition(":")[0] for each in needed} == {prefix}
        assert kind.allows(binding) == (for_all or kin)


@pytest.mark.parametrize("rpc", [each.rpc for each in CATALOG if each.reads_by])
def test_each_list_that_an_rpc_is_made_of_has_to_be_allowed_too(rpc):
    binding = CATALOG[rpc]
    needed = {binding.permission, *(CATALOG[each].permission for each in binding.reads_by)}
    assert Grant(permissions=frozenset(needed)).missing(binding) == []
    for one in needed:
        some = Grant(permissions=frozenset(needed - {one}))
        assert (some.missing(binding), some.allows(binding)) == ([one], False)
        assert refusal(some, binding) == ("PERMISSION_MISSING", one)


def test_no_permission_opens_nothing_but_questions_about_oneself():
    assert {refusal(Grant(), binding) for binding in CATALOG} == {
        ("PERMISSION_MISSING", binding.permission)
        for binding in CATALOG
        if binding.permission not in EVERYBODYS
    } | {None}

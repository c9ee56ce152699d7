"""Who calls, and for which project: from metadata that nobody has looked at before."""

import pytest
from google.rpc import code_pb2
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError, reason_name
from gateway.operations import load_catalog
from gateway.rpc import identity
from gateway.rpc.identity import AUTHORIZATION, PROJECT, choose_project, single
from gateway.tenants import ApiKey, Grant, Principal, Project, Tenant, TenantDirectory, key_hash

KEY = "cbrgw_" + "k" * 43
SHA = key_hash(KEY)
CATALOG = load_catalog()
LIST_VAULTS, LIST_PROJECTS = (
    CATALOG["VaultService/ListVaults"],
    CATALOG["RegionService/ListRegionProjects"],
)


def tenant(name, projects, sha="0" * 64, *, administrator=False):
    return Tenant(
        id=name,
        administrator=administrator,
        default_project=projects[0],
        projects=tuple(Project(id=p, region="r", credential="c") for p in projects),
        api_keys=(ApiKey(id="k", sha256=sha),),
    )


OURS = tenant("ours", ["p1", "p2"], SHA)
THEIRS = tenant("theirs", ["p3"], "1" * 64)
DIRECTORY = TenantDirectory([OURS, THEIRS])
CALLER = Principal(OURS, "k", Grant("operator"))


def authenticate(directory, metadata):
    """Without a loop: an API key is known at once, or not at all."""
    try:
        identity.authenticate(directory, metadata).send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits for something")


def refusal(act, *arguments):
    with pytest.raises(GatewayError) as caught:
        act(*arguments)
    return reason_name(caught.value.reason), caught.value


@pytest.mark.parametrize(
    "value",
    [f"Bearer {KEY}", f"bearer {KEY}", f"BEARER {KEY}", f"Bearer  {KEY} "],
    ids=lambda value: value.replace(KEY, "KEY"),
)
def test_a_known_key_is_its_tenant(value):
    assert authenticate(DIRECTORY, [(AUTHORIZATION, value)]) == CALLER


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        KEY,
        f"Basic {KEY}",
        f"Token {KEY}",
        f"Bearer:{KEY}",
        f"Bearer x{KEY}",
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY} {KEY}",
    ],
    # Stable names: the key is another one in each process.
    ids=lambda value: value.replace(KEY, "KEY").replace(KEY[:-1], "PART") or "empty",
)
def test_any_other_value_is_unauthenticated_and_not_shown(value):
    reason, error = refusal(authenticate, DIRECTORY, [(AUTHORIZATION, value)])
    assert (reason, error.code) == ("CREDENTIALS_INVALID", code_pb2.UNAUTHENTICATED)
    assert KEY not in str(error)


def test_no_entry_is_unauthenticated():
    assert refusal(authenticate, DIRECTORY, [("other", "x")])[0] == "CREDENTIALS_INVALID"


@pytest.mark.parametrize("name", [AUTHORIZATION, PROJECT])
@pytest.mark.parametrize("values", [["a", "b"], ["a", "a"], ["", ""]])
def test_a_repeated_entry_is_refused_even_when_equal(name, values):
    reason, error = refusal(single, [(name, value) for value in values], name)
    assert (reason, error.code) == ("METADATA_INVALID", code_pb2.INVALID_ARGUMENT)
    assert error.violations[0].subject == f"metadata.{name}"


def test_two_keys_are_refused_although_one_is_right():
    both = [(AUTHORIZATION, "Bearer nobody"), (AUTHORIZATION, f"Bearer {KEY}")]
    assert refusal(authenticate, DIRECTORY, both)[0] == "METADATA_INVALID"


@pytest.mark.parametrize(
    "value",
    ["a\r\nb", "a\nb", "a\tb", "a\x00", "a\x7f", "\x1b[2J", "é", "\u202e", "\ud800", b"bytes"],
)
@pytest.mark.parametrize("name", [AUTHORIZATION, PROJECT])
def test_anything_but_printable_ascii_is_refused(name, value):
    reason, error = refusal(single, [(name, value)], name)
    assert reason == "METADATA_INVALID"
    assert not isinstance(value, str) or value not in error.message


@given(
    st.lists(
        st.tuples(
            st.sampled_from([AUTHORIZATION, "x"]), st.text(max_size=20) | st.binary(max_size=8)
        ),
        max_size=3,
    )
)
def test_no_metadata_makes_a_caller(metadata):
    with pytest.raises(GatewayError):
        authenticate(DIRECTORY, metadata)


def test_the_default_project_and_the_named_one():
    assert choose_project(CALLER, LIST_VAULTS, []).id == "p1"
    assert choose_project(CALLER, LIST_VAULTS, [(PROJECT, "p2")]).id == "p2"


@pytest.mark.parametrize("project", ["p3", "nowhere", "", "P1", "p1 ", "../p1"])
def test_a_foreign_project_is_denied_whether_it_exists_or_not(project):
    reason, error = refusal(choose_project, CALLER, LIST_VAULTS, [(PROJECT, project)])
    assert (reason, error.code) == ("PROJECT_DENIED", code_pb2.PERMISSION_DENIED)
    assert (
        error.message
        == refusal(choose_project, CALLER, LIST_VAULTS, [(PROJECT, "other")])[1].message
    )


def test_calls_outside_projects_are_for_administrators():
    reason, error = refusal(choose_project, CALLER, LIST_PROJECTS, [])
    assert (reason, error.code) == ("ADMINISTRATOR_ONLY", code_pb2.PERMISSION_DENIED)
    administrator = Principal(tenant("root", ["p9"]), "k", Grant("administrator"))
    assert choose_project(administrator, LIST_PROJECTS, []).id == "p9"


def test_exactly_the_calls_beyond_tenants_are_for_administrators():
    refused = {b.rpc for b in CATALOG if b.for_administrators}
    organization = {b.rpc for b in CATALOG if b.rpc.startswith("OrganizationPolicyService/")}
    assert refused == organization | {
        f"RegionService/{name}"
        for name in (
            "ListRegionProjects",
            "ListDomainProjects",
            "GetDomain",
            "MigrateDomain",
            "GetMigrationStatus",
        )
    } | {f"QuotaService/{name}" for name in ("SetLimit", "DeleteLimit", "ReleaseReservation")}

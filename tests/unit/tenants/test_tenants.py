import re

import pytest

from gateway.tenants import (
    ApiKey,
    Grant,
    Principal,
    Project,
    Tenant,
    TenantDirectory,
    key_hash,
    new_api_key,
)

PAYMENTS = Project(id="0605767b5780d5762fc5c0118072a564", region="cn-north-4", credential="main")
DATABASES = Project(id="0605767b5f80d5ae2f4bc0115a1e7ad2", region="cn-north-4", credential="main")
RESEARCH = Project(id="0b2f1b0dd180f4a52f3dc0117e6a83b1", region="cn-east-3", credential="other")


def tenant(name: str, key_hashes: dict[str, str], *projects: Project) -> Tenant:
    keys = tuple(ApiKey(id=key_id, sha256=hashed) for key_id, hashed in key_hashes.items())
    return Tenant(id=name, default_project=projects[0].id, projects=projects, api_keys=keys)


def test_a_key_leads_to_its_tenant_and_its_own_name() -> None:
    first, first_hash = new_api_key()
    second, second_hash = new_api_key()
    other, other_hash = new_api_key()
    acme = tenant("acme", {"2026-a": first_hash, "2026-b": second_hash}, PAYMENTS, DATABASES)
    globex = tenant("globex", {"ci": other_hash}, RESEARCH)
    directory = TenantDirectory([acme, globex])
    assert directory.by_api_key(first) == Principal(acme, "2026-a", Grant("operator"))
    assert directory.by_api_key(second) == Principal(acme, "2026-b", Grant("operator"))
    assert directory.by_api_key(other) == Principal(globex, "ci", Grant("operator"))


@pytest.mark.parametrize("wrong", ["", "cbrgw_", "x" * 100_000, "\udcff", "ключ", "a\x00b"])
def test_anything_else_leads_nowhere(wrong: str) -> None:
    key, hashed = new_api_key()
    directory = TenantDirectory([tenant("acme", {"ci": hashed}, PAYMENTS)])
    assert directory.by_api_key(wrong) is None
    assert directory.by_api_key(key + "x") is None
    assert directory.by_api_key(key.upper()) is None
    assert directory.by_api_key(hashed) is None, (
        "the hash in the configuration must not open anything"
    )


def test_a_new_key_is_long_random_and_safe_in_a_header() -> None:
    keys = {new_api_key()[0] for _ in range(100)}
    assert len(keys) == 100
    assert all(re.fullmatch(r"cbrgw_[A-Za-z0-9_-]{43}", key) for key in keys)
    key, hashed = new_api_key()
    assert key_hash(key) == hashed


def test_a_tenant_reaches_its_own_projects_only() -> None:
    acme = tenant("acme", {"ci": "0" * 64}, PAYMENTS, DATABASES)
    assert acme.project(None) == PAYMENTS
    assert acme.project(DATABASES.id) == DATABASES
    assert acme.project(RESEARCH.id) is None
    assert acme.project("") is None, "an empty id is not the default project"

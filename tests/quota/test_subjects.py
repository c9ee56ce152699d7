"""A limit is for somebody: one for nobody is refused with a hint, and one below what is used
already says so.
"""

import pytest

from emulator.settings import PAYMENTS_PROJECT_ID
from tests.functional import stage
from tests.functional.calls import caller
from tests.harness import running_gateway

SET = "QuotaService/SetLimit"


def wish(level, subject="", value=1, metric="OPEN_STREAMS", **more):
    limit = {
        "metric": f"QUOTA_METRIC_{metric}",
        "level": f"QUOTA_LEVEL_{level}",
        "subject": subject,
        "value": value,
    }
    return {"limit": limit, **more}


@pytest.fixture(scope="module")
async def world():
    async with running_gateway() as running:
        yield running


@pytest.mark.parametrize(
    ("level", "subject", "hint"),
    [
        ("TENANT", "paymets", "did you mean payments?"),
        ("TENANT", "nobody at all", "known: admin, databases, payments, standby"),
        ("PROJECT", PAYMENTS_PROJECT_ID[:-1], f"did you mean {PAYMENTS_PROJECT_ID}?"),
        ("PRINCIPAL", "payments/tset", "did you mean payments/test?"),
        ("ACCOUNT", "man", "did you mean main?"),
    ],
)
async def test_a_limit_for_nobody_is_refused_with_a_hint(world, level, subject, hint):
    admin = caller(world, "admin")
    for more in ({}, {"validate_only": True}):
        failed = await admin.fails(SET, wish(level, subject, **more))
        assert (failed.reason, failed.fields) == ("FIELD_INVALID", ["limit.subject"])
        assert failed.message.endswith(f"; {hint}")
        assert "has such a" in failed.message or "has no such" in failed.message


@pytest.mark.parametrize(
    ("level", "subject"),
    [
        ("TENANT", ""),
        ("TENANT", "payments"),
        ("PROJECT", PAYMENTS_PROJECT_ID),
        ("PRINCIPAL", "payments/test"),
        ("ACCOUNT", "main"),
        ("GLOBAL", ""),
    ],
)
async def test_a_limit_for_somebody_is_set_without_a_warning(world, level, subject):
    admin = caller(world, "admin")
    answer = await admin.ok(SET, wish(level, subject))
    assert list(answer.warnings) == []
    await admin.ok("QuotaService/DeleteLimit", {"name": answer.limit.name})


@pytest.mark.parametrize(
    ("given", "field", "told"),
    [
        ({"per_second": 0, "burst": 10}, "limit.per_second", "must be greater than 0"),
        ({"per_second": -1, "burst": 10}, "limit.per_second", "must be greater than 0"),
        ({"per_second": 1e7, "burst": 10}, "limit.per_second", "must be at most 1000000"),
        ({"per_second": "NaN", "burst": 10}, "limit.per_second", "must be a finite number"),
        ({"per_second": 1, "burst": 0}, "limit.burst", "must be at least 1"),
        ({"per_second": 1, "burst": 2e9}, "limit.burst", "must be at most 1000000000"),
        ({"per_second": 1, "burst": 2}, "limit", "burst is below 10, the cost of one call"),
        ({"per_second": 1}, "limit", "requests takes per_second and burst, and no value"),
    ],
)
async def test_a_rate_that_none_can_be_says_what_is_accepted(world, given, field, told):
    limit = {"metric": "QUOTA_METRIC_REQUESTS", "level": "QUOTA_LEVEL_TENANT", **given}
    failed = await caller(world, "admin").fails(SET, {"limit": limit})
    assert (failed.reason, failed.fields) == ("FIELD_INVALID", [field])
    assert failed.message.startswith(f"{field}: {told}")


async def test_a_limit_below_the_use_says_so(world):
    call, admin = caller(world), caller(world, "admin")
    for name in ("a", "b"):
        await call.ok("VaultService/CreateVault", stage.vault_request(name))
    below = wish("TENANT", "payments", 1, "VAULTS")
    set_ = await admin.ok(SET, below)
    (warning,) = set_.warnings
    assert warning.startswith("limit.value 1 is below what payments uses: 2 vaults. ")
    told = await admin.ok(SET, below | {"validate_only": True})
    assert list(told.validation.warnings) == [warning]
    (each,) = (await admin.ok(SET, wish("TENANT", "", 0, "VAULTS"))).warnings
    assert each.startswith("limit.value 0 is below what payments uses: 2 vaults. ")
    all_ = await admin.ok(SET, wish("GLOBAL", "", 1999, "CAPACITY_GIB"))
    (warning,) = all_.warnings
    assert warning.startswith("limit.value 1999 is below what all use: 2000 GiB of vaults. ")

"""Which limits apply to whom, and what a change asks of them."""

import pytest
from cbrgateway.v1 import backup_share_pb2, vault_pb2
from pydantic import ValidationError

from gateway.limits import deltas
from gateway.limits.limits import (
    COST,
    KIND_OF,
    Kind,
    Level,
    Limit,
    Limits,
    MethodClass,
    Scope,
    day_of,
    method_class,
)
from gateway.limits.settings import LimitEntry
from gateway.operations import load_catalog
from gateway.upstream.amounts import Metric, ResourceDelta

SCOPE = Scope(account="main", tenant="payments", project="p1", principal="payments/ci")
CATALOG = load_catalog()


def new_vault(size, **more):
    return vault_pb2.CreateVaultRequest(vault={"name": "v", "billing": {"size_gib": size}, **more})


def test_every_level_counts_its_own_subject():
    limits = Limits(Limit(Metric.VAULTS, level, value=1) for level in Level)
    keys = {applied.key() for applied in limits.applied(Metric.VAULTS, SCOPE)}
    assert keys == {
        "vaults:global",
        "vaults:account:main",
        "vaults:tenant:payments",
        "vaults:project:p1",
        "vaults:principal:payments/ci",
    }


@pytest.mark.parametrize("turned", [False, True])
def test_a_limit_for_one_subject_replaces_the_one_for_each(turned):
    both = [
        Limit(Metric.VAULTS, Level.TENANT, value=1),
        Limit(Metric.VAULTS, Level.TENANT, "payments", value=9),
    ]
    limits = Limits(reversed(both) if turned else both)
    (found,) = limits.applied(Metric.VAULTS, SCOPE)
    assert found.limit.value == 9
    other = Scope("main", "databases", "p2", "databases/ci")
    (found,) = limits.applied(Metric.VAULTS, other)
    assert (found.limit.value, found.key()) == (1, "vaults:tenant:databases")


def test_a_shadow_limit_stands_beside_the_one_that_refuses():
    limits = Limits(
        [
            Limit(Metric.VAULTS, Level.TENANT, value=5),
            Limit(Metric.VAULTS, Level.TENANT, value=2, shadow=True),
        ]
    )
    charged = deltas.priced([ResourceDelta(Metric.VAULTS, 1)], limits, SCOPE, 0)
    assert [(c.key, c.limit, c.shadow) for c, _ in charged] == [
        ("vaults:tenant:payments", 5, False),
        ("vaults:tenant:payments~shadow", 2, True),
    ]


def test_a_rate_can_be_for_one_class_of_calls():
    limits = Limits(
        [
            Limit(Metric.REQUESTS, Level.TENANT, per_second=10, burst=10),
            Limit(
                Metric.REQUESTS,
                Level.TENANT,
                per_second=1,
                burst=10,
                method_class=MethodClass.CHANGE,
            ),
        ]
    )
    assert len(limits.rates(SCOPE, MethodClass.READ)) == 1
    assert len(limits.rates(SCOPE, MethodClass.CHANGE)) == 2


@pytest.mark.parametrize(
    ("rpc", "wanted"),
    [
        ("VaultService/GetVault", MethodClass.READ),
        ("VaultService/ListVaults", MethodClass.LIST),
        ("VaultService/UpdateVault", MethodClass.CHANGE),
        ("BackupService/RestoreBackup", MethodClass.RESTORE),
        ("CheckpointService/ReplicateCheckpoint", MethodClass.RESTORE),
    ],
)
def test_classes_of_calls(rpc, wanted):
    assert method_class(CATALOG[rpc]) is wanted


def test_tables_are_complete():
    assert set(COST) == set(MethodClass)
    assert set(KIND_OF) == set(Metric)


def test_a_new_vault_counts_as_vault_capacity_and_growth():
    assert [
        (d.metric, d.amount)
        for d in deltas.deltas(CATALOG["VaultService/CreateVault"], new_vault(100), None)
    ] == [
        (Metric.VAULTS, 1),
        (Metric.CAPACITY_GIB, 100),
        (Metric.GROWTH_GIB_PER_DAY, 100),
    ]


@pytest.mark.parametrize(("size", "grown"), [(150, 50), (100, 0), (50, 0)])
def test_a_changed_vault_counts_by_what_it_grows(size, grown):
    request = vault_pb2.UpdateVaultRequest(vault_id="v", vault={"billing": {"size_gib": size}})
    current = vault_pb2.GetVaultResponse(vault={"billing": {"size_gib": 100}})
    found = deltas.deltas(CATALOG["VaultService/UpdateVault"], request, current)
    assert [d.amount for d in found] == ([grown, grown] if grown else [])


def test_a_deleted_vault_gives_back_and_charges_nothing():
    limits = Limits(
        [
            Limit(Metric.VAULTS, Level.TENANT, value=1),
            Limit(Metric.CAPACITY_GIB, Level.PROJECT, value=1),
        ]
    )
    current = vault_pb2.GetVaultResponse(vault={"billing": {"size_gib": 100}})
    found = deltas.deltas(
        CATALOG["VaultService/DeleteVault"], vault_pb2.DeleteVaultRequest(), current
    )
    assert deltas.priced(found, limits, SCOPE, 0) == []
    assert deltas.credits_of(found, limits, SCOPE) == {
        "vaults:tenant:payments": -1,
        "vaults:project:p1": -1,
        "capacity_gib:project:p1": -100,
    }


def test_members_are_counted_for_each_backup():
    request = backup_share_pb2.AddBackupMembersRequest(
        backup_id="b", project_ids=["x", "y"], domains=["z"]
    )
    limits = Limits([Limit(Metric.MEMBERS_PER_BACKUP, Level.TENANT, value=3)])
    ((charge, _),) = deltas.priced(
        deltas.deltas(CATALOG["BackupShareService/AddBackupMembers"], request, None),
        limits,
        SCOPE,
        0,
    )
    assert (charge.key, charge.amount) == ("members_per_backup:tenant:payments:b", 3)


def test_volume_ends_at_midnight():
    limits = Limits([Limit(Metric.CHECKPOINTS_PER_DAY, Level.TENANT, value=3)])
    ((charge, _),) = deltas.priced(
        [ResourceDelta(Metric.CHECKPOINTS_PER_DAY, 1)], limits, SCOPE, 3 * 86_400 + 5
    )
    assert (charge.key, charge.expires_at) == ("checkpoints_per_day:tenant:payments:3", 4 * 86_400)
    assert day_of(0) == ("0", 86_400)


def test_the_current_object_is_read_only_where_a_limit_needs_it():
    assert deltas.read_first(CATALOG["VaultService/UpdateVault"], Limits(), SCOPE) is None
    limits = Limits([Limit(Metric.CAPACITY_GIB, Level.TENANT, "payments", value=3)])
    read = deltas.read_first(CATALOG["VaultService/UpdateVault"], limits, SCOPE)
    assert read is not None
    asked = read.request(vault_pb2.UpdateVaultRequest(vault_id="v"))
    assert asked == vault_pb2.GetVaultRequest(vault_id="v")
    assert (
        deltas.read_first(
            CATALOG["VaultService/UpdateVault"], limits, Scope("main", "databases", "p2", "")
        )
        is None
    )


def test_expanding_by_itself_is_seen():
    assert deltas.expands_itself(
        CATALOG["VaultService/CreateVault"], new_vault(1, auto_expand=True)
    )
    assert not deltas.expands_itself(CATALOG["VaultService/CreateVault"], new_vault(1))
    assert not deltas.expands_itself(
        CATALOG["VaultService/DeleteVault"], vault_pb2.DeleteVaultRequest()
    )


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"metric": "vaults", "level": "tenant"}, "takes value"),
        ({"metric": "vaults", "level": "tenant", "value": 1, "burst": 1}, "takes value"),
        ({"metric": "vaults", "level": "principal", "value": 1}, "cannot be limited by principal"),
        ({"metric": "vaults", "level": "global", "subject": "x", "value": 1}, "has no subject"),
        ({"metric": "requests", "level": "tenant", "value": 1}, "takes per_second and burst"),
        (
            {"metric": "requests", "level": "tenant", "per_second": 1, "burst": 9},
            "burst is below 10",
        ),
        (
            {
                "metric": "requests",
                "level": "tenant",
                "per_second": 1,
                "burst": 4,
                "method_class": "change",
            },
            "burst is below 5",
        ),
        ({"metric": "vaults", "level": "tenant", "value": -1}, "greater than or equal to 0"),
        ({"metric": "vault", "level": "tenant", "value": 1}, "vaults"),
    ],
)
def test_entries_that_make_no_sense_are_refused(entry, text):
    with pytest.raises(ValidationError, match=text):
        LimitEntry.model_validate(entry)


def test_an_entry_becomes_a_limit():
    entry = LimitEntry.model_validate(
        {
            "metric": "requests",
            "level": "tenant",
            "subject": "a",
            "per_second": 2,
            "burst": 20,
            "method_class": "read",
        }
    )
    assert entry.limit() == Limit(Metric.REQUESTS, Level.TENANT, "a", 0, 2, 20, MethodClass.READ)
    assert entry.limit().kind is Kind.RATE
    assert entry.limit().name == "requests:tenant:a:read"

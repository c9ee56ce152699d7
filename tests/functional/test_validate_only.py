"""`validate_only` of every change: nothing that changes anything reaches CBR, nothing is reserved,
and the same request without it then sends what was told, byte for byte.
"""

import pytest

from emulator.transitions import Mode, Pace
from tests.audit.scenes import audited_gateway, records
from tests.functional import sound_changes, stage
from tests.functional import test_changes_in_doubt as scenes
from tests.functional.calls import CATALOG, arrived, caller, message_for, until
from tests.functional.sound_changes import CHANGES, changing, request_of, validating, vault_id
from tests.harness import running_gateway

shared_world = sound_changes.shared_world


@pytest.mark.parametrize("rpc", CHANGES)
async def test_a_change_is_told_and_then_made_as_told(world, rpc):
    call = scenes.someone(world, rpc)
    request = await request_of(world, call, rpc)
    since = scenes.last_seq(world)
    answer = await call.ok(rpc, validating(request))
    assert changing(world, since) == []
    assert [fd.name for fd, _ in answer.ListFields()] == ["validation"]
    told = answer.validation.upstream_request
    await call(rpc, request)
    sent = changing(world, since)[0]
    assert (sent.method, sent.target, sent.body) == (told.verb, told.path, told.body)


async def test_what_a_deletion_would_do(world, payments):
    held = await stage.backup(payments)
    wish = {"vault_id": held.vault_id, "validate_only": True}
    refused = await payments.fails("VaultService/DeleteVault", wish)
    assert refused.reason == "VAULT_NOT_EMPTY"
    told = (await payments.ok("VaultService/DeleteVault", wish | {"force": True})).validation
    (loss,) = told.losses
    assert (loss.kind, loss.count, list(loss.ids)) == ("backup", 1, [held.id])
    price = told.price_class
    assert (price.size_before_gib, price.size_after_gib) == (1000, 0)
    assert price.spec_code
    assert arrived(world, "VaultService/DeleteVault") == []


@pytest.mark.parametrize(
    ("rpc", "request_", "reason"),
    [
        ("VaultService/DeleteVault", {"vault_id": "nowhere"}, "VAULT_NOT_FOUND"),
        (
            "VaultService/AssociateVaultPolicy",
            {"vault_id": "nowhere", "policy_id": "p"},
            "VAULT_NOT_FOUND",
        ),
        ("BackupService/DeleteBackup", {"backup_id": "nowhere"}, "BACKUP_NOT_FOUND"),
        ("PolicyService/DeletePolicy", {"policy_id": "nowhere"}, "POLICY_NOT_FOUND"),
        ("AgentService/UnregisterAgent", {"agent_id": "nowhere"}, "RESOURCE_NOT_FOUND"),
        (
            "CheckpointService/CreateCheckpoint",
            {"checkpoint": {"vault_id": "nowhere"}},
            "VAULT_NOT_FOUND",
        ),
    ],
)
async def test_what_is_not_there_is_told(world, payments, rpc, request_, reason):
    assert (await payments.fails(rpc, request_ | {"validate_only": True})).reason == reason
    assert changing(world, 0) == []


async def test_a_resource_that_the_vault_lacks_is_told(payments):
    wish = {"vault_id": await vault_id(payments), "resource_ids": ["r"], "validate_only": True}
    failed = await payments.fails("VaultService/RemoveVaultResources", wish)
    assert failed.reason == "RESOURCE_NOT_FOUND"


async def test_running_work_and_a_state_that_is_in_the_way_are_told(world, payments):
    held = await stage.vault(payments, 1)
    world.emulator.state.world.tasks.set_pace(Pace(Mode.TIME, duration_s=3600))
    await payments.ok("CheckpointService/CreateCheckpoint", {"checkpoint": {"vault_id": held.id}})
    wish = {"vault_id": held.id, "force": True}
    validating_ = wish | {"validate_only": True}
    told = (await payments.ok("VaultService/DeleteVault", validating_)).validation
    assert len(told.running_task_ids) == 1
    assert (await payments.fails("VaultService/DeleteVault", wish)).reason == "RESOURCE_BUSY"
    world.emulator.state.world.vaults[held.id].status = "frozen"
    told = (await payments.ok("VaultService/DeleteVault", validating_)).validation
    assert list(told.warnings) == [f"The vault {held.id} is FROZEN: CBR may refuse the change."]


LIMITS = [
    {"metric": "vaults", "value": 2},
    {"metric": "capacity_gib", "level": "global", "value": 10_000},
    {"metric": "growth_gib_per_day", "value": 1500, "shadow": True},
    {"metric": "concurrent_changes", "subject": "databases", "value": 0},
]


async def test_limits_are_told_with_their_use_before_and_after_and_hold_nothing():
    async with running_gateway(sections={"limits": LIMITS}) as world:
        call = caller(world)
        first = (await call.ok("VaultService/CreateVault", stage.vault_request("first"))).vault
        wish = stage.vault_request("second") | {"validate_only": True, "request_id": "one"}
        for _ in range(3):
            told = (await call.ok("VaultService/CreateVault", wish)).validation
        uses = {use.name.split(":")[0]: use for use in told.limits}
        assert (uses["vaults"].used_before, uses["vaults"].used_after) == (1, 2)
        assert (uses["vaults"].asked, uses["vaults"].value) == (1, 2)
        assert not uses["capacity_gib"].HasField("used_before")
        assert uses["growth_gib_per_day"].shadow
        assert uses["growth_gib_per_day"].used_after == 2000
        gone = {"vault_id": first.id, "validate_only": True}
        back = (await call.ok("VaultService/DeleteVault", gone)).validation
        given = {use.name.split(":")[0]: use for use in back.limits}["vaults"]
        assert (given.asked, given.used_before, given.used_after) == (-1, 1, 0)
        await call.ok("VaultService/CreateVault", wish | {"validate_only": False})
        refused = await call.fails("VaultService/CreateVault", wish)
        assert refused.reason == "RESOURCE_COUNT_LIMIT"
        listed = await call.ok("QuotaService/ListReservations")
        assert list(listed.reservations) == []
        # No slot is free there, and none is needed.
        other = caller(world, "databases")
        change = stage.vault_request("third")
        assert (await other.fails("VaultService/CreateVault", change)).reason == "CONCURRENCY_LIMIT"
        await other.ok("VaultService/CreateVault", change | {"validate_only": True})


async def test_the_audit_log_says_that_nothing_was_changed(tmp_path):
    async with audited_gateway(tmp_path) as world:
        call = caller(world)
        wish = stage.vault_request() | {"validate_only": True}
        await call.ok("VaultService/CreateVault", wish)
        missing = {"vault_id": "nowhere", "validate_only": True}
        await call.fails("VaultService/DeleteVault", missing)
        await until(lambda: not world.app.servers.in_flight.number)
    told, refused = records(tmp_path)
    assert told["unmapped"]["event"] == "CHANGE_VALIDATED"
    assert refused["unmapped"]["event"] == "CALL_REFUSED"
    for row in (told, refused):
        assert row["unmapped"]["validate_only"] is True
        assert row["activity_name"] == "Read"
        assert "fate" not in row["unmapped"]


async def test_the_mark_stands_for_the_call_that_makes_the_change():
    async with running_gateway(sections={"quota": {"markers": True}}) as world:
        call = caller(world)
        request = message_for("VaultService/CreateVault", stage.vault_request())
        told = (await call.ok("VaultService/CreateVault", validating(request))).validation
        made = call.start("VaultService/CreateVault", request)
        await made
        own = dict(await made.trailing_metadata())["x-request-id"]
        (sent,) = arrived(world, "VaultService/CreateVault")
        assert "{x-request-id}" in told.upstream_request.body
        assert sent.body == told.upstream_request.body.replace("{x-request-id}", own)


async def test_changes_of_the_gateway_itself_are_validated_too(world):
    admin = caller(world, "admin")
    limit = {"metric": "QUOTA_METRIC_VAULTS", "level": "QUOTA_LEVEL_TENANT", "value": 7}
    wish = {"limit": limit, "validate_only": True}
    assert (await admin.ok("QuotaService/SetLimit", wish)).HasField("validation")
    before = len((await admin.ok("QuotaService/ListLimits")).limits)
    await admin.ok("QuotaService/SetLimit", {"limit": limit})
    shown = (await admin.ok("QuotaService/ListLimits")).limits
    assert len(shown) == before + 1
    gone = {"name": "vaults:tenant", "validate_only": True}
    assert (await admin.ok("QuotaService/DeleteLimit", gone)).HasField("validation")
    assert len((await admin.ok("QuotaService/ListLimits")).limits) == before + 1
    await admin.ok("QuotaService/DeleteLimit", gone | {"validate_only": False})
    assert (await admin.fails("QuotaService/DeleteLimit", gone)).reason == "QUOTA_NOT_FOUND"
    release = {"reservation_id": "none", "validate_only": True}
    failed = await admin.fails("QuotaService/ReleaseReservation", release)
    assert failed.reason == "QUOTA_NOT_FOUND"


def test_every_change_can_be_validated():
    changes = [binding for binding in CATALOG if not binding.reads]
    assert changes
    for binding in changes:
        assert "validate_only" in binding.descriptor.input_type.fields_by_name
        told = binding.descriptor.output_type.fields_by_name["validation"]
        assert told.message_type.name == "ValidationResult"

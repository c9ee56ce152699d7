"""`sent` of a change is told of the change itself: what was only read for it does not count."""

import pytest

from tests.audit.scenes import audited_gateway, records
from tests.functional import stage
from tests.functional.calls import arrived, caller, order, until

UPDATE, DELETE, POLICY = (
    "VaultService/UpdateVault",
    "VaultService/DeleteVault",
    "PolicyService/UpdatePolicy",
)
GET, LIST, SHOW = "VaultService/GetVault", "BackupService/ListBackups", "PolicyService/GetPolicy"
SIZE = {"vault": {"billing": {"size_gib": 2000}}}
TEXT = {"vault": {"name": "other"}}
KEEP = {"policy": {"operation_definition": {"max_backups": 3}}}
CASES = [
    (UPDATE, SIZE, GET),
    (UPDATE, TEXT | {"etag": 'W/"0123456789abcdef"'}, GET),
    (DELETE, {}, LIST),
    (POLICY, KEEP, SHOW),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("audit")


@pytest.fixture(scope="module")
async def world(folder):
    limits = [{"metric": "capacity_gib", "level": "global", "value": 100_000}]
    async with audited_gateway(folder, sections={"limits": limits}) as running:
        yield running


async def ended(world, folder, rpc, wish):
    """How a change failed, as its caller hears it and as it is recorded."""
    failed = await caller(world).fails(rpc, wish)

    def ends():
        rows = records(folder, uid=failed.facts["requestId"])
        return [row for row in rows if row["unmapped"]["stage"] == "OUTCOME"]

    await until(ends)
    return failed, ends()[-1]["unmapped"]["upstream"]


async def named(world, rpc):
    if rpc == POLICY:
        return {"policy_id": (await stage.policy(caller(world))).id}
    return {"vault_id": (await stage.vault(caller(world))).id}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("more", [{}, {"validate_only": True}])
async def test_a_change_whose_read_failed_was_not_sent(world, folder, case, more):
    rpc, wish, read = case
    wish, before = await named(world, rpc) | wish | more, len(arrived(world, rpc))
    broken = order(world, "status", read, status=400, body={}, times=None)
    failed, upstream = await ended(world, folder, rpc, wish)
    world.emulator.state.faults.remove(broken)
    assert len(arrived(world, rpc)) == before
    assert (failed.facts.get("sent", "no"), upstream["sent"]) == ("no", "no")
    if not more:
        assert (failed.facts["upstreamHttpStatus"], upstream["status"]) == ("400", 400)


@pytest.mark.parametrize("rpc", [UPDATE, DELETE])
async def test_a_change_that_cbr_has_answered_was_sent(world, folder, rpc):
    wish = await named(world, rpc) | (TEXT if rpc == UPDATE else {})
    broken = order(world, "status", rpc, status=400, body={}, times=None)
    failed, upstream = await ended(world, folder, rpc, wish)
    world.emulator.state.faults.remove(broken)
    assert (failed.facts["sent"], upstream["sent"]) == ("yes", "yes")

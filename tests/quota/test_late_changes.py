"""What changes have done lately: each is read and parsed about once, however many there are and
however often is looked (point 14); one that is not understood stops none of the others.
"""

import contextlib

from cbrgateway.v1 import backup_share_pb2, vault_pb2

from gateway.limits.late_changes import LateChanges
from gateway.operations import load_catalog
from gateway.state import StoreSettings, open_store
from gateway.upstream.amounts import Resize
from tests.fakes import SteppedClock
from tests.state.benches import operation

CATALOG = load_catalog()
SETTLE_S = 60


class Read:
    """The store's operations, and how many were read."""

    def __init__(self, operations):
        self.operations, self.rows = operations, 0

    async def committed_within(self, seconds):
        found = await self.operations.committed_within(seconds)
        self.rows += len(found)
        return found


class Scene:
    def __init__(self, store, clock):
        self.store, self.clock, self.parsed = store, clock, 0
        self.read = Read(store.operations)
        self.late = LateChanges(self.read, CATALOG, self.request_of, SETTLE_S, clock)

    def request_of(self, op):
        self.parsed += 1
        return CATALOG[op.rpc].request_type.FromString(op.detail)

    async def done(self, op_id, rpc, detail):
        op = operation(op_id, rpc=rpc, detail=detail)
        await self.store.operations.begin(op)
        await self.store.operations.sent(op.id)
        await self.store.operations.commit(op.id, None)

    async def resized(self, number):
        request = vault_pb2.UpdateVaultRequest(
            vault_id="v", vault={"billing": {"size_gib": number}}
        )
        await self.done(f"r-{number}", "VaultService/UpdateVault", request.SerializeToString())

    async def shared(self, number, backup_id):
        request = backup_share_pb2.AddBackupMembersRequest(
            backup_id=backup_id, project_ids=[f"{number:032x}"]
        )
        await self.done(
            f"s-{number}", "BackupShareService/AddBackupMembers", request.SerializeToString()
        )


@contextlib.asynccontextmanager
async def scene():
    clock = SteppedClock()
    async with open_store(StoreSettings(timeout_s=5), clock) as store:
        yield Scene(store, clock)


async def test_each_change_is_read_once_or_twice_however_often_is_looked():
    async with scene() as known:
        for number in range(1, 101):
            await known.resized(number)
            await known.shared(number, f"b-{number % 2}")
            await known.done(f"c-{number}", "VaultService/CreateVault", b"")
            known.clock.advance(0.5)
            assert [each.id for each in await known.late.sharings("b-1")][-1:] == [
                f"s-{number - (number + 1) % 2}"
            ]
        assert known.parsed == 200
        assert known.read.rows < 4 * 300
        found = await known.late.resizes()
        assert [each.change for each in found] == [Resize("v", size) for size in range(1, 101)]


async def test_what_is_older_than_cbr_may_be_late_is_forgotten():
    async with scene() as known:
        await known.resized(1)
        await known.shared(1, "b")
        await known.done("d", "VaultService/DeleteVault", b"\x0a\x01v")
        assert await known.late.gone() == {"v"}
        assert len(await known.late.sharings("b")) == len(await known.late.resizes()) == 1
        known.clock.advance(2 * SETTLE_S)
        await known.resized(2)
        assert [each.id for each in await known.late.resizes()] == ["r-2"]
        assert await known.late.gone() == set()
        assert await known.late.sharings("b") == []


async def test_a_change_that_is_not_understood_stops_none_of_the_others():
    async with scene() as known:
        await known.done("bad", "VaultService/UpdateVault", b"\xff\xff")
        await known.done("new", "VaultService/RpcOfALaterVersion", b"")
        await known.resized(1)
        assert [each.id for each in await known.late.resizes()] == ["r-1"]

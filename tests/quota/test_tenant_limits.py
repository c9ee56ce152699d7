"""Limits in the files of tenants: they take the place of the general ones, and change without a
restart.
"""

import asyncio
import contextlib
import json

import grpc
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from emulator import settings as emulated
from emulator.server import running_emulator
from gateway.app import open_app
from gateway.config import load
from gateway.limits.limits import Limits
from gateway.tenants import key_hash
from tests.harness import REGION, World
from tests.quota.scenes import limit, new_vault, outcome

ENVIRON = {"AK": emulated.ACCESS_KEY, "SK": emulated.SECRET_KEY}


class Site:
    """A gateway whose tenants are files. `general`: the limits that are for every tenant."""

    def __init__(self, folder, endpoint, *general):
        self.folder = folder
        key = {"kind": "access_key", "access_key": {"env": "AK"}, "secret_key": {"env": "SK"}}
        config = {
            "server": {"listen": "127.0.0.1:0", "health_listen": "127.0.0.1:0", "drain_delay_s": 0},
            "admin": {"listen": None},
            "upstream": {"regions": {REGION: {"endpoint": endpoint}}, "credentials": {"main": key}},
            "tenants_dir": str(folder / "tenants"),
            "limits": general,
        }
        (folder / "gateway.yaml").write_text(json.dumps(config))
        (folder / "tenants").mkdir()

    def write(self, name, *limits):
        """The file of a tenant that is called as its project, in one step."""
        project = (
            emulated.PAYMENTS_PROJECT_ID if name == "payments" else emulated.DATABASES_PROJECT_ID
        )
        entry = {
            "id": name,
            "default_project": project,
            "projects": [{"id": project, "region": REGION, "credential": "main"}],
            "principals": [{"id": "ci", "api_key": key_hash(f"key-of-{name}"), "role": "operator"}],
            "limits": limits,
        }
        (self.folder / ".new").write_text(json.dumps(entry))
        (self.folder / ".new").rename(self.folder / "tenants" / f"{name}.yaml")

    def load(self):
        return load(self.folder / "gateway.yaml", ENVIRON, {})

    @contextlib.asynccontextmanager
    async def running(self, cloud):
        async with (
            open_app(self.load(), self.load) as app,
            grpc.aio.insecure_channel(app.address) as channel,
        ):
            yield World(app, cloud, channel)


async def changed(world, act):
    """Returns when the gateway has taken over what `act` changed."""
    before = world.app.current.snapshot.version
    act()
    async with asyncio.timeout(60):
        while world.app.current.snapshot.version == before:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.02)


async def created(world, tenant="payments"):
    """How many vaults a tenant may create now."""
    for count in range(10):
        ended = await outcome(
            world, world.stub(VaultServiceStub).CreateVault, new_vault(count), tenant=tenant
        )
        if ended.reason == "RESOURCE_COUNT_LIMIT":
            return count
        assert ended.reason == "OK"
    raise AssertionError("nothing was refused")


async def test_a_tenants_own_limit_counts_instead_of_the_general_one_and_follows_its_file(tmp_path):
    async with running_emulator() as cloud:
        site = Site(tmp_path, cloud.base_url, limit("vaults", "tenant", 4))
        site.write("payments", {"metric": "vaults", "value": 1})
        site.write("databases")
        async with site.running(cloud) as world:
            assert (await created(world), await created(world, "databases")) == (1, 4)
            await changed(world, lambda: site.write("payments", {"metric": "vaults", "value": 3}))
            assert (await created(world), await created(world, "databases")) == (2, 0)
            # Without one of its own the general one is for it too.
            await changed(world, lambda: site.write("payments"))
            assert await created(world) == 1
            # A limit on what nobody counted before knows what exists.
            await changed(
                world,
                lambda: site.write(
                    "payments", limit("capacity_gib", "project", 50), limit("vaults", "tenant", 9)
                ),
            )
            refused = await outcome(
                world, world.stub(VaultServiceStub).CreateVault, new_vault(9, 11)
            )
            assert (refused.reason, refused.violations[0].quota_metric) == (
                "CAPACITY_LIMIT",
                "capacity_gib",
            )
            assert (
                await outcome(world, world.stub(VaultServiceStub).CreateVault, new_vault(9, 10))
            ).reason == "OK"


async def test_a_limit_that_is_none_changes_nothing(tmp_path):
    async with running_emulator() as cloud:
        site = Site(tmp_path, cloud.base_url)
        site.write("payments", {"metric": "vaults", "value": 1})
        async with site.running(cloud) as world:
            assert await created(world) == 1
            site.write("payments", {"metric": "vaults", "value": 5, "level": "global"})
            await asyncio.sleep(0.5)
            assert await created(world) == 0


def test_a_limit_for_one_subject_comes_before_the_general_one_wherever_it_stands(tmp_path):
    site = Site(tmp_path, "http://127.0.0.1:1")
    one, general = limit("vaults", "tenant", 1, subject="payments"), limit("vaults", "tenant", 9)
    for number, limits in enumerate(((one, general), (general, one))):
        site.write("payments", *limits)
        assert [
            found.value for found in Limits(site.load().all_limits()) if found.metric == "vaults"
        ] == [1], number

"""Real parts for tests: the emulator over HTTP, the gateway over gRPC, both on free ports of
127.0.0.1.

async with running_gateway() as world:
    vaults = world.stub(VaultServiceStub)
    await vaults.ListVaults(ListVaultsRequest(), metadata=world.metadata("payments"))
"""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc

from emulator import settings as emulated
from emulator.server import RunningEmulator, running_emulator
from gateway.app import App, open_app
from gateway.config import Config

Stub = TypeVar("Stub")
REGION, STANDBY_REGION = "cn-north-4", "cn-east-3"
TENANTS: Mapping[str, tuple[str, str]] = {
    "payments": (emulated.PAYMENTS_PROJECT_ID, REGION),
    "databases": (emulated.DATABASES_PROJECT_ID, REGION),
    "standby": (emulated.STANDBY_PROJECT_ID, STANDBY_REGION),
    "admin": (emulated.RESEARCH_PROJECT_ID, REGION),
}
"""Tenant -> its project and region.

The API key of a tenant is `key-of-<tenant>`; `admin` is the administrator, with an account of its
own.
"""


@dataclass(frozen=True, slots=True, repr=False)
class World:
    """A running gateway with the emulator behind it.

    Without the repr of all that is in it: asyncio's runner writes that out, several times per test,
    only to throw it away.
    """

    app: App
    emulator: RunningEmulator
    channel: grpc.aio.Channel

    def stub(self, kind: type[Stub]) -> Stub:
        return kind(self.channel)  # type: ignore[call-arg]

    @staticmethod
    def metadata(tenant: str = "payments", *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer key-of-{tenant}"), *more)


def tenant_entry(name: str) -> dict[str, Any]:
    project, region = TENANTS[name]
    return {
        "id": name,
        "administrator": name == "admin",
        "default_project": project,
        "projects": [
            {"id": project, "region": region, "credential": "second" if name == "admin" else "main"}
        ],
        "api_keys": [
            {"id": "test", "sha256": hashlib.sha256(f"key-of-{name}".encode()).hexdigest()}
        ],
    }


def config_for(endpoint: str, sections: Mapping[str, Any] | None = None, **server: Any) -> Config:
    """A configuration whose regions are all at `endpoint`; `server` overrides server settings,
    `sections` adds whole sections.
    """
    more = dict(sections or {})
    data = {
        "server": {
            "listen": "127.0.0.1:0",
            "health_listen": "127.0.0.1:0",
            "reflection": True,
            "drain_delay_s": 0,
            "drain_grace_s": 2,
            # However busy the machine is: tests ask for more than one would in its place.
            "overload": {"min_calls": 1024},
            **server,
        },
        "admin": {"listen": None},
        "upstream": {
            "regions": {
                region: {"endpoint": endpoint, "iam_endpoint": endpoint}
                for region in (REGION, STANDBY_REGION)
            },
            "credentials": {
                "main": {
                    "kind": "access_key",
                    "access_key": {"env": "AK"},
                    "secret_key": {"env": "SK"},
                },
                "second": {
                    "kind": "access_key",
                    "access_key": {"env": "AK2"},
                    "secret_key": {"env": "SK2"},
                },
            },
        },
        "tenants": [tenant_entry(name) for name in TENANTS],
        # Vaults of two runs compare equal without the tag that names the run's operation; and CBR
        # sees nothing but what callers ask for.
        "quota": {"markers": False, "recovery": False},
        "tasks": {"correlate": False},
        **more,
        "watch": {"follow": "watched", **more.get("watch", {})},
    }
    environ = {
        "AK": emulated.ACCESS_KEY,
        "SK": emulated.SECRET_KEY,
        "AK2": emulated.SECOND_ACCESS_KEY,
        "SK2": emulated.SECOND_SECRET_KEY,
    }
    return Config.model_validate(data, context={"environ": environ})


@contextlib.asynccontextmanager
async def running_gateway(
    server: Mapping[str, Any] | None = None,
    sections: Mapping[str, Any] | None = None,
    **emulator: Any,
) -> AsyncIterator[World]:
    """The gateway before a fresh emulator.

    `sections`: parts of the configuration; `emulator`: settings of the emulator.
    """
    async with (
        running_emulator(**emulator) as fake_cbr,
        open_app(config_for(fake_cbr.base_url, sections, **(server or {}))) as app,
        grpc.aio.insecure_channel(app.address) as channel,
    ):
        yield World(app, fake_cbr, channel)

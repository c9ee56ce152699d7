"""What `cbr-gateway dev` runs: the emulator and a gateway for its projects, in one event loop."""

import contextlib
import secrets
from pathlib import Path
from typing import Any, Final

import click

from devstack.banner import AUDIT_ANCHORS, AUDIT_KEY, Addresses, banner
from devstack.tenants import TENANTS, DevTenant
from devstack.wanted import Wanted
from emulator import settings as emulated
from emulator.server import running_emulator
from emulator.transitions import Pace
from gateway.app import App
from gateway.audit.lock import Unusable
from gateway.config import Config, Layers, validated
from gateway.process import serve
from gateway.rpc.port import AddressInUse
from gateway.signals import Signals
from gateway.tenants import key_hash

_ENVIRON: Final = {
    "AK": emulated.ACCESS_KEY,
    "SK": emulated.SECRET_KEY,
    "AK2": emulated.SECOND_ACCESS_KEY,
    "SK2": emulated.SECOND_SECRET_KEY,
    "TOKENS": "as public as everything here",
}
_DRAIN_GRACE_S: Final = 1
_FREE_PORT: Final = "127.0.0.1:0"
_POLL_S: Final = 0.2
"""Emulated work is done in seconds."""


class AddressTaken(Exception):  # noqa: N818 - says what is the case
    """One of the addresses cannot be listened on."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


def configuration(wanted: Wanted, endpoint: str) -> Config:
    """A gateway whose regions are all at `endpoint`.

    Raises Unusable for a directory of the audit log that cannot be used, ConfigError for what is
    not installed.
    """
    data = {
        "server": {
            "listen": wanted.listen,
            "health_listen": wanted.health,
            "reflection": True,
            "drain_delay_s": 0,
            "drain_grace_s": _DRAIN_GRACE_S,
        },
        "admin": {"listen": wanted.admin or _FREE_PORT, "console": True},
        "http": {"listen": wanted.http or _FREE_PORT, "allowed_origins": wanted.origins},
        "upstream": {
            "regions": {
                region: {"endpoint": endpoint, "iam_endpoint": endpoint}
                for region in {tenant.region for tenant in TENANTS}
            },
            "credentials": {
                "main": _access_key("AK", "SK"),
                "second": _access_key("AK2", "SK2"),
            },
        },
        "tenants": [_entry(tenant) for tenant in TENANTS],
        "page_token_key": {"env": "TOKENS"},
        "watch": {"busy_s": _POLL_S, "idle_s": 10 * _POLL_S},
        "log": {"level": wanted.log_level},
        "audit": {} if wanted.audit is None else _audit(wanted.audit),
    }
    return validated(Layers(data), _ENVIRON)


def _access_key(public: str, secret: str) -> dict[str, Any]:
    return {"kind": "access_key", "access_key": {"env": public}, "secret_key": {"env": secret}}


def _entry(tenant: DevTenant) -> dict[str, Any]:
    return {
        "id": tenant.name,
        "administrator": tenant.administrator,
        "default_project": tenant.project_id,
        "projects": [
            {
                "id": tenant.project_id,
                "region": tenant.region,
                "credential": "second" if tenant.administrator else "main",
            }
        ],
        "api_keys": [{"id": "dev", "sha256": key_hash(tenant.api_key)}],
    }


def _audit(directory: Path) -> dict[str, Any]:
    """A log that lives longer than this process: so does its key, which lies beside it here, and
    nowhere else should.
    """
    key = directory / AUDIT_KEY
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not key.exists():
            key.touch(mode=0o600)
            key.write_text(secrets.token_hex(32))
        # There from the start, so that the printed command works at once.
        (directory / AUDIT_ANCHORS).touch(mode=0o600)
    except OSError as error:
        raise Unusable(
            f"{directory} cannot be used: {error.strerror}. Choose another directory with --audit"
        ) from error
    return {
        "directory": str(directory),
        "key": {"file": str(key)},
        "writer": "dev",
        "anchors": str(directory / AUDIT_ANCHORS),
    }


async def run_stack(wanted: Wanted, signals: Signals | None = None) -> None:
    """Serves until SIGTERM or SIGINT.

    Prints the banner once calls can be answered. Raises AddressTaken, and Unusable for the audit
    log's directory.
    """
    host, _, port = wanted.emulator.rpartition(":")
    settings = emulated.EmulatorSettings(pace=Pace(duration_s=wanted.task_s))
    async with contextlib.AsyncExitStack() as stack:
        try:
            cloud = await stack.enter_async_context(
                running_emulator(host.strip("[]"), int(port), settings=settings)
            )
        except OSError as error:
            raise AddressTaken(wanted.emulator) from error

        def ready(app: App) -> None:
            at = Addresses(
                app.address, app.health_address, app.admin_address, app.http_address, cloud.base_url
            )
            click.echo(banner(at, TENANTS, wanted))

        try:
            await serve(configuration(wanted, cloud.base_url), ready, signals=signals)
        except AddressInUse as error:
            raise AddressTaken(error.address) from error

"""HTTPS by the same files as gRPC, callers known by client certificates, and renewal of both."""

import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from emulator import settings as emulated
from emulator.server import running_emulator
from gateway import renewal
from gateway.app import App, open_app
from gateway.config import load
from testkit.identities import Pair, authority, certificate, dns, uri
from tests.functional.test_renewal import eventually
from tests.functional.test_tls_callers import CA, configuration

LIST = "/cbrgateway.v1.VaultService/ListVaults"
POD = certificate(CA, uri("spiffe://example.org/ns/payments"))


@pytest.fixture
async def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[App]:
    monkeypatch.setattr(renewal, "_EVERY_S", 0.1)
    async with running_emulator() as cloud:
        path = configuration(tmp_path, cloud.base_url)
        written = json.loads(path.read_text()) | {"http": {"listen": "localhost:0"}}
        path.write_text(json.dumps(written))
        config = load(path, {"AK": emulated.ACCESS_KEY, "SK": emulated.SECRET_KEY}, {})
        async with open_app(config) as running:
            yield running


async def status(app: App, folder: Path, client: Pair | None, trusted: Pair = CA) -> int:
    """Of a call on a connection of its own; 0: there is none."""
    context = ssl.create_default_context(cadata=trusted.pem.decode())
    if client is not None:
        (folder / "client.pem").write_bytes(client.pem + client.key_pem)
        context.load_cert_chain(folder / "client.pem")
    try:
        async with httpx.AsyncClient(verify=context) as caller:
            answer = await caller.post(f"https://{app.http_address}{LIST}", json={}, timeout=60)
    except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError):
        return 0
    return answer.status_code


async def test_a_client_certificate_is_a_caller_and_files_are_renewed(app: App, tmp_path: Path):
    folder = tmp_path / "client"
    folder.mkdir()
    assert await status(app, folder, POD) == 200
    assert await status(app, folder, None) == 0
    assert await status(app, folder, certificate(CA, dns("nobody.example"))) == 401

    after, clients = authority("after"), authority("other clients")
    server = certificate(after, dns("localhost"))
    for name, content in (
        ("server.crt", server.pem),
        ("server.key", server.key_pem),
        ("ca.pem", clients.pem),
    ):
        (tmp_path / name).write_bytes(content)
    app.renewals.ask()
    new = certificate(clients, uri("spiffe://example.org/ns/payments"))

    async def taken_over() -> bool:
        return await status(app, folder, new, after) == 200

    await eventually(taken_over)
    assert await status(app, folder, POD, after) == 0, "its authority counts no more"
    assert await status(app, folder, new, CA) == 0

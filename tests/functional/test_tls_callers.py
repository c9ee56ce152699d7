"""Callers with client certificates, tokens and roles, through a real gRPC server with mutual TLS
before the emulator.
"""

import contextlib
import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cbrgateway.v1.vault_pb2 import ListVaultsRequest
from joserfc.jwk import ECKey

from emulator import settings as emulated
from emulator.server import running_emulator
from gateway.app import open_app
from gateway.config import load
from gateway.tenants import key_hash
from testkit.identities import Pair, authority, certificate, claims, dns, key_set, signed, uri
from tests.functional.calls import Caller, Failure, failure_of
from tests.harness import REGION

CA, FOREIGN_CA = authority("ours"), authority("foreign")
SIGNER = ECKey.generate_key("P-256", {"kid": "k"})
PAYMENTS = (
    {"id": "pod", "spiffe": "spiffe://example.org/ns/payments", "role": "viewer"},
    {"id": "ci", "jwt": {"issuer": "corp", "subject": "ci"}, "role": "operator"},
    {"id": "root", "jwt": {"issuer": "corp", "subject": "root"}, "role": "administrator"},
    {"id": "reader", "api_key": key_hash("reader"), "permissions": ["cbr:vaults:list"]},
)
DATABASES = ({"id": "host", "dns_san": "db.example", "role": "viewer"},)


def token(subject: str, **changes: Any) -> str:
    return signed(SIGNER, claims(time.time(), sub=subject, **changes), "ES256")


def configuration(folder: Path, endpoint: str) -> Path:
    """Written as an operator would: one main file, one file per tenant. JSON is YAML."""
    server = certificate(CA, dns("localhost"))
    files = {
        "server.crt": server.pem,
        "server.key": server.key_pem,
        "ca.pem": CA.pem,
        "keys.json": key_set(SIGNER),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    tls = {
        "certificate_file": f"{folder}/server.crt",
        "key_file": f"{folder}/server.key",
        "client_ca_file": f"{folder}/ca.pem",
    }
    issuer = {
        "issuer": "https://issuer.example",
        "audience": "cbr-gateway",
        "jwks": {"file": f"{folder}/keys.json"},
    }
    key = {"kind": "access_key", "access_key": {"env": "AK"}, "secret_key": {"env": "SK"}}
    main = {
        "server": {
            "listen": "localhost:0",
            "health_listen": "127.0.0.1:0",
            "tls": tls,
            "drain_delay_s": 0,
        },
        "admin": {"listen": None},
        "upstream": {
            "regions": {REGION: {"endpoint": endpoint, "iam_endpoint": endpoint}},
            "credentials": {"main": key},
        },
        "issuers": {"corp": issuer},
        "tenants_dir": f"{folder}/tenants",
    }
    (folder / "tenants").mkdir()
    projects = {
        "payments": (emulated.PAYMENTS_PROJECT_ID, PAYMENTS),
        "databases": (emulated.DATABASES_PROJECT_ID, DATABASES),
    }
    for name, (project, principals) in projects.items():
        place = [{"id": project, "region": REGION, "credential": "main"}]
        entry = {
            "id": name,
            "default_project": project,
            "projects": place,
            "principals": principals,
        }
        (folder / "tenants" / f"{name}.yaml").write_text(json.dumps(entry))
    (folder / "gateway.yaml").write_text(json.dumps(main))
    return folder / "gateway.yaml"


@pytest.fixture(scope="module")
async def address(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with running_emulator() as cloud:
        path = configuration(tmp_path_factory.mktemp("gateway"), cloud.base_url)
        config = load(path, {"AK": emulated.ACCESS_KEY, "SK": emulated.SECRET_KEY}, {})
        async with open_app(config) as app:
            yield app.address


@contextlib.asynccontextmanager
async def calling(
    address: str, client: Pair | None, bearer: str | None = None
) -> AsyncIterator[Caller]:
    pair = (client.key_pem, client.pem) if client else (None, None)
    # A pool of its own: grpc would reuse another test's connection, and with it that one's
    # certificate.
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.secure_channel(
        address, grpc.ssl_channel_credentials(CA.pem, *pair), options
    ) as channel:
        yield Caller(
            channel, (("authorization", f"Bearer {bearer}"),) if bearer is not None else ()
        )


POD, HOST, NOBODY = (
    certificate(CA, uri("spiffe://example.org/ns/payments")),
    certificate(CA, dns("db.example")),
    certificate(CA, dns("x.example")),
)
RPC = "VaultService/ListVaults"


async def test_a_certificate_is_a_caller(address: str) -> None:
    for client in (POD, HOST):
        async with calling(address, client) as caller:
            await caller.ok(RPC, ListVaultsRequest())


async def test_a_token_or_key_beside_a_certificate_of_nobody(address: str) -> None:
    for bearer in (token("ci"), "reader"):
        async with calling(address, NOBODY, bearer) as caller:
            await caller.ok(RPC, ListVaultsRequest())


# Tokens are made by each test: those of the collection may have expired by then.
REFUSED = {
    "a certificate of nobody": (
        NOBODY,
        None,
        "carries no API key, token or certificate of a principal",
    ),
    "a token of another tenant": (HOST, lambda: token("ci"), "mean different tenants"),
    "a key of another tenant": (HOST, lambda: "reader", "mean different tenants"),
    "an expired token": (
        POD,
        lambda: token("ci", iat=time.time() - 900, exp=time.time() - 60),
        "has expired",
    ),
    "a name with NUL": (
        certificate(CA, dns("db.example\0.evil.example")),
        None,
        "carries no API key",
    ),
    "a wildcard": (certificate(CA, dns("*.example")), None, "carries no API key"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_refusals_on_the_wire(address: str, case: str) -> None:
    client, bearer, words = REFUSED[case]
    async with calling(address, client, bearer and bearer()) as caller:
        failure = await caller.fails(RPC, ListVaultsRequest())
    assert (failure.code, failure.reason) == ("UNAUTHENTICATED", "CREDENTIALS_INVALID")
    assert words in failure.message


NO_HANDSHAKE = {
    "no certificate": None,
    "of another authority": certificate(FOREIGN_CA, uri("spiffe://example.org/ns/payments")),
    "signed by itself": authority("spiffe://example.org/ns/payments"),
    "expired": certificate(
        CA, uri("spiffe://example.org/ns/payments"), lasts=timedelta(minutes=-1)
    ),
    "by a holder that is no authority": certificate(POD, uri("spiffe://example.org/ns/payments")),
}


@pytest.mark.parametrize("case", NO_HANDSHAKE)
async def test_tls_lets_no_other_certificate_in(address: str, case: str) -> None:
    async with calling(address, NO_HANDSHAKE[case], token("root")) as caller:
        try:
            answer: object = await caller.start(RPC, ListVaultsRequest(), 3)
        except grpc.aio.AioRpcError as error:
            answer = failure_of(error)
    assert isinstance(answer, Failure)
    assert answer.code == "UNAVAILABLE"


async def test_roles_decide_what_is_forwarded(address: str) -> None:
    spec = {"policy_id": "x"}
    async with calling(address, POD) as viewer:
        failure = await viewer.fails("PolicyService/DeletePolicy", spec)
        assert (failure.code, failure.reason, failure.facts["permission"]) == (
            "PERMISSION_DENIED",
            "PERMISSION_MISSING",
            "cbr:policies:delete",
        )
        assert (
            await viewer.fails("RegionService/ListRegionProjects")
        ).reason == "ADMINISTRATOR_ONLY"
    async with calling(address, NOBODY, "reader") as reader:
        await reader.ok(RPC)
        assert (await reader.fails("VaultService/GetVault", {"vault_id": "x"})).facts[
            "permission"
        ] == "cbr:vaults:get"
    async with calling(address, NOBODY, token("ci")) as operator:
        assert (
            await operator.fails("PolicyService/DeletePolicy", spec)
        ).reason == "POLICY_NOT_FOUND"
        assert (
            await operator.fails("RegionService/ListRegionProjects")
        ).reason == "ADMINISTRATOR_ONLY"
    async with calling(address, NOBODY, token("root")) as administrator:
        await administrator.ok("RegionService/ListRegionProjects")

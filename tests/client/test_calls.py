"""Calls through the client's channels to a real gateway: credentials, request_ids, repeats and
errors; for asyncio and without.
"""

import asyncio
import traceback

import grpc
import pytest
from cbrgateway.v1 import errors_pb2, task_pb2, vault_pb2
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub
from cbrgateway_client import CallError, Gateway

from testkit.identities import authority, certificate, dns
from testkit.ports import free_port
from tests.quota.scenes import gateway as running_gateway
from tests.quota.scenes import limit, new_vault, posts

MISSING = vault_pb2.GetVaultRequest(vault_id="97ba169e-4851-6707-0daa-36266b660ac4")
TENANT = {"asyncio": "payments", "blocking": "databases"}


async def made(kind, access, service, method, message):
    """The response of one call through a channel of its own."""
    if kind == "asyncio":
        async with access.aio_channel() as channel:
            return await getattr(service(channel), method)(message)

    def blocking():
        with access.channel() as channel:
            return getattr(service(channel), method)(message)

    return await asyncio.to_thread(blocking)


@pytest.fixture(scope="module")
async def world():
    async with running_gateway(limit("vaults", "tenant", 1)) as world:
        yield world


@pytest.fixture(params=["asyncio", "blocking"])
def call(request, world):
    """Makes one call as a tenant of its own."""
    access = Gateway(world.app.address, lambda: f"key-of-{TENANT[request.param]}", plaintext=True)

    async def carry_out(service, method, message):
        return await made(request.param, access, service, method, message)

    world.emulator.state.truth.clear()
    return carry_out


async def test_a_change_is_made_once_although_its_answer_is_lost(call, world):
    world.emulator.state.faults.add(
        {"kind": "cut", "when": "after_commit", "match": {"operation": "CreateVault"}}
    )
    wanted = new_vault(1)
    created = await call(VaultServiceStub, "CreateVault", wanted)
    assert created.vault.name == "vault-1"
    assert len(posts(world)) == 1
    assert wanted.request_id == "", "the caller's message is not touched"
    with pytest.raises(CallError) as refused:
        await call(VaultServiceStub, "CreateVault", wanted)
    assert refused.value.reason == errors_pb2.ERROR_REASON_RESOURCE_COUNT_LIMIT
    assert [violation.quota_id for violation in refused.value.quota_violations] == ["vaults:tenant"]
    assert len(refused.value.request_id) == 32
    assert len(posts(world)) == 1


async def test_an_uncaught_refusal_is_shown_once(call):
    with pytest.raises(CallError) as refused:
        await call(VaultServiceStub, "GetVault", MISSING)
    shown = "".join(traceback.format_exception(refused.value))
    assert shown.count("Traceback (most recent call last)") == 1
    assert "VAULT_NOT_FOUND" in shown


async def test_a_request_id_of_the_caller_is_kept_and_that_of_a_read_is_a_filter(call, world):
    with pytest.raises(CallError) as refused:
        await call(
            VaultServiceStub,
            "DeleteVault",
            vault_pb2.DeleteVaultRequest(vault_id=MISSING.vault_id, request_id="mine"),
        )
    assert (refused.value.reason_name, refused.value.request_id) == ("VAULT_NOT_FOUND", "mine")
    everything = await call(TaskServiceStub, "ListSubmissions", task_pb2.ListSubmissionsRequest())
    assert [each.request_id for each in everything.submissions] == ["mine"]


async def test_an_error_is_unpacked(call):
    with pytest.raises(CallError) as missing:
        await call(VaultServiceStub, "GetVault", MISSING)
    error = missing.value
    assert (error.code(), error.reason) == (
        grpc.StatusCode.NOT_FOUND,
        errors_pb2.ERROR_REASON_VAULT_NOT_FOUND,
    )
    assert (error.facts["sent"], error.facts["requestId"]) == ("yes", error.call_id)
    said = f"NOT_FOUND (VAULT_NOT_FOUND): Vault not found.\n  call {error.call_id}"
    assert str(error) == said
    with pytest.raises(CallError) as invalid:
        await call(VaultServiceStub, "CreateVault", new_vault(size=-1))
    assert [violation.field for violation in invalid.value.field_violations] == [
        "vault.billing.size_gib"
    ]


@pytest.mark.parametrize("kind", TENANT)
async def test_a_wrong_credential_and_a_gateway_that_is_away_are_told_apart(kind, world):
    with pytest.raises(CallError) as unknown:
        await made(
            kind,
            Gateway(world.app.address, "wrong", plaintext=True),
            VaultServiceStub,
            "GetVault",
            MISSING,
        )
    assert unknown.value.reason == errors_pb2.ERROR_REASON_CREDENTIALS_INVALID
    away = Gateway(f"127.0.0.1:{free_port()}", "key", plaintext=True)
    with pytest.raises(CallError) as gone:
        await made(kind, away, VaultServiceStub, "GetVault", MISSING)
    assert (gone.value.code(), gone.value.reason) == (
        grpc.StatusCode.UNAVAILABLE,
        errors_pb2.ERROR_REASON_UNSPECIFIED,
    )


async def test_encrypted_and_with_a_certificate_of_the_caller(tmp_path):
    ours, foreign = authority(), authority("foreign")
    server, caller = certificate(ours, dns("localhost")), certificate(ours, dns("db.example"))
    files = {
        "ca": ours.pem,
        "foreign": foreign.pem,
        "crt": server.pem,
        "key": server.key_pem,
        "my_crt": caller.pem,
        "my_key": caller.key_pem,
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    tls = {
        "certificate_file": tmp_path / "crt",
        "key_file": tmp_path / "key",
        "client_ca_file": tmp_path / "ca",
    }
    async with running_gateway(server={"tls": tls, "listen": "localhost:0"}) as world:

        def access(ca):
            return Gateway(
                world.app.address,
                "key-of-payments",
                ca_file=tmp_path / ca,
                certificate_file=tmp_path / "my_crt",
                key_file=tmp_path / "my_key",
            )

        listed = await made(
            "asyncio", access("ca"), VaultServiceStub, "ListVaults", vault_pb2.ListVaultsRequest()
        )
        assert listed.total_size == 0
        with pytest.raises(CallError) as refused:
            await made(
                "blocking",
                access("foreign"),
                VaultServiceStub,
                "ListVaults",
                vault_pb2.ListVaultsRequest(),
            )
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "CERTIFICATE_VERIFY_FAILED" in str(refused.value)

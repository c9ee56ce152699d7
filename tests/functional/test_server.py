"""The edge: what the server takes, refuses and tells, over real sockets."""

import asyncio
import datetime as dt

import grpc
import pytest
from cbrgateway.v1 import vault_pb2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from emulator.settings import PAYMENTS_PROJECT_ID
from gateway.rpc import server as server_module
from tests.functional import stage
from tests.functional.calls import (
    BINDINGS,
    Caller,
    Failure,
    arrived,
    caller,
    failure_of,
    order,
    until,
)
from tests.harness import World, running_gateway

LIST, CREATE = "VaultService/ListVaults", "VaultService/CreateVault"


async def raw(channel, method, data=b"", metadata=None, timeout_s=10):
    """Sends bytes to any method name; gives the bytes of the answer, or the Failure."""
    call = channel.unary_unary(method, request_serializer=None, response_deserializer=None)
    try:
        return await call(
            data, metadata=World.metadata() if metadata is None else metadata, timeout=timeout_s
        )
    except grpc.aio.AioRpcError as error:
        return failure_of(error)


# What is too much
# --------------------------------------------------------------------------------------------------


async def test_a_message_over_the_limit_is_refused(world):
    too_long = vault_pb2.ListVaultsRequest(name="x" * (1 << 20)).SerializeToString()
    failed = await raw(world.channel, f"/cbrgateway.v1.{LIST}", too_long)
    assert failed.code == "RESOURCE_EXHAUSTED"
    just_under = vault_pb2.ListVaultsRequest(name="x" * ((1 << 20) - 64)).SerializeToString()
    assert (
        await raw(world.channel, f"/cbrgateway.v1.{LIST}", just_under)
    ).reason == "FIELD_INVALID"
    assert arrived(world) == []


async def test_metadata_over_the_limit_is_refused_and_under_it_always_accepted(world):
    for _ in range(3):
        assert not isinstance(
            await Caller(world.channel, World.metadata("payments", ("x-note", "n" * 12_000)))(LIST),
            Failure,
        )
        failed = await Caller(
            world.channel, World.metadata("payments", ("x-note", "n" * 20_000))
        ).fails(LIST)
        assert failed.code == "RESOURCE_EXHAUSTED"


# What is not there
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "hint"),
    [
        ("/cbrgateway.v1.VaultService/ListVault", "VaultService/ListVaults"),
        ("/cbrgateway.v1.VaultService/getvault", "VaultService/GetVault"),
        ("/cbrgateway.v1.PolicyServices/GetPolicy", "PolicyService/GetPolicy"),
        ("/cbrgateway.v1.Nonsense/Qwxyz", "reflection"),
        ("/cbrgateway.v1.VaultService/", "reflection"),
    ],
)
async def test_an_unknown_rpc_gets_a_hint(world, method, hint):
    failed = await raw(world.channel, method)
    assert (failed.code, failed.reason) == ("UNIMPLEMENTED", "UNIMPLEMENTED")
    assert hint in failed.message


@pytest.mark.parametrize("method", ["/other.v1.Service/Get", "/x", "/grpc.health.v1.Health/Check"])
async def test_an_unknown_service_is_unimplemented(world, method):
    assert (await raw(world.channel, method)).code == "UNIMPLEMENTED"


# What is wrong in a request
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"\xff", b"\x0a\x05ab", b"\x08", b"\x0a\x02\xff\xfe", bytes(range(256))]
)
async def test_bytes_that_are_no_request_are_refused(world, data):
    for rpc in (LIST, CREATE, "TaskService/GetTask"):
        failed = await raw(world.channel, f"/cbrgateway.v1.{rpc}", data)
        assert (failed.code, failed.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert arrived(world) == []


async def test_nothing_is_parsed_for_a_caller_nobody_knows(world):
    assert (
        await raw(world.channel, f"/cbrgateway.v1.{LIST}", b"\xff", metadata=())
    ).reason == "CREDENTIALS_INVALID"


async def test_a_field_of_a_newer_proto_is_refused(world):
    data = vault_pb2.ListVaultsRequest().SerializeToString() + b"\xd2\x3e\x01x"
    failed = await raw(world.channel, f"/cbrgateway.v1.{LIST}", data)
    assert (failed.code, failed.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert "does not know" in failed.message


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "vault.name"),
        ({"name": "a b!"}, "vault.name"),
        ({"name": "n" * 65}, "vault.name"),
        ({"billing": {}}, "vault.billing"),
        ({"billing": stage.BILLING | {"size_gib": 0}}, "vault.billing.size_gib"),
        (
            {"billing": stage.BILLING | {"protect_type": "PROTECT_TYPE_OTHER"}},
            "vault.billing.protect_type",
        ),
        ({"billing": stage.BILLING | {"protect_type": 99}}, "vault.billing.protect_type"),
        ({"resources": [{"id": "", "type": "OS::Nova::Server"}]}, "vault.resources[0].id"),
        ({"tags": [{"key": "", "value": "v"}]}, "vault.tags[0].key"),
    ],
)
async def test_a_broken_rule_names_its_field(world, payments, change, field):
    wish = stage.vault_request(resources=[])["vault"] | change
    failed = await payments.fails(CREATE, {"vault": wish})
    assert (failed.code, failed.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert any(path.startswith(field) for path in failed.fields), failed.fields
    assert arrived(world) == []


@pytest.mark.parametrize(
    "vault_id",
    ["", ".", "..", "a/b", "%2e%2e", "a b", "a?b", "a#b", "a\r\nb", "a\0b", "é", "x" * 129],
)
async def test_no_id_can_change_the_path(world, payments, vault_id):
    failed = await payments.fails("VaultService/GetVault", {"vault_id": vault_id})
    assert (failed.code, failed.reason, failed.fields) == (
        "INVALID_ARGUMENT",
        "FIELD_INVALID",
        ["vault_id"],
    )
    assert arrived(world) == []


async def test_an_unexpected_exception_tells_an_error_id_and_nothing_else(
    world, payments, lines, monkeypatch
):
    def broken(*_):
        raise KeyError("internal detail 4711")

    monkeypatch.setattr(type(BINDINGS[LIST]), "fast_response", broken)
    failed = await payments.fails(LIST)
    assert (failed.code, failed.reason) == ("INTERNAL", "INTERNAL")
    assert "4711" not in repr(failed)
    assert failed.facts["errorId"] in failed.message
    logged = [line for line in lines() if line.get("error_id") == failed.facts["errorId"]]
    assert "internal detail 4711" in logged[0]["exception"]


# Health and reflection
# --------------------------------------------------------------------------------------------------


async def test_health_has_its_own_port(world):
    async with grpc.aio.insecure_channel(world.app.health_address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in (
            "",
            *{binding.descriptor.containing_service.full_name for binding in BINDINGS.values()},
        ):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await health.Check(health_pb2.HealthCheckRequest(service="cbrgateway.v1.Nothing"))
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND


async def reflect(channel, version):
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    return await call([reflection_pb2.ServerReflectionRequest(list_services="")]).read()


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_shows_every_service(world, version):
    names = {
        service.name
        for service in (await reflect(world.channel, version)).list_services_response.service
    }
    assert {
        binding.descriptor.containing_service.full_name for binding in BINDINGS.values()
    } <= names


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_can_be_off(version):
    async with running_gateway(server={"reflection": False}) as world:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await reflect(world.channel, version)
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


# TLS
# --------------------------------------------------------------------------------------------------


class Authority:
    """A certificate authority of a test."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.certificate = self._sign(
            self.name, self.key, x509.BasicConstraints(ca=True, path_length=0)
        )

    def _sign(self, subject, key, *extensions):
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, name):
        """Certificate and key of a host, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        found = self._sign(subject, key, x509.SubjectAlternativeName([x509.DNSName(name)]))
        form = serialization.PrivateFormat.PKCS8
        secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        return found.public_bytes(serialization.Encoding.PEM), secret

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
def identity(authority, tmp_path):
    certificate, key = authority.issue("localhost")
    for name, content in (("cert.pem", certificate), ("key.pem", key), ("ca.pem", authority.pem)):
        (tmp_path / name).write_bytes(content)
    return {"certificate_file": str(tmp_path / "cert.pem"), "key_file": str(tmp_path / "key.pem")}


async def over_tls(world, roots, pair=(None, None)):
    credentials = grpc.ssl_channel_credentials(roots, pair[1], pair[0])
    options = (("grpc.ssl_target_name_override", "localhost"),)
    async with grpc.aio.secure_channel(world.app.address, credentials, options=options) as channel:
        return await Caller(channel, World.metadata())(LIST, {}, timeout_s=20)


async def test_tls_is_served_and_plain_text_is_not(authority, identity):
    async with running_gateway(server={"tls": identity}) as world:
        assert not isinstance(await over_tls(world, authority.pem), Failure)
        assert (await over_tls(world, Authority().pem)).code in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
        assert (await caller(world)(LIST, {}, timeout_s=2)).code in {
            "UNAVAILABLE",
            "DEADLINE_EXCEEDED",
        }


async def test_mutual_tls_asks_for_a_certificate_of_its_own_authority(
    authority, identity, tmp_path
):
    async with running_gateway(
        server={"tls": {**identity, "client_ca_file": str(tmp_path / "ca.pem")}}
    ) as world:
        assert not isinstance(
            await over_tls(world, authority.pem, authority.issue("client")), Failure
        )
        # A known certificate does not make a tenant: the key is asked for as well.
        for pair in ((None, None), Authority().issue("client")):
            assert (await over_tls(world, authority.pem, pair)).code in {
                "UNAVAILABLE",
                "DEADLINE_EXCEEDED",
            }
        assert len(arrived(world)) == 1


# The end, and too many
# --------------------------------------------------------------------------------------------------


async def test_a_drain_finishes_what_is_in_flight_and_takes_nothing_new():
    async with running_gateway(server={"drain_delay_s": 2.5, "drain_grace_s": 30}) as world:
        order(world, "delay", CREATE, seconds=4)
        slow = caller(world).start(CREATE, stage.vault_request())
        await until(lambda: arrived(world, CREATE))
        draining = asyncio.create_task(
            world.app.servers.drain(world.app.hub.end, world.app.client.release)
        )
        await asyncio.sleep(0.05)
        async with grpc.aio.insecure_channel(world.app.health_address) as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest()
            )
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert not isinstance(await caller(world)(LIST), Failure), (
            "balancers need time to look away"
        )
        refused = None
        while not isinstance(refused, Failure):
            async with grpc.aio.insecure_channel(world.app.address) as fresh:
                refused = await Caller(fresh, World.metadata())(LIST, {}, timeout_s=2)
            await asyncio.sleep(0.05)
        assert refused.code in {"UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED"}
        assert (await slow).vault.id
        await draining
        assert len(arrived(world, CREATE)) == 1


async def test_a_change_outlives_a_short_grace_for_its_bookkeeping():
    """The call is cut when the grace is over; the change is waited for, and CBR is asked once."""
    async with running_gateway(server={"drain_delay_s": 0, "drain_grace_s": 0.2}) as world:
        order(world, "delay", CREATE, seconds=2)
        slow = caller(world).start(CREATE, stage.vault_request())
        await until(lambda: arrived(world, CREATE))
        await world.app.servers.drain(world.app.hub.end, world.app.client.release)
        with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
            await slow
        await world.app.client.aclose(15)
        assert [entry.committed for entry in arrived(world, CREATE)] == [True]


async def test_calls_that_outlast_the_grace_are_answered_by_the_gateway(lines, monkeypatch):
    """Not by gRPC, whose last word would hide whether a change was sent.

    What is still open after that is cut with a line for each.
    """
    monkeypatch.setattr(server_module, "_LAST_WORDS_S", 2)
    async with running_gateway(server={"drain_delay_s": 0, "drain_grace_s": 3}) as world:
        made = await stage.vault(caller(world))
        for rpc in (CREATE, LIST, "VaultService/UpdateVault"):
            order(world, "delay", rpc, seconds=6.0)
        update = {"vault_id": made.id, "vault": {"name": "x"}}
        wishes = {
            "create": (CREATE, stage.vault_request()),
            "list": (LIST, {}),
            "update": ("VaultService/UpdateVault", update),
        }
        calls = {name: asyncio.create_task(caller(world)(*wish)) for name, wish in wishes.items()}
        await until(
            lambda: (
                all(len(arrived(world, rpc)) >= 1 for rpc in (LIST, "VaultService/UpdateVault"))
                and len(arrived(world, CREATE)) == 2
            )
        )
        calls["queued"] = asyncio.create_task(caller(world)("VaultService/UpdateVault", update))
        await until(lambda: world.app.servers.in_flight.number == len(calls))
        await world.app.servers.drain(world.app.hub.end, world.app.client.release)
        ended = {name: await call for name, call in calls.items()}
        assert {name: (end.code, end.reason) for name, end in ended.items()} == {
            "create": ("UNKNOWN", "OUTCOME_UNKNOWN"),
            "update": ("UNKNOWN", "OUTCOME_UNKNOWN"),
            "list": ("UNAVAILABLE", "SHUTTING_DOWN"),
            "queued": ("UNAVAILABLE", "SHUTTING_DOWN"),
        }
        assert (ended["create"].facts["attempts"], ended["create"].facts["sent"]) == ("1", "maybe")
        assert "nothing was sent" in ended["queued"].message
        await world.app.client.aclose(0)
        cut = [line for line in lines() if line["event"] == "change cut short"]
        open_ = {
            (line["operation"], line["project"], line["attempts"], line["sent"])
            for line in cut
            if line["outcome"] == "not known"
        }
        assert open_ == {
            (operation, PAYMENTS_PROJECT_ID, "1", "maybe")
            for operation in ("CreateVault", "UpdateVault")
        }
        assert {line["request_id"] for line in cut} == {
            ended[name].facts["requestId"] for name in ("create", "update", "queued")
        }


async def test_an_ordinary_burst_on_one_connection_is_served_whole(world):
    answers = await asyncio.gather(*(caller(world)(LIST, {}, timeout_s=20) for _ in range(96)))
    assert [answer for answer in answers if isinstance(answer, Failure)] == []


async def test_a_client_with_more_calls_than_a_connection_has_streams_loses_none():
    async with running_gateway(server={"limits": {"max_concurrent_streams": 8}}) as world:
        call = caller(world)
        answers = await asyncio.gather(
            *(call("AccessService/GetCaller", {}, timeout_s=60) for _ in range(400))
        )
    assert [answer for answer in answers if isinstance(answer, Failure)] == []


async def test_many_callers_at_once_are_answered_or_refused_but_never_left_waiting():
    async with running_gateway(server={"limits": {"max_pending_requests": 4}}) as world:
        order(world, "delay", LIST, seconds=0.05, times=None)
        async with asyncio.timeout(60):
            answers = await asyncio.gather(
                *(caller(world)(LIST, {}, timeout_s=50) for _ in range(200))
            )
        codes = {answer.code if isinstance(answer, Failure) else "OK" for answer in answers}
        assert "OK" in codes
        assert codes <= {"OK", "RESOURCE_EXHAUSTED", "CANCELLED", "UNAVAILABLE"}
        assert not isinstance(await caller(world)(LIST), Failure), "and afterwards all is well"

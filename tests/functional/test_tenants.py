"""Who may do what, told from the metadata of a call; and no secret in anything that comes out."""

import base64
import hashlib
from urllib.parse import quote

import grpc
import pytest

from emulator import settings as emulated
from gateway.app import open_app
from gateway.config import Config
from tests.functional import stage
from tests.functional.calls import (
    BINDINGS,
    REQUESTS,
    Caller,
    Failure,
    arrived,
    asked,
    caller,
    order,
    until,
)
from tests.harness import REGION, config_for

LIST = "VaultService/ListVaults"


def with_metadata(world, *pairs):
    return Caller(world.channel, pairs)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ((), ("UNAUTHENTICATED", "CREDENTIALS_INVALID")),
        ((("authorization", ""),), ("UNAUTHENTICATED", "CREDENTIALS_INVALID")),
        ((("authorization", "Bearer"),), ("UNAUTHENTICATED", "CREDENTIALS_INVALID")),
        ((("authorization", "Bearer key-of-nobody"),), ("UNAUTHENTICATED", "CREDENTIALS_INVALID")),
        ((("authorization", "Bearer key-of-payment"),), ("UNAUTHENTICATED", "CREDENTIALS_INVALID")),
        (
            (("authorization", "Bearer key-of-payments-"),),
            ("UNAUTHENTICATED", "CREDENTIALS_INVALID"),
        ),
        ((("authorization", "Basic key-of-payments"),), ("UNAUTHENTICATED", "CREDENTIALS_INVALID")),
        ((("authorization", "key-of-payments"),), ("UNAUTHENTICATED", "CREDENTIALS_INVALID")),
        (
            (("authorization", f"Bearer {hashlib.sha256(b'key-of-payments').hexdigest()}"),),
            ("UNAUTHENTICATED", "CREDENTIALS_INVALID"),
        ),
        ((("x-api-key", "key-of-payments"),), ("UNAUTHENTICATED", "CREDENTIALS_INVALID")),
        (
            (("authorization", "Bearer key-of-payments"),) * 2,
            ("INVALID_ARGUMENT", "METADATA_INVALID"),
        ),
        (
            (("authorization", "Bearer key-of-payments"), ("authorization", "Bearer key-of-admin")),
            ("INVALID_ARGUMENT", "METADATA_INVALID"),
        ),
        (
            (
                ("authorization", "Bearer key-of-payments"),
                ("x-cbr-project-id", "a"),
                ("x-cbr-project-id", "a"),
            ),
            ("INVALID_ARGUMENT", "METADATA_INVALID"),
        ),
    ],
)
@pytest.mark.parametrize(
    "rpc", [LIST, "VaultService/CreateVault", "RegionService/ListRegionProjects"]
)
async def test_a_caller_nobody_knows_gets_nowhere(world, rpc, pairs, expected):
    failed = await with_metadata(world, *pairs).fails(rpc, REQUESTS[rpc])
    if rpc.startswith("RegionService") and "x-cbr-project-id" in dict(pairs):
        expected = ("PERMISSION_DENIED", "ADMINISTRATOR_ONLY")
    assert (failed.code, failed.reason) == expected
    assert arrived(world) == []


@pytest.mark.parametrize("rpc", [LIST, "VaultService/DeleteVault", "BackupService/RestoreBackup"])
async def test_a_foreign_project_is_denied_like_one_that_does_not_exist(world, rpc):
    answers = []
    for project in (
        emulated.DATABASES_PROJECT_ID,
        emulated.RESEARCH_PROJECT_ID,
        "0" * 32,
        "",
        "..",
        "x/../y",
        "p" * 200,
    ):
        failed = await caller(world, "payments", ("x-cbr-project-id", project)).fails(
            rpc, REQUESTS[rpc]
        )
        info = {key: value for key, value in failed.facts.items() if key != "requestId"}
        answers.append(
            (
                failed.code,
                failed.reason,
                failed.message,
                info,
                sorted(failed.details),
                sorted(failed.trailers),
            )
        )
    assert answers == [answers[0]] * len(answers)
    assert answers[0][:2] == ("PERMISSION_DENIED", "PROJECT_DENIED")
    assert arrived(world) == []


@pytest.mark.parametrize(
    "rpc", [rpc for rpc, binding in BINDINGS.items() if binding.for_administrators]
)
async def test_what_belongs_to_no_project_is_for_administrators(world, rpc):
    failed = await caller(world).fails(rpc, REQUESTS[rpc])
    assert (failed.code, failed.reason) == ("PERMISSION_DENIED", "ADMINISTRATOR_ONLY")
    assert arrived(world) == []
    answer = await caller(world, "admin")(rpc, REQUESTS[rpc])
    assert len(asked(world)) == 1
    assert not isinstance(answer, Failure) or answer.code in {"NOT_FOUND", "FAILED_PRECONDITION"}


async def test_tenants_do_not_see_each_others_objects(world, payments):
    made = (await payments.ok("VaultService/CreateVault", stage.vault_request())).vault
    assert not (await caller(world, "databases").ok(LIST)).vaults
    foreign = await caller(world, "databases").fails("VaultService/GetVault", {"vault_id": made.id})
    missing = await caller(world, "databases").fails(
        "VaultService/GetVault", {"vault_id": "5d8b2c4e-0f13-4a77-9a0e-1c2d3e4f5a6b"}
    )
    assert (foreign.code, foreign.reason, foreign.message) == (
        missing.code,
        missing.reason,
        missing.message,
    )


def two_projects(endpoint):
    """A tenant with two projects of one account."""
    projects = [
        {"id": project, "region": REGION, "credential": "main"}
        for project in (emulated.PAYMENTS_PROJECT_ID, emulated.DATABASES_PROJECT_ID)
    ]
    return {
        "server": {"listen": "127.0.0.1:0", "health_listen": "127.0.0.1:0"},
        "admin": {"listen": None},
        "upstream": {
            "regions": {REGION: {"endpoint": endpoint}},
            "credentials": {
                "main": {
                    "kind": "access_key",
                    "access_key": {"env": "AK"},
                    "secret_key": {"env": "SK"},
                }
            },
        },
        "tenants": [
            {
                "id": "both",
                "default_project": emulated.PAYMENTS_PROJECT_ID,
                "projects": projects,
                "api_keys": [{"id": "test", "sha256": hashlib.sha256(b"key-of-both").hexdigest()}],
            }
        ],
    }


async def test_a_tenant_chooses_among_its_own_projects(world):
    environ = {"AK": emulated.ACCESS_KEY, "SK": emulated.SECRET_KEY}
    config = Config.model_validate(
        two_projects(world.emulator.base_url), context={"environ": environ}
    )
    async with open_app(config) as app, grpc.aio.insecure_channel(app.address) as channel:

        def to(*project):
            return Caller(
                channel,
                (
                    ("authorization", "Bearer key-of-both"),
                    *(("x-cbr-project-id", p) for p in project),
                ),
            )

        second = to(emulated.DATABASES_PROJECT_ID)
        await second.ok("VaultService/CreateVault", stage.vault_request())
        assert len((await second.ok(LIST)).vaults) == 1
        assert len((await to().ok(LIST)).vaults) == 0
        page = (await second.ok("ProtectabilityService/ListProtectables", SERVERS)).next_page_token
        assert page
        failed = await to().fails(
            "ProtectabilityService/ListProtectables", {**SERVERS, "page_token": page}
        )
        assert failed.reason == "PAGE_TOKEN_MISMATCH"
        assert (await to(emulated.STANDBY_PROJECT_ID).fails(LIST)).reason == "PROJECT_DENIED"


SERVERS = {"protectable_type": "PROTECTABLE_TYPE_SERVER", "page_size": 1}


def forms(secret):
    raw = secret.encode()
    return {
        secret,
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode(),
        quote(secret, safe=""),
        raw.hex(),
    }


async def test_no_secret_comes_out_anywhere(world, lines):
    secrets = [
        emulated.SECRET_KEY,
        emulated.SECOND_SECRET_KEY,
        "key-of-payments",
        "key-of-admin",
        "key-of-canary-7f3a",
    ]
    seen = []
    situations = [
        ("nothing", {}),
        (
            "status",
            {
                "status": 401,
                "body": {"error_code": "APIGW.0301", "error_msg": f"bad {emulated.SECRET_KEY}"},
            },
        ),
        (
            "status",
            {
                "status": 400,
                "body": {
                    "error_code": "BackupService.9900",
                    "error_msg": f"Invalid {emulated.SECRET_KEY}",
                },
            },
        ),
        ("status", {"status": 500, "body": emulated.SECRET_KEY}),
        ("status", {"status": 200, "body": emulated.SECRET_KEY}),
        ("cut", {}),
        ("redirect", {"location": f"http://127.0.0.1:9/{emulated.SECRET_KEY}"}),
    ]
    for kind, parts in situations:
        if kind != "nothing":
            order(world, kind, LIST, times=3, **parts)
        callers = (
            caller(world),
            caller(world, "admin"),
            with_metadata(world, ("authorization", "Bearer key-of-canary-7f3a")),
        )
        seen += [repr(await call(LIST)) for call in callers]
    # The line of a call is written once its answer is on its way.
    await until(
        lambda: len([line for line in lines() if line["event"] == "call"]) == 3 * len(situations)
    )
    config = config_for(world.emulator.base_url)
    seen += [
        repr(config),
        str(config),
        repr(config.model_dump()),
        repr(config.upstream.credentials),
        repr(lines()),
    ]
    whole = "\n".join(seen)
    assert [secret for secret in secrets for form in forms(secret) if form in whole] == []

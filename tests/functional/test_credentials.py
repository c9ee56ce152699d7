"""A credential that stops working under load: renewed once, and no call pays for it.

IAM and CBR are the emulator.
"""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from emulator import settings as emulated
from emulator.server import running_emulator
from emulator.transitions import Mode, Pace
from gateway.app import open_app
from gateway.config import Config
from gateway.upstream.settings import PasswordSettings
from tests.functional import stage
from tests.functional.calls import Caller, Failure, arrived, order, until
from tests.harness import World, config_for

LIST, UPDATE, POLICIES = (
    "VaultService/ListVaults",
    "VaultService/UpdateVault",
    "PolicyService/ListPolicies",
)
AT_ONCE = 60


def with_password(config: Config) -> Config:
    """The same configuration with an IAM user in place of the key pair."""
    data = {
        "kind": "password",
        "user": emulated.IAM_USER,
        "password": {"env": "PW"},
        "domain": emulated.IAM_DOMAIN,
    }
    user = PasswordSettings.model_validate(data, context={"environ": {"PW": emulated.IAM_PASSWORD}})
    checked = config.upstream.model_copy(
        update={"credentials": {**config.upstream.credentials, "main": user}}
    )
    return config.model_copy(update={"upstream": checked})


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with (
        running_emulator(pace=Pace(Mode.IMMEDIATE)) as emulator,
        open_app(with_password(config_for(emulator.base_url))) as app,
        grpc.aio.insecure_channel(app.address) as channel,
    ):
        yield World(app, emulator, channel)


@pytest.fixture
def payments(world: World) -> Caller:
    return Caller(world.channel, World.metadata())


def logins(world: World) -> int:
    return sum(entry.target.startswith("/v3/auth/tokens") for entry in arrived(world))


def refused(world: World) -> int:
    return sum(entry.status == 401 for entry in arrived(world))


def revoke(world: World) -> None:
    world.emulator.state.auth.tokens.clear()


async def test_a_token_revoked_under_many_calls_is_renewed_once_and_no_call_fails(world, payments):
    await payments.ok(LIST)
    order(world, "delay", LIST, seconds=1.5, times=AT_ONCE)
    under_way = [asyncio.create_task(payments(LIST)) for _ in range(AT_ONCE)]
    await until(lambda: len(arrived(world, LIST)) == 1 + AT_ONCE)
    revoke(world)
    answers = await asyncio.gather(*under_way)
    assert not [answer for answer in answers if isinstance(answer, Failure)]
    assert logins(world) == 2
    assert refused(world) > AT_ONCE / 3, "most of the calls saw the token refused"


async def test_changes_under_way_are_repeated_with_the_new_token(world, payments):
    made = [await stage.vault(payments, name=f"vault-{number}") for number in range(30)]
    order(world, "delay", UPDATE, seconds=1, times=len(made))
    wishes = [
        {"vault_id": vault.id, "vault": {"name": f"other-{number}"}}
        for number, vault in enumerate(made)
    ]
    under_way = [asyncio.create_task(payments(UPDATE, wish)) for wish in wishes]
    await until(lambda: len(arrived(world, UPDATE)) == len(made))
    revoke(world)
    answers = await asyncio.gather(*under_way)
    assert not [answer for answer in answers if isinstance(answer, Failure)]
    assert logins(world) == 2


async def test_a_token_revoked_five_times_within_seconds(world, payments):
    """Some of the new tokens work for some of the calls, some are revoked before any call was
    accepted with them.
    """
    await payments.ok(LIST)
    order(world, "delay", LIST, seconds=0.3, times=None)
    under_way = []
    for number in range(5):
        under_way += [asyncio.create_task(payments(LIST)) for _ in range(20)]
        await until(lambda number=number: logins(world) == 1 + number)
        await asyncio.sleep(0.2 * (number % 2))
        revoke(world)
    await until(lambda: logins(world) == 6)
    assert not [
        answer for answer in await asyncio.gather(*under_way) if isinstance(answer, Failure)
    ]
    assert logins(world) == 6


async def test_a_token_revoked_before_it_was_ever_accepted(world, payments):
    """Each token is gone by the time of its first use."""
    await payments.ok(LIST)
    tokens = world.emulator.state.auth.tokens
    revoke(world)
    under_way = [asyncio.create_task(payments(LIST)) for _ in range(20)]
    for number in range(4):
        await until(lambda number=number: logins(world) >= 2 + number)
        tokens.clear()
    assert not [
        answer for answer in await asyncio.gather(*under_way) if isinstance(answer, Failure)
    ]


async def test_a_wrong_clock_that_many_calls_learn_of_at_once(world):
    """A signature is renewed like a token: by the cloud's clock, once it is known."""
    async with (
        open_app(config_for(world.emulator.base_url)) as app,
        grpc.aio.insecure_channel(app.address) as channel,
    ):
        signing = Caller(channel, World.metadata())
        order(world, "delay", LIST, seconds=1.5, times=AT_ONCE)
        under_way = [asyncio.create_task(signing(LIST)) for _ in range(AT_ONCE)]
        await until(lambda: len(arrived(world, LIST)) == AT_ONCE)
        world.emulator.state.clock.skew_s = 3600
        answers = await asyncio.gather(*under_way)
    assert not [answer for answer in answers if isinstance(answer, Failure)]


async def test_a_credential_that_is_refused_for_good_is_renewed_a_few_times_and_told(
    world, payments
):
    order(
        world,
        "status",
        LIST,
        status=401,
        body={"error_code": "APIGW.0301", "error_msg": "no"},
        times=None,
    )
    answers = await asyncio.gather(*(payments(LIST) for _ in range(40)))
    assert {(answer.code, answer.reason) for answer in answers} == {
        ("INTERNAL", "UPSTREAM_CREDENTIALS")
    }
    assert logins(world) == 6
    before = len(arrived(world, LIST))
    assert before > 40 * 4
    answers = await asyncio.gather(*(payments(LIST) for _ in range(40)))
    assert {(answer.code, answer.reason) for answer in answers} == {
        ("INTERNAL", "UPSTREAM_CREDENTIALS")
    }
    # Each is told at once, or after the one renewal that a slow machine may have reached.
    assert len(arrived(world, LIST)) <= before + 2 * 40
    assert logins(world) <= 7


async def test_what_is_refused_to_one_operation_leaves_the_token_to_the_others_while_iam_hangs(
    world, payments
):
    await payments.ok(POLICIES)
    order(
        world,
        "status",
        LIST,
        status=401,
        body={"error_code": "APIGW.0301", "error_msg": "no"},
        times=None,
    )
    world.emulator.state.faults.add(
        {
            "kind": "delay",
            "seconds": 3,
            "match": {"operation": "KeystoneCreateUserTokenByPassword"},
            "times": None,
        }
    )
    sick = [asyncio.create_task(payments(LIST)) for _ in range(20)]
    await until(lambda: refused(world) >= 1)
    assert not [
        answer
        for answer in [await payments(POLICIES, timeout_s=2) for _ in range(10)]
        if isinstance(answer, Failure)
    ]
    for task in sick:
        task.cancel()
    await asyncio.gather(*sick, return_exceptions=True)

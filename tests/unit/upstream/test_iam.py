"""Tokens: fetched once for everybody, refreshed in time, thrown away once when refused.

IAM is a real server on a socket.
"""

import asyncio
import contextlib
import json

import pytest
from cbrgateway.v1 import errors_pb2

from gateway.errors import GatewayError
from gateway.secret import Secret
from gateway.upstream.breakers import Breakers
from gateway.upstream.credentials import IamUser
from gateway.upstream.http import HttpRequest, HttpResponse, TransportSettings
from gateway.upstream.iam import TokenAuth
from gateway.upstream.shares import Holder, Shares
from gateway.upstream.transport import open_transport
from tests.fakes import SteppedClock
from tests.functional.calls import until
from tests.unit.upstream.raw_server import answer, raw_server

PROJECT = "0123456789abcdef0123456789abcdef"
REQUEST = HttpRequest("GET", "https://cbr.example/v3/p/vaults", {"Accept": "application/json"})
LIFE = {"issued_at": "2025-01-31T08:00:00.000000Z", "expires_at": "2025-02-01T08:00:00.000000Z"}
DAY = 86400.0

CREDENTIALS = errors_pb2.ERROR_REASON_UPSTREAM_CREDENTIALS
UNREACHABLE = errors_pb2.ERROR_REASON_UPSTREAM_UNREACHABLE
PROTOCOL = errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL


class Iam:
    """What IAM answers: numbered tokens, or what `answers` says."""

    def __init__(self):
        self.answers = None
        self.delay_s = 0.0

    async def __call__(self, connection):
        while await connection.request() is not None:
            await asyncio.sleep(self.delay_s)
            token = f"X-Subject-Token: token-{len(connection.server.requests)}\r\n"
            body = json.dumps({"token": LIFE}).encode()
            await connection.send(self.answers or answer(body, "201 Created", token))


@pytest.fixture
def clock():
    return SteppedClock()


@pytest.fixture
async def iam():
    script = Iam()
    async with raw_server(script) as server:
        server.script = script
        yield server


@pytest.fixture
async def transport():
    opened = open_transport(TransportSettings())
    yield opened
    await opened.aclose()


@pytest.fixture
async def auth(iam, transport, clock):
    user = IamUser("someone", Secret("canary"), "account")
    made = TokenAuth(
        user,
        iam.origin,
        transport,
        breakers=Breakers(clock, lambda: 0.5),
        clock=clock,
        random=lambda: 0.5,
    )
    yield made
    await made.aclose()


async def token(auth, project=PROJECT):
    return (await auth.apply(REQUEST, project, 5)).request.headers["X-Auth-Token"]


async def failure(auth):
    with pytest.raises(GatewayError) as caught:
        await auth.apply(REQUEST, PROJECT, 5)
    return caught.value


async def test_iam_is_asked_as_its_manual_says(auth, iam):
    applied = await auth.apply(REQUEST, PROJECT, 5)
    head, _, body = iam.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v3/auth/tokens?nocatalog=x HTTP/1.1\r\n")
    user = {"name": "someone", "password": "canary", "domain": {"name": "account"}}
    identity = {"methods": ["password"], "password": {"user": user}}
    assert json.loads(body) == {
        "auth": {"identity": identity, "scope": {"project": {"id": PROJECT}}}
    }
    assert dict(applied.request.headers) == {
        "Accept": "application/json",
        "X-Auth-Token": "token-1",
    }


async def test_a_thousand_callers_fetch_one_token(auth, iam):
    iam.script.delay_s = 0.05
    assert set(await asyncio.gather(*(token(auth) for _ in range(1000)))) == {"token-1"}
    assert len(iam.requests) == 1


async def test_each_project_has_a_token_of_its_own(auth, iam):
    assert await token(auth, "a") != await token(auth, "b")
    assert await token(auth, "a") == "token-1"
    assert len(iam.requests) == 2


async def test_a_token_is_refreshed_at_four_fifths_of_its_life_while_the_old_one_serves(
    auth, iam, clock
):
    assert await token(auth) == "token-1"
    clock.advance(0.8 * DAY - 1)
    assert await token(auth) == "token-1"
    assert len(iam.requests) == 1
    clock.advance(2)
    assert [await token(auth), await token(auth)] == ["token-1", "token-1"]
    await asyncio.sleep(0.1)
    assert await token(auth) == "token-2"
    assert len(iam.requests) == 2


async def test_the_moment_of_the_refresh_is_spread(iam, transport, clock):
    for dice, share in ((0.0, 0.75), (1.0, 0.85)):
        user = IamUser("someone", Secret("canary"), "account")
        breakers = Breakers(clock, lambda: 0.5)
        auth = TokenAuth(
            user,
            iam.origin,
            transport,
            breakers=breakers,
            clock=clock,
            random=lambda dice=dice: dice,
        )
        await token(auth)
        before = len(iam.requests)
        clock.advance(share * DAY - 1)
        await token(auth)
        await asyncio.sleep(0.05)
        assert len(iam.requests) == before
        clock.advance(2)
        await token(auth)
        await asyncio.sleep(0.05)
        assert len(iam.requests) == before + 1
        await auth.aclose()


async def test_iam_may_be_down_until_the_token_expires(auth, iam, clock):
    await token(auth)
    iam.script.answers = answer(b"", "503 Service Unavailable")
    clock.advance(0.9 * DAY)
    for _ in range(100):
        assert await token(auth) == "token-1"
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    assert len(iam.requests) == 3, "IAM is asked twice, then left alone"
    clock.advance(0.1 * DAY)
    assert (await failure(auth)).reason == UNREACHABLE


async def test_a_thousand_refusals_of_one_token_fetch_one(auth, iam):
    generations = [(await auth.apply(REQUEST, PROJECT, 5)).generation for _ in range(1000)]
    iam.script.delay_s = 0.05

    async def once_more(generation):
        assert await auth.refused(generation, 5)
        return await token(auth)

    assert set(await asyncio.gather(*(once_more(generation) for generation in generations))) == {
        "token-2"
    }
    assert await auth.refused(generations[0], 5)
    assert await token(auth) == "token-2"
    assert len(iam.requests) == 2


async def test_tokens_that_are_refused_before_they_were_accepted_are_replaced_with_growing_pauses(
    auth, iam, clock
):
    """The first at once, then after 0.2, 0.4, 0.8 and 1.6 s; before a longer pause the call is
    told.
    """
    for pause_s in (0, 0.2, 0.4, 0.8, 1.6):
        refusal = asyncio.create_task(
            auth.refused((await auth.apply(REQUEST, PROJECT, 5)).generation, 5)
        )
        asked = len(iam.requests)
        if pause_s:
            await asyncio.sleep(0.01)
            clock.advance(0.99 * pause_s)
            await asyncio.sleep(0.01)
            assert (len(iam.requests), refusal.done()) == (asked, False)
            clock.advance(0.02 * pause_s)
        assert await refusal
    sixth = (await auth.apply(REQUEST, PROJECT, 5)).generation
    assert not await auth.refused(sixth, 5)
    assert await token(auth) == "token-6", "it is tried all the same: perhaps it is accepted by now"
    clock.advance(3.3)
    assert await auth.refused(sixth, 5)
    assert await token(auth) == "token-7"


async def test_a_wrong_credential_asks_iam_once_a_minute_in_the_long_run(auth, iam, clock):
    generation = 0
    for _ in range(1000):
        with contextlib.suppress(TimeoutError):
            generation = (await auth.apply(REQUEST, PROJECT, 5)).generation
            async with asyncio.timeout(0.001):
                await auth.refused(generation, 5)
        clock.advance(1)
    # Ten while the pauses grow, then one in 60 s.
    assert len(iam.requests) <= 10 + 1000 / 60


async def test_a_token_that_was_accepted_and_then_refused_is_replaced_at_once_time_after_time(
    auth, iam, clock
):
    for _ in range(10):
        generation = (await auth.apply(REQUEST, PROJECT, 5)).generation
        auth.observe(HttpResponse(200, {}, b""), generation)
        assert await auth.refused(generation, 5)
    generation = (await auth.apply(REQUEST, PROJECT, 5)).generation
    auth.observe(HttpResponse(200, {}, b""), generation)
    refusal = asyncio.create_task(auth.refused(generation, 5))
    await asyncio.sleep(0.01)
    assert len(iam.requests) == 11, "what the cloud objects to may be something else"
    clock.advance(2.1)
    assert await refusal
    assert len(iam.requests) == 12


async def test_an_answer_that_refuses_a_token_does_not_accept_it(auth, clock):
    first = (await auth.apply(REQUEST, PROJECT, 5)).generation
    auth.observe(HttpResponse(401, {}, b""), first)
    assert await auth.refused(first, 5)
    second = (await auth.apply(REQUEST, PROJECT, 5)).generation
    auth.observe(HttpResponse(401, {}, b""), second)
    refusal = asyncio.create_task(auth.refused(second, 5))
    await asyncio.sleep(0.01)
    assert not refusal.done()
    clock.advance(0.3)
    assert await refusal


async def test_a_refused_token_serves_those_to_whom_it_is_not_refused(auth, iam):
    refused = (await auth.apply(REQUEST, PROJECT, 5)).generation
    iam.script.delay_s = 0.2
    refusal = asyncio.create_task(auth.refused(refused, 5))
    await asyncio.sleep(0.05)
    assert await token(auth) == "token-1"
    assert await refusal
    assert await token(auth) == "token-2"


async def test_a_call_whose_token_is_refused_waits_within_its_deadline_and_is_told_why_there_is_none(  # noqa: E501 - as it stands on the wire
    auth, iam
):
    generation = (await auth.apply(REQUEST, PROJECT, 5)).generation
    iam.script.delay_s = 0.3
    with pytest.raises(GatewayError, match="IAM did not answer in time"):
        await auth.refused(generation, 0.05)
    iam.script.answers = answer(b"", "401 Unauthorized")
    for _ in range(2):
        with pytest.raises(GatewayError, match="IAM refused the credential"):
            await auth.refused(generation, 5)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("401 Unauthorized", CREDENTIALS),
        ("403 Forbidden", CREDENTIALS),
        ("400 Bad Request", CREDENTIALS),
        ("404 Not Found", CREDENTIALS),
        ("429 Too Many Requests", UNREACHABLE),
        ("500 Internal", UNREACHABLE),
        ("302 Found", UNREACHABLE),
    ],
)
async def test_what_iam_answers_instead_of_a_token(auth, iam, status, reason):
    iam.script.answers = answer(b'{"error":{"message":"canary host"}}', status)
    error = await failure(auth)
    assert error.reason == reason
    assert "canary" not in str(error)


@pytest.mark.parametrize(
    "content",
    [
        answer(b"{", "201 Created", "X-Subject-Token: t\r\n"),
        answer(b"{}", "201 Created", "X-Subject-Token: t\r\n"),
        answer(json.dumps({"token": LIFE}).encode(), "201 Created"),
        answer(
            json.dumps({"token": LIFE | {"expires_at": "soon"}}).encode(),
            "201 Created",
            "X-Subject-Token: t\r\n",
        ),
        answer(
            json.dumps({"token": LIFE | {"expires_at": "2025-02-01"}}).encode(),
            "201 Created",
            "X-Subject-Token: t\r\n",
        ),
        answer(
            json.dumps({"token": LIFE | {"expires_at": LIFE["issued_at"]}}).encode(),
            "201 Created",
            "X-Subject-Token: t\r\n",
        ),
    ],
)
async def test_an_answer_that_is_not_understood(auth, iam, content):
    iam.script.answers = content
    assert (await failure(auth)).reason == PROTOCOL


async def test_a_failed_fetch_pauses_longer_each_time(auth, iam, clock):
    iam.script.answers = answer(b"", "401 Unauthorized")
    for pause in (1, 2, 4, 8, 16, 32, 60, 60):
        asked = len(iam.requests)
        assert (await failure(auth)).retry_after_s == pytest.approx(pause)
        clock.advance(pause - 0.5)
        assert (await failure(auth)).retry_after_s == pytest.approx(0.5)
        assert len(iam.requests) == asked + 1
        clock.advance(0.6)
    iam.script.answers = None
    assert (await token(auth)).startswith("token-")


async def test_a_caller_that_leaves_does_not_end_the_fetch_of_the_others(auth, iam):
    iam.script.delay_s = 0.1
    first, second = (asyncio.create_task(token(auth)) for _ in range(2))
    await iam.arrived.wait()
    first.cancel()
    assert await second == "token-1"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_caller_waits_no_longer_than_its_deadline(auth, iam):
    iam.script.delay_s = 0.3
    with pytest.raises(GatewayError) as caught:
        await auth.apply(REQUEST, PROJECT, 0.05)
    assert caught.value.reason == UNREACHABLE
    assert await token(auth) == "token-1"
    assert len(iam.requests) == 1


async def test_an_iam_that_hangs_for_one_user_leaves_connections_for_the_others(clock):
    async def answers(connection):
        while (request := await connection.request()) is not None:
            if b'"sick"' in request:
                await connection.until_closed()
                return
            await connection.send(
                answer(
                    json.dumps({"token": LIFE}).encode(),
                    "201 Created",
                    "X-Subject-Token: token\r\n",
                )
            )

    transport = open_transport(TransportSettings(max_connections=4))
    shares, breakers = Shares(transport, 4), Breakers(clock, lambda: 0.5)
    async with raw_server(answers) as server:
        sick, well = (
            TokenAuth(
                IamUser(user, Secret("x"), "account"),
                server.origin,
                shares.of(server.origin, Holder(user, "")),
                breakers=breakers,
                clock=clock,
                random=lambda: 0.5,
            )
            for user in ("sick", "well")
        )
        waiting = [asyncio.create_task(token(sick, f"project-{number}")) for number in range(10)]
        await until(lambda: len([each for each in server.requests if b'"sick"' in each]) >= 2)
        assert [await token(well, f"project-{number}") for number in range(5)] == ["token"] * 5
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await sick.aclose()
        await transport.aclose()


async def test_an_iam_that_is_down_opens_its_breaker(transport, clock):
    breakers = Breakers(clock, lambda: 0.5)
    user = IamUser("someone", Secret("canary"), "account")
    auth = TokenAuth(
        user, "http://127.0.0.1:1", transport, breakers=breakers, clock=clock, random=lambda: 0.5
    )
    for number in range(20):
        with pytest.raises(GatewayError) as caught:
            await token(auth, f"project-{number}")
        assert caught.value.reason == UNREACHABLE
    with pytest.raises(GatewayError, match="left alone"):
        await token(auth, "one more")

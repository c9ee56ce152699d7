"""Access keys: what is signed, and how a wrong clock is found out."""

from email.utils import formatdate

import pytest
import structlog.testing
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer

from gateway.secret import Secret
from gateway.upstream.auth import AccessKeyAuth
from gateway.upstream.credentials import AccessKey, IamUser
from gateway.upstream.http import HttpRequest, HttpResponse
from tests.fakes import SteppedClock

PROJECT = "0123456789abcdef0123456789abcdef"
REQUEST = HttpRequest(
    "POST",
    "https://cbr.example:8443/v3/p/x?name=a%20b%2B&status=b&status=a&e=",
    {"Content-Type": "application/json"},
    b"{}",
)
HOUR = 3600.0


class SdkKeys:
    ak, sk = "AK", "SK"


@pytest.fixture
def clock():
    return SteppedClock()


@pytest.fixture
def auth(clock):
    return AccessKeyAuth(AccessKey("AK", Secret("SK")), clock)


def dated(seconds):
    return HttpResponse(401, {"date": formatdate(seconds, usegmt=True)}, b"")


async def applied(auth, request=REQUEST):
    return (await auth.apply(request, PROJECT, 5)).request


async def test_a_request_gets_the_signed_headers_and_stays_as_it_is_otherwise(auth):
    request = await applied(auth)
    authorization = request.headers["Authorization"]
    assert dict(request.headers) == {
        "Content-Type": "application/json",
        "Host": "cbr.example:8443",
        "X-Sdk-Date": "20250131T080910Z",
        "X-Project-Id": PROJECT,
        "Authorization": authorization,
    }
    assert (request.method, request.url, request.body) == (
        REQUEST.method,
        REQUEST.url,
        REQUEST.body,
    )
    assert "SignedHeaders=content-type;host;x-project-id;x-sdk-date," in authorization


async def test_the_signature_is_the_one_of_the_vendors_sdk(auth):
    request = await applied(auth)
    headers = {name: value for name, value in request.headers.items() if name != "Authorization"}
    query = [("name", "a b+"), ("status", "b"), ("status", "a"), ("e", "")]
    oracle = SdkRequest(
        method="POST",
        schema="https",
        host="",
        resource_path="/v3/p/x",
        query_params=query,
        header_params=headers,
        body=b"{}",
    )
    Signer(SdkKeys).sign(oracle)
    assert request.headers["Authorization"] == oracle.header_params["Authorization"]


async def test_a_temporary_key_brings_its_token(clock):
    auth = AccessKeyAuth(AccessKey("AK", Secret("SK"), Secret("temporary")), clock)
    request = await applied(auth)
    assert request.headers["X-Security-Token"] == "temporary"
    assert "x-security-token" in request.headers["Authorization"]


@pytest.mark.parametrize(
    ("skew", "date"),
    [(31, "20250131T080941Z"), (-HOUR, "20250131T070910Z"), (23 * HOUR, "20250201T070910Z")],
)
async def test_a_clock_that_is_off_is_learnt_once(auth, clock, skew, date):
    generation = (await auth.apply(REQUEST, PROJECT, 5)).generation
    auth.observe(dated(clock.time() + skew), 0)
    assert await auth.refused(generation, 5)
    again = await auth.apply(REQUEST, PROJECT, 5)
    assert again.request.headers["X-Sdk-Date"] == date
    auth.observe(dated(clock.time() + skew), 0)
    assert not await auth.refused(again.generation, 5)


@pytest.mark.parametrize("skew", [0, 29, -30, 25 * HOUR, -25 * HOUR])
async def test_a_small_or_absurd_offset_changes_nothing(auth, clock, skew):
    auth.observe(dated(clock.time() + skew), 0)
    assert not await auth.refused(0, 5)
    assert (await applied(auth)).headers["X-Sdk-Date"] == "20250131T080910Z"


async def test_a_clock_that_was_set_right_drops_the_offset(auth, clock):
    auth.observe(dated(clock.time() + HOUR), 0)
    clock.start += HOUR
    auth.observe(dated(clock.time() + 1), 0)
    assert (await applied(auth)).headers["X-Sdk-Date"] == "20250131T090910Z"


@pytest.mark.parametrize(("skew", "warnings"), [(31, 0), (59, 0), (61, 1), (-HOUR, 1)])
async def test_an_offset_over_a_minute_is_worth_one_warning(auth, clock, skew, warnings):
    with structlog.testing.capture_logs() as logs:
        auth.observe(dated(clock.time() + skew), 0)
        auth.observe(dated(clock.time() + skew), 0)
    assert [entry["log_level"] for entry in logs] == ["warning"] * warnings


@pytest.mark.parametrize("date", ["", "yesterday", "Fri, 31 Jan 99999999 08:09:10 GMT"])
async def test_a_date_that_cannot_be_read_is_no_date(auth, date):
    auth.observe(HttpResponse(200, {"date": date}, b""), 0)
    auth.observe(HttpResponse(200, {}, b""), 0)
    assert not await auth.refused(0, 5)


def test_secrets_are_never_shown():
    secret = Secret("canary")
    shown = (
        f"{secret} {secret!r} {[secret]} {AccessKey('AK', secret, secret)}"
        f" {IamUser('u', secret, 'd')}"
    )
    assert "canary" not in shown
    assert secret.reveal() == "canary"
    assert secret == Secret("canary")
    assert secret != Secret("other")

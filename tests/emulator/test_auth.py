"""Who gets in: signatures, tokens, projects, clock skew."""

import hashlib
import hmac
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import DerivationAKSKSigner

from emulator.server import RunningEmulator, running_emulator
from emulator.settings import (
    ACCESS_KEY,
    DATABASES_PROJECT_ID,
    IAM_DOMAIN,
    IAM_PASSWORD,
    IAM_USER,
    PAYMENTS_PROJECT_ID,
    RESEARCH_PROJECT_ID,
    SECRET_KEY,
)
from emulator.signing import Arrival, canonical_request, signature
from tests.emulator.conftest import Signed, control

VAULTS = f"/v3/{PAYMENTS_PROJECT_ID}/vaults"


def login(password: str = IAM_PASSWORD, scope: dict[str, Any] | None = None) -> dict[str, Any]:
    user = {"name": IAM_USER, "password": password, "domain": {"name": IAM_DOMAIN}}
    identity = {"methods": ["password"], "password": {"user": user}}
    return {
        "auth": {"identity": identity, "scope": scope or {"project": {"id": PAYMENTS_PROJECT_ID}}}
    }


def test_a_signature_over_repeated_and_encoded_query_names_is_the_published_one():
    headers = {
        "content-type": "application/json",
        "x-sdk-date": "20250131T080910Z",
        "x-project-id": "0123456789abcdef0123456789abcdef",
        "host": "cbr.cn-north-4.myhuaweicloud.com",
    }
    target = "/v3/0123456789abcdef0123456789abcdef/backups"
    query = "limit=50&name=a%20b%2F%C3%BC~%2A&status=available&status=error"
    canonical = canonical_request(Arrival("GET", target, query, headers, b""), tuple(headers))
    secret = "SKEXAMPLE00000000000000000000000000000001"
    assert (
        signature(secret, "20250131T080910Z", canonical)
        == "faf5aa7f35d76e2bc62cbaaa10a4af5046427ee549ba49944d8a21de16613dd0"
    )


@pytest.mark.parametrize(
    "query", ["status=error&status=available&id=b&id=a", "id=a&id=b&status=available&status=error"]
)
@pytest.mark.parametrize("as_given", [False, True])
async def test_repeated_query_values_may_be_signed_sorted_or_as_given(
    http: httpx.AsyncClient, query: str, *, as_given: bool
):
    auth = Signed(ACCESS_KEY, SECRET_KEY, as_given=as_given)
    assert (
        await http.get(f"/v3/{PAYMENTS_PROJECT_ID}/backups?{query}", auth=auth)
    ).status_code == 200


async def test_a_value_that_was_not_signed_breaks_the_signature(http: httpx.AsyncClient):
    request = http.build_request("GET", f"{VAULTS}?id=b&id=a")
    signed = next(Signed(ACCESS_KEY, SECRET_KEY, as_given=True).auth_flow(request))
    changed = httpx.Request("GET", f"{signed.url}&id=c", headers=signed.headers)
    assert (await http.send(changed)).status_code == 401


def derived_by_the_sdk(url: str, secret_key: str) -> dict[str, str]:
    """The headers of a GET that the vendor's SDK signs with a key derived for one region and
    service.
    """
    target = httpx.URL(url)
    request = SdkRequest(
        "GET",
        target.scheme,
        target.netloc.decode(),
        target.path,
        query_params=[("id", ["b", "a"])],
        header_params={},
    )
    DerivationAKSKSigner(BasicCredentials(ACCESS_KEY, secret_key)).sign(
        request, "cbr", "cn-north-4"
    )
    return dict(request.header_params)


def derived_in_steps(url: str, secret_key: str, where: str = "cn-north-4/cbr") -> dict[str, str]:
    """The same by the algorithm of OpenStack-style clients: a key for the day, for the region, for
    the service, for requests.
    """
    date = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{date[:8]}/{where}/sdk_request"
    lines = (
        "GET",
        f"{httpx.URL(url).path}/",
        "id=a&id=b",
        f"x-sdk-date:{date}\n",
        "x-sdk-date",
        hashlib.sha256(b"").hexdigest(),
    )
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    text = f"SDK-HMAC-SHA256\n{date}\n{scope}\n{digest}"
    key = b"SDK" + secret_key.encode()
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    claim = (
        f"SDK-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders=x-sdk-date,"
        f" Signature={key.hex()}"
    )
    return {"x-sdk-date": date, "Authorization": claim}


@pytest.mark.parametrize("sign", [derived_by_the_sdk, derived_in_steps])
async def test_derived_keys_sign_too(
    http: httpx.AsyncClient, running: RunningEmulator, sign: Callable[[str, str], dict[str, str]]
):
    url = running.base_url + VAULTS
    assert (await http.get(f"{url}?id=b&id=a", headers=sign(url, SECRET_KEY))).status_code == 200
    refused = await http.get(f"{url}?id=b&id=a", headers=sign(url, "wrong"))
    assert "verify aksk signature fail" in refused.json()["error_msg"]
    for part, other in (
        ("/cn-north-4/", "/cn-east-3/"),
        ("/cbr", "/evs"),
        ("cbr", "cbr/more"),
        ("Credential", "Access"),
    ):
        headers = sign(url, SECRET_KEY)
        headers["Authorization"] = headers["Authorization"].replace(part, other)
        assert (await http.get(f"{url}?id=b&id=a", headers=headers)).status_code == 401


async def test_a_client_may_leave_region_and_service_empty(
    http: httpx.AsyncClient, running: RunningEmulator
):
    """As gophertelekomcloud does."""
    url = running.base_url + VAULTS
    assert (
        await http.get(f"{url}?id=b&id=a", headers=derived_in_steps(url, SECRET_KEY, "/"))
    ).status_code == 200
    assert (
        await http.get(f"{url}?id=b&id=a", headers=derived_in_steps(url, "wrong", "/"))
    ).status_code == 401


async def test_without_credentials_nobody_gets_in(http: httpx.AsyncClient):
    response = await http.get(VAULTS)
    assert (response.status_code, response.json()["error_code"]) == (401, "APIGW.0301")
    assert response.json()["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("auth", "code", "text"),
    [
        (Signed("NOBODY", SECRET_KEY), "APIGW.0301", "ak not exist"),
        (Signed(ACCESS_KEY, "wrong"), "APIGW.0301", "verify aksk signature fail"),
        (
            Signed(ACCESS_KEY, SECRET_KEY, datetime.now(UTC) - timedelta(hours=1)),
            "APIGW.0303",
            "expired",
        ),
    ],
)
async def test_a_bad_signature_says_what_is_wrong_with_it(
    http: httpx.AsyncClient, auth: Signed, code: str, text: str
):
    response = await http.get(VAULTS, auth=auth)
    assert (response.status_code, response.json()["error_code"]) == (401, code)
    assert text in response.json()["error_msg"]


async def test_a_changed_body_breaks_the_signature(http: httpx.AsyncClient):
    request = http.build_request("POST", VAULTS, json={"vault": {}})
    signed = next(Signed(ACCESS_KEY, SECRET_KEY).auth_flow(request))
    changed = httpx.Request("POST", signed.url, headers=signed.headers, content=b'{"vault":[]}')
    assert (await http.send(changed)).status_code == 401


@pytest.mark.parametrize("project_id", [RESEARCH_PROJECT_ID, "f" * 32])
async def test_a_project_of_somebody_else_is_refused(http: httpx.AsyncClient, project_id: str):
    response = await http.get(f"/v3/{project_id}/vaults", auth=Signed(ACCESS_KEY, SECRET_KEY))
    assert (response.status_code, response.json()["error_code"]) == (403, "APIGW.0310")


async def test_a_token_opens_its_project_and_no_other(http: httpx.AsyncClient):
    response = await http.post("/v3/auth/tokens", json=login())
    assert response.status_code == 201
    assert response.json()["token"]["project"]["name"] == "payments"
    token = {"X-Auth-Token": response.headers["x-subject-token"]}
    assert (await http.get(VAULTS, headers=token)).status_code == 200
    assert (await http.get(f"/v3/{DATABASES_PROJECT_ID}/vaults", headers=token)).status_code == 403


async def test_openstack_style_clients_find_cbr_in_the_catalog(
    http: httpx.AsyncClient, running: RunningEmulator
):
    version = (await http.get("/v3")).json()["version"]
    assert (version["id"], version["links"][0]["href"]) == ("v3.6", f"{running.base_url}/v3/")
    assert (await http.get(version["links"][0]["href"])).json()["version"] == version
    bare = await http.post("/v3/auth/tokens", params={"nocatalog": ""}, json=login())
    assert (bare.status_code, "catalog" in bare.json()["token"]) == (201, False)
    assert (await http.get(f"{VAULTS}/")).status_code == 404
    response = await http.post("/v3/auth/tokens", json=login())
    catalog = response.json()["token"]["catalog"]
    assert {entry["type"]: [each["url"] for each in entry["endpoints"]] for entry in catalog} == {
        "identity": [f"{running.base_url}/v3"],
        "cbr": [f"{running.base_url}/v3/{PAYMENTS_PROJECT_ID}"],
    }
    headers = {"X-Auth-Token": response.headers["x-subject-token"]}
    assert (await http.get("/v3/auth/catalog", headers=headers)).json()["catalog"] == catalog
    assert (await http.get("/v3/auth/catalog")).status_code == 401
    whole = (await http.get("/v3/auth/catalog", auth=Signed(ACCESS_KEY, SECRET_KEY))).json()[
        "catalog"
    ]
    regions = {entry["type"]: [each["region"] for each in entry["endpoints"]] for entry in whole}
    assert regions == {
        "identity": ["cn-north-4", "cn-east-3"],
        "cbr": ["cn-north-4", "cn-north-4", "cn-east-3"],
    }


async def test_a_region_name_scopes_a_token_to_its_first_project(http: httpx.AsyncClient):
    response = await http.post(
        "/v3/auth/tokens", json=login(scope={"project": {"name": "cn-east-3"}})
    )
    assert response.json()["token"]["project"]["name"] == "standby"


async def test_a_wrong_password_and_a_made_up_token_are_refused(http: httpx.AsyncClient):
    response = await http.post("/v3/auth/tokens", json=login(password="guess"))
    assert (response.status_code, response.json()["error"]["code"]) == (401, 401)
    refused = await http.get(VAULTS, headers={"X-Auth-Token": "made-up"})
    assert "decrypt token fail" in refused.json()["error_msg"]


async def test_a_token_ends_with_its_lifetime():
    async with (
        running_emulator(token_lifetime_s=60.0) as running,
        httpx.AsyncClient(base_url=running.base_url) as http,
    ):
        response = await http.post("/v3/auth/tokens", json=login())
        await control(http, "POST", "/clock", {"skew_s": 61})
        refused = await http.get(
            VAULTS, headers={"X-Auth-Token": response.headers["x-subject-token"]}
        )
        assert "token expires, expires_at" in refused.json()["error_msg"]


async def test_a_skewed_gateway_refuses_honest_signatures_and_shows_its_time(
    http: httpx.AsyncClient,
):
    await control(http, "POST", "/clock", {"skew_s": 1200})
    response = await http.get(VAULTS, auth=Signed(ACCESS_KEY, SECRET_KEY))
    assert (response.status_code, response.json()["error_code"]) == (401, "APIGW.0303")
    shown = datetime.strptime(response.headers["date"], "%a, %d %b %Y %H:%M:%S GMT").replace(
        tzinfo=UTC
    )
    assert abs(shown.timestamp() - time.time() - 1200) < 100


async def test_stepping_emulator_time_leaves_signatures_alone(http: httpx.AsyncClient):
    await control(http, "POST", "/clock", {"step_s": 86400})
    assert (await http.get(VAULTS, auth=Signed(ACCESS_KEY, SECRET_KEY))).status_code == 200


async def test_a_temporary_key_needs_its_security_token_and_ends(http: httpx.AsyncClient):
    token = (await http.post("/v3/auth/tokens", json=login())).headers["x-subject-token"]
    wish = {"auth": {"identity": {"methods": ["token"], "token": {"duration_seconds": 900}}}}
    response = await http.post(
        "/v3.0/OS-CREDENTIAL/securitytokens", json=wish, headers={"X-Auth-Token": token}
    )
    key = response.json()["credential"]
    good = Signed(key["access"], key["secret"], security_token=key["securitytoken"])
    assert (await http.get(VAULTS, auth=good)).status_code == 200
    for bare in (
        Signed(key["access"], key["secret"]),
        Signed(key["access"], key["secret"], security_token="other"),
    ):
        assert (await http.get(VAULTS, auth=bare)).status_code == 401
    await control(http, "POST", "/clock", {"skew_s": 901})
    late = Signed(
        key["access"],
        key["secret"],
        datetime.now(UTC) + timedelta(seconds=901),
        key["securitytoken"],
    )
    assert "expired" in (await http.get(VAULTS, auth=late)).json()["error_msg"]


async def test_the_identity_calls_of_the_sdk_find_project_and_account(http: httpx.AsyncClient):
    auth = Signed(ACCESS_KEY, SECRET_KEY)
    projects = (await http.get("/v3/projects?name=cn-east-3", auth=auth)).json()["projects"]
    assert [project["name"] for project in projects] == ["standby"]
    assert (await http.get("/v3/auth/domains", auth=auth)).json()["domains"][0]["name"] == "acme"


async def test_secrets_never_reach_the_truth_log(http: httpx.AsyncClient, running: RunningEmulator):
    await http.get(VAULTS, auth=Signed(ACCESS_KEY, SECRET_KEY))
    await http.post("/v3/auth/tokens", json=login())
    log = (await http.get("/_emulator/truth")).text
    assert IAM_PASSWORD not in log
    assert "Signature=" not in log
    assert len(running.state.truth.entries()) == 2


async def test_authentication_can_be_switched_off():
    async with (
        running_emulator(auth=False) as running,
        httpx.AsyncClient(base_url=running.base_url) as http,
    ):
        assert (await http.get(VAULTS)).status_code == 200

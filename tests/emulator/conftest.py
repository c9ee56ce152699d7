"""A fresh emulator for each test, and clients that talk to it over real HTTP."""

import hashlib
import hmac
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest

from emulator.server import RunningEmulator, running_emulator
from emulator.settings import (
    ACCESS_KEY,
    DATABASES_PROJECT_ID,
    PAYMENTS_PROJECT_ID,
    RESEARCH_PROJECT_ID,
    SECOND_ACCESS_KEY,
    SECOND_SECRET_KEY,
    SECRET_KEY,
    STANDBY_PROJECT_ID,
)
from emulator.transitions import Mode, Pace

KEYS = {
    PAYMENTS_PROJECT_ID: (ACCESS_KEY, SECRET_KEY),
    DATABASES_PROJECT_ID: (ACCESS_KEY, SECRET_KEY),
    STANDBY_PROJECT_ID: (ACCESS_KEY, SECRET_KEY),
    RESEARCH_PROJECT_ID: (SECOND_ACCESS_KEY, SECOND_SECRET_KEY),
}


class Signed(httpx.Auth):
    """Signs requests as the vendor's manual says, written apart from the emulator's own
    verifier.
    """

    requires_request_body = True

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        at: datetime | None = None,
        security_token: str | None = None,
        *,
        as_given: bool = False,
    ) -> None:
        self._access_key, self._secret_key, self._at = access_key, secret_key, at
        self._security_token, self._as_given = security_token, as_given

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:
        date = (self._at or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
        path, _, query = request.url.raw_path.decode().partition("?")
        pairs = [pair.partition("=")[::2] for pair in query.split("&") if pair]
        pairs.sort(key=(lambda pair: pair[:1]) if self._as_given else None)
        query = "&".join(
            f"{quote(unquote(name), safe='')}={quote(unquote(value), safe='')}"
            for name, value in pairs
        )
        canonical = (
            f"{request.method}\n{path.rstrip('/')}/\n{query}\n"
            f"host:{request.headers['host']}\nx-sdk-date:{date}\n\nhost;x-sdk-date\n"
            f"{hashlib.sha256(request.content).hexdigest()}"
        )
        text = f"SDK-HMAC-SHA256\n{date}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.new(self._secret_key.encode(), text.encode(), hashlib.sha256).hexdigest()
        request.headers["x-sdk-date"] = date
        request.headers["authorization"] = (
            f"SDK-HMAC-SHA256 Access={self._access_key}, SignedHeaders=host;x-sdk-date,"
            f" Signature={signature}"
        )
        if self._security_token is not None:
            request.headers["x-security-token"] = self._security_token
        yield request


class Caller:
    """Calls the API as one project: `await caller("POST", "/vaults", body)` gives status and
    JSON.
    """

    def __init__(self, http: httpx.AsyncClient, project_id: str) -> None:
        self.http, self.project_id = http, project_id
        self._auth = Signed(*KEYS[project_id])

    async def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        response = await self.http.request(
            method, f"/v3/{self.project_id}{path}", json=body, auth=self._auth
        )
        return response.status_code, response.json() if response.content else None

    async def ok(self, method: str, path: str, body: Any = None) -> Any:
        status, payload = await self(method, path, body)
        assert status < 300, payload
        return payload

    async def servers(self) -> list[dict[str, Any]]:
        found = await self.ok("GET", "/protectables/server/instances?name=server-0")
        return found["instances"]

    async def vault(self, servers: int = 1, **changes: Any) -> dict[str, Any]:
        free = [each for each in await self.servers() if each["protectable"]["vault"] is None]
        billing = {
            "consistent_level": "crash_consistent",
            "object_type": "server",
            "protect_type": "backup",
            "size": 2000,
        } | changes.pop("billing", {})
        body = {
            "name": "vault",
            "billing": billing,
            "resources": [{"id": each["id"], "type": each["type"]} for each in free[:servers]],
        } | changes
        return (await self.ok("POST", "/vaults", {"vault": body}))["vault"]

    async def backup(self, vault_id: str, **parameters: Any) -> dict[str, Any]:
        """Make a checkpoint of a vault and return its only (or first) backup."""
        wish = {"vault_id": vault_id, "parameters": parameters}
        made = (await self.ok("POST", "/checkpoints", {"checkpoint": wish}))["checkpoint"]
        return (await self.ok("GET", f"/backups?checkpoint_id={made['id']}"))["backups"][0]


async def control(http: httpx.AsyncClient, method: str, path: str, body: Any = None) -> Any:
    """Call the control API and expect it to agree."""
    response = await http.request(method, f"/_emulator{path}", json=body)
    assert response.status_code < 300, response.text
    return response.json() if response.content else None


@pytest.fixture
async def running() -> AsyncIterator[RunningEmulator]:
    async with running_emulator(pace=Pace(Mode.IMMEDIATE)) as emulator:
        yield emulator


@pytest.fixture
async def http(running: RunningEmulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=running.base_url) as client:
        yield client


@pytest.fixture
def payments(http: httpx.AsyncClient) -> Caller:
    return Caller(http, PAYMENTS_PROJECT_ID)


@pytest.fixture
def databases(http: httpx.AsyncClient) -> Caller:
    return Caller(http, DATABASES_PROJECT_ID)


@pytest.fixture
def standby(http: httpx.AsyncClient) -> Caller:
    return Caller(http, STANDBY_PROJECT_ID)


@pytest.fixture
def research(http: httpx.AsyncClient) -> Caller:
    return Caller(http, RESEARCH_PROJECT_ID)

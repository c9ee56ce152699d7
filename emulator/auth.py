"""Who sends a request: a key pair (a signature over the request) or an IAM token.

The verifier signs what the request says it signed (its SignedHeaders) and compares.
Source: the error texts of the API gateway (APIGW.0301, 0303, 0310).
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from emulator.errors import ApiError, gateway_error
from emulator.settings import Account, EmulatorSettings, Project
from emulator.signing import Arrival, canonical_request, claim_of, matches


@dataclass(frozen=True, slots=True)
class Token:
    """An IAM token and what it is good for; `project` is None for a token of the whole account."""

    account: Account
    project: Project | None
    issued_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class TemporaryKey:
    """A key pair that works together with its security token only, and for a while."""

    account: Account
    access_key: str
    secret_key: str = field(repr=False)
    security_token: str = field(repr=False)
    expires_at: float


@dataclass(frozen=True, slots=True)
class Caller:
    """The account behind a request, and the project its credentials are scoped to, if any."""

    account: Account
    project: Project | None


def _refused(reason: str) -> ApiError:
    return gateway_error(401, "APIGW.0301", f"Incorrect IAM authentication information: {reason}")


class Authenticator:
    """Checks credentials against the accounts of the settings and the tokens handed out."""

    def __init__(self, settings: EmulatorSettings) -> None:
        self._settings = settings
        self._by_key = {account.access_key: account for account in settings.accounts}
        self.tokens: dict[str, Token] = {}
        self.temporary_keys: dict[str, TemporaryKey] = {}

    def identify(self, arrival: Arrival, now: float) -> Caller:
        """Return the caller; `now` is gateway time. 401 if nobody can be told."""
        headers = arrival.headers
        token = headers.get("x-auth-token")
        if token is not None:
            return self._of_token(token, now)
        claim = claim_of(headers.get("authorization", ""))
        if claim is None:
            raise _refused("x-auth-token not found")
        account, secret_key = self._owner(claim.access_key, headers.get("x-security-token"), now)
        self._check_date(headers.get("x-sdk-date", ""), now)
        if not matches(arrival, claim, secret_key):
            canonical = canonical_request(arrival, claim.names)
            raise _refused(
                "verify aksk signature fail, canonicalRequest:" + canonical.replace("\n", "|")
            )
        project_id = headers.get("x-project-id")
        return Caller(
            account, next((each for each in account.projects if each.id == project_id), None)
        )

    def _owner(
        self, access_key: str, security_token: str | None, now: float
    ) -> tuple[Account, str]:
        account = self._by_key.get(access_key)
        if account is not None:
            return account, account.secret_key
        temporary = self.temporary_keys.get(access_key)
        if temporary is None or temporary.security_token != security_token:
            raise _refused(f"Get secretKey failed,ak:{access_key},err:ak not exist")
        if temporary.expires_at <= now:
            raise _refused("security token expired")
        return temporary.account, temporary.secret_key

    def _of_token(self, token: str, now: float) -> Caller:
        known = self.tokens.get(token)
        if known is None:
            raise _refused("decrypt token fail")
        if known.expires_at <= now:
            moment = datetime.fromtimestamp(known.expires_at, UTC)
            raise _refused(f"token expires, expires_at: {moment:%Y-%m-%dT%H:%M:%S.%fZ}")
        return Caller(known.account, known.project)

    def _check_date(self, date: str, now: float) -> None:
        try:
            signed_at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        except ValueError:
            raise _refused("X-Sdk-Date is missing or malformed") from None
        if abs(signed_at - now) > self._settings.max_skew_s:
            message = "Incorrect app authentication information: the request date has expired"
            raise gateway_error(401, "APIGW.0303", message)

    def project(self, caller: Caller, project_id: str) -> Project:
        """Return the project of a path, or refuse a foreign one and one not of the token."""
        project = next((each for each in caller.account.projects if each.id == project_id), None)
        if project is None or caller.project not in {None, project}:
            raise gateway_error(
                403, "APIGW.0310", "The project is not available to these credentials"
            )
        return project

"""From a configuration to the snapshot that calls work with.

What holds state lives on from one snapshot to the next where the configuration says the same:
tokens of IAM, the cloud's clock, keys of issuers.
"""

import random
from collections.abc import Mapping
from dataclasses import replace

from gateway.clock import Clock
from gateway.config import Config
from gateway.regular_file import read_file
from gateway.tenants import Issuer, IssuerSettings, Project, Snapshot, Tenant, TenantDirectory
from gateway.tenants.keys import FetchedKeys, FileKeys
from gateway.upstream.account import Account
from gateway.upstream.auth import AccessKeyAuth, Authenticator
from gateway.upstream.breakers import Breakers
from gateway.upstream.credentials import AccessKey, IamUser
from gateway.upstream.http import Transport
from gateway.upstream.iam import TokenAuth
from gateway.upstream.meter import UpstreamMeter
from gateway.upstream.shares import Holder, Shares

_SERVICE = "cbr"


class Snapshots:
    """Makes snapshots.

    Those of one process share their transport. For IAM, who has a share of the connections is the
    IAM user.
    """

    def __init__(
        self,
        transport: Transport,
        shares: Shares,
        breakers: Breakers,
        clock: Clock,
        *,
        meter: UpstreamMeter | None = None,
    ) -> None:
        self._transport = transport
        self._shares = shares
        self._breakers = breakers
        self._clock = clock
        self._meter = meter
        self._authenticators: dict[tuple[AccessKey | IamUser, str], Authenticator] = {}
        self._keys: dict[str, FetchedKeys] = {}

    def build(self, config: Config, key_files: Mapping[str, FileKeys]) -> Snapshot:
        """The snapshot of a valid configuration, whose files were read before.

        Nothing is fetched yet.

        What no later snapshot uses is let go; calls that still use it keep it alive.
        """
        accounts = {
            key: account
            for tenant in config.tenants
            for key, account in self._accounts(config, tenant).items()
        }
        issuers = [
            Issuer(name, settings, key_files.get(name) or self._fetched(settings))
            for name, settings in config.issuers.items()
        ]
        used = {id(account.auth) for account in accounts.values()} | {
            id(issuer.keys) for issuer in issuers
        }
        self._authenticators = {
            key: auth for key, auth in self._authenticators.items() if id(auth) in used
        }
        self._keys = {url: keys for url, keys in self._keys.items() if id(keys) in used}
        return Snapshot(
            config.version,
            len(config.tenants),
            TenantDirectory(config.tenants, issuers, self._clock),
            accounts,
        )

    def token_ages(self) -> list[tuple[str, float]]:
        """IAM's address, and the age of each token in use there."""
        found = list(self._authenticators.values())
        return [age for auth in found if isinstance(auth, TokenAuth) for age in auth.token_ages()]

    async def aclose(self) -> None:
        """Ends what the last snapshot does in the background."""
        for auth in self._authenticators.values():
            await auth.aclose()
        for keys in self._keys.values():
            await keys.aclose()

    def _accounts(self, config: Config, tenant: Tenant) -> dict[str, Account]:
        """Those of one tenant, each knowing the others."""
        own = {project.key: self._account(config, tenant, project) for project in tenant.projects}
        return {
            key: replace(
                account, others=tuple(other for other in own.values() if other is not account)
            )
            for key, account in own.items()
        }

    def _account(self, config: Config, tenant: Tenant, project: Project) -> Account:
        """Projects that share a credential share its authenticator, as far as the region's IAM or
        way of signing is the same.
        """
        region = config.upstream.regions[project.region].region(project.region)
        credential = config.upstream.credentials[project.credential].credential()
        if isinstance(credential, AccessKey):
            where = f"{project.region}/{_SERVICE}" if region.flavor.signing == "scope" else ""
        else:
            where = region.iam_endpoint
        auth = self._authenticators.get((credential, where))
        if auth is None:
            auth = self._authenticator(credential, where)
            self._authenticators[credential, where] = auth
        shared = project.enterprise_project_id or ""
        return Account(
            project.id,
            region.endpoint,
            auth,
            shared,
            tenant.id,
            region=project.region,
            flavor=region.flavor,
        )

    def _authenticator(self, credential: AccessKey | IamUser, where: str) -> Authenticator:
        """`where`: what keys are derived for, or IAM's endpoint."""
        if isinstance(credential, AccessKey):
            return AccessKeyAuth(credential, self._clock, where)
        transport = self._shares.of(where, Holder(f"{credential.domain}/{credential.user}"))
        return TokenAuth(
            credential,
            where,
            transport,
            breakers=self._breakers,
            clock=self._clock,
            random=random.random,
            meter=self._meter,
        )

    def _fetched(self, settings: IssuerSettings) -> FetchedKeys:
        assert settings.jwks.url is not None
        keys = self._keys.get(settings.jwks.url)
        if keys is None:
            keys = FetchedKeys(settings.jwks.url, self._transport, self._clock)
            self._keys[settings.jwks.url] = keys
        return keys


def key_files(config: Config) -> dict[str, FileKeys]:
    """The keys of the issuers whose keys are in a file.

    Raises OSError or ValueError for a file that has just been changed.
    """
    files = {
        name: settings.jwks.file
        for name, settings in config.issuers.items()
        if settings.jwks.file is not None
    }
    return {name: FileKeys(read_file(path)) for name, path in files.items()}

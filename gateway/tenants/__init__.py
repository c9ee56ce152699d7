"""Tenants: whom the gateway serves, how callers prove who they are, and their projects."""

from gateway.tenants.authentication_error import AuthenticationError
from gateway.tenants.directory import Principal, TenantDirectory, key_hash, new_api_key
from gateway.tenants.grant import Grant
from gateway.tenants.identifiers import Identifier
from gateway.tenants.issuer import IssuerSettings
from gateway.tenants.seat import Seat
from gateway.tenants.snapshot import Current, Snapshot
from gateway.tenants.tenant import ApiKey, Project, Tenant
from gateway.tenants.token import Issuer

__all__ = [
    "ApiKey",
    "AuthenticationError",
    "Current",
    "Grant",
    "Identifier",
    "Issuer",
    "IssuerSettings",
    "Principal",
    "Project",
    "Seat",
    "Snapshot",
    "Tenant",
    "TenantDirectory",
    "key_hash",
    "new_api_key",
]

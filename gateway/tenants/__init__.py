"""Tenants: whom the gateway serves, with which projects and credentials."""

from gateway.tenants.directory import Principal, TenantDirectory, key_hash, new_api_key
from gateway.tenants.tenant import ApiKey, Project, Tenant

__all__ = ["ApiKey", "Principal", "Project", "Tenant", "TenantDirectory", "key_hash", "new_api_key"]

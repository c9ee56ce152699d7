"""Tenants: whom the gateway serves, with which projects and credentials."""

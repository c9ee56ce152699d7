"""Mistakes between parts of a configuration.

They are looked for in what was written, not in validated settings: a typo elsewhere must not hide them.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.config.problems import KeyPath, did_you_mean, path_text
from gateway.rpc.settings import ServerSettings

Found = Iterator[tuple[KeyPath, str]]


def cross_checks(data: Mapping[str, Any]) -> Found:
    """Every broken reference and every duplicate, as key path and sentence. Parts of the wrong shape are passed over: validation names those."""
    tenants = list(_entries(data.get("tenants"), ("tenants",)))
    upstream = _mapping(data.get("upstream"))
    projects = [pair for path, tenant in tenants for pair in _entries(tenant.get("projects"), (*path, "projects"))]
    yield from _listeners(_mapping(data.get("server")))
    yield from _unique(tenants, "id", "tenant")
    yield from _unique(projects, "id", "project", "A project belongs to one tenant only. Remove one of the two")
    for path, project in projects:
        yield from _references(path, project, upstream)
    for path, tenant in tenants:
        yield from _default_project(path, tenant)
        yield from _unique(list(_entries(tenant.get("api_keys"), (*path, "api_keys"))), "id", "key")
    keys = [pair for path, tenant in tenants for pair in _entries(tenant.get("api_keys"), (*path, "api_keys"))]
    yield from _unique(keys, "sha256", "key", "One key must not open two tenants. Make another with `cbr-gateway keys new`")


def _listeners(server: Mapping[str, Any]) -> Found:
    listen, health = (server.get(key, ServerSettings.model_fields[key].default) for key in ("listen", "health_listen"))
    if listen == health and not str(listen).endswith(":0"):
        yield ("server", "health_listen"), "is the same address as server.listen. Health answers on a port of its own: change one of the two"


def _references(path: KeyPath, project: Mapping[str, Any], upstream: Mapping[str, Any]) -> Found:
    for key, part in (("region", "regions"), ("credential", "credentials")):
        known, wanted = upstream.get(part), project.get(key)
        if isinstance(known, dict) and isinstance(wanted, str) and wanted not in known:
            yield (*path, key), f"{wanted!r} is not under upstream.{part}. {did_you_mean(wanted, known, 'Known there')}"
    name = str(project.get("region"))
    region = _mapping(_mapping(upstream.get("regions")).get(name))
    credential = _mapping(_mapping(upstream.get("credentials")).get(str(project.get("credential"))))
    if region and credential.get("kind") == "password" and region.get("iam_endpoint") is None:
        need = f"Set upstream.regions.{name}.iam_endpoint"
        yield (*path, "credential"), f"is a password credential, and region {name} has no IAM endpoint to fetch tokens from. {need}"


def _default_project(path: KeyPath, tenant: Mapping[str, Any]) -> Found:
    wanted = tenant.get("default_project")
    known = [project.get("id") for _, project in _entries(tenant.get("projects"), ())]
    if isinstance(wanted, str) and known and wanted not in known:
        texts = [project for project in known if isinstance(project, str)]
        yield (*path, "default_project"), f"{wanted!r} is not one of the tenant's projects. {did_you_mean(wanted, texts, 'Its projects')}"


def _unique(entries: list[tuple[KeyPath, Mapping[str, Any]]], key: str, what: str, advice: str = "Give it another one") -> Found:
    first: dict[str, KeyPath] = {}
    for path, entry in entries:
        value = entry.get(key)
        if isinstance(value, str) and first.setdefault(value, path) != path:
            yield (*path, key), f"is also the {key} of {what} {path_text(first[value])}. {advice}"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _entries(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    for index, entry in enumerate(value if isinstance(value, list) else []):
        if isinstance(entry, dict):
            yield (*path, index), entry

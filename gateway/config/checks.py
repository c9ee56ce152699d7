"""Mistakes between parts of a configuration.

They are looked for in what was written, not in validated settings: a typo elsewhere must not hide them.
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.config.callers import caller_checks
from gateway.config.problems import KeyPath, did_you_mean
from gateway.config.tree import Found, entries, mapping, unique, values_of
from gateway.rpc.settings import ServerSettings

_OWN: Final = {"tenant": "this tenant", "project": "one of the tenant's projects", "principal": "one of the tenant's callers"}


def cross_checks(data: Mapping[str, Any]) -> Found:
    """Every broken reference and every duplicate, as key path and sentence. Parts of the wrong shape are passed over: validation names those."""
    tenants = list(entries(data.get("tenants"), ("tenants",)))
    upstream = mapping(data.get("upstream"))
    projects = [pair for path, tenant in tenants for pair in entries(tenant.get("projects"), (*path, "projects"))]
    yield from _listeners(mapping(data.get("server")))
    yield from unique([(("issuers", name, "issuer"), mapping(each).get("issuer")) for name, each in mapping(data.get("issuers")).items()], "issuer")
    yield from unique(values_of(tenants, "id"), "tenant")
    yield from unique(values_of(projects, "id"), "project", "A project belongs to one tenant only. Remove one of the two")
    for path, project in projects:
        yield from _references(path, project, upstream)
        if project.get("enterprise_project_id") is not None:
            text = "is not supported yet: nothing would keep the calls inside it. Leave it out, and give the tenant a project of its own"
            yield (*path, "enterprise_project_id"), text
    for path, tenant in tenants:
        yield from _default_project(path, tenant)
        yield from _subjects(path, tenant)
    yield from caller_checks(tenants, data)


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
    region = mapping(mapping(upstream.get("regions")).get(name))
    credential = mapping(mapping(upstream.get("credentials")).get(str(project.get("credential"))))
    if region and credential.get("kind") == "password" and region.get("iam_endpoint") is None:
        need = f"Set upstream.regions.{name}.iam_endpoint"
        yield (*path, "credential"), f"is a password credential, and region {name} has no IAM endpoint to fetch tokens from. {need}"


def _default_project(path: KeyPath, tenant: Mapping[str, Any]) -> Found:
    wanted = tenant.get("default_project")
    known = [project.get("id") for _, project in entries(tenant.get("projects"), ())]
    if isinstance(wanted, str) and known and wanted not in known:
        texts = [project for project in known if isinstance(project, str)]
        yield (*path, "default_project"), f"{wanted!r} is not one of the tenant's projects. {did_you_mean(wanted, texts, 'Its projects')}"


def _subjects(path: KeyPath, tenant: Mapping[str, Any]) -> Found:
    """A tenant's limit must not be for anybody else."""
    callers = [name for key in ("api_keys", "principals") for _, name in values_of(list(entries(tenant.get(key), ())), "id")]
    own: Mapping[str, list[object]] = {
        "tenant": [tenant.get("id")],
        "project": [project.get("id") for _, project in entries(tenant.get("projects"), ())],
        "principal": [f"{tenant.get('id')}/{name}" for name in callers],
    }
    for place, limit in entries(tenant.get("limits"), (*path, "limits")):
        subject, level = limit.get("subject", ""), limit.get("level", "tenant")
        if subject and isinstance(subject, str) and isinstance(level, str) and subject not in own.get(level, [subject]):
            texts = [name for name in own[level] if isinstance(name, str)]
            yield (*place, "subject"), f"{subject!r} is not {_OWN[level]}. {did_you_mean(subject, texts, 'Its own')}"

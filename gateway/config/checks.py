"""Mistakes between parts of a configuration.

They are looked for in what was written, not in validated settings: a typo elsewhere must not hide
them.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from gateway.admin.settings import AdminSettings
from gateway.config.callers import caller_checks
from gateway.config.problems import KeyPath, did_you_mean, path_text
from gateway.config.sinks import sink_checks
from gateway.config.tree import Entry, Found, entries, mapping, unique, values_of
from gateway.http.settings import HttpSettings
from gateway.metrics.settings import MetricsSettings
from gateway.rpc.settings import ServerSettings

_REGION_ID: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_EVERY: Final = frozenset({"0.0.0.0", "[::]"})  # noqa: S104 - compared only
_OWN: Final = {
    "tenant": "this tenant",
    "project": "one of the tenant's projects",
    "principal": "one of the tenant's callers",
}
_ALONE: Final = {
    ("audit", "stdout"): (
        "several processes would write to one output. Give audit.directory, which they share"
    ),
}
"""What cannot be had with several workers, and why."""


def cross_checks(data: Mapping[str, Any]) -> Found:
    """Every broken reference and every duplicate, as key path and sentence.

    Parts of the wrong shape are passed over: validation names those.
    """
    tenants = list(entries(data.get("tenants"), ("tenants",)))
    upstream = mapping(data.get("upstream"))
    projects = [
        pair
        for path, tenant in tenants
        for pair in entries(tenant.get("projects"), (*path, "projects"))
    ]
    yield from _listeners(data)
    yield from _of_one_process(data)
    yield from unique(
        [
            (("issuers", name, "issuer"), mapping(each).get("issuer"))
            for name, each in mapping(data.get("issuers")).items()
        ],
        "issuer",
    )
    yield from unique(values_of(tenants, "id"), "tenant")
    yield from _shared(projects)
    yield from _regions(mapping(upstream.get("regions")))
    for path, project in projects:
        yield from _references(path, project, upstream)
    for path, tenant in tenants:
        yield from unique(
            values_of(list(entries(tenant.get("projects"), (*path, "projects"))), "id"),
            "project",
            "Remove one of the two",
        )
        yield from _default_project(path, tenant)
        yield from _subjects(path, tenant)
        yield from _limits_once((*path, "limits"), tenant)
    yield from _limits_once(("limits",), data)
    yield from _general_subjects(data, tenants, upstream)
    yield from _labels(mapping(data.get("metrics")), tenants)
    yield from sink_checks(data, tenants)
    yield from caller_checks(tenants, data)


def _limits_once(path: KeyPath, holder: Mapping[str, Any]) -> Found:
    """Of two entries for the same limit one would be ignored without a word."""
    first: dict[tuple[str, ...], KeyPath] = {}
    for here, limit in entries(holder.get("limits"), path):
        what = tuple(
            str(limit.get(key) or "")
            for key in ("metric", "level", "subject", "method_class", "shadow")
        )
        if first.setdefault(what, here) != here:
            yield (
                here,
                (
                    f"is the same limit as {path_text(first[what])}: metric, level, subject and"
                    " method_class are equal. Remove one of the two"
                ),
            )


def _listeners(data: Mapping[str, Any]) -> Found:
    """Addresses that cannot be listened on together."""
    server, admin, http = (mapping(data.get(part)) for part in ("server", "admin", "http"))
    wanted: tuple[tuple[KeyPath, object, str], ...] = (
        (("server", "listen"), _of(server, ServerSettings, "listen"), ""),
        (("server", "health_listen"), _of(server, ServerSettings, "health_listen"), "Health"),
        (("admin", "listen"), _of(admin, AdminSettings, "listen"), "The admin port"),
        (("http", "listen"), _of(http, HttpSettings, "listen"), "The HTTP listener"),
    )
    for i, (path, address, what) in enumerate(wanted):
        for other, taken, _ in wanted[:i]:
            if _collide(address, taken):
                same = "is the same address as" if address == taken else "is taken by"
                yield (
                    path,
                    (
                        f"{same} {path_text(other)}. {what} answers on a port of its own: change"
                        " one of the two"
                    ),
                )
                break


def _of_one_process(data: Mapping[str, Any]) -> Found:
    if str(mapping(data.get("server")).get("workers", 1)) == "1":
        return
    for (section, key), why in _ALONE.items():
        if mapping(data.get(section)).get(key) is True:
            yield (section, key), f"cannot be used with server.workers: {why}"


def _of(section: Mapping[str, Any], settings: type[BaseModel], key: str) -> object:
    return section.get(key, settings.model_fields[key].default)


def _collide(one: object, other: object) -> bool:
    """Whether two addresses are the same, or one of them is every address of the machine."""
    if not (isinstance(one, str) and isinstance(other, str)):
        return False
    (host, _, port), (other_host, _, other_port) = one.rpartition(":"), other.rpartition(":")
    same = host == other_host or not _EVERY.isdisjoint((host, other_host))
    return same and port == other_port != "0"


def _labels(metrics: Mapping[str, Any], tenants: list[Entry]) -> Found:
    """Tenants that are to have a label of their own."""
    wanted = metrics.get("tenants")
    if not isinstance(wanted, (list, tuple)):
        return
    names = [str(name) for _, name in values_of(tenants, "id")]
    for i, name in enumerate(wanted):
        if isinstance(name, str) and name not in names:
            text = f"{name!r} is not a tenant. {did_you_mean(name, names, 'Tenants')}"
            yield ("metrics", "tenants", i), text
        if name in wanted[:i]:
            yield ("metrics", "tenants", i), f"{name!r} stands there twice. Remove one of the two"
    most = metrics.get("max_tenants", MetricsSettings.model_fields["max_tenants"].default)
    if isinstance(most, int) and len(wanted) > most:
        text = (
            f"names {len(wanted)} tenants, and metrics.max_tenants allows labels for {most}. Raise"
            " it, up to 1000, or name fewer"
        )
        yield ("metrics", "tenants"), text


def _shared(projects: list[Entry]) -> Found:
    """Projects that two tenants have: each needs a part of its own, and not the same."""
    by_id: dict[object, list[Entry]] = {}
    for path, project in projects:
        if isinstance(project.get("id"), str):
            by_id.setdefault(project["id"], []).append((path, project))
    for of_tenants in by_id.values():
        if len({path[:2] for path, _ in of_tenants}) == 1:
            continue
        for path, project in of_tenants:
            if project.get("enterprise_project_id") is None:
                text = (
                    "is a project of another tenant, too. Tenants that share a project need an"
                    " enterprise_project_id each"
                )
                yield (*path, "id"), text
        parts = values_of(of_tenants, "enterprise_project_id")
        yield from unique(
            parts,
            "project",
            "Tenants that share a project need a part of it each. Give it another one",
        )


def _regions(regions: Mapping[str, Any]) -> Found:
    """Addresses of a cloud's own are made with the region's id."""
    for name, region in regions.items():
        if mapping(region).get("endpoint") is None and not _REGION_ID.fullmatch(str(name)):
            yield (
                ("upstream", "regions", name),
                (
                    "has no endpoint and is no region's id, such as cn-north-4, of which its"
                    " cloud's could be made. Set endpoint"
                ),
            )


def _project_key(project: Mapping[str, Any]) -> str:
    """As `Project.key`, of what was written."""
    part = project.get("enterprise_project_id")
    return f"{project.get('id')}/{part}" if part else f"{project.get('id')}"


def _references(path: KeyPath, project: Mapping[str, Any], upstream: Mapping[str, Any]) -> Found:
    for key, part in (("region", "regions"), ("credential", "credentials")):
        known, wanted = upstream.get(part), project.get(key)
        if isinstance(known, dict) and isinstance(wanted, str) and wanted not in known:
            yield (
                (*path, key),
                (
                    f"{wanted!r} is not under upstream.{part}."
                    f" {did_you_mean(wanted, known, 'Known there')}"
                ),
            )
    name = str(project.get("region"))
    region = mapping(mapping(upstream.get("regions")).get(name))
    credential = mapping(mapping(upstream.get("credentials")).get(str(project.get("credential"))))
    own = region.get("endpoint") is None
    if (
        region
        and credential.get("kind") == "password"
        and region.get("iam_endpoint") is None
        and not own
    ):
        need = f"Set upstream.regions.{name}.iam_endpoint"
        yield (
            (*path, "credential"),
            (
                f"is a password credential, and region {name} has no IAM endpoint to fetch tokens"
                f" from. {need}"
            ),
        )


def _default_project(path: KeyPath, tenant: Mapping[str, Any]) -> Found:
    wanted = tenant.get("default_project")
    known = [project.get("id") for _, project in entries(tenant.get("projects"), ())]
    if isinstance(wanted, str) and known and wanted not in known:
        texts = [project for project in known if isinstance(project, str)]
        yield (
            (*path, "default_project"),
            (
                f"{wanted!r} is not one of the tenant's projects."
                f" {did_you_mean(wanted, texts, 'Its projects')}"
            ),
        )


def _general_subjects(
    data: Mapping[str, Any], tenants: list[Entry], upstream: Mapping[str, Any]
) -> Found:
    """A limit for nobody holds nobody."""
    own = [_own_subjects(tenant) for _, tenant in tenants]
    known: dict[str, list[object]] = {
        level: [name for each in own for name in each[level]] for level in _OWN
    }
    known["account"] = list(mapping(upstream.get("credentials")))
    words = {"account": "credential", "tenant": "tenant", "project": "project of a tenant"}
    for place, limit in entries(data.get("limits"), ("limits",)):
        subject, level = limit.get("subject", ""), limit.get("level", "tenant")
        if not (isinstance(subject, str) and isinstance(level, str) and subject):
            continue
        if subject not in known.get(level, [subject]):
            texts = [name for name in known[level] if isinstance(name, str)]
            what = words.get(level, "caller of a tenant, as tenant/name")
            yield (
                (*place, "subject"),
                f"{subject!r} is no {what}. {did_you_mean(subject, texts, 'Known')}",
            )


def _own_subjects(tenant: Mapping[str, Any]) -> Mapping[str, list[object]]:
    """Level -> what a limit of it can be for, within the tenant."""
    callers = [
        name
        for key in ("api_keys", "principals")
        for _, name in values_of(list(entries(tenant.get(key), ())), "id")
    ]
    return {
        "tenant": [tenant.get("id")],
        "project": [_project_key(project) for _, project in entries(tenant.get("projects"), ())],
        "principal": [f"{tenant.get('id')}/{name}" for name in callers],
    }


def _subjects(path: KeyPath, tenant: Mapping[str, Any]) -> Found:
    """A tenant's limit must not be for anybody else."""
    own = _own_subjects(tenant)
    for place, limit in entries(tenant.get("limits"), (*path, "limits")):
        subject, level = limit.get("subject", ""), limit.get("level", "tenant")
        if (
            subject
            and isinstance(subject, str)
            and isinstance(level, str)
            and subject not in own.get(level, [subject])
        ):
            texts = [name for name in own[level] if isinstance(name, str)]
            yield (
                (*place, "subject"),
                f"{subject!r} is not {_OWN[level]}. {did_you_mean(subject, texts, 'Its own')}",
            )

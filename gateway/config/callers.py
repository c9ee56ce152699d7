"""Mistakes in how callers are recognised: what leads to nobody, to two, or can never be shown."""

from collections.abc import Mapping
from typing import Any

from gateway.config.problems import did_you_mean
from gateway.config.tree import Entry, Found, entries, mapping, unique, values_of
from gateway.tenants.grant import whole_kind
from gateway.upstream.catalog import own_services
from gateway.upstream.declaration import upstream_option

_ADVICE = "What a caller shows must mean one principal. Remove one of the two"


def caller_checks(tenants: list[Entry], data: Mapping[str, Any]) -> Found:
    """For all tenants at once, since what a caller shows must lead to one principal."""
    keys = {
        path: list(entries(tenant.get("api_keys"), (*path, "api_keys"))) for path, tenant in tenants
    }
    callers = {
        path: list(entries(tenant.get("principals"), (*path, "principals")))
        for path, tenant in tenants
    }
    principals = [entry for own in callers.values() for entry in own]
    for path, _ in tenants:
        yield from unique(values_of([*keys[path], *callers[path]], "id"), "caller")
    hashes = [pair for own in keys.values() for pair in values_of(own, "sha256")] + values_of(
        principals, "api_key"
    )
    yield from unique(
        hashes, "key", "One key must not open two tenants. Make another with `cbr-gateway keys new`"
    )
    for kind in ("spiffe", "dns_san"):
        yield from unique(values_of(principals, kind), "principal", _ADVICE)
    tokens = [((*path, "jwt"), _who(mapping(entry.get("jwt")))) for path, entry in principals]
    yield from unique(tokens, "principal", _ADVICE)
    yield from _issuers(principals, mapping(data.get("issuers")))
    yield from _certificates(principals, mapping(data.get("server")))
    yield from _permissions(principals)


def _who(jwt: Mapping[str, Any]) -> str | None:
    return f"{jwt.get('issuer')} {jwt.get('subject')}" if jwt else None


def _issuers(principals: list[Entry], issuers: Mapping[str, Any]) -> Found:
    for path, entry in principals:
        wanted = mapping(entry.get("jwt")).get("issuer")
        if isinstance(wanted, str) and wanted not in issuers:
            yield (
                (*path, "jwt", "issuer"),
                f"{wanted!r} is not under issuers. {did_you_mean(wanted, issuers, 'Known there')}",
            )


def _certificates(principals: list[Entry], server: Mapping[str, Any]) -> Found:
    if mapping(server.get("tls")).get("client_ca_file") is not None:
        return
    for path, entry in principals:
        for kind in ("spiffe", "dns_san"):
            if entry.get(kind) is not None:
                yield (
                    (*path, kind),
                    (
                        "is looked for in client certificates, and the server asks for none. Set"
                        " server.tls.client_ca_file"
                    ),
                )


def _permissions(principals: list[Entry]) -> Found:
    listed = [
        ((*path, "permissions", index), value)
        for path, entry in principals
        for index, value in _texts(entry.get("permissions"))
    ]
    if not listed:
        return
    declared = {
        option.permission
        for service in own_services()
        for method in service.methods
        if (option := upstream_option(method))
    }
    known = declared | {whole_kind(permission) for permission in declared}
    for path, value in listed:
        if value not in known:
            yield (
                path,
                (
                    f"{value!r} is not an action of any RPC."
                    f" {did_you_mean(value, known, 'Known actions')}"
                ),
            )


def _texts(value: object) -> list[tuple[int, str]]:
    return [
        (index, item)
        for index, item in enumerate(value if isinstance(value, list) else [])
        if isinstance(item, str)
    ]

"""Mistakes in the sinks of events."""

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from gateway.config.problems import KeyPath, did_you_mean
from gateway.config.tree import Entry, Found, entries, mapping, unique, values_of
from gateway.events.addresses import refused


def sink_checks(data: Mapping[str, Any], tenants: list[Entry]) -> Found:
    events = mapping(data.get("events"))
    sinks = list(entries(events.get("sinks"), ("events", "sinks")))
    yield from unique(values_of(sinks, "name"), "sink")
    yield from unique(values_of(sinks, "url"), "sink", "Give one of the two all the filters")
    names = [str(name) for _, name in values_of(tenants, "id")]
    for path, sink in sinks:
        if isinstance(sink.get("url"), str):
            yield from _address((*path, "url"), sink["url"], events)
        wanted = sink.get("tenants")
        for i, name in enumerate(wanted if isinstance(wanted, list) else ()):
            if isinstance(name, str) and name not in names:
                text = f"{name!r} is not a tenant. {did_you_mean(name, names, 'Tenants')}"
                yield (*path, "tenants", i), text


def _address(path: KeyPath, url: str, events: Mapping[str, Any]) -> Found:
    how = "Write it as https://host.example.com/path"
    try:
        where = urlsplit(url)
        _ = where.port
    except ValueError:
        yield path, f"is no address of a webhook. {how}"
        return
    plain = url.isascii() and url.isprintable() and " " not in url
    if where.scheme not in {"http", "https"} or not where.hostname or not plain:
        yield path, f"is no address of a webhook. {how}"
    elif where.username or where.password or where.fragment:
        yield path, f"must have neither a user nor a fragment. {how}"
    elif where.scheme == "http" and events.get("allow_http") is not True:
        yield path, "is not https. Events must not travel in plain text; begin it with https://"
    elif not _may_go_to(where.hostname, events.get("allowed_networks")):
        yield (
            path,
            (
                "has an address that is not public. Name its network in events.allowed_networks, if"
                " events are to go there"
            ),
        )


def _may_go_to(host: str, allowed: object) -> bool:
    """Whether a host that is written as an address may get events; names are resolved later."""
    try:
        address = ipaddress.ip_address(host)
        networks = [
            ipaddress.ip_network(each) for each in (allowed if isinstance(allowed, list) else ())
        ]
    except ValueError:
        return True
    return not refused(address, networks)

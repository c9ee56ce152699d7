"""Mistakes in the sinks of events."""

import ipaddress
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.config.problems import KeyPath, did_you_mean
from gateway.config.tree import Entry, Found, entries, mapping, unique, values_of
from gateway.events.addresses import Address, refused
from gateway.events.filters import never_met

_LOOPBACK: Final = (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))
_THIS_MACHINE: Final = frozenset({"localhost", "localhost4", "localhost6", "ip6-localhost"})
"""Names that systems give it. Those below the first one are its own, too."""


def sink_checks(data: Mapping[str, Any], tenants: list[Entry]) -> Found:
    events = mapping(data.get("events"))
    sinks = list(entries(events.get("sinks"), ("events", "sinks")))
    yield from unique(values_of(sinks, "name"), "sink")
    yield from unique(values_of(sinks, "url"), "sink", "Give one of the two all the filters")
    names = [str(name) for _, name in values_of(tenants, "id")]
    for path, sink in sinks:
        if isinstance(sink.get("url"), str):
            yield from _address((*path, "url"), sink["url"], events)
        for i, name in enumerate(_texts(sink, "tenants")):
            if name and name not in names:
                text = f"{name!r} is not a tenant. {did_you_mean(name, names, 'Tenants')}"
                yield (*path, "tenants", i), text
        yield from _never_met(path, sink)


def _never_met(path: KeyPath, sink: Mapping[str, Any]) -> Found:
    for key, i, text in never_met(_texts(sink, "types"), _texts(sink, "outcomes")):
        yield (*path, key, i), text


def _texts(sink: Mapping[str, Any], key: str) -> list[str]:
    """Each at its place; what is no text is empty, and refused elsewhere."""
    wanted = sink.get(key)
    return [
        each if isinstance(each, str) else ""
        for each in (wanted if isinstance(wanted, list) else ())
    ]


def _address(path: KeyPath, url: str, events: Mapping[str, Any]) -> Found:
    how = "Write it as https://host.example.com/path"
    try:
        where = urlsplit(url)
        port = where.port
        reached = _reached(where.hostname or "")
    except ValueError:
        yield path, f"is no address of a webhook. {how}"
        return
    plain = url.isascii() and url.isprintable() and " " not in url
    if where.scheme not in {"http", "https"} or not where.hostname or not plain:
        yield path, f"is no address of a webhook. {how}"
    elif port == 0:
        yield path, f"has port 0, at which nothing listens. {how}, or with the receiver's port"
    elif where.username or where.password or where.fragment:
        yield path, f"must have neither a user nor a fragment. {how}"
    elif where.scheme == "http" and events.get("allow_http") is not True:
        yield path, "is not https. Events must not travel in plain text; begin it with https://"
    elif not _may_go_to(reached, events.get("allowed_networks")):
        yield (
            path,
            (
                f"leads to {reached[0]}, an address that is not public. Name its network in"
                " events.allowed_networks, if events are to go there"
            ),
        )


def _reached(host: str) -> Sequence[Address]:
    """The addresses that a host stands for without anybody being asked: an address in any form that
    the resolver takes (`127.1`, `0x7f000001`), or a name of this machine. Other names are resolved
    when events go there.

    Raises ValueError for what cannot be a name.
    """
    name = host.removesuffix(".").removesuffix(".localdomain")
    if name in _THIS_MACHINE or name.endswith(".localhost"):
        return _LOOPBACK
    try:
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except OSError:
        return ()
    return [ipaddress.ip_address(str(where[0]).partition("%")[0]) for *_, where in found]


def _may_go_to(reached: Sequence[Address], allowed: object) -> bool:
    """Whether one of the addresses may get events, as far as they are known."""
    try:
        networks = [
            ipaddress.ip_network(each) for each in (allowed if isinstance(allowed, list) else ())
        ]
    except ValueError:
        return True
    return not reached or not all(refused(address, networks) for address in reached)

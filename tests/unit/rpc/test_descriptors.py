"""Connections of callers leave descriptors for the cloud, the store and the audit log."""

import resource

import pytest
from structlog.testing import capture_logs

from gateway.rpc.descriptors import connections


@pytest.mark.parametrize(
    ("limit", "wanted", "upstream", "taken"),
    [
        (1024, 1000, 100, 796),
        (1228, 1000, 100, 1000),
        (1227, 1000, 100, 999),
        (200, 1000, 100, 1),
        (resource.RLIM_INFINITY, 1000, 100, 1000),
    ],
)
def test_fewer_are_taken_where_the_limit_is_low(monkeypatch, limit, wanted, upstream, taken):
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (limit, limit))
    with capture_logs() as lines:
        assert connections(wanted, upstream) == taken
    assert [(line["limit"], line["needed"], line["max_connections"]) for line in lines] == (
        [] if taken == wanted else [(limit, wanted + upstream + 128, taken)]
    )

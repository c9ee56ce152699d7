"""Which addresses a webhook may go to, however they are written."""

import ipaddress

import httpcore
import pytest

from gateway.events.addresses import AddressRefusedError, refused
from gateway.events.checked_backend import CheckedBackend

_NOT_PUBLIC = (
    "127.0.0.1",
    "127.8.8.8",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fc00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
)


@pytest.mark.parametrize("text", _NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused(text):
    assert refused(ipaddress.ip_address(text), ())


@pytest.mark.parametrize("text", ["8.8.8.8", "2600:1901::1", "::ffff:8.8.8.8"])
def test_a_public_address_is_not_refused(text):
    assert not refused(ipaddress.ip_address(text), ())


def test_a_network_that_is_allowed_lets_in_its_own_addresses_only():
    allowed = [ipaddress.ip_network("10.0.0.0/8")]
    assert not refused(ipaddress.ip_address("10.1.2.3"), allowed)
    assert not refused(ipaddress.ip_address("::ffff:10.1.2.3"), allowed)
    assert refused(ipaddress.ip_address("127.0.0.1"), allowed)
    assert refused(ipaddress.ip_address("169.254.169.254"), allowed)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001"])
async def test_a_name_is_refused_before_anything_is_connected(host):
    backend = CheckedBackend(())
    with pytest.raises(AddressRefusedError):
        await backend.connect_tcp(host, 1)


async def test_an_allowed_address_is_connected_to():
    backend = CheckedBackend([ipaddress.ip_network("127.0.0.0/8")])
    with pytest.raises(httpcore.ConnectError):
        await backend.connect_tcp("127.0.0.1", 1)

"""What is accepted as the address of a shared store, and what is said of others."""

import pytest
from pydantic import ValidationError
from redis.asyncio.connection import parse_url

from gateway.secret import Secret
from gateway.state import StoreSettings
from gateway.state.address import Through, parsed


def test_forms_of_an_address_lead_to_the_server_and_to_those_who_know_it():
    one = parsed("valkeys://user:word@host:1/2?ssl_ca_certs=/ca")
    assert one.primary.reveal() == "rediss://user:word@host:1/2?ssl_ca_certs=%2Fca"
    assert one.through is Through.NOBODY
    watched = parsed(
        "valkeys+sentinel://user:w%40rd@a,[::1]:7,c:8/main/2"
        "?ssl_ca_certs=/ca&sentinel_username=u&sentinel_password=p%26"
    )
    assert watched.primary.reveal() == "rediss://user:w%40rd@a:26379/2?ssl_ca_certs=%2Fca"
    assert [each.reveal() for each in watched.asked] == [
        f"rediss://u:p%26@{host}/?ssl_ca_certs=%2Fca" for host in ("a:26379", "[::1]:7", "c:8")
    ]
    assert watched.name == "main"
    here = parsed("unix://user:word@/run/a b.sock?db=3")
    assert here.primary.reveal() == "unix://user:word@/run/a%20b.sock?db=3"
    assert parsed("valkey://[::1]").primary.reveal() == "redis://[::1]:6379/0"
    nodes = parsed("redis+cluster://:word@a,b:7")
    assert [each.reveal() for each in nodes.asked] == [
        "redis://:word@a:6379/",
        "redis://:word@b:7/",
    ]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://canary", "of one of these forms"),
        ("valkey+proxy://canary", "of one of these forms"),
        ("valkey+sentinel://canary:1", "names, after the sentinels, the set"),
        ("valkey+sentinel://canary:1/a b", "names, after the sentinels, the set"),
        ("valkey+sentinel://canary:65536/main", "ports are from 1 to 65535"),
        ("valkey+sentinel://canary:0/main", "ports are from 1 to 65535"),
        ("valkey+sentinel://canary,,b/main", "written HOST:PORT and separated by commas"),
        ("valkey+sentinel://u:can/ary@b/main", "/ as %2F"),
        ("valkey+cluster://canary/1", "without a path for a cluster"),
        ("valkey+cluster://", "written HOST:PORT"),
        ("valkey+cluster://a?ssl_ca_certs=canary", "Without TLS it takes none"),
        ("valkeys+cluster://a?sentinel_password=canary", "Each of these may be given once: ssl_"),
        ("valkey+sentinel://a/m?retry_on_timeout=canary", "sentinel_password, sentinel_username"),
        ("valkey://", "written HOST:PORT"),
        ("valkey://:canary@", "written HOST:PORT"),
        ("valkey:///2", "written HOST:PORT"),
        ("valkey://:canary@:6379", "written HOST:PORT"),
        ("valkey:/canary:6379", "of one of these forms"),
        ("valkye://canary:6379", "of one of these forms"),
        ("canary:6379", "of one of these forms"),
        ("valkey://canary:six", "written HOST:PORT"),
        ("valkey://canary:0", "ports are from 1 to 65535"),
        ("valkey://canary:65536", "ports are from 1 to 65535"),
        ("valkey://canary/two", "the number of a database"),
        ("valkey://canary/1/2", "the number of a database"),
        ("valkey://canary?db=two", "parameter db is not the number of a database"),
        ("valkey://u:can@ry@b", "write @ as %40"),
        ("valkey://u:can/ry@b", "/ as %2F"),
        ("valkey://u:can?ry@b", "? as %3F"),
        ("valkey://canary,b", "if it names several hosts"),
        ("valkey://a?socket_timeout=canary", "client_name, db, password, username"),
        ("valkeys://a?ssl_cert_reqs=canary", "none, optional or required"),
        ("valkeys://a?ssl_check_hostname=canary", "true or false"),
        ("valkeys://a?ssl_min_version=canary", "771 (TLS 1.2)"),
        ("valkeys://a?ssl_ciphers=canary", "ssl_ciphers cannot be used"),
        ("valkeys://a?ssl_ca_certs=/nowhere/canary", "ssl_ca_certs cannot be read: No such file"),
        ("valkeys+cluster://a?ssl_certfile=/nowhere/canary", "ssl_keyfile cannot be read"),
        ("unix://canary.sock", "of one of these forms"),
        ("unix:///run/canary.sock?db=two", "the number of a database"),
        ("valkeys+cluster://a?ssl_ciphers=a&ssl_ciphers=canary", "may be given once"),
    ],
)
def test_another_address_is_refused_with_its_mistake_and_not_shown(url, told):
    with pytest.raises(ValidationError) as refused:
        StoreSettings(kind="valkey", url=Secret(url))
    assert told in str(refused.value)
    assert "canary" not in str(refused.value)
    assert "canary" not in repr(parsed("valkey+cluster://u:canary@a"))


@pytest.mark.parametrize("password", ["p#ss", "p%ss", "[p]ss", "p:ss", "p+s&s", "pässword", "p ss"])
def test_a_password_means_itself_whatever_stands_in_it(password):
    primary = parsed(f"valkey://user:{password}@host:7").primary
    found = parse_url(primary.reveal())
    assert (found["password"], found["username"]) == (password, "user")
    assert (found["host"], found["port"], found["db"]) == ("host", 7, 0)


def test_an_address_that_stands_as_the_path_is_told():
    with pytest.raises(ValidationError, match="has the address of a Valkey as its path"):
        StoreSettings(path="valkey+sentinel://a/main")


def test_copies_are_waited_for_where_there_is_somebody_to_fail_over_to():
    def copies(url: str, **more):
        return StoreSettings(kind="valkey", url=Secret(url), **more).replica_copies

    assert copies("valkey://a") == 0
    assert copies("valkey+sentinel://a/main") == copies("valkey+cluster://a") == 1
    assert copies("valkey+cluster://a", copies=0) == 0
    assert copies("valkey://a", copies=2) == 2

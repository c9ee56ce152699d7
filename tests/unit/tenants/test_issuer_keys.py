"""An issuer's keys over time, fetched from a real HTTP server by the real transports."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.jwk import ECKey, OctKey, RSAKey

from gateway.tenants.jwks import KeySetError, read_keys
from gateway.tenants.keys import FetchedKeys, KeysUnavailable
from gateway.upstream.http import TransportSettings
from gateway.upstream.transport import open_transport
from testkit.identities import b64, key_set
from tests.fakes import SteppedClock

FIRST, SECOND = (
    ECKey.generate_key("P-256", {"kid": "first"}),
    ECKey.generate_key("P-256", {"kid": "second"}),
)
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})


@dataclass
class KeyServer:
    """Serves a key set, or whatever a test puts in its place; counts how often it is asked."""

    body: bytes = b""
    status: str = "200 OK"
    headers: str = ""
    delay_s: float = 0
    asked: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/keys"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.asked.append(head.split(b"\r\n")[0].decode())
            await asyncio.sleep(self.delay_s)
            lines = (
                f"HTTP/1.1 {self.status}\r\nContent-Length: {len(self.body)}\r\nConnection:"
                f" close\r\n{self.headers}\r\n"
            )
            writer.write(lines.encode() + self.body)
            await writer.drain()
        writer.close()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["KeyServer"]:
        server = await asyncio.start_server(self.answer, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()


@pytest.fixture(params=["httpx", "httptools"])
async def transport(request):
    known = open_transport(TransportSettings(transport=request.param))
    yield known
    await known.aclose()


def kids(found):
    return [key.kid for key in found]


async def test_keys_are_fetched_once_for_all_who_wait(transport):
    async with KeyServer(key_set(FIRST), delay_s=0.05).running() as server:
        keys = FetchedKeys(server.url, transport, SteppedClock())
        found = await asyncio.gather(*(keys.find("first", "ES256") for _ in range(200)))
        assert all(kids(each) == ["first"] for each in found)
        assert server.asked == ["GET /keys HTTP/1.1"]


async def test_a_new_key_is_found_and_unknown_ones_cost_one_fetch_in_30_s(transport):
    clock = SteppedClock()
    async with KeyServer(key_set(FIRST)).running() as server:
        keys = FetchedKeys(server.url, transport, clock)
        await keys.find("first", "ES256")
        for number in range(100):
            assert await keys.find(f"invented-{number}", "ES256") == ()
        assert len(server.asked) == 1
        server.body = key_set(FIRST, SECOND)
        clock.advance(30)
        found = await asyncio.gather(*(keys.find("second", "ES256") for _ in range(100)))
        assert all(kids(each) == ["second"] for each in found)
        assert len(server.asked) == 2


async def test_a_withdrawn_key_goes_after_ten_minutes(transport):
    clock = SteppedClock()
    async with KeyServer(key_set(FIRST, SECOND)).running() as server:
        keys = FetchedKeys(server.url, transport, clock)
        await keys.find("first", "ES256")
        server.body = key_set(SECOND)
        clock.advance(599)
        assert kids(await keys.find("first", "ES256")) == ["first"]
        clock.advance(1)
        assert kids(await keys.find("first", "ES256")) == ["first"], (
            "the call that notices the age does not wait"
        )
        async with asyncio.timeout(60):
            while await keys.find("first", "ES256"):  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(0.01)
        assert kids(await keys.find("second", "ES256")) == ["second"]


async def test_known_keys_serve_while_the_issuer_is_down(transport):
    clock = SteppedClock()
    server = KeyServer(key_set(FIRST))
    async with server.running():
        keys = FetchedKeys(server.url, transport, clock)
        await keys.find("first", "ES256")
    for _ in range(10):
        clock.advance(3600)
        assert kids(await keys.find("first", "ES256")) == ["first"]
        assert await keys.find("second", "ES256") == ()
        await keys.aclose()
    server.body = key_set(SECOND)
    async with server.running():
        clock.advance(30)
        assert kids(await keys.find("second", "ES256")) == ["second"]


async def test_without_any_key_it_is_tried_again_after_a_second(transport):
    clock = SteppedClock()
    async with KeyServer(b"oops", status="500 Oops").running() as server:
        keys = FetchedKeys(server.url, transport, clock)
        for _ in range(50):
            with pytest.raises(KeysUnavailable):
                await keys.find("first", "ES256")
        assert len(server.asked) == 1
        server.body, server.status = key_set(FIRST), "200 OK"
        clock.advance(1)
        assert kids(await keys.find("first", "ES256")) == ["first"]


BAD_ANSWERS = {
    "a redirect": {
        "status": "302 Found",
        "headers": "Location: http://127.0.0.1:9/keys\r\n",
        "body": key_set(SECOND),
    },
    "not found": {"status": "404 Not Found", "body": key_set(SECOND)},
    "no JSON": {"body": b"<html>"},
    "no keys": {"body": b'{"keys": []}'},
    "a list": {"body": b"[]"},
    "over 64 KiB": {"body": key_set(SECOND) + b" " * 65536},
    "a shared secret": {"body": b'{"keys": [{"kty": "oct", "kid": "second", "k": "c2VjcmV0"}]}'},
}


@pytest.mark.parametrize("case", BAD_ANSWERS)
async def test_a_bad_answer_leaves_the_keys_alone(transport, case):
    clock = SteppedClock()
    async with KeyServer(key_set(FIRST)).running() as server:
        keys = FetchedKeys(server.url, transport, clock)
        await keys.find("first", "ES256")
        for name, value in BAD_ANSWERS[case].items():
            setattr(server, name, value)
        clock.advance(30)
        assert await keys.find("second", "ES256") == ()
        assert kids(await keys.find("first", "ES256")) == ["first"]
        assert len(server.asked) == 2


async def test_a_caller_who_leaves_does_not_end_the_fetch_of_others(transport):
    async with KeyServer(key_set(FIRST), delay_s=0.1).running() as server:
        keys = FetchedKeys(server.url, transport, SteppedClock())
        first, second = (asyncio.create_task(keys.find("first", "ES256")) for _ in range(2))
        await asyncio.sleep(0.02)
        first.cancel()
        assert kids(await second) == ["first"]
        assert len(server.asked) == 1


def test_only_public_keys_for_signatures_are_taken():
    small = rsa.generate_private_key(65537, 1024).public_key().public_numbers()
    offered = [
        FIRST.as_dict(private=False),
        RSA.as_dict(private=False) | {"use": "sig", "alg": "RS256"},
        SECOND.as_dict(private=True) | {"kid": "private"},
        OctKey.generate_key(256, {"kid": "secret"}).as_dict(),
        {"kty": "RSA", "kid": "small", "n": b64(small.n.to_bytes(128)), "e": "AQAB"},
        SECOND.as_dict(private=False) | {"kid": "encryption", "use": "enc"},
        SECOND.as_dict(private=False) | {"kid": "signs", "key_ops": ["sign"]},
        SECOND.as_dict(private=False)
        | {
            "kid": "off-curve",
            "x": SECOND.as_dict(private=False)["y"],
        },
        {"kty": "RSA", "kid": "slow", "n": RSA.as_dict(private=False)["n"], "e": "A" * 300},
        {"kty": "EC", "kid": "half"},
        {"kid": "nothing"},
        "text",
    ]
    keys = read_keys(json.dumps({"keys": offered}).encode())
    assert kids(keys) == ["first", "rsa"]
    assert [key.serves("RS256") for key in keys] == [False, True]
    assert [key.serves("PS256") for key in keys] == [False, False], "the set says RS256"
    assert [key.serves("ES384") for key in keys] == [False, False]


def test_a_huge_set_is_refused_unread():
    with pytest.raises(KeySetError, match="larger than 64 KiB"):
        read_keys(b'{"keys": [' + b"{}," * 10**6 + b"not JSON")

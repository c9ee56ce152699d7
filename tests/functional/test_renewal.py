"""Certificates that are renewed while a gateway serves: nothing is cut, and a bad pair changes
nothing.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
import structlog
from structlog.testing import LogCapture

from emulator import settings as emulated
from emulator.server import running_emulator
from gateway import renewal
from gateway.app import App, open_app
from gateway.config import load
from gateway.way import ProcessRole
from testkit.identities import Pair, authority, certificate, dns, uri
from tests.functional.calls import Caller, Failure, until
from tests.functional.test_tls_callers import configuration

RPC = "VaultService/ListVaults"
POD = uri("spiffe://example.org/ns/payments")
ENVIRON = {"AK": emulated.ACCESS_KEY, "SK": emulated.SECRET_KEY}
ROTATIONS = 100 if os.environ.get("RENEWAL_SOAK") else 20
TAKEN = "certificates taken over"
REFUSED = "certificates not taken over, the old ones stay in use"


@dataclass
class Site:
    """A gateway whose certificates a test renews."""

    folder: Path
    app: App
    logs: LogCapture
    server_authority: Pair
    client_authority: Pair

    def channel(self, trusted: Pair | None = None) -> grpc.aio.Channel:
        client = certificate(self.client_authority, POD)
        credentials = grpc.ssl_channel_credentials(
            (trusted or self.server_authority).pem, client.key_pem, client.pem
        )
        # A pool of its own, so that there is a handshake.
        return grpc.aio.secure_channel(
            self.app.address, credentials, (("grpc.use_local_subchannel_pool", 1),)
        )

    async def answers(self, trusted: Pair | None = None) -> bool:
        async with self.channel(trusted) as channel:
            return not isinstance(await Caller(channel, ())(RPC), Failure)

    def write(self, **files: bytes) -> None:
        for name, content in files.items():
            (self.folder / name.replace("_", ".")).write_bytes(content)
        self.app.renewals.ask()

    def renew(self, server: Pair) -> None:
        self.write(server_crt=server.pem, server_key=server.key_pem)

    def told(self, text: str) -> int:
        return sum(each["event"] == text for each in self.logs.entries)

    @property
    def refusals(self) -> list[str]:
        return [each["cause"] for each in self.logs.entries if each["event"] == REFUSED]


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(renewal, "_EVERY_S", 0.1)
    logs = LogCapture()
    before = structlog.get_config()
    async with running_emulator() as cloud:
        path = configuration(tmp_path, cloud.base_url)
        first, clients = authority("first"), authority("clients")
        pair = certificate(first, dns("localhost"))
        (tmp_path / "server.crt").write_bytes(pair.pem)
        (tmp_path / "server.key").write_bytes(pair.key_pem)
        (tmp_path / "ca.pem").write_bytes(clients.pem)
        config = load(path, ENVIRON, {})
        structlog.configure(processors=[logs], cache_logger_on_first_use=False)
        try:
            async with open_app(config) as app:
                yield Site(tmp_path, app, logs, first, clients)
        finally:
            structlog.configure(**before)


@pytest.mark.parametrize(("worker", "warned"), [(None, 1), (1, 1), (2, 0)])
async def test_one_of_several_workers_warns_of_a_certificate_that_ends(tmp_path, worker, warned):
    pair = certificate(authority("first"), dns("localhost"), lasts=timedelta(days=3))
    (tmp_path / "server.crt").write_bytes(pair.pem)
    (tmp_path / "server.key").write_bytes(pair.key_pem)
    (tmp_path / "ca.pem").write_bytes(authority("clients").pem)
    config = load(configuration(tmp_path, "http://127.0.0.1:9"), ENVIRON, {})
    with structlog.testing.capture_logs() as said:
        async with open_app(config, role=ProcessRole(worker)) as app:
            await until(lambda: app.renewals.ends)
            # The task that warns has had its turn.
            await asyncio.sleep(0)
    told = [each["setting"] for each in said if each["event"] == "a certificate ends soon"]
    assert told.count("server.tls.certificate_file") == warned


async def eventually(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await true():  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.05)


async def test_a_new_pair_is_shown_to_new_connections_and_no_call_of_an_open_one_is_cut(site):
    async with site.channel() as channel:
        caller = Caller(channel, ())
        await caller.ok(RPC)
        for number in range(5):
            before, after = site.server_authority, authority(f"authority {number}")
            site.renew(certificate(after, dns("localhost")))
            site.server_authority = after
            await eventually(site.answers)
            assert not await site.answers(before)
            await caller.ok(RPC)
    assert not site.refusals


async def test_calls_go_on_while_pairs_come_and_go(site):
    """Every handshake finds a pair that fits."""
    wrong: list[Failure] = []
    over = asyncio.Event()

    async def call() -> int:
        made = 0
        while not over.is_set():
            async with site.channel() as channel:
                answer = await Caller(channel, ())(RPC)
            if isinstance(answer, Failure):
                wrong.append(answer)
            made += 1
        return made

    calling = [asyncio.create_task(call()) for _ in range(2)]
    for _ in range(ROTATIONS):
        site.logs.entries.clear()
        site.renew(certificate(site.server_authority, dns("localhost")))
        await until(lambda: site.told(TAKEN))
    over.set()
    assert min(await asyncio.gather(*calling)) > 0
    assert not wrong


async def test_files_that_cannot_be_used_change_nothing_and_are_told_once(site):
    foreign = certificate(authority("foreign"), dns("localhost"))
    for broken, words in (
        ({"server_key": foreign.key_pem}, "not a usable pair"),
        ({"server_crt": b"rubbish"}, "not a usable pair"),
        ({"ca_pem": b"rubbish"}, "holds no certificate"),
    ):
        site.logs.entries.clear()
        kept = {name: (site.folder / name.replace("_", ".")).read_bytes() for name in broken}
        site.write(**broken)
        await until(lambda: site.refusals)
        assert words in site.refusals[0]
        assert site.app.renewals.refused == {"server.tls": True}
        assert await site.answers()
        site.write(**kept)
        await until(lambda: site.app.renewals.refused == {"server.tls": False})
        assert site.told(REFUSED) == 1


async def test_another_mistake_in_the_place_of_one_is_told_too(site):
    foreign = certificate(authority("foreign"), dns("localhost"))
    site.write(server_key=foreign.key_pem)
    await until(lambda: len(site.refusals) == 1)
    site.write(ca_pem=b"rubbish", server_key=b"rubbish")
    await until(lambda: len(site.refusals) == 2)
    assert site.app.renewals.refused == {"server.tls": True}
    assert await site.answers()


async def test_a_file_that_is_gone_or_a_certificate_that_has_expired_is_not_taken_over(site):
    (site.folder / "server.key").rename(site.folder / "elsewhere")
    await until(lambda: site.refusals)
    assert await site.answers()
    (site.folder / "elsewhere").rename(site.folder / "server.key")
    await until(lambda: not site.app.renewals.refused["server.tls"])
    site.logs.entries.clear()
    site.renew(certificate(site.server_authority, dns("localhost"), lasts=timedelta(days=-1)))
    await until(lambda: site.refusals)
    assert "has expired" in site.refusals[0]
    assert await site.answers()


@pytest.mark.parametrize(
    ("put", "told"),
    [
        (os.mkfifo, "is not a regular file"),
        (Path.mkdir, "is not a regular file"),
        (lambda path: path.symlink_to(path), "symbolic links"),
        (lambda path: path.symlink_to("/dev/zero"), "is not a regular file"),
        (lambda path: path.write_bytes(bytes(5 << 20)), "more than 4 MiB"),
    ],
    ids=["a pipe", "a directory", "a loop", "a device", "a large file"],
)
async def test_what_is_no_file_of_that_kind_is_told_and_not_waited_for(site, put, told):
    key, kept, odd = (site.folder / name for name in ("server.key", "kept", "odd"))
    key.rename(kept)
    put(key)
    await until(lambda: site.refusals)
    assert told in site.refusals[0]
    assert await site.answers()
    key.rename(odd)
    kept.rename(key)
    site.renew(certificate(site.server_authority, dns("localhost")))
    await until(lambda: site.told(TAKEN))
    assert not site.app.renewals.refused["server.tls"]


async def test_other_authorities_of_clients_count_for_new_connections(site):
    before = site.client_authority
    site.client_authority = authority("other clients")
    assert not await site.answers()
    site.write(ca_pem=site.client_authority.pem)
    await eventually(site.answers)
    site.client_authority = before
    assert not await site.answers()

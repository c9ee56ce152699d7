"""Changing tenants under load: each call sees one configuration, whole, and a broken one is never
seen at all.
"""

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from structlog.testing import LogCapture

from emulator import settings as emulated
from emulator.server import running_emulator
from gateway import reload
from gateway.app import App, open_app
from gateway.config import Config, load, watching
from gateway.telemetry import add_call
from gateway.tenants import key_hash
from tests.functional.calls import Caller, Failure, until
from tests.harness import REGION

RPC = "VaultService/ListVaults"
FIRST, SECOND = emulated.PAYMENTS_PROJECT_ID, emulated.DATABASES_PROJECT_ID
ENVIRON = {"AK": emulated.ACCESS_KEY, "SK": emulated.SECRET_KEY}


def tenant(name: str, project: str, *keys: str) -> str:
    callers = [{"id": key, "api_key": key_hash(key), "role": "operator"} for key in keys]
    place = [{"id": project, "region": REGION, "credential": "main"}]
    return json.dumps(
        {"id": name, "default_project": project, "projects": place, "principals": callers}
    )


@dataclass
class Site:
    """A gateway whose configuration a test rewrites."""

    folder: Path
    app: App
    channel: grpc.aio.Channel
    logs: LogCapture

    def caller(self, key: str) -> Caller:
        return Caller(self.channel, (("authorization", f"Bearer {key}"),))

    @property
    def version(self) -> str:
        return self.app.current.snapshot.version

    def write(self, **files: str) -> None:
        """Each file in one step, as careful editors do."""
        for name, text in files.items():
            (self.folder / f".{name}").write_text(text)
            (self.folder / f".{name}").rename(self.folder / "tenants" / f"{name}.yaml")

    def events(self, event: str) -> list[Any]:
        return [entry for entry in self.logs.entries if entry["event"] == event]


def main_file(folder: Path, endpoint: str, **server: Any) -> Path:
    key = {"kind": "access_key", "access_key": {"env": "AK"}, "secret_key": {"env": "SK"}}
    upstream = {
        "regions": {REGION: {"endpoint": endpoint, "iam_endpoint": endpoint}},
        "credentials": {"main": key},
    }
    listens = {
        "listen": "127.0.0.1:0",
        "health_listen": "127.0.0.1:0",
        "drain_delay_s": 0,
        **server,
    }
    path = folder / "gateway.yaml"
    path.write_text(
        json.dumps(
            {
                "server": listens,
                "admin": {"listen": None},
                "upstream": upstream,
                "tenants_dir": str(folder / "tenants"),
                "log": {"level": "debug"},
            }
        )
    )
    return path


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    (tmp_path / "tenants").mkdir()
    (tmp_path / "tenants" / "a.yaml").write_text(tenant("a", FIRST, "key-a", "shared"))
    logs = LogCapture()
    before = structlog.get_config()
    async with running_emulator() as cloud:
        path = main_file(tmp_path, cloud.base_url)

        def loaded() -> Config:
            return load(path, ENVIRON, {})

        async with (
            open_app(loaded(), loaded) as app,
            grpc.aio.insecure_channel(app.address) as channel,
        ):
            structlog.configure(processors=[add_call, logs], cache_logger_on_first_use=False)
            try:
                yield Site(tmp_path, app, channel, logs)
            finally:
                structlog.configure(**before)


async def accepted(caller: Caller) -> bool:
    return not isinstance(await caller(RPC), Failure)


async def until_answer(true: Callable[[], Any], within_s: float = 60.0) -> None:
    async with asyncio.timeout(within_s):
        while not await true():  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.02)


async def test_a_new_tenant_is_served_and_a_removed_one_is_not(site: Site) -> None:
    newcomer = site.caller("key-b")
    assert (await newcomer.fails(RPC)).reason == "CREDENTIALS_INVALID"
    site.write(b=tenant("b", SECOND, "key-b"))
    await until_answer(lambda: accepted(newcomer))
    (site.folder / "tenants" / "b.yaml").unlink()

    async def gone() -> bool:
        return not await accepted(newcomer)

    await until_answer(gone)
    await site.caller("key-a").ok(RPC)


async def test_a_moved_link_of_kubernetes_is_seen(site: Site) -> None:
    tenants = site.folder / "tenants"
    (tenants / "a.yaml").unlink()
    for number, key in ((1, "key-one"), (2, "key-two")):
        (tenants / f"..{number}").mkdir()
        (tenants / f"..{number}" / "a.yaml").write_text(tenant("a", FIRST, key))
    (tenants / "..data").symlink_to("..1")
    (tenants / "a.yaml").symlink_to("..data/a.yaml")
    await until_answer(lambda: accepted(site.caller("key-one")))
    (tenants / "..data_tmp").symlink_to("..2")
    (tenants / "..data_tmp").rename(tenants / "..data")
    await until_answer(lambda: accepted(site.caller("key-two")))
    assert (await site.caller("key-one").fails(RPC)).reason == "CREDENTIALS_INVALID"


BROKEN = [
    "id: [",
    "- x",
    "",
    "id: c",
    "\t",
    "id: c\nid: c",
    "a: &x [*x]",
    "\x07",
    tenant("c", "p-c"),
    tenant("a", "p-c", "key-c"),
    tenant("c", FIRST, "key-c"),
    tenant("c", "p-c", "key-a"),
    tenant("c", "p-c", "key-c").replace(REGION, "nowhere"),
    tenant("c", "p-c", "key-c").replace('"main"', '"other"'),
    tenant("c", "p-c", "key-c").replace("operator", "owner"),
    tenant("c", "p-c", "key-c").replace('"role"', '"rolle"'),
    tenant("c", "../p", "key-c"),
    tenant("c", "p-c", "key-c", "key-c"),
    tenant("c", "p-c", "key-c").replace(key_hash("key-c"), "key-c"),
    tenant("c", "p-c", "key-c").replace('"role": "operator"', '"permissions": ["cbr:vaults:fly"]'),
]


async def test_broken_files_under_load_change_nothing_and_are_all_named(site: Site) -> None:
    """Two good configurations alternate, with 20 broken files between them.

    The key `shared` means tenant a in one and tenant b in the other.
    """
    assert len(BROKEN) >= 20
    stopped, answers = asyncio.Event(), []
    worlds = {
        True: (tenant("a", FIRST, "key-a", "shared"), tenant("b", SECOND, "key-b")),
        False: (tenant("a", FIRST, "key-a"), tenant("b", SECOND, "key-b", "shared")),
    }

    async def load_it(key: str) -> None:
        caller = site.caller(key)
        while not stopped.is_set():
            answers.append(await caller(RPC))

    assert site.app.reloader is not None
    versions: dict[str, str] = {}
    async with asyncio.TaskGroup() as group:
        for key in ("key-a", "shared", "shared"):
            group.create_task(load_it(key))
        for turn, text in enumerate(BROKEN):
            a, b = worlds[turn % 2 == 0]
            # First the file that gains the key: in between it stands in both, which is refused.
            site.write(**({"a": a, "b": b} if turn % 2 == 0 else {"b": b, "a": a}))
            await site.app.reloader.reload()
            good = site.version
            versions[good] = "a" if turn % 2 == 0 else "b"
            refusals = len(site.events("configuration not taken over, the old one stays"))
            site.write(c=text)
            await site.app.reloader.reload()
            assert site.version == good, text
            so_far = len(answers)
            await until(lambda least=so_far + 3: len(answers) >= least)
            seen = site.events("configuration not taken over, the old one stays")[refusals:]
            assert seen, text
            assert all(
                "c.yaml" in problem or "b.yaml" in problem or "a.yaml" in problem
                for entry in seen
                for problem in entry["problems"]
            ), seen
            assert any("c.yaml" in problem for entry in seen for problem in entry["problems"]), seen
            (site.folder / "tenants" / "c.yaml").unlink()
        stopped.set()
    assert len(versions) == 2
    assert len(answers) > 50
    assert not [answer for answer in answers if isinstance(answer, Failure)]
    place = {"a": FIRST, "b": SECOND}
    shared = [
        call
        for call in site.events("call")
        if call["principal"] == "shared" and call["config"] in versions
    ]
    mixed = [
        call
        for call in shared
        if (call["tenant"], call["project"])
        != (versions[call["config"]], place[versions[call["config"]]])
    ]
    assert {call["tenant"] for call in shared} == {"a", "b"}
    assert not mixed
    assert not site.events("unexpected error")


BOMB = "x0: &x0 [1]\n" + "".join(f"x{n}: &x{n} [{f'*x{n - 1}, ' * 9}]\n" for n in range(1, 12))


@pytest.mark.parametrize("text", ["id: [", BOMB, tenant("b", "../p", "key-b"), tenant("a", SECOND)])
async def test_a_broken_file_holds_up_no_other_one(site: Site, text: str) -> None:
    """Its tenant stays as it was, others change, and one whose file is gone is not served."""
    assert site.app.reloader is not None
    site.write(b=tenant("b", SECOND, "key-b"), c=tenant("c", "f" * 32, "key-c"))
    await site.app.reloader.reload()
    await site.caller("key-b").ok(RPC)
    assert not site.app.reloader.refused
    site.write(b=text, a=tenant("a", FIRST, "key-a", "new"), d=text)
    (site.folder / "tenants" / "c.yaml").unlink()
    await site.app.reloader.reload()
    assert await refused(site.caller("key-c"))
    assert await refused(site.caller("shared"))
    await site.caller("new").ok(RPC)
    await site.caller("key-b").ok(RPC)
    told = site.events("files of tenants not taken over, what they said before stays")[-1]
    assert any("b.yaml" in problem for problem in told["problems"])
    assert site.app.reloader.refused
    (site.folder / "tenants" / "d.yaml").unlink()
    (site.folder / "tenants" / "b.yaml").unlink()
    await site.app.reloader.reload()
    assert await refused(site.caller("key-b"))
    assert not site.app.reloader.refused


async def test_what_needs_a_restart_is_said(site: Site) -> None:
    path = site.folder / "gateway.yaml"
    path.write_text(path.read_text().replace('"drain_delay_s": 0', '"drain_delay_s": 1'))
    assert site.app.reloader is not None
    await site.app.reloader.reload()
    assert site.events("settings that were changed need a restart")[-1]["keys"] == [
        "server.drain_delay_s"
    ]


async def test_the_version_is_that_of_what_is_in_effect(site: Site) -> None:
    """Not of what was written and waits for a restart."""
    path, before = site.folder / "gateway.yaml", site.version
    data = json.loads(path.read_text())
    data["server"]["drain_grace_s"] = 33
    for level, same in (("debug", True), ("info", False)):
        data["log"]["level"] = level
        path.write_text(json.dumps(data))
        await reloaded(site)
        assert (site.version == before) is same
        assert site.events("settings that were changed need a restart")[-1]["keys"] == [
            "server.drain_grace_s"
        ]


async def test_state_of_an_unchanged_credential_lives_on(site: Site) -> None:
    before = site.app.current.snapshot.accounts[FIRST].auth
    site.write(b=tenant("b", SECOND, "key-b"))
    assert site.app.reloader is not None
    await site.app.reloader.reload()
    assert site.app.current.snapshot.accounts[FIRST].auth is before
    assert site.app.current.snapshot.accounts[SECOND].auth is before


async def test_nothing_that_a_call_was_allowed_outlives_its_configuration(site: Site) -> None:
    caller = site.caller("key-a")
    await caller.ok(RPC)
    assert {seat.project.id for seat in site.app.current.snapshot.seats.values()} == {FIRST}
    before = tenant("a", FIRST, "key-a")
    assert site.app.reloader is not None

    site.write(a=before.replace(FIRST, SECOND))
    await site.app.reloader.reload()
    await caller.ok(RPC)
    assert {seat.project.id for seat in site.app.current.snapshot.seats.values()} == {SECOND}

    site.write(a=before.replace('"role": "operator"', '"permissions": ["cbr:vaults:get"]'))
    await site.app.reloader.reload()
    assert (await caller.fails(RPC)).reason == "PERMISSION_MISSING"
    assert not site.app.current.snapshot.seats


async def test_a_lost_directory_keeps_the_old_configuration(site: Site) -> None:
    with contextlib.suppress(FileNotFoundError):
        (site.folder / "tenants").rename(site.folder / "elsewhere")
    assert site.app.reloader is not None
    site.app.reloader.ask()
    await until(lambda: site.events("configuration not taken over, the old one stays"))
    await site.caller("key-a").ok(RPC)


async def reloaded(site: Site) -> None:
    assert site.app.reloader is not None
    await site.app.reloader.reload()


GIVEN_UP = (
    "reading the configuration does not end and is given up: look for a disk that hangs. The old"
    " one stays"
)
NOT_READ = (
    "the configuration is not read while earlier reads of it do not end: look for a disk that"
    " hangs. The old one stays"
)


def hung(site: Site) -> tuple[Path, Path, str]:
    """The configuration file is a pipe from now on, which nobody writes to: its path, another one
    of the pipe, and what the file held.
    """
    path, pipe = site.folder / "gateway.yaml", site.folder / "pipe"
    text = path.read_text()
    path.unlink()
    os.mkfifo(path)
    pipe.hardlink_to(path)
    return path, pipe, text


def mended(path: Path, text: str) -> None:
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").rename(path)


def threads() -> int:
    return sum(thread.name == "background" for thread in threading.enumerate())


async def test_a_read_that_hangs_is_given_up_and_holds_up_neither_calls_nor_the_next_reload(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "_GIVE_UP_S", 0.2)
    path, pipe, text = hung(site)
    site.write(b=tenant("b", SECOND, "key-b"))
    await until(lambda: site.events(GIVEN_UP))
    # Whatever else is read has time enough, however slow the machine is.
    monkeypatch.setattr(reload, "_GIVE_UP_S", 60.0)
    await site.caller("key-a").ok(RPC)
    mended(path, text)
    assert site.app.reloader is not None
    site.app.reloader.ask()
    await until_answer(lambda: accepted(site.caller("key-b")))
    assert threads() == 1
    assert [entry["hanging"] for entry in site.events(GIVEN_UP)] == [1]
    # What the read that was left behind finds in the end is not taken over; everything is read
    # anew.
    other = site.folder / "other"
    other.mkdir()
    (other / "c.yaml").write_text(tenant("c", FIRST, "key-c"))
    count = len(site.events("configuration active"))
    await asyncio.to_thread(
        pipe.write_text, json.dumps(json.loads(text) | {"tenants_dir": str(other)})
    )
    await until(lambda: len(site.events("configuration active")) > count)
    assert {entry["tenants"] for entry in site.events("configuration active")[count:]} == {2}
    assert await refused(site.caller("key-c"))
    await until(lambda: threads() == 0)


async def test_reads_that_hang_are_few(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "_GIVE_UP_S", 0.05)
    path, pipe, text = hung(site)
    assert site.app.reloader is not None
    for _ in range(6):
        await site.app.reloader.reload()
    assert [entry["hanging"] for entry in site.events(GIVEN_UP)] == [1, 2, 3, 4]
    assert len(site.events(NOT_READ)) >= 2
    assert threads() == 4
    site.write(b=tenant("b", SECOND, "key-b"))
    monkeypatch.setattr(reload, "_GIVE_UP_S", 60.0)
    mended(path, text)
    await asyncio.to_thread(pipe.write_text, text)
    await until_answer(lambda: accepted(site.caller("key-b")))


async def test_only_a_change_is_told_of_where_nobody_has_asked(looks: None, site: Site) -> None:
    assert site.app.reloader is not None
    await looked(site, since=0)
    await site.app.reloader.reload(told=False)
    assert {line["log_level"] for line in site.events("configuration active")} == {"debug"}
    await site.app.reloader.reload()
    count = len(site.events("configuration active"))
    site.write(b=tenant("b", SECOND, "key-b"))
    await until_answer(lambda: accepted(site.caller("key-b")))
    assert {line["log_level"] for line in site.events("configuration active")[count - 1 :]} == {
        "info"
    }


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory is compared several times a second."""
    monkeypatch.setattr(watching, "_LOOK_MS", 200)


async def looked(site: Site, since: int) -> None:
    """The watch has taken its first look at a directory, which always reloads."""
    await until(lambda: len(site.events("configuration active")) > since)


def moved_to(site: Site, name: str, **tenants: str) -> Path:
    """The configuration names another directory from now on."""
    (site.folder / name).mkdir()
    for each, text in tenants.items():
        (site.folder / name / f"{each}.yaml").write_text(text)
    path = site.folder / "gateway.yaml"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"tenants_dir": str(site.folder / name)})
    )
    return site.folder / name


async def refused(caller: Caller) -> bool:
    return not await accepted(caller)


async def test_a_directory_that_was_moved_to_is_watched(looks: None, site: Site) -> None:
    await looked(site, since=0)
    other = moved_to(site, "other", a=tenant("a", FIRST, "key-a"), b=tenant("b", SECOND, "key-b"))
    count = len(site.events("configuration active"))
    await reloaded(site)
    await looked(site, since=count + 1)
    await site.caller("key-b").ok(RPC)
    (other / "b.yaml").unlink()
    await until_answer(lambda: refused(site.caller("key-b")))
    await site.caller("key-a").ok(RPC)


async def test_a_directory_that_was_left_is_not_watched_any_more(looks: None, site: Site) -> None:
    await looked(site, since=0)
    moved_to(site, "other", a=tenant("a", FIRST, "key-a"))
    count = len(site.events("configuration active"))
    await reloaded(site)
    await looked(site, since=count + 1)
    count = len(site.events("configuration active"))
    site.write(c=tenant("c", SECOND, "key-c"))
    await asyncio.sleep(0.5)
    assert len(site.events("configuration active")) == count


async def test_a_directory_that_was_moved_to_may_be_mended(looks: None, site: Site) -> None:
    """It could not be taken over as it was."""
    await looked(site, since=0)
    other = moved_to(site, "other", b="id: [")
    await reloaded(site)
    assert site.events("configuration not taken over, the old one stays")
    await site.caller("key-a").ok(RPC)
    kept = len(site.events("configuration not taken over, the old one stays"))
    await until(lambda: len(site.events("configuration not taken over, the old one stays")) > kept)
    (other / "b.yaml").write_text(tenant("b", SECOND, "key-b"))
    await until_answer(lambda: accepted(site.caller("key-b")))
    assert (await site.caller("key-a").fails(RPC)).reason == "CREDENTIALS_INVALID"


async def test_a_directory_in_the_place_of_the_list_is_watched(looks: None, site: Site) -> None:
    """And none while the list is there."""
    path = site.folder / "gateway.yaml"
    with_directory = json.loads(path.read_text())
    with_list = {key: value for key, value in with_directory.items() if key != "tenants_dir"}
    path.write_text(json.dumps(with_list | {"tenants": [json.loads(tenant("a", FIRST, "key-a"))]}))
    await reloaded(site)
    assert site.app.reloader is not None
    assert not site.app.reloader.watched
    path.write_text(json.dumps(with_directory))
    count = len(site.events("configuration active"))
    await reloaded(site)
    await looked(site, since=count + 1)
    site.write(b=tenant("b", SECOND, "key-b"))
    await until_answer(lambda: accepted(site.caller("key-b")))

"""The console of `serve --workers 2`: one, on the port of the parent, of what all workers know."""

import asyncio
import contextlib
import os
import re
import signal

import httpx
import pytest
import yaml

from tests.functional.calls import caller, until
from tests.functional.stage import vault
from tests.functional.worker_processes import running
from tests.harness import TENANTS
from tests.quota.fleet import listed

PROJECT, _ = TENANTS["payments"]


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory):
    sections = {
        "admin": {"listen": None, "console": True},
        "watch": {"follow": "always", "busy_s": 0.2, "idle_s": 0.5},
        "metrics": {"vaults_s": 0.5},
    }
    async with running(tmp_path_factory.mktemp("workers"), **sections) as gateway:
        yield gateway


@contextlib.asynccontextmanager
async def browsing(gateway, key="key-of-admin"):
    auth = httpx.BasicAuth("anybody", key)
    base = f"http://{gateway.admin}/console"
    async with httpx.AsyncClient(base_url=base, auth=auth, timeout=60) as client:
        yield client


async def shown(gateway, page, *texts):
    """The rows of the page, once it shows all of that."""
    found = ""
    async with browsing(gateway) as client, asyncio.timeout(60):
        while not (found and all(text in found for text in texts)):
            await asyncio.sleep(0.05)
            answer = await client.get(page)
            found = answer.text if answer.status_code == 200 else ""
    rows = re.findall(r"<tr>(.*?)</tr>", found, re.DOTALL)
    return [re.findall(r"<td[^>]*>(?:<progress.*?</progress> )?(.*?)</td>", row) for row in rows]


async def test_administrators_alone_see_its_pages(gateway):
    for key, status in (("key-of-admin", 200), ("key-of-payments", 403), ("nobody's", 401)):
        async with browsing(gateway, key) as client:
            for page in ("overview", "tasks", "vaults", "limits", "changes", "audit"):
                answer = await client.get(f"/{page}")
                assert answer.status_code == status, (page, answer.text)


async def test_it_shows_the_checks_of_the_gateway_and_each_project_once(gateway):
    async with gateway.callers() as worlds:
        for world in worlds:
            await listed(world)
    rows = await shown(gateway, "/overview", "2 of 2 workers", PROJECT, gateway.cloud.base_url)
    assert len([row for row in rows if row[:1] == [PROJECT]]) == 1
    endpoints = [row for row in rows if row[:1] == [gateway.cloud.base_url]]
    assert len(endpoints) == len({tuple(row[:4]) for row in endpoints})


async def test_tasks_vaults_limits_and_records_are_those_of_all_workers(gateway):
    async with gateway.callers() as worlds:
        made = [
            await vault(caller(world), 1, name=f"held-{n}") for n, world in enumerate(worlds[:3])
        ]
        for each, world in zip(made, worlds, strict=False):
            wanted = {"checkpoint": {"vault_id": each.id}}
            await caller(world).ok("CheckpointService/CreateCheckpoint", wanted)
    ids = [each.id for each in made]
    await shown(gateway, "/vaults", *ids)
    rows = await shown(gateway, "/tasks?q=backup", *(each.name for each in made))
    tasks = [row[-1] for row in rows if row]
    assert len(tasks) == len(set(tasks)) == len(made)
    rows = await shown(gateway, "/limits", "vaults:tenant:payments")
    (limit,) = [row for row in rows if row[:1] == ["vaults:tenant:payments"]]
    assert int(limit[2]) == len(made)
    await shown(gateway, "/audit?operation=CreateVault", *ids)


async def test_it_shows_what_goes_on_once_all_workers_are_replaced(gateway):
    killed = gateway.processes("worker")
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    await until(lambda: not {*killed} & {*gateway.processes("worker")})
    await gateway.both_serve()
    async with browsing(gateway) as client, client.stream("GET", "/tasks/live") as stream:
        async with gateway.world() as world:
            held = await vault(caller(world), name="later")
            wanted = {"vault_id": held.id, "force": True}
            await caller(world).ok("VaultService/DeleteVault", wanted)
        async with asyncio.timeout(60):
            async for line in stream.aiter_lines():
                if "vault_delete" in line:
                    break


async def test_a_configuration_that_was_refused_is_told_with_its_mistakes(gateway):
    file = gateway.folder / "gateway.yaml"
    before = file.read_text()
    file.write_text(yaml.safe_dump(yaml.safe_load(before) | {"no_such_key": 1}))
    gateway.send(signal.SIGHUP)
    try:
        await shown(gateway, "/overview", "Not taken over: no_such_key")
    finally:
        file.write_text(before)
        gateway.send(signal.SIGHUP)

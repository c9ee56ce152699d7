"""Gateways that are replaced under load: callers with the shipped service config do not notice.

`RESTART_SOAK=1` makes 10,000 calls with each policy; `make test` a few hundred.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import grpc
import pytest
from cbrgateway.v1 import policy_pb2, policy_pb2_grpc, vault_pb2, vault_pb2_grpc
from cbrgateway_client import Gateway

from emulator.server import running_emulator
from gateway.app import App, open_app
from gateway.process import _drain
from testkit.ports import free_port
from tests.functional import stage
from tests.functional.calls import Caller, until
from tests.harness import config_for
from tests.state.valkey_server import running_valkey

SOAK = "RESTART_SOAK" in os.environ
CALLS, CALLERS = (10_000, 8) if SOAK else (120, 4)
"""At least so many calls with each policy, by so many callers at once."""
POLICIES = ("pick_first", "round_robin")
GRACE_S = 20


class Replica:
    """A gateway that is started again and again, always at the same address."""

    def __init__(self, cloud: str, state: dict[str, Any]) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        server = {"listen": self.address, "drain_delay_s": 0.1, "drain_grace_s": GRACE_S}
        self._config = config_for(cloud, {"state": state}, **server)
        self._opened = contextlib.AsyncExitStack()
        self._app: App

    async def start(self) -> None:
        self._app = await self._opened.enter_async_context(open_app(self._config))

    def is_called(self) -> bool:
        """Whether callers have come back to it."""
        return self._app.servers.in_flight.begun > 0

    async def end(self) -> None:
        """As a process does that gets SIGTERM."""
        await _drain(self._app, asyncio.Event(), GRACE_S)
        await self._opened.aclose()


class Load:
    """Callers that make one call after the other, until it is over."""

    def __init__(self, channel: grpc.aio.Channel, policy_id: str) -> None:
        self.made = 0
        self.failed: list[str] = []
        self._over = False
        self._vaults = vault_pb2_grpc.VaultServiceStub(channel)
        self._policies = policy_pb2_grpc.PolicyServiceStub(channel)
        self._change = policy_pb2.UpdatePolicyRequest(policy_id=policy_id)
        self._change.policy.name = "renamed"
        self._running = [asyncio.create_task(self._run()) for _ in range(CALLERS)]

    async def _run(self) -> None:
        while not self._over:
            await self._note(self._vaults.ListVaults(vault_pb2.ListVaultsRequest()))
            await self._note(self._policies.ListPolicies(policy_pb2.ListPoliciesRequest()))
            await self._note(self._policies.UpdatePolicy(self._change))

    async def _note(self, call: Awaitable[object]) -> None:
        self.made += 1
        try:
            await call
        except grpc.aio.AioRpcError as error:
            self.failed.append(f"{error.code().name}: {error.details()}")

    async def end(self) -> None:
        self._over = True
        await asyncio.gather(*self._running)


@contextlib.asynccontextmanager
async def replicas(tmp_path: Path) -> AsyncIterator[list[Replica]]:
    with running_valkey(tmp_path) as store:
        (tmp_path / "url").write_text(store.url)
        state = {"kind": "valkey", "url": {"file": str(tmp_path / "url")}}
        async with running_emulator() as cloud, contextlib.AsyncExitStack() as stack:
            members = [Replica(cloud.base_url, state) for _ in range(3)]
            for each in members:
                await each.start()
                stack.push_async_callback(each.end)
            yield members


def channel_to(members: list[Replica], policy: str) -> grpc.aio.Channel:
    """As the shipped client makes it, but with this policy."""
    target = "ipv4:" + ",".join(each.address for each in members)
    options = [("grpc.lb_policy_name", policy)]
    return Gateway(target, "key-of-payments", plaintext=True, options=options).aio_channel()


@pytest.mark.timeout(1800 if SOAK else 300)
async def test_no_call_fails_while_all_replicas_are_replaced(tmp_path):
    async with replicas(tmp_path) as members, contextlib.AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(channel_to(members, policy)) for policy in POLICIES
        ]
        made = await Caller(channels[0], ()).ok(
            "PolicyService/CreatePolicy", stage.policy_request()
        )
        loads = [Load(channel, made.policy.id) for channel in channels]
        done = 0
        while done < len(members) or min(load.made for load in loads) < CALLS:
            each = members[done % len(members)]
            await each.end()
            await each.start()
            await until(each.is_called)
            done += 1
        for load in loads:
            await load.end()
        for policy, load in zip(POLICIES, loads, strict=True):
            assert not load.failed, f"{policy}: {len(load.failed)} of {load.made}"

"""A gateway whose log nobody reads, or whose event loop stands still: calls, health and the end."""

import asyncio
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from emulator.server import running_emulator
from testkit.ports import free_port
from tests.functional.calls import Caller, Failure
from tests.functional.serving import ROOT, Gateway, configuration
from tests.harness import World, running_gateway

LIST = "VaultService/ListVaults"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
CALLS = 600
"""Their lines are more than a pipe takes, and less than the queue does."""


async def called(caller: Caller, code: str) -> None:
    """600 calls, 50 at a time, each with this end."""

    async def call_on() -> None:
        for _ in range(CALLS // 50):
            answer = await caller(LIST)
            assert (answer.code if isinstance(answer, Failure) else "OK") == code

    await asyncio.gather(*(call_on() for _ in range(50)))


async def test_calls_health_and_the_end_do_not_wait_for_a_reader_of_the_log(tmp_path: Path) -> None:
    async with running_emulator() as cloud:
        config = tmp_path / "gateway.yaml"
        config.write_text(yaml.safe_dump(configuration(endpoint=cloud.base_url)))
        gateway = Gateway(config)
        with gateway.process as process:
            try:
                assert process.stderr is not None
                line = await asyncio.to_thread(process.stderr.readline)
                serving = json.loads(line)
                async with (
                    grpc.aio.insecure_channel(serving["address"]) as channel,
                    grpc.aio.insecure_channel(serving["health"]) as probes,
                ):
                    await called(Caller(channel, ()), "UNAUTHENTICATED")
                    await called(Caller(channel, World.metadata()), "OK")
                    answer = await health_pb2_grpc.HealthStub(probes).Check(
                        health_pb2.HealthCheckRequest(), timeout=60
                    )
                    assert answer.status == SERVING
                process.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(process.wait, 30) == 0
            finally:
                process.kill()


def test_a_start_that_fails_ends_although_nobody_reads_why(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"of an earlier process\n")
    os.set_blocking(writing, True)
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(tmp_path / "nothing.yaml")]
    environ = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "generated" / "python")])
    }
    assert (
        subprocess.run(command, env=environ, stderr=writing, timeout=60, check=False).returncode
        == 1
    )
    os.close(reading)
    os.close(writing)


def places(pid: int, numbers: tuple[int, ...]) -> set[str]:
    """What stands at these numbers of descriptors."""
    return {str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in numbers}


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
async def test_numbers_of_what_is_closed_are_no_files_of_ours(
    tmp_path: Path, closed: tuple[int, ...]
) -> None:
    port = free_port()
    config = configuration()
    config["server"]["listen"] = f"127.0.0.1:{port}"
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(config))
    closing = " ".join(f"{number}>&-" for number in closed)
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", f'exec "$@" {closing}', "sh"),
        *(sys.executable, "-m", "gateway", "serve", "--config", str(file)),
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "generated" / "python")])}
        | {"AK": "a" * 20, "SK": "s" * 40},
        stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await asyncio.wait_for(channel.channel_ready(), 60)
            found = await asyncio.to_thread(places, process.pid, closed)
            assert found == {os.devnull}
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def told(address: str, found: "queue.SimpleQueue[int]") -> None:
    """The first three answers of a Watch of health; and after the second one that of a Check."""
    with grpc.insecure_channel(address) as channel:
        stub, request = health_pb2_grpc.HealthStub(channel), health_pb2.HealthCheckRequest()
        watch = stub.Watch(request, timeout=60)
        for number in range(3):
            found.put(next(watch).status)
            if number == 1:
                found.put(stub.Check(request, timeout=60).status)
        watch.cancel()


async def test_health_follows_the_event_loop() -> None:
    async with running_gateway(server={"stall_s": 1.5}) as world:
        found: queue.SimpleQueue[int] = queue.SimpleQueue()
        watching = threading.Thread(target=told, args=(world.app.health_address, found))
        watching.start()
        assert await asyncio.to_thread(found.get) == SERVING
        ends_at = time.monotonic() + 60
        while found.qsize() < 2 and time.monotonic() < ends_at:
            time.sleep(0.01)  # noqa: ASYNC251 - this is what stands still
        assert [found.get_nowait(), found.get_nowait()] == [NOT_SERVING, NOT_SERVING]
        assert await asyncio.to_thread(found.get) == SERVING
        await asyncio.to_thread(watching.join)


async def test_a_gateway_that_drains_does_not_say_serving_after_a_pause_of_its_loop() -> None:
    async with running_gateway(server={"stall_s": 0.1, "drain_delay_s": 60}) as world:
        draining = asyncio.create_task(
            world.app.servers.drain(world.app.hub.end, world.app.client.release)
        )
        await asyncio.sleep(0)
        time.sleep(0.5)  # noqa: ASYNC251 - this is what stands still
        await asyncio.sleep(0.5)
        async with grpc.aio.insecure_channel(world.app.health_address) as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=60
            )
        assert answer.status == NOT_SERVING
        draining.cancel()

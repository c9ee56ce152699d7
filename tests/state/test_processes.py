"""What several processes, and processes that are killed, do to a store."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.secret import Secret
from gateway.state import Admitted, State, StoreDown, StoreSettings, open_store
from tests.state.benches import operation

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("begin_many.py")
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'generated/python'}"}


def begin_many(
    settings: StoreSettings, count: int, limit: int, tag: str, **environ: str
) -> subprocess.Popen[str]:
    words = [settings.model_dump_json(exclude={"url"}), str(count), str(limit), tag]
    address = {"STORE_URL": settings.url.reveal()} if settings.url else {}
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), *words],
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT | address | environ,
    )


@pytest.mark.parametrize("killed_after", [1, 60, 140])
async def test_a_killed_process_loses_no_reservation_that_it_was_told_of(tmp_path, killed_after):
    settings = StoreSettings(path=tmp_path / "state.db", timeout_s=5)
    with begin_many(settings, 200, 1000, "op") as process:
        told = [process.stdout.readline().strip() for _ in range(killed_after)]
        process.kill()
        told += [line for line in process.stdout.read().splitlines() if line]
    async with open_store(settings, SystemClock()) as store:
        kept = [view.id for view in await store.operations.in_states(None, {State.RESERVED})]
        assert set(told) <= set(kept)
        assert (
            (await store.counters.usage(["payments/vaults"]))["payments/vaults"].reserved
            == len(kept)
            >= killed_after
        )
        assert await store.operations.begin(operation("next")) == Admitted()


async def test_a_file_belongs_to_one_process(tmp_path):
    settings = StoreSettings(path=tmp_path / "state.db", timeout_s=5)
    async with open_store(settings, SystemClock()):
        with begin_many(settings, 1, 1, "other") as other:
            assert other.wait(timeout=60) != 0
        with pytest.raises(
            StoreDown, match=r"locked\. Another process has it, such as another gateway"
        ):
            async with open_store(settings, SystemClock()):
                pass


async def test_processes_together_admit_exactly_the_limit(valkey):
    settings = StoreSettings(kind="valkey", url=Secret(valkey.url), prefix="crowd", timeout_s=5)
    crowd = [begin_many(settings, 250, 100, f"p{number}") for number in range(4)]
    admitted = [
        line for process in crowd for line in process.communicate(timeout=45)[0].splitlines()
    ]
    assert [process.returncode for process in crowd] == [0] * 4
    assert len(admitted) == len(set(admitted)) == 100
    async with open_store(settings, SystemClock()) as store:
        assert (await store.counters.usage(["payments/vaults"]))["payments/vaults"].reserved == 100
        assert sorted(
            view.id for view in await store.operations.in_states("payments", {State.RESERVED})
        ) == sorted(admitted)

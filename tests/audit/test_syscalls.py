"""What the system was asked to do, in which order: `fdatasync` has returned before the first byte
of a change leaves for CBR. By strace.
"""

import asyncio
import os
import re
import shutil

import pytest
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from emulator.server import running_emulator
from emulator.transitions import Mode, Pace
from tests.audit.scenes import audit_section
from tests.functional.calls import until
from tests.quota.processes import Process
from tests.quota.scenes import new_vault, outcome

CHANGES = 1000 if os.environ.get("AUDIT_SOAK") else 25
INTENT = re.compile(r"write\(\d+<[^>]*\.jsonl>.*CHANGE_INTENDED")
SYNCED = re.compile(r"fdatasync.*= 0$")
SENT = re.compile(r'(?:sendto|sendmsg|write|writev)\(\d+<.*"POST /v3')


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.timeout(300 + CHANGES)
async def test_the_intent_is_synced_before_the_change_is_sent(tmp_path):
    trace = tmp_path / "trace"
    async with running_emulator(pace=Pace(Mode.IMMEDIATE)) as cloud:
        process = Process(tmp_path, cloud, audit=audit_section(tmp_path, timeout_s=10))
        async with process.running() as world:
            stub = world.stub(VaultServiceStub)
            await outcome(world, stub.CreateVault, new_vault(0))
            calls = "trace=fdatasync,write,writev,sendto,sendmsg"
            command = (
                "strace",
                "-f",
                "-y",
                "-s",
                "20000",
                "-e",
                calls,
                "-o",
                str(trace),
                "-p",
                str(process._process.pid),
            )
            tracer = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
            try:
                said = await asyncio.wait_for(tracer.stderr.readline(), 20)
                if b"attached" not in said:
                    pytest.skip(
                        f"strace may not look at other processes here: {said.decode().strip()}"
                    )
                for number in range(1, CHANGES + 1):
                    assert (
                        await outcome(world, stub.CreateVault, new_vault(number))
                    ).reason == "OK"
                await until(
                    lambda: (
                        trace.exists()
                        and len(SENT.findall(trace.read_text(errors="replace"))) >= CHANGES
                    )
                )
            finally:
                tracer.terminate()
                await tracer.wait()
    order = []
    for line in trace.read_text(errors="replace").splitlines():
        kinds = {"intent": INTENT, "synced": SYNCED, "sent": SENT}
        order += [kind for kind, pattern in kinds.items() if pattern.search(line)]
    sent = [place for place, kind in enumerate(order) if kind == "sent"]
    assert len(sent) == CHANGES
    for place in sent:
        before = order[:place]
        assert "intent" in before
        last = len(before) - 1 - before[::-1].index("intent")
        assert "synced" in before[last:], order[max(0, place - 6) : place + 1]
        assert "sent" not in before[last:]

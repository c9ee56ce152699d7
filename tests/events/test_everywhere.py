"""A backup that CBR's own policy began, and that failed while nobody watched, is told everywhere:
metric, alert, webhook, event stream, log line and audit record, once each; also where the gateway
was killed before it had looked.
"""

import json
import os
import signal
import subprocess
import sys

import httpx
from cbrgateway.v1 import event_service_pb2, event_service_pb2_grpc

from emulator.actions import run_policy
from emulator.server import running_emulator
from emulator.settings import PAYMENTS_PROJECT_ID
from testkit.ports import held_port
from tests.audit.scenes import audit_section, records
from tests.events.receiver import KEY, LOCAL, receiving
from tests.events.scenes import assert_valid
from tests.functional import stage
from tests.functional.calls import caller, until
from tests.metrics.test_rules import prometheus as prometheus  # noqa: PLC0414 - a fixture
from tests.metrics.until import until_true
from tests.quota.processes import ROOT, SECRETS, Process
from tests.watch.streams import STILL

CODE = "BackupService.6125"
WATCH = {"busy_s": 0.5, "idle_s": 0.5, "follow": "always"}


class Life:
    """A gateway that is told what to write down; its log stays when it is killed."""

    def __init__(self, folder, cloud, receiver):
        self.admin, self._log = f"127.0.0.1:{held_port(self)}", folder / "gateway.log"
        self._process = Process(
            folder,
            cloud,
            watch=WATCH,
            admin={"listen": self.admin},
            state={"path": str(folder / "state.db")},
            audit=audit_section(folder),
            events={"sinks": [receiver.sink()], **LOCAL},
            log={"format": "json"},
        )
        self.file = folder / "gateway.yaml"
        self.world = self._process.world

    def start(self):
        environ = os.environ | SECRETS | {"HOOK_KEY": KEY}
        command = [sys.executable, "-m", "gateway", "serve", "--config", str(self.file)]
        with self._log.open("ab") as log:
            self._running = subprocess.Popen(command, cwd=ROOT, env=environ, stderr=log)

    def end(self, number=signal.SIGTERM):
        self._running.send_signal(number)
        self._running.wait(60)

    def warnings(self, task):
        """What the log says of a task."""
        rows = [json.loads(each) for each in self._log.read_text().splitlines() if task in each]
        return [row for row in rows if row["level"] == "warning"]


async def scheduled(world):
    """A policy that works on a vault with a server."""
    call = caller(world)
    vault, policy = await stage.vault(call, 1), await stage.policy(call)
    bound = {"vault_id": vault.id, "policy_id": policy.id}
    await call.ok("VaultService/AssociateVaultPolicy", bound)
    return vault, policy


def fail_run(cloud, policy):
    """The policy runs, and its backup fails."""
    fault = {"kind": "task_failed", "match": {"operation": "RunPolicy"}, "code": CODE}
    cloud.state.faults.add({**fault, "message": "no"})
    (task,) = run_policy(cloud.state, policy.id)
    work = cloud.state.world.tasks
    work._finish(work.log[task])
    return task


async def in_the_stream(world):
    """The ends of tasks that are kept, up to the first heartbeat: all that there are."""
    stub = event_service_pb2_grpc.EventServiceStub(world.channel)
    request = event_service_pb2.WatchEventsRequest(include_kept=True)
    found = []
    async for message in stub.WatchEvents(request, metadata=world.metadata(), timeout=60):
        if message.HasField("heartbeat"):
            return found
        if message.cloud_event.type.endswith("task.ended.v1"):
            found.append(message.cloud_event)
    raise AssertionError("the stream ended")


async def asked(api, path, **parameters):
    async with httpx.AsyncClient() as client:
        try:
            answer = await client.get(f"{api}/{path}", params=parameters)
        except httpx.TransportError:
            return None
    return answer.json()["data"] if answer.status_code == 200 else None


async def firing(api):
    found = await asked(api, "alerts") or {"alerts": []}
    return [
        each
        for each in found["alerts"]
        if each["labels"]["alertname"] == "CbrTaskFailed" and each["state"] == "firing"
    ]


async def test_a_scheduled_backup_that_fails_unseen_is_told_everywhere(tmp_path, prometheus):
    async with receiving(tmp_path) as receiver, running_emulator(pace=STILL) as cloud:
        gateway = Life(tmp_path, cloud, receiver)
        gateway.start()
        try:
            async with gateway.world() as world:
                vault, policy = await scheduled(world)
            api = prometheus(gateway.admin)

            async def failures():
                series = f'project="{PAYMENTS_PROJECT_ID}",type="backup",status="failed"'
                found = await asked(api, "query", query=f"cbr_task_ends_total{{{series}}}")
                return [float(row["value"][1]) for row in (found or {}).get("result", ())]

            await until_true(lambda: equal(failures, [0]))
            first = fail_run(cloud, policy)
            await until(lambda: receiver.seen[f"task-{first}"])
            await until_true(lambda: firing(api))
            await until_true(lambda: equal(failures, [1]))
            (alert,) = await firing(api)
            gateway.end(signal.SIGKILL)
            second = fail_run(cloud, policy)
            gateway.start()
            await until(lambda: receiver.seen[f"task-{second}"])
            async with gateway.world() as world:
                streamed = await in_the_stream(world)
        finally:
            gateway.end()
    assert alert["labels"] | {"type": "backup", "status": "failed"} == alert["labels"]
    assert alert["labels"]["project"] == PAYMENTS_PROJECT_ID
    told = [each for each in receiver.got if each["type"].endswith("task.ended.v1")]
    assert_valid(told)
    ids = [f"task-{first}", f"task-{second}"]
    assert [each["id"] for each in told] == [each.id for each in streamed] == ids
    for data in (*(each["data"] for each in told), *(dict(each.data) for each in streamed)):
        assert (data["outcome"], data["code"]) == ("failed", CODE)
        assert data["policy"] == policy.name
    for task in (first, second):
        (line,) = gateway.warnings(task)
        assert (line["task"], line["outcome"]) == (task, "failed")
    failed = records(tmp_path, resource=vault.id, outcomes=("failed",))
    assert [record["status_id"] for record in failed] == [2, 2]
    assert all(policy.name in json.dumps(record) for record in failed)


async def equal(ask, wanted):
    return await ask() == wanted

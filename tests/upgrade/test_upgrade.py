"""What version 0.1.0 left on disk, opened by this one: `v0_1_0/README.md` says what it is.

The clock of the gateway and CBR is set to a minute after 0.1.0 ended, since tests run on any day;
and CBR is an emulator that has carried out what the one of that time had.
"""

import asyncio
import contextlib
import json
import shutil
import time
from collections import Counter
from pathlib import Path

import grpc
import httpx
import pytest
from cbrgateway.v1 import quota_pb2, task_pb2, types_pb2, vault_pb2
from cbrgateway.v1.quota_pb2_grpc import QuotaServiceStub
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from emulator import settings as emulated
from emulator.server import running_emulator
from emulator.transitions import Mode, Pace
from gateway.app import open_app
from gateway.audit.anchors import AnchorFile
from gateway.audit.chain import Keys
from gateway.audit.query import Query, rows
from gateway.audit.verify import verify
from gateway.clock import SystemClock
from gateway.state import OPEN, State
from tests.audit.scenes import VALID
from tests.functional.calls import until
from tests.harness import World, config_for
from tests.quota.oracle import agreed, created
from tests.quota.scenes import limit, outcome

LEFT = Path(__file__).parent / "v0_1_0"
CLOUD = json.loads((LEFT / "cloud.json").read_text())
FACTS = CLOUD["facts"]
KEYS = Keys.of((LEFT / "audit.key").read_text())
WRITER = "gateway-0"
SETTLED = {
    "made": State.COMMITTED,
    "deleted": State.COMMITTED,
    "refused": State.RELEASED,
    "reserved": State.RELEASED,
    "sent-unseen": State.RELEASED,
    "sent-made": State.COMMITTED,
    "lost-made": State.COMMITTED,
    "lost-unmade": State.RELEASED,
    "in-flight": State.RELEASED,
    "begun": State.EXPIRED,
}
"""What each create comes to, by its request_id."""


def new_vault(name):
    return vault_pb2.CreateVaultRequest(
        vault={
            "name": name,
            "billing": {
                "consistent_level": "CONSISTENT_LEVEL_CRASH_CONSISTENT",
                "object_type": "OBJECT_TYPE_SERVER",
                "protect_type": "PROTECT_TYPE_BACKUP",
                "size_gib": 10,
            },
        },
        request_id=name,
    )


def sections(folder):
    return {
        "limits": [limit("vaults", "tenant", 50), limit("capacity_gib", "tenant", 5000)],
        "quota": {"sweep_s": 0.5, "settle_s": 1},
        "tasks": {"correlate": True, "settle_s": 1, "give_up_s": 3600},
        "state": {"path": str(folder / "state.db")},
        "audit": {
            "directory": str(folder / "audit"),
            "key": {"file": str(folder / "audit.key")},
            "writer": WRITER,
            "anchors": str(folder / "anchors"),
        },
        "page_token_key": {"file": str(folder / "audit.key")},
    }


def slow(cloud):
    """Work takes an hour from now on."""
    cloud.state.world.tasks.set_pace(Pace(Mode.TIME, duration_s=3600))


def finish(cloud):
    """All work that is under way ends now."""
    cloud.state.world.tasks.set_pace(Pace(Mode.IMMEDIATE))
    cloud.state.world.tasks.settle()
    slow(cloud)


async def carried_out(cloud):
    """Has CBR do what it had done, with the same ids."""
    async with httpx.AsyncClient(base_url=cloud.base_url) as client:
        for change in CLOUD["changes"]:
            answer = await client.request(
                change["method"], change["target"], content=change["body"].encode()
            )
            assert answer.is_success, answer.text
            assert not change["made"] or answer.json()["vault"]["id"] == change["made"]
            if change["operation"] == "DeleteVault":
                finish(cloud)


@contextlib.asynccontextmanager
async def upgraded(folder):
    """A gateway of this version on a copy of what is left."""
    shutil.copytree(LEFT, folder, dirs_exist_ok=True)
    ahead_s = CLOUD["at"] + 60 - time.time()
    settings = emulated.EmulatorSettings(seed=CLOUD["seed"], auth=False, clock_ahead_s=ahead_s)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SystemClock, "time", lambda _: time.time() + ahead_s)
        async with running_emulator(settings=settings) as cloud:
            slow(cloud)
            await carried_out(cloud)
            async with (
                open_app(config_for(cloud.base_url, sections(folder))) as app,
                grpc.aio.insecure_channel(app.address) as channel,
            ):
                yield World(app, cloud, channel)


async def settled(world, within_s=30.0):
    """Waits until the outcome of no change is open."""
    async with asyncio.timeout(within_s):
        while await world.app.store.operations.in_states(None, OPEN):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)


def fates(folder):
    """What the log says last of each change, by its id."""
    return {
        row["metadata"]["correlation_uid"]: row["unmapped"].get("fate")
        for row in rows(folder / "audit", Query())
        if row["unmapped"]["stage"] in {"INTENT", "OUTCOME", "RECONCILED"}
        and row["activity_name"] != "Read"
    }


def told(folder, uids):
    """The ends of these changes; None of those that have none."""
    known = fates(folder)
    return [known[uid] if known[uid] not in {None, "UNKNOWN"} else None for uid in uids]


async def answered(world, stub, method, request, tenant="payments"):
    ended = await outcome(world, getattr(world.stub(stub), method), request, tenant)
    assert ended.reason == "OK", ended.reason
    return ended.response


@pytest.fixture(scope="module")
async def world(tmp_path_factory):
    async with upgraded(tmp_path_factory.mktemp("state")) as opened:
        await settled(opened)
        yield opened


async def test_changes_that_were_open_end_as_cbr_shows(world):
    states = {
        view.request_id: view.state
        for view in await world.app.store.operations.in_states(None, set(State))
        if view.request_id
    }
    assert {name: states[name] for name in SETTLED} == SETTLED
    await agreed(world, "payments")


async def test_a_repeat_of_a_change_that_was_made_makes_nothing(world):
    before = created(world)
    made = await answered(world, VaultServiceStub, "CreateVault", new_vault("made"))
    assert made.vault.id == FACTS["made"]
    for name in ("sent-made", "lost-made"):
        again = await answered(world, VaultServiceStub, "CreateVault", new_vault(name))
        assert again.vault.name == name
    assert created(world) == before
    other = new_vault("made")
    other.vault.billing.size_gib = 11
    refused = await outcome(world, world.stub(VaultServiceStub).CreateVault, other)
    assert refused.reason == "IDEMPOTENCY_MISMATCH"


async def test_what_was_not_made_can_be_made_with_its_request_id(world):
    for name in ("refused", "begun", "lost-unmade"):
        assert created(world)[name] == 0
        await answered(world, VaultServiceStub, "CreateVault", new_vault(name))
        assert created(world)[name] == 1


async def test_a_limit_that_was_set_while_running_holds(world):
    listed = await answered(
        world, QuotaServiceStub, "ListLimits", quota_pb2.ListLimitsRequest(), "admin"
    )
    assert [(row.subject, row.value) for row in listed.limits if row.subject == "payments"] == [
        ("payments", 40)
    ]


async def test_a_submission_keeps_its_tasks(world):
    found = await answered(
        world,
        TaskServiceStub,
        "GetSubmission",
        task_pb2.GetSubmissionRequest(submission_id=FACTS["submission"]),
    )
    assert found.submission.state == types_pb2.SUBMISSION_STATE_RESOLVED
    assert sorted(found.submission.task_ids) == sorted(FACTS["tasks"])


async def test_a_stream_goes_on_by_its_token(world):
    stream = world.stub(TaskServiceStub).WatchTasks(
        task_pb2.WatchTasksRequest(resume_token=FACTS["resume_token"]),
        metadata=world.metadata("payments"),
        timeout=20,
    )
    first = await anext(aiter(stream))
    assert first.resume_token
    stream.cancel()


async def test_the_audit_log_is_whole_and_goes_on(tmp_path):
    (before,) = verify(LEFT / "audit", KEYS, AnchorFile(LEFT / "anchors").read())
    assert before.bad is None, str(before.bad)
    old = list(rows(LEFT / "audit", Query(own=True)))
    assert len(old) == before.records
    unknown = {uid for uid, fate in fates(LEFT).items() if fate in {None, "UNKNOWN"}}
    assert len(unknown) == 5
    async with upgraded(tmp_path) as world:
        await settled(world)
        await until(lambda: None not in told(tmp_path, unknown), 30)
    (after,) = verify(tmp_path / "audit", KEYS, AnchorFile(tmp_path / "anchors").read())
    assert (after.bad, after.notes) == (None, [])
    every = list(rows(tmp_path / "audit", Query(own=True)))
    assert every[: len(old)] == old
    assert len(every) == after.records > len(old)
    assert Counter(told(tmp_path, unknown)) == {"DONE": 2, "NOTHING": 3}
    for row in every:
        VALID.validate(row)

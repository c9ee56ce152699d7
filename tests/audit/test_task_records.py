"""How the end of work at CBR is recorded, found again, and told to a collector and in the log."""

import asyncio
import json

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from emulator.actions import run_policy
from emulator.transitions import Mode, Pace
from gateway.audit.intents import Entry
from gateway.audit.otlp import _record
from gateway.audit.query import as_text
from gateway.audit.record import Task
from gateway.audit.segments import name_of
from gateway.audit.task_record import TaskActivity
from gateway.cli.main import main
from tests.audit.logs import WRITER, entry, sink
from tests.audit.scenes import audited_gateway, records
from tests.functional import stage
from tests.functional.calls import arrived, caller, order, until
from tests.watch.streams import STILL, end_task

FAST = {"busy_s": 0.1, "idle_s": 0.2, "follow": "always"}
ENDED = TaskActivity(
    Task(uid="t", type="BACKUP", status="FAILED", outcome="failed", code="BackupService.7102"),
    project="p",
    tenant="payments",
    text="The task failed in CBR.",
    resources=(("vault", "v"), ("backup", "b")),
    ended=1_700_000_000.0,
)


def ends(tmp_path):
    return [row for row in records(tmp_path) if row["unmapped"]["event"] == "TASK_ENDED"]


def found(log, *options):
    done = CliRunner().invoke(main, ["audit", "query", str(log), *options])
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


async def scheduled(world):
    """A backup that a policy starts: its task and what it is about."""
    payments = caller(world)
    held, policy = await stage.vault(payments, 1), await stage.policy(payments)
    await payments.ok(
        "VaultService/AssociateVaultPolicy", {"vault_id": held.id, "policy_id": policy.id}
    )
    (task_id,) = run_policy(world.emulator.state, policy.id)
    return world.emulator.state.world.tasks.log[task_id], held, policy


async def test_a_failed_scheduled_backup_that_nobody_watches_is_told_everywhere(tmp_path, capsys):
    async with audited_gateway(tmp_path, sections={"watch": FAST}, pace=STILL) as world:
        task, held, policy = await scheduled(world)
        end_task(world, task, "failed", "BackupService.7102")
        await until(lambda: ends(tmp_path))
    (row,) = ends(tmp_path)
    assert (row["status_id"], row["status"], row["severity_id"]) == (2, "Failure", 4)
    assert row["status_code"] == "STATE_INVALID"
    assert row["status_detail"] == (
        "BackupService.7102: The task failed in CBR: server is stopped. Started by policy nightly."
    )
    assert row["message"] == "TASK_ENDED BACKUP failed, started by policy nightly"
    assert row["api"]["operation"] == "Task/Ended"
    assert row["metadata"]["tenant_uid"] == "payments"
    assert row["cloud"]["project_uid"] == task.project_id
    assert {(each["type"], each["uid"]) for each in row["resources"]} >= {
        ("vault", held.id),
        ("policy", policy.id),
        ("server", held.resources[0].id),
    }
    assert row["end_time"] == pytest.approx(task.ended_at * 1000, abs=2)
    assert row["duration"] == pytest.approx((task.ended_at - task.created_at) * 1000, abs=2)
    (line,) = found(tmp_path / "log", "--outcome", "failed")
    for word in (" failed ", f"vault={held.id}", "policy nightly"):
        assert word in line
    said = capsys.readouterr().out
    (warning,) = [each for each in said.splitlines() if "a task did not succeed" in each]
    for word in ("warning", task.id, held.id, "BackupService.7102", "STATE_INVALID", "nightly"):
        assert word in warning


async def test_the_end_of_work_is_found_by_who_asked_for_it_and_how_it_ended(tmp_path):
    pace = Pace(Mode.IMMEDIATE)
    sections = {"watch": FAST, "tasks": {"settle_s": 1}}
    async with audited_gateway(tmp_path, sections=sections, pace=pace) as world:
        backup = await stage.backup(caller(world))
        await until(lambda: ends(tmp_path))
        await caller(world).ok(
            "VaultService/DeleteVault", {"vault_id": backup.vault_id, "force": True}
        )
        await until(lambda: len(ends(tmp_path)) == 2)
    log = tmp_path / "log"
    assert len(found(log, "--principal", "test", "--operation", "CreateCheckpoint")) == 3
    # As the column shows it.
    assert len(found(log, "--principal", "payments/test", "--operation", "CreateCheckpoint")) == 3
    assert found(log, "--principal", "nobody") == []
    assert found(log, "--principal", "others/test") == []
    assert found(log, "--principal", "payments/") == []
    assert found(log, "--outcome", "failed") == []
    assert len([each for each in found(log, "--outcome", "succeeded") if "TASK_ENDED" in each]) == 2
    # It was deleted with its vault, which nobody has named with it.
    about = found(log, "--resource", backup.id)
    assert sum("VaultService/DeleteVault" in each for each in about) == 3
    ended = [each for each in ends(tmp_path) if each["api"]["operation"].endswith("Checkpoint")]
    assert ended[0]["actor"]["user"]["name"] == "test"


@pytest.mark.parametrize(
    ("outcome", "status_id", "severity_id", "text"),
    [
        ("succeeded", 1, 1, "INFO"),
        ("skipped", 99, 3, "WARN"),
        ("partly_failed", 99, 3, "WARN"),
        ("timed_out", 2, 4, "ERROR"),
        ("failed", 2, 4, "ERROR"),
        ("gone", 0, 3, "WARN"),
    ],
)
def test_each_outcome_has_its_status_and_its_severity_also_at_the_collector(
    tmp_path, outcome, status_id, severity_id, text
):
    log = sink(tmp_path)
    task = Task(uid="t", type="BACKUP", outcome=outcome, code="C.1", policy="nightly")
    log.append([Entry(replace(ENDED, task=task).body())])
    log.close()
    (line,) = [
        each
        for each in (tmp_path / name_of(WRITER, 1)).read_bytes().splitlines()
        if b"TASK_ENDED" in each
    ]
    row = json.loads(line)
    assert (row["status_id"], row["severity_id"]) == (status_id, severity_id)
    shipped = _record(line)
    assert shipped.severity_text == text
    attributes = {each.key: each.value.string_value for each in shipped.attributes}
    assert attributes["cbrgateway.outcome"] == outcome
    assert attributes["cbrgateway.resource.vault"] == "v"
    assert attributes["cbrgateway.status_detail"].startswith("C.1: The task failed")
    assert f" {outcome} " in as_text(row)


@pytest.mark.parametrize(
    ("began", "ended", "took_ms"), [(98.5, 100.25, 1750), (0, 100, None), (100, 0, None)]
)
def test_how_long_work_took_is_told_where_cbr_tells_it(began, ended, took_ms):
    row = json.loads(replace(ENDED, began=began, ended=ended).body())
    assert row.get("duration") == took_ms


def test_work_is_searched_by_when_it_ended_and_when_it_was_written_down(tmp_path):
    log = sink(tmp_path)
    log.append([Entry(ENDED.body())])
    log.close()
    for options, count in (
        (("--since", "2023-11-14T22:13:20Z", "--until", "2023-11-14T22:13:21Z"), 1),
        # It ended long ago, and was written down now, as after an outage.
        (("--since", "1h"), 1),
        (("--since", "1h", "--outcome", "skipped", "--outcome", "failed"), 1),
        (("--since", "1h", "--outcome", "failed", "--outcome", "skipped"), 1),
        (("--until", "2023-11-14T22:13:20Z"), 0),
        (("--since", "2023-11-15T00:00Z", "--until", "2023-11-16T00:00Z"), 0),
    ):
        assert len(found(tmp_path, *options)) == count, options
    log = sink(tmp_path, writer="there")
    log.append([entry(number) for number in range(3)])
    log.close()
    shown = CliRunner().invoke(main, ["audit", "tail", str(tmp_path), "--outcome", "failed"])
    assert [line.split()[1] for line in shown.output.splitlines()] == ["TASK_ENDED"]
    wrong = CliRunner().invoke(main, ["audit", "query", str(tmp_path), "--outcome", "bad"])
    assert (wrong.exit_code, "is no outcome. Write one of succeeded" in wrong.output) == (2, True)


async def test_what_cbr_left_out_of_a_backup_is_tied_to_the_call(tmp_path, capsys):
    sections = {"watch": FAST, "tasks": {"settle_s": 5}}
    async with audited_gateway(tmp_path, sections=sections, pace=STILL) as world:
        payments = caller(world)
        held = await stage.vault(payments, 2)
        first = held.resources[0]
        busy = {"resource_details": [{"id": first.id, "type": first.type}]}
        spec = {"vault_id": held.id, "parameters": busy}
        await payments.ok("CheckpointService/CreateCheckpoint", {"checkpoint": spec})
        some = await payments.ok(
            "CheckpointService/CreateCheckpoint", {"checkpoint": {"vault_id": held.id}}
        )
        await until(lambda: ends(tmp_path))
    uid, log = some.submission.id, tmp_path / "log"
    (row,) = ends(tmp_path)
    assert (row["metadata"]["correlation_uid"], row["unmapped"]["task"]["submission"]) == (uid, uid)
    assert row["actor"]["user"]["name"] == "test"
    assert row["api"]["operation"] == "CheckpointService/CreateCheckpoint"
    about = {(each["type"], each["uid"]) for each in row["resources"]}
    assert about >= {("checkpoint", some.checkpoint.id), ("server", first.id)}
    by_call = found(log, "--call", uid)
    events = [line.split()[1] for line in by_call]
    assert events == ["CHANGE_INTENDED", "CHANGE_ENDED", "TASK_ENDED"]
    assert "left out by CBR: 1" in by_call[1]
    (line,) = found(log, "--call", uid, "--principal", "test", "--outcome", "skipped")
    assert "TASK_ENDED" in line
    (ended,) = [
        each for each in records(tmp_path, uid=uid) if each["unmapped"]["event"] == "CHANGE_ENDED"
    ]
    assert ended["unmapped"]["skipped_resources"] == {"count": 1, "uids": [first.id]}
    said = capsys.readouterr().out
    (warning,) = [each for each in said.splitlines() if "a task did not succeed" in each]
    assert uid in warning


async def test_what_cbr_left_out_is_told_also_where_the_caller_has_gone(tmp_path):
    rpc = "CheckpointService/CreateCheckpoint"

    def of_event(name):
        return [row for row in records(tmp_path) if row["unmapped"]["event"] == name]

    async with audited_gateway(tmp_path, sections={"watch": FAST}, pace=STILL) as world:
        payments = caller(world)
        held = await stage.vault(payments, 2)
        first = held.resources[0]
        busy = {"resource_details": [{"id": first.id, "type": first.type}]}
        await payments.ok(rpc, {"checkpoint": {"vault_id": held.id, "parameters": busy}})
        delayed = order(world, "delay", rpc, seconds=60)
        call = payments.start(rpc, {"checkpoint": {"vault_id": held.id}})
        await until(lambda: len(arrived(world, rpc)) == 2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: len(of_event("CHANGE_ENDED")) == 3)
        world.emulator.state.faults.release(delayed)
        await until(lambda: of_event("CHANGE_SETTLED"))
    (settled,) = of_event("CHANGE_SETTLED")
    assert settled["unmapped"]["skipped_resources"] == {"count": 1, "uids": [first.id]}
    assert "left out by CBR: 1" in as_text(settled)


async def test_what_two_calls_at_once_left_out_is_tied_to_neither_and_nothing_started_is_said(
    tmp_path,
):
    sections = {"watch": FAST, "tasks": {"settle_s": 5}}
    async with audited_gateway(tmp_path, sections=sections, pace=STILL) as world:
        payments = caller(world)
        held = await stage.vault(payments, 1)
        wish = {"checkpoint": {"vault_id": held.id}}
        await payments.ok("CheckpointService/CreateCheckpoint", wish)
        calls = [payments.ok("CheckpointService/CreateCheckpoint", wish) for _ in range(2)]
        both = [each.submission.id for each in await asyncio.gather(*calls)]
        await until(lambda: len(ends(tmp_path)) == 2)
    assert all("correlation_uid" not in row["metadata"] for row in ends(tmp_path))
    for uid in both:
        ended = records(tmp_path, uid=uid)[-1]
        left_out = {"count": 1, "uids": [held.resources[0].id], "all": True}
        assert ended["unmapped"]["skipped_resources"] == left_out
        assert "left out by CBR: 1, nothing was started" in as_text(ended)

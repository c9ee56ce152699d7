"""All who want to know how work ends read what one poll of its project brought."""

from cbrgateway.v1 import backup_pb2

from emulator.transitions import Mode, Pace
from tests.audit.scenes import audited_gateway, records
from tests.functional.calls import Failure, arrived, caller, until
from tests.tasks.works import FAST, Scene, finish
from tests.watch.streams import watching

LIST = "TaskService/ListTasks"
INTERVALS = 7
SECTIONS = {
    "limits": [{"metric": "concurrent_restores", "level": "tenant", "value": 1}],
    "quota": {"markers": False},
    "tasks": FAST,
    "watch": {"busy_s": 0.5, "idle_s": 0.5, "linger_s": 0.1},
}


def ended(tmp_path):
    return [
        row["unmapped"]["task"]["uid"]
        for row in records(tmp_path)
        if row["unmapped"]["event"] == "TASK_ENDED"
    ]


async def test_a_restore_that_all_wait_for_costs_one_list_in_each_interval(tmp_path):
    """A stream, the audit log, a slot and a submission: four that want to know its end."""
    pace = Pace(Mode.TIME, duration_s=3600)
    async with audited_gateway(tmp_path, sections=SECTIONS, pace=pace) as world:
        scene = Scene(world)
        backup = await scene.backup()
        restore = backup_pb2.RestoreBackupRequest(
            backup_id=backup.id, restore={"server_id": backup.resource_id}
        )
        async with watching(world) as seen:
            await seen.until("snapshot_end")
            answer = await scene.call(scene.backups.RestoreBackup, restore)
            (task_id,) = answer.submission.task_ids
            await until(lambda: task_id in seen.tasks("update"))
            world.emulator.state.truth.clear()
            await until(lambda: len(arrived(world, LIST)) >= INTERVALS, 30)
            assert {entry.operation for entry in arrived(world)} == {"ListOpLogs"}
            finish(world)
            await until(lambda: task_id in seen.tasks("terminal"))
        await until(lambda: ended(tmp_path).count(task_id) == 1)
        again = caller(world)
        assert not isinstance(await again("BackupService/RestoreBackup", restore), Failure)

"""How work moves: at once, by reads, by time; and what its objects show meanwhile."""

import httpx
import pytest

from emulator.transitions import progress, stage
from tests.emulator.conftest import Caller, control


@pytest.mark.parametrize(
    ("share", "status", "percent"),
    [
        (0.0, "waiting", 0),
        (0.09, "waiting", 0),
        (0.1, "running", 10),
        (0.999, "running", 99),
        (1.0, None, 99),
    ],
)
def test_stages(share: float, status: str | None, percent: int):
    assert stage(share) == status
    assert progress(share) == percent


async def log(payments: Caller) -> tuple[str, int]:
    newest = (await payments.ok("GET", "/operation-logs"))["operation_logs"][0]
    return newest["status"], newest["extra_info"]["common"]["progress"]


async def start(payments: Caller) -> tuple[str, str]:
    vault = await payments.vault()
    body = {"checkpoint": {"vault_id": vault["id"], "parameters": {"name": "c"}}}
    return vault["id"], (await payments.ok("POST", "/checkpoints", body))["checkpoint"]["id"]


async def test_immediate_work_is_done_at_the_next_look(payments: Caller):
    _, checkpoint_id = await start(payments)
    assert (await payments.ok("GET", f"/checkpoints/{checkpoint_id}"))["checkpoint"][
        "status"
    ] == "available"


async def test_work_by_reads_counts_looks_at_the_log_and_at_its_objects(
    http: httpx.AsyncClient, payments: Caller
):
    await control(http, "POST", "/transitions", {"mode": "reads", "reads": 4})
    _, checkpoint_id = await start(payments)
    assert await log(payments) == ("running", 25)
    assert (await payments.ok("GET", f"/checkpoints/{checkpoint_id}"))["checkpoint"][
        "status"
    ] == "protecting"
    assert await log(payments) == ("running", 75)
    assert await log(payments) == ("success", 100)


async def test_work_by_time_follows_the_stepped_clock(http: httpx.AsyncClient, payments: Caller):
    await control(http, "POST", "/clock", {"frozen": True})
    await control(http, "POST", "/transitions", {"mode": "time", "duration_s": 10})
    vault_id, _ = await start(payments)
    assert await log(payments) == ("waiting", 0)
    assert (await payments.ok("GET", "/backups"))["backups"][0]["status"] == "waiting_protect"
    await control(http, "POST", "/clock", {"step_s": 5})
    assert await log(payments) == ("running", 50)
    assert (await payments.ok("GET", "/backups"))["backups"][0]["status"] == "protecting"
    resource = (await payments.ok("GET", f"/vaults/{vault_id}"))["vault"]["resources"][0]
    assert resource["protect_status"] == "protecting"
    await control(http, "POST", "/clock", {"step_s": 5})
    assert await log(payments) == ("success", 100)
    backup = (await payments.ok("GET", "/backups"))["backups"][0]
    assert (backup["status"], backup["protected_at"] is not None) == ("available", True)


async def test_a_change_of_pace_takes_along_what_is_under_way(
    http: httpx.AsyncClient, payments: Caller
):
    await control(http, "POST", "/transitions", {"mode": "time", "duration_s": 3600})
    await start(payments)
    assert await log(payments) == ("waiting", 0)
    await control(http, "POST", "/transitions", {"mode": "immediate"})
    assert await log(payments) == ("success", 100)


async def test_a_busy_resource_is_skipped_and_cannot_be_restored(
    http: httpx.AsyncClient, payments: Caller
):
    vault = await payments.vault()
    backup = await payments.backup(vault["id"], name="first")
    await control(http, "POST", "/transitions", {"mode": "time", "duration_s": 3600})
    body = {"checkpoint": {"vault_id": vault["id"]}}
    await payments.ok("POST", "/checkpoints", body)
    again = (await payments.ok("POST", "/checkpoints", body))["checkpoint"]
    assert [each["code"] for each in again["vault"]["skipped_resources"]] == ["BackupService.6125"]
    assert (await log(payments))[0] == "skipped"
    restore = {"restore": {"server_id": vault["resources"][0]["id"]}}
    status, refusal = await payments("POST", f"/backups/{backup['id']}/restore", restore)
    assert (status, refusal["error_code"]) == (400, "BackupService.2002")


async def test_a_restore_names_its_log(payments: Caller):
    vault = await payments.vault()
    backup = await payments.backup(vault["id"])
    restore = {"restore": {"server_id": vault["resources"][0]["id"]}}
    status, answer = await payments("POST", f"/backups/{backup['id']}/restore", restore)
    assert status == 202
    shown = (await payments.ok("GET", f"/operation-logs/{answer['job_id']}"))["operation_log"]
    assert (shown["operation_type"], shown["status"]) == ("restore", "success")


async def test_deleting_a_vault_takes_its_backups_along(http: httpx.AsyncClient, payments: Caller):
    vault = await payments.vault()
    backup = await payments.backup(vault["id"])
    await control(http, "POST", "/transitions", {"mode": "reads", "reads": 2})
    await payments.ok("DELETE", f"/vaults/{vault['id']}")
    assert (await payments("DELETE", f"/vaults/{vault['id']}"))[1][
        "error_code"
    ] == "BackupService.6203"
    shown = await payments.ok("GET", f"/vaults/{vault['id']}")
    assert shown["vault"]["billing"]["status"] == "deleting"
    assert (await payments("GET", f"/vaults/{vault['id']}"))[1][
        "error_code"
    ] == "BackupService.6105"
    assert (await payments("GET", f"/backups/{backup['id']}"))[1][
        "error_code"
    ] == "BackupService.6200"
    assert (await log(payments)) == ("success", 100)
    newest = (await payments.ok("GET", "/operation-logs?operation_type=vault_delete"))[
        "operation_logs"
    ][0]
    counts = {"fail_count": 0, "total_count": 1, "fail_delete_count": 0, "total_delete_count": 1}
    assert newest["extra_info"]["vault_delete"] == counts


async def test_logs_say_null_or_nothing_where_they_know_no_more_of_the_resource(
    payments: Caller, standby: Caller
):
    far = await standby.vault(servers=0, billing={"protect_type": "replication"})
    backup = await payments.backup((await payments.vault())["id"])
    place = {
        "destination_project_id": standby.project_id,
        "destination_region": "cn-east-3",
        "destination_vault_id": far["id"],
    }
    await payments.ok("POST", f"/backups/{backup['id']}/replicate", {"replicate": place})
    await payments.ok("DELETE", f"/backups/{backup['id']}")
    logs = (await payments.ok("GET", "/operation-logs"))["operation_logs"]
    shown = {
        each["operation_type"]: each["extra_info"]["resource"].get("extra_info", "absent")
        for each in logs
    }
    assert shown == {"backup": None, "replication": "absent", "delete": None}


async def test_a_policy_run_backs_up_and_prunes(http: httpx.AsyncClient, payments: Caller):
    properties = {"pattern": ["FREQ=DAILY;INTERVAL=1;BYHOUR=6;BYMINUTE=00"]}
    body = {
        "policy": {
            "name": "p",
            "operation_type": "backup",
            "operation_definition": {"max_backups": 2},
            "trigger": {"properties": properties},
        }
    }
    policy_id = (await payments.ok("POST", "/policies", body))["policy"]["id"]
    vault = await payments.vault(backup_policy_id=policy_id)
    for _ in range(3):
        started = (await control(http, "POST", f"/policies/{policy_id}/run"))["operation_log_ids"]
        shown = (await payments.ok("GET", f"/operation-logs/{started[0]}"))["operation_log"]
        assert (shown["policy_id"], shown["operation_type"], shown["status"]) == (
            policy_id,
            "backup",
            "success",
        )
    assert (await payments.ok("GET", f"/backups?vault_id={vault['id']}"))["count"] == 2
    deletes = (await payments.ok("GET", "/operation-logs?operation_type=delete"))["operation_logs"]
    assert [each["policy_id"] for each in deletes] == [policy_id]


async def test_an_update_replaces_what_a_policy_keeps(payments: Caller):
    properties = {"pattern": ["FREQ=DAILY;INTERVAL=1;BYHOUR=6;BYMINUTE=00"]}
    body = {
        "name": "p",
        "operation_type": "backup",
        "operation_definition": {"retention_duration_days": 20},
        "trigger": {"properties": properties},
    }
    policy_id = (await payments.ok("POST", "/policies", {"policy": body}))["policy"]["id"]
    changed = await payments.ok(
        "PUT", f"/policies/{policy_id}", {"policy": {"operation_definition": {"max_backups": 5}}}
    )
    assert changed["policy"]["operation_definition"]["max_backups"] == 5
    assert changed["policy"]["operation_definition"].get("retention_duration_days", -1) == -1

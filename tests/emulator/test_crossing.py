"""What crosses projects: shares, replicas, pre-paid orders that wait."""

import httpx
import pytest

from emulator.settings import (
    ACCESS_KEY,
    SECOND_ACCESS_KEY,
    SECOND_SECRET_KEY,
    SECRET_KEY,
    STANDBY_PROJECT_ID,
)
from tests.emulator.conftest import Caller, Signed, control


async def share(owner: Caller, recipient: Caller) -> str:
    vault = await owner.vault()
    backup = await owner.backup(vault["id"])
    await owner.ok("POST", f"/backups/{backup['id']}/members", {"members": [recipient.project_id]})
    return str(backup["id"])


async def code(caller: Caller, method: str, path: str, body: object = None) -> str:
    status, payload = await caller(method, path, body)
    assert status >= 400
    return str(payload["error_code"])


async def test_a_share_across_accounts_is_seen_accepted_and_taken_back(
    payments: Caller, research: Caller
):
    backup_id = await share(payments, research)
    pending = await research.ok("GET", "/backups?own_type=shared&member_status=pending")
    assert [each["id"] for each in pending["backups"]] == [backup_id]
    assert (await research.ok("GET", "/backups"))["count"] == 0
    assert (await research.ok("GET", f"/backups/{backup_id}"))["backup"][
        "project_id"
    ] == payments.project_id
    member = f"/backups/{backup_id}/members/{research.project_id}"
    assert await code(research, "PUT", member, {"status": "accepted"}) == "BackupService.6706"
    vault = await research.vault(servers=0)
    accepted = await research.ok("PUT", member, {"status": "accepted", "vault_id": vault["id"]})
    assert (accepted["member"]["status"], accepted["member"]["vault_id"]) == (
        "accepted",
        vault["id"],
    )
    seen = (await research.ok("GET", f"/backups/{backup_id}"))["backup"]
    assert {each["vault_id"] for each in (seen, *seen["children"])} == {vault["id"]}
    assert (await research.ok("GET", f"/backups?own_type=shared&vault_id={vault['id']}"))[
        "backups"
    ][0]["vault_id"] == vault["id"]
    assert (await payments.ok("GET", f"/backups/{backup_id}"))["backup"]["vault_id"] != vault["id"]
    await payments.ok("DELETE", member)
    assert await code(research, "GET", f"/backups/{backup_id}") == "BackupService.6200"


async def test_a_rejected_share_is_out_of_sight(payments: Caller, databases: Caller):
    backup_id = await share(payments, databases)
    member = f"/backups/{backup_id}/members/{databases.project_id}"
    await databases.ok("PUT", member, {"status": "rejected"})
    assert (await databases.ok("GET", "/backups?own_type=shared"))["count"] == 0
    assert (await payments.ok("GET", f"/backups/{backup_id}/members"))["members"][0][
        "status"
    ] == "rejected"


async def test_only_the_recipient_answers_and_only_once_offered(
    payments: Caller, databases: Caller, standby: Caller
):
    backup_id = await share(payments, databases)
    members = f"/backups/{backup_id}/members"
    accept = {"status": "rejected"}
    assert (
        await code(payments, "PUT", f"{members}/{databases.project_id}", accept)
        == "BackupService.6706"
    )
    assert (
        await code(payments, "POST", members, {"members": [databases.project_id]})
        == "BackupService.6703"
    )
    assert (
        await code(payments, "POST", members, {"members": [standby.project_id]})
        == "BackupService.6704"
    )
    assert await code(standby, "GET", members) == "BackupService.6200"
    assert await code(payments, "GET", f"{members}/{standby.project_id}") == "BackupService.6705"


async def replica_place(standby: Caller, kind: str = "server") -> dict[str, str]:
    vault = await standby.vault(
        servers=0, billing={"protect_type": "replication", "object_type": kind}
    )
    return {
        "destination_project_id": STANDBY_PROJECT_ID,
        "destination_region": "cn-east-3",
        "destination_vault_id": vault["id"],
    }


async def test_a_replica_appears_in_the_other_region(
    http: httpx.AsyncClient, payments: Caller, standby: Caller
):
    place = await replica_place(standby)
    vault = await payments.vault()
    backup = await payments.backup(vault["id"])
    await control(http, "POST", "/transitions", {"mode": "reads", "reads": 2})
    path = f"/backups/{backup['id']}/replicate"
    await payments.ok("POST", path, {"replicate": place})
    assert (await standby.ok("GET", "/backups"))["count"] == 0
    shown = (await payments.ok("GET", f"/backups/{backup['id']}"))["backup"]["replication_records"][
        0
    ]
    assert (shown["status"], shown["extra_info"]["progress"]) == ("replicating", 50)
    log = (await payments.ok("GET", "/operation-logs?operation_type=replication"))[
        "operation_logs"
    ][0]
    assert (log["status"], log["extra_info"]["replication"]["source_backup_id"]) == (
        "success",
        backup["id"],
    )
    replica = (await standby.ok("GET", "/backups?image_type=replication"))["backups"][0]
    assert replica["id"] == shown["destination_backup_id"]
    bound = (await standby.ok("GET", f"/vaults/{place['destination_vault_id']}"))["vault"][
        "resources"
    ][0]
    assert (bound["protect_status"], bound["backup_count"]) == (None, 1)
    assert await code(payments, "POST", path, {"replicate": place}) == "BackupService.1009"
    back = {
        **place,
        "destination_project_id": payments.project_id,
        "destination_region": "cn-north-4",
    }
    assert (await standby("POST", f"/backups/{replica['id']}/replicate", {"replicate": back}))[
        0
    ] == 400


async def test_file_systems_replicate_into_a_vault_of_their_kind(
    http: httpx.AsyncClient, payments: Caller, standby: Caller
):
    place = await replica_place(standby, "turbo")
    shown = (await standby.ok("GET", f"/vaults/{place['destination_vault_id']}"))["vault"]
    assert shown["billing"]["spec_code"] == "vault.replication.turbo.normal"
    share = (await payments.ok("GET", "/protectables/turbo/instances"))["instances"][0]
    wish = [{"id": share["id"], "type": share["type"]}]
    vault = await payments.vault(billing={"object_type": "turbo"}, resources=wish)
    await payments.backup(vault["id"])
    trigger = {"properties": {"pattern": ["FREQ=DAILY;INTERVAL=1;BYHOUR=6;BYMINUTE=00"]}}
    definition = {
        name: place[name] for name in ("destination_project_id", "destination_region")
    } | {"retention_duration_days": 3}
    policy = {
        "name": "p",
        "operation_type": "replication",
        "operation_definition": definition,
        "trigger": trigger,
    }
    made = (await payments.ok("POST", "/policies", {"policy": policy}))["policy"]
    bound = {"policy_id": made["id"], "destination_vault_id": place["destination_vault_id"]}
    await payments.ok("POST", f"/vaults/{vault['id']}/associatepolicy", bound)
    await control(http, "POST", f"/policies/{made['id']}/run")
    assert (await standby.ok("GET", "/backups?image_type=replication"))["backups"][0][
        "resource_type"
    ] == "OS::Sfs::Turbo"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"destination_region": "cn-south-1"}, "1005"),
        ({"destination_project_id": "f" * 32}, "1011"),
        ({"destination_vault_id": "00000000-0000-4000-8000-000000000000"}, "6120"),
    ],
)
async def test_a_wrong_destination_is_refused(payments: Caller, standby: Caller, change, expected):
    place = await replica_place(standby) | change
    backup = await payments.backup((await payments.vault())["id"])
    refused = await code(
        payments, "POST", f"/backups/{backup['id']}/replicate", {"replicate": place}
    )
    assert refused == f"BackupService.{expected}"


async def test_a_replication_policy_copies_what_is_new(
    http: httpx.AsyncClient, payments: Caller, standby: Caller
):
    place = await replica_place(standby)
    definition = {name: place[name] for name in ("destination_project_id", "destination_region")}
    properties = {"pattern": ["FREQ=WEEKLY;BYDAY=MO;BYHOUR=1;BYMINUTE=30"]}
    body = {
        "name": "far",
        "operation_type": "replication",
        "operation_definition": definition,
        "trigger": {"properties": properties},
    }
    policy = (await payments.ok("POST", "/policies", {"policy": body}))["policy"]
    vault = await payments.vault()
    binding = {"policy_id": policy["id"], "destination_vault_id": place["destination_vault_id"]}
    await payments.ok("POST", f"/vaults/{vault['id']}/associatepolicy", binding)
    await payments.backup(vault["id"])
    for expected in (1, 0):
        run = await control(http, "POST", f"/policies/{policy['id']}/run")
        assert len(run["operation_log_ids"]) == expected
    assert (await standby.ok("GET", "/backups"))["count"] == 1


async def told_by_the_billing_centre(
    http: httpx.AsyncClient, line: dict[str, str], status: int
) -> None:
    path = f"/v2/orders/customer-orders/details/{line['orderId']}"
    told = (await http.get(path, auth=Signed(ACCESS_KEY, SECRET_KEY))).json()
    assert (told["order_info"]["status"], told["order_line_items"][0]["resource_id"]) == (
        status,
        line["resourceId"],
    )
    refused = await http.get(path, auth=Signed(SECOND_ACCESS_KEY, SECOND_SECRET_KEY))
    assert (refused.status_code, refused.json()["error_code"]) == (400, "CBC.0100")


async def test_an_unpaid_order_holds_its_vault_back(http: httpx.AsyncClient, payments: Caller):
    billing = {
        "consistent_level": "crash_consistent",
        "object_type": "server",
        "protect_type": "backup",
        "size": 100,
        "charging_mode": "pre_paid",
        "period_type": "month",
        "period_num": 1,
    }
    body = {"vault": {"name": "bought", "billing": billing, "resources": []}}
    line = (await payments.ok("POST", "/vaults", body))["orders"][0]
    assert (await payments("GET", f"/vaults/{line['resourceId']}"))[0] == 404
    await told_by_the_billing_centre(http, line, 6)
    assert await control(http, "POST", f"/orders/{line['orderId']}/pay") == {
        "vault_id": line["resourceId"]
    }
    assert (await payments.ok("GET", f"/vaults/{line['resourceId']}"))["vault"]["billing"][
        "order_id"
    ] == line["orderId"]
    await told_by_the_billing_centre(http, line, 5)

"""What the service refuses: resources that do not fit, sizes, words, unknown paths and ids."""

from collections.abc import AsyncIterator

import httpx
import pytest

from emulator.server import running_emulator
from emulator.settings import PAYMENTS_PROJECT_ID
from emulator.transitions import Mode, Pace
from tests.emulator.conftest import Caller, control


async def refusal(caller: Caller, method: str, path: str, body: object = None) -> tuple[int, str]:
    status, payload = await caller(method, path, body)
    return status, payload["error_code"]


async def resource(payments: Caller, kind: str = "server", index: int = 0) -> dict[str, str]:
    item = (await payments.ok("GET", f"/protectables/{kind}/instances"))["instances"][index]
    return {"id": item["id"], "type": item["type"]}


async def test_binding_refuses_what_does_not_fit(payments: Caller):
    first, second = await payments.vault(), await payments.vault(servers=0)
    path = f"/vaults/{second['id']}/addresources"
    server, disk = await resource(payments, index=2), await resource(payments, "disk")
    taken = {"id": first["resources"][0]["id"], "type": server["type"]}
    unknown = {"id": "00000000-0000-4000-8000-000000000000", "type": server["type"]}
    for resources, status, code in (
        ([disk], 400, 6102),
        ([taken], 400, 6103),
        ([server, server], 400, 6104),
        ([unknown], 404, 6302),
    ):
        assert await refusal(payments, "POST", path, {"resources": resources}) == (
            status,
            f"BackupService.{code}",
        )
    assert (await payments.ok("GET", f"/vaults/{second['id']}"))["vault"]["resources"] == []


async def test_a_diskless_server_says_why_it_cannot_be_protected(payments: Caller):
    found = (await payments.ok("GET", "/protectables/server/instances?name=diskless"))["instances"][
        0
    ]
    assert (found["protectable"]["result"], found["protectable"]["code"]) == (
        False,
        "BackupService.7108",
    )
    vault = await payments.vault(servers=0)
    body = {"resources": [{"id": found["id"], "type": found["type"]}]}
    assert await refusal(payments, "POST", f"/vaults/{vault['id']}/addresources", body) == (
        400,
        "BackupService.7108",
    )


@pytest.mark.parametrize("rules", [{}, {"bind_rules": {}}, {"bind_rules": {"tags": []}}])
async def test_binding_by_tags_takes_a_vault_without_tags(
    payments: Caller, rules: dict[str, object]
):
    billing = {
        "consistent_level": "crash_consistent",
        "object_type": "server",
        "protect_type": "backup",
        "size": 100,
    }
    vault = {"name": "v", "billing": billing, "resources": [], "auto_bind": True}
    assert (await payments.ok("POST", "/vaults", {"vault": vault | rules}))["vault"]["auto_bind"]
    tags = {"bind_rules": {"tags": [{"key": "k", "value": "v"}]}}
    assert (await payments.ok("POST", "/vaults", {"vault": vault | tags}))["vault"]["auto_bind"]


async def test_a_vault_takes_more_than_its_size(payments: Caller):
    vault = await payments.vault(servers=2, billing={"size": 10})
    assert (vault["billing"]["size"], vault["billing"]["allocated"]) == (10, 280)
    path, server = f"/vaults/{vault['id']}", await resource(payments, index=2)
    await payments.ok("POST", f"{path}/addresources", {"resources": [server]})
    assert (await payments.ok("PUT", path, {"vault": {"billing": {"size": 20}}}))["vault"][
        "billing"
    ]["size"] == 20
    other = await payments.vault(servers=0, billing={"size": 10})
    move = {"destination_vault_id": other["id"], "resource_ids": [server["id"]]}
    assert (await payments.ok("POST", f"{path}/migrateresources", move))["migrated_resources"] == [
        server["id"]
    ]


@pytest.fixture
async def strict() -> AsyncIterator[Caller]:
    async with (
        running_emulator(pace=Pace(Mode.IMMEDIATE), strict_capacity=True) as running,
        httpx.AsyncClient(base_url=running.base_url) as http,
    ):
        yield Caller(http, PAYMENTS_PROJECT_ID)


async def test_capacity_is_kept_if_told_so(strict: Caller):
    payments = strict
    vault = await payments.vault(billing={"size": 150})
    path = f"/vaults/{vault['id']}"
    server = await resource(payments, index=1)
    assert await refusal(payments, "POST", f"{path}/addresources", {"resources": [server]}) == (
        400,
        "BackupService.6108",
    )
    smaller = {"vault": {"billing": {"size": 100}}}
    assert await refusal(payments, "PUT", path, smaller) == (400, "BackupService.6101")
    await payments.ok("PUT", path, {"vault": {"auto_expand": True}})
    await payments.ok("POST", f"{path}/addresources", {"resources": [server]})
    assert (await payments.ok("GET", path))["vault"]["billing"]["size"] == 280


async def test_excluded_disks_neither_count_nor_are_backed_up(payments: Caller):
    server = (await payments.servers())[0]
    wish = {
        "id": server["id"],
        "type": server["type"],
        "extra_info": {"exclude_volumes": [server["children"][1]["id"]]},
    }
    vault = await payments.vault(servers=0, resources=[wish])
    assert vault["billing"]["allocated"] == 40
    backup = await payments.backup(vault["id"])
    assert len((await payments.ok("GET", f"/backups/{backup['id']}"))["backup"]["children"]) == 1
    (log,) = (await payments.ok("GET", "/operation-logs"))["operation_logs"]
    assert log["extra_info"]["resource"]["extra_info"] is None


async def test_a_second_binding_changes_the_disks_that_are_left_out(payments: Caller):
    server = (await payments.servers())[0]
    wish = {"id": server["id"], "type": server["type"]}
    vault = await payments.vault(servers=0, resources=[wish])
    path, without = f"/vaults/{vault['id']}", {"exclude_volumes": [server["children"][1]["id"]]}
    await payments.ok(
        "PUT", f"{path}/set-resources", {"resource_ids": [server["id"]], "action": "suspend"}
    )
    for extra, allocated in ((without, 40), ({"exclude_volumes": []}, 140)):
        body = {"resources": [wish | {"extra_info": extra}]}
        assert await payments.ok("POST", f"{path}/addresources", body) == {
            "add_resource_ids": [server["id"]]
        }
        shown = (await payments.ok("GET", path))["vault"]
        assert (shown["billing"]["allocated"], shown["resources"][0]["extra_info"]) == (
            allocated,
            extra,
        )
        assert not shown["resources"][0]["auto_protect"]
        assert await refusal(payments, "POST", f"{path}/addresources", body) == (
            400,
            "BackupService.6103",
        )


async def test_a_server_that_was_deleted_stays_in_its_vault_as_deleted(
    http: httpx.AsyncClient, payments: Caller
):
    vault = await payments.vault(servers=2)
    gone, left = (each["id"] for each in vault["resources"])
    await control(http, "DELETE", f"/resources/{gone}")
    assert (await http.delete(f"/_emulator/resources/{gone}")).status_code == 404
    assert await refusal(payments, "GET", f"/protectables/server/instances/{gone}") == (
        404,
        "BackupService.7100",
    )
    made = (await payments.ok("POST", "/checkpoints", {"checkpoint": {"vault_id": vault["id"]}}))[
        "checkpoint"
    ]["vault"]
    assert [each["id"] for each in made["resources"]] == [left]
    assert [each["id"] for each in made["skipped_resources"]] == [gone]
    shown = (await payments.ok("GET", f"/vaults/{vault['id']}"))["vault"]["resources"]
    assert {each["id"]: each["protect_status"] for each in shown} == {
        gone: "deleted",
        left: "available",
    }


async def test_a_locked_vault_says_that_its_locked_attribute_stays(payments: Caller):
    vault = await payments.vault(locked=True)
    status, refused = await payments("PUT", f"/vaults/{vault['id']}", {"vault": {"locked": False}})
    assert (status, "the locked attribute" in refused["error_msg"]) == (400, True)


GOOD = {
    "consistent_level": "crash_consistent",
    "object_type": "server",
    "protect_type": "backup",
    "size": 100,
}


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"name": "with space"}, "vault.name"),
        ({"name": "x" * 65}, "vault.name"),
        ({"billing": {**GOOD, "size": 9}}, "vault.billing.size"),
        ({"billing": {**GOOD, "size": "100"}}, "vault.billing.size"),
        ({"billing": {**GOOD, "object_type": "magic"}}, "vault.billing.object_type"),
        ({"billing": {"size": 100}}, "vault.billing.consistent_level"),
        ({"tags": [{"key": "a=b", "value": ""}]}, "vault.tags[0].key"),
        ({"surprise": 1}, "vault.surprise"),
        ({"billing": {**GOOD, "charging_mode": "pre_paid"}}, "vault.billing.period_num"),
    ],
)
async def test_a_bad_body_is_refused_by_name(
    payments: Caller, change: dict[str, object], name: str
):
    body = {"vault": {"name": "v", "billing": GOOD, "resources": []} | change}
    status, refused = await payments("POST", "/vaults", body)
    assert (status, refused["error_code"]) == (400, "BackupService.9900")
    assert name in refused["error_msg"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/vaultz", 404),
        ("PATCH", "/vaults", 404),
        ("GET", "/vaults/", 404),
        ("POST", "/vaults/summary", 404),
    ],
)
async def test_unknown_paths_are_unknown_to_the_gateway(
    payments: Caller, method: str, path: str, status: int
):
    assert await refusal(payments, method, path) == (status, "APIGW.0101")


async def test_literal_segments_beat_parameters(payments: Caller):
    assert await payments.ok("GET", "/vaults/summary") == {"size": 0, "used_size": 0}
    assert await payments.ok("GET", "/vault/tags") == {"tags": []}


async def test_gone_and_malformed_ids_differ(payments: Caller):
    gone = "00000000-0000-4000-8000-000000000000"
    assert await refusal(payments, "GET", f"/vaults/{gone}") == (404, "BackupService.6105")
    assert await refusal(payments, "GET", "/vaults/nonsense") == (400, "BackupService.9900")
    assert await refusal(payments, "GET", f"/backups/{gone}") == (404, "BackupService.6200")
    status, body = await payments("GET", "/backups/nonsense")
    assert (status, body) == (
        401,
        {"unauthorized": {"code": "401", "message": "Malformed request url"}},
    )
    assert await refusal(payments, "GET", f"/operation-logs/{gone}") == (404, "BackupService.6500")


async def test_an_unknown_feature_is_refused_with_a_bare_string(payments: Caller):
    assert await payments("GET", "/cbr-features/magic") == (400, "feature key is not supported")


async def test_objects_of_another_project_do_not_exist(payments: Caller, databases: Caller):
    vault = await payments.vault()
    assert await refusal(databases, "GET", f"/vaults/{vault['id']}") == (404, "BackupService.6105")
    assert (await databases.ok("GET", "/vaults"))["count"] == 0


async def test_an_image_guards_its_backup(http: httpx.AsyncClient, payments: Caller):
    vault = await payments.vault()
    backup = await payments.backup(vault["id"])
    await control(
        http, "POST", "/images", {"backup_id": backup["id"], "project_id": payments.project_id}
    )
    assert await refusal(payments, "DELETE", f"/backups/{backup['id']}") == (
        400,
        "BackupService.6204",
    )


async def test_replies_look_like_those_of_the_cloud(http: httpx.AsyncClient, payments: Caller):
    vault = await payments.vault()
    assert vault["created_at"].count("-") == 2
    assert len(vault["created_at"]) == 26
    observed = {
        "supplier",
        "cross_account",
        "cross_account_urn",
        "frozen",
        "cbc_delete_count",
        "demand_billing",
    }
    assert observed <= vault.keys()
    response = await http.get("/")
    assert (response.status_code, response.json()["versions"][0]["id"]) == (300, "v3")
    assert response.headers["server"] == "api-gateway"
    assert len(response.headers["x-request-id"]) == 32

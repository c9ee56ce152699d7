"""What people do, against a real gateway: from a vault to a restore, and what is asked before."""

import json
import re

import httpx
import pytest
import yaml
from cbrgateway.v1 import task_pb2

from cbrctl import names, run
from cbrctl.index import verb
from cbrctl.reports import LeftOut
from cbrctl.waiting import follow
from tests.cbrctl.conftest import BILLING

FREE = "[?protectable.result && !(protectable.vault)].id | [0]"


@pytest.fixture
def server(ok):
    found = ok("protectables", "list", "server", "--query", FREE).strip()
    assert found
    return found


@pytest.fixture
def vault(ctl, ok, server, request):
    """Its name; it holds a server."""
    name = re.sub(r"\W", "_", request.node.name)[-60:]
    ok(
        "vaults",
        "create",
        "--name",
        name,
        *BILLING,
        "--resources",
        f"id={server},type=OS::Nova::Server",
    )
    yield name
    ctl("vaults", "delete", name, "--force", "--yes", "--wait")


def rows(text):
    """A table as dictionaries."""
    head, *lines = (re.split(r" {2,}", line.strip()) for line in text.splitlines())
    return [dict(zip(head, line, strict=True)) for line in lines]


def test_back_up_wait_restore_and_delete(ctl, ok, vault):
    ended = ctl("backup", "now", vault, "--name", "mine", "--wait")
    assert (ended.exit_code, ended.stderr.splitlines()[-1]) == (0, "1 succeeded")
    (made,) = rows(ok("backups", "list", "--vault-id", vault))
    assert (made["NAME"], made["STATUS"]) == (f"mine_{made['RESOURCE_NAME']}", "available")
    restored = ctl("restore", made["ID"], "--yes", "--wait", "-o", "json")
    assert restored.exit_code == 0
    assert json.loads(restored.stdout)["submission"]["rpc"] == "BackupService/RestoreBackup"
    assert "restore " in restored.stderr
    (task,) = json.loads(
        ok("tasks", "list", "--type", "restore", "--vault-id", vault, "-o", "json")
    )
    assert task["status"] == "TASK_STATUS_SUCCEEDED"
    gone = ctl("vaults", "delete", vault, "--force", "--yes", "--wait")
    assert (gone.exit_code, gone.stderr.splitlines()[-1]) == (0, "1 succeeded")
    assert ctl("vaults", "get", vault).exit_code == 5


def test_without_wait_it_says_how_to_follow_the_work(ctl, ok, vault):
    started = ctl("backup", "now", vault)
    command = re.search(r"cbrctl (tasks watch --submission \w+)", started.stderr)
    assert command is not None
    assert ok(*command[1].split()).splitlines()[-1] == "1 succeeded"
    events = ok(*command[1].split(), "--json").splitlines()
    assert any("terminal" in json.loads(line) for line in events)


def test_work_that_fails_ends_with_1(ctl, dev, vault):
    fault = {
        "kind": "task_failed",
        "match": {"operation": "CreateCheckpoint"},
        "code": "BackupService.7102",
        "message": "stopped",
    }
    httpx.post(f"{dev.emulator}/_emulator/faults", json=fault).raise_for_status()
    ended = ctl("backup", "now", vault, "--wait")
    assert ended.exit_code == 1
    assert "1 failed" in ended.stderr


def test_every_form_of_output_holds_the_vault(ok, vault):
    whole = json.loads(ok("vaults", "get", vault, "-o", "json"))["vault"]
    assert (whole["name"], whole["billing"]["size_gib"]) == (vault, 200)
    listed = ("vaults", "list", "--name", vault)
    assert json.loads(ok(*listed, "-o", "json")) == [whole]
    assert yaml.safe_load(ok(*listed, "-o", "yaml")) == [whole]
    assert json.loads(ok(*listed, "-o", "jsonl")) == whole
    assert ok(*listed, "-o", "name") == f"{whole['id']}\n"
    assert rows(ok(*listed))[0]["SIZE_GIB"] == "200"
    assert "billing.size_gib" in ok(*listed, "-o", "csv").splitlines()[0]
    assert ok(*listed, "--query", "[?billing.size_gib > `100`].name") == f"{vault}\n"
    assert rows(ok(*listed, "--all-projects"))[0]["PROJECT_ID"] == whole["project_id"]


def test_an_answer_can_be_sent_back_from_a_file(ok, vault, tmp_path):
    (tmp_path / "update.yaml").write_text("vault: {threshold_percent: 55, auto_expand: true}\n")
    ok("vaults", "update", vault, "-f", str(tmp_path / "update.yaml"), "--no-auto-expand")
    whole = json.loads(ok("vaults", "get", vault, "-o", "json"))["vault"]
    assert (whole["threshold_percent"], whole["auto_expand"]) == (55, False)
    typed = "vault: {threshold_percent: 66}\n"
    ok("vaults", "update", vault, "-f", "-", input=typed)
    assert json.loads(ok("vaults", "get", vault, "-o", "json"))["vault"]["threshold_percent"] == 66


def test_a_name_stands_for_an_id_where_there_is_one_object_of_it(ctl, ok):
    made = [
        ok("vaults", "create", "--name", "twice", *BILLING, "-o", "name").strip() for _ in range(2)
    ]
    refused = ctl("vaults", "get", "twice")
    assert refused.exit_code == 2
    assert all(each in refused.stderr for each in made)
    ok("vaults", "delete", made[0], "--force", "--yes", "--wait")
    assert rows(ok("vaults", "get", "twice"))[0]["ID"] == made[1]
    ok("vaults", "delete", "twice", "--force", "--yes", "--wait")
    missing = ctl("vaults", "get", "twice")
    assert (missing.exit_code, "cbrctl vaults list" in missing.stderr) == (5, True)


def test_a_dry_run_tells_what_would_be_done_and_changes_nothing(ctl, ok, vault):
    ok("backup", "now", vault, "--wait")
    tried = ctl("vaults", "delete", vault, "--force", "--dry-run")
    assert (tried.exit_code, "Nothing was changed" in tried.stderr) == (0, True)
    assert "would send DELETE /v3/" in tried.stdout
    assert "1 backup would go with it" in tried.stdout
    whole = json.loads(ok("backup", "now", vault, "--dry-run", "-o", "json"))
    assert whole["validation"]["upstream_request"]["verb"] == "POST"
    assert len(rows(ok("backups", "list", "--vault-id", vault))) == 1
    refused = ctl("vaults", "create", "--name", "x", *BILLING[:-1], "5", "--dry-run")
    assert refused.exit_code == 2


def test_a_list_has_only_the_fields_that_are_asked_for(ok, vault):
    (row,) = json.loads(
        ok("vaults", "list", "--name", vault, "--read-mask", "id,billing.size_gib", "-o", "json")
    )
    assert (row["billing"]["size_gib"], row["name"]) == (200, "")


@pytest.mark.parametrize(
    ("mask", "output", "head"),
    [
        ("id,name", "table", "ID NAME"),
        ("description,id", "table", "DESCRIPTION ID"),
        ("id,billing.size_gib", "csv", "id,billing.size_gib"),
        ("resources", "table", "RESOURCES"),
        ("*", "csv", None),
    ],
)
def test_a_table_has_the_columns_that_are_asked_for(ok, vault, mask, output, head):
    listed = ("vaults", "list", "--name", vault, "-o", output)
    lines = ok(*listed, "--read-mask", mask).splitlines()
    whole = ok(*listed).splitlines()[0]
    assert len(lines) == 2
    assert lines[0].split() == (head or whole).split()
    of_all = ok(*listed, "--read-mask", mask, "--all-projects").splitlines()[0]
    assert of_all.lower().startswith("project_id")


def test_nothing_is_destroyed_where_nobody_can_be_asked(ctl, ok, vault):
    refused = ctl("vaults", "delete", vault)
    assert (refused.exit_code, "add --yes" in refused.stderr) == (2, True)
    assert "Deletes a vault with all its backups." in refused.stderr
    ok("vaults", "get", vault)


def test_a_change_that_is_repeated_by_its_request_id_is_made_once(ok):
    made = [
        ok("vaults", "create", "--name", "once", *BILLING, "--request-id", "once-1", "-o", "name")
        for _ in range(2)
    ]
    assert made[0] == made[1]
    ok("vaults", "delete", made[0].strip(), "--force", "--yes", "--wait")


def test_quota_callers_and_explain_answer(ok):
    assert ok("quota").startswith("NAME ")
    assert rows(ok("callers", "get"))[0]["TENANT"] == "payments"
    assert "Capacity in GiB, 10 to 10485760." in ok("explain", "VaultSpec.billing.size_gib")
    assert "VAULT_STATUS_AVAILABLE" in ok("explain", "VaultStatus")
    assert ok("explain", "vaults").startswith("Vault\n")
    assert (
        json.loads(ok("explain", "CreateVault", "--schema"))["$ref"] == "#/$defs/CreateVaultRequest"
    )


@pytest.mark.parametrize("what", ["Nothing", "VaultSpec.nothing", "VaultSpec.name.first"])
def test_what_cannot_be_explained_is_not_found(ctl, what):
    assert ctl("explain", what).exit_code == 5


class Paged:
    """A transport that answers pages of two rows."""

    def __init__(self, rows):
        self.rows, self.asked = rows, []

    def call(self, rpc, request):
        self.asked.append(request)
        start = int(request["page_token"] or 0)
        more = start + 2 < len(self.rows)
        return {"vaults": self.rows[start : start + 2], "next_page_token": str(start + 2) * more}


def test_a_list_is_read_page_by_page_and_no_further_than_asked():
    transport = Paged([{"id": str(number)} for number in range(7)])
    found = names.rows(transport, verb("vaults", "list"), {}, LeftOut())
    assert [next(found)["id"] for _ in range(3)] == ["0", "1", "2"]
    assert len(transport.asked) == 2
    assert [row["id"] for row in found] == ["3", "4", "5", "6"]


def test_interrupting_a_change_says_how_to_repeat_it():
    class Stopped:
        def call(self, rpc, request):
            raise KeyboardInterrupt

    request = {"vault": {}}
    with pytest.raises(run.Failed) as failed:
        run.called(verb("vaults", "create"), request, Stopped())
    assert failed.value.exit_code == 130
    assert f"--request-id {request['request_id']}" in failed.value.message


class Slow:
    """A gateway where work does not end."""

    def watch(self, request, reconnect_timeout_s, timeout_s=None):
        assert (request.filter.submission_ids, timeout_s) == (["s-1"], 5)
        yield task_pb2.WatchTasksResponse(
            update=task_pb2.TaskUpdate(
                task=task_pb2.Task(id="t", status=task_pb2.TASK_STATUS_RUNNING)
            )
        )
        raise TimeoutError


def test_a_wait_that_is_over_says_how_to_go_on(capsys):
    with pytest.raises(run.Failed) as failed:
        follow(Slow(), {"id": "s-1"}, wait=True, timeout_s=5)
    assert failed.value.exit_code == 1
    assert "in 5 s (1 running)" in failed.value.message
    assert failed.value.message.endswith("cbrctl tasks watch --submission s-1")


def test_what_a_guard_wants_is_told_as_a_flag(ctl, ok, vault):
    ok("backup", "now", vault, "--wait")
    ended = ctl("vaults", "delete", vault, "--yes")
    assert ended.exit_code == 3
    assert "VAULT_NOT_EMPTY" in ended.stderr
    assert "set `--force` if" in ended.stderr

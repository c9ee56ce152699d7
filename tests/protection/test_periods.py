"""GenerateReport: what became of the backups of a period, against the tasks in the emulators."""

import csv
import io
import json
import time
from collections import Counter

import pytest
from cbrgateway.v1 import protection_pb2
from google.protobuf import json_format

from emulator.tasks import Outcome, Task
from gateway.protection import documents
from tests.audit.scenes import audited_gateway, records
from tests.audit.test_task_records import FAST, scheduled
from tests.functional.calls import CATALOG, caller, message_for, until
from tests.protection.fleet import ALL, DAY_S, last_run, running_fleet
from tests.protection.test_reports import SIZE
from tests.watch.streams import STILL, end_task

REPORT, STREAM = "ProtectionService/GenerateReport", "ProtectionService/StreamReport"
FATES = {
    "fine": (7, 7, 0, 0),
    "no policy": (0, 7, 0, 0),
    "disabled": (0, 7, 0, 0),
    "disk excluded": (7, 7, 0, 0),
    "suspended": (0, 7, 0, 0),
    "failed": (7, 6, 1, 0),
    "skipped": (7, 6, 0, 0),
    "too old": (7, 3, 0, 4),
    "missed": (7, 5, 0, 2),
    "never": (7, 0, 0, 7),
}
"""Scheduled, done, failed and missed in a week with seven runs."""


@pytest.fixture(scope="module")
async def fleet():
    async with running_fleet() as made:
        yield made


@pytest.fixture
def period(fleet):
    """The week of the runs, up to when the last one cannot come any more."""
    last = last_run(fleet.now)
    end = last + 3600 if last + 3600 < fleet.now else last - 60
    return {"start_time": iso(last - 6 * DAY_S - 60), "end_time": iso(min(end, fleet.now))}


def iso(at):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


async def pages(call, **request):
    found, token = [], ""
    while not found or token:
        page = await call.ok(REPORT, {**request, "page_token": token})
        found.append(page)
        token = page.next_page_token
    return found


def bound(fleet):
    return {
        resource: vault
        for world in fleet.worlds()
        for vault in world.vaults.values()
        for resource in vault.resources
    }


def truth(fleet, request):
    """Backup tasks by resource and status, counted in the emulators."""
    found = {resource: Counter() for resource in bound(fleet)}
    for world in fleet.worlds():
        for task in world.tasks.log.values():
            begun = iso(task.created_at)
            if task.type == "backup" and request["start_time"] <= begun <= request["end_time"]:
                found[task.resource["id"]][task.status] += 1
    return found


async def test_each_resource_in_a_vault_has_a_row_with_what_its_tasks_say(fleet, period):
    found = await pages(fleet.caller(), **period, page_size=SIZE)
    rows = [row for page in found for row in page.rows]
    counted = truth(fleet, period)
    assert [row.resource_id for row in rows] == [row.resource_id for row in sorted_rows(rows)]
    assert {row.resource_id for row in rows} == set(counted)
    for row in rows:
        tasks = counted[row.resource_id]
        assert (row.done, row.failed) == (tasks["success"], tasks["failed"])
        assert row.skipped == tasks["skipped"]
        assert len(row.task_ids) == tasks.total()
        nothing_wrong = not (row.failed or row.skipped or row.missed)
        assert row.proven == (row.done > 0 and nothing_wrong)
    runs = 7 if period["end_time"] >= iso(last_run(fleet.now)) else 6
    if runs == 7:
        numbers = {
            row.resource_id: (row.scheduled, row.done, row.failed, row.missed) for row in rows
        }
        assert numbers == {each: FATES[fleet.fates[each]] for each in counted}
    first = found[0]
    assert first.total_size == len(rows)
    assert first.totals.resources == len(rows)
    assert first.totals.done == sum(tasks["success"] for tasks in counted.values())
    assert first.totals.missed == sum(row.missed for row in rows)
    assert first.totals.skipped == sum(tasks["skipped"] for tasks in counted.values())
    assert first.totals.proven == sum(row.proven for row in rows)
    assert (first.audit.searched, bool(first.audit.problem)) == (False, True)


async def test_a_run_right_after_the_period_counts_for_the_next_one(fleet):
    """Within the grace of late runs, too."""
    end = last_run(fleet.now) - 60
    request = {"start_time": iso(end - 6 * DAY_S), "end_time": iso(end), "page_size": 200}
    rows = [row for page in await pages(fleet.caller(), **request) for row in page.rows]
    counted = truth(fleet, request)
    assert rows
    for row in rows:
        tasks = counted[row.resource_id]
        assert (row.done, row.failed) == (tasks["success"], tasks["failed"])
        assert len(row.task_ids) == tasks.total()


def sorted_rows(rows):
    return sorted(rows, key=lambda row: (row.project, row.resource_id))


async def test_gaps_and_what_they_mean_for_the_rpo(fleet, period):
    request = {**period, "page_size": 200, "rpo": f"{2 * DAY_S:.0f}s"}
    rows = [row for page in await pages(fleet.caller(), **request) for row in page.rows]
    gaps = {row.resource_id: row.longest_gap.seconds for row in rows}
    missed = fleet.with_fate("missed")
    assert {gaps[each] for each in missed} == {3 * DAY_S}
    assert {row.resource_id for row in rows if not row.rpo_met} == missed | fleet.with_fate(
        "too old", "never"
    )
    assert all(len(row.missed_times) == row.missed for row in rows)


async def test_the_grace_of_missed_runs_is_the_configured_one(fleet, period):
    """In which nothing of the last week can be missed yet."""
    assert (await pages(fleet.caller(), **period, page_size=200))[0].totals.missed
    async with running_fleet(schedules={"grace_s": 7 * DAY_S}) as patient:
        (first, *_) = await pages(patient.caller(), **period, page_size=200)
    assert (first.totals.missed, first.totals.proven > 0) == (0, True)


async def test_csv_and_json_hold_the_rows_on_all_pages_together(fleet, period):
    call = fleet.caller()
    rows = [row for page in await pages(call, **period, page_size=200) for row in page.rows]
    told = [json_format.MessageToDict(row, preserving_proto_field_name=True) for row in rows]
    for form in ("CSV", "JSON"):
        found = await pages(call, **period, page_size=SIZE * 5, format=f"REPORT_FORMAT_{form}")
        assert not any(page.rows for page in found)
        document = "".join(page.document for page in found)
        if form == "JSON":
            read = [json.loads(line) for line in document.splitlines()]
        else:
            read = list(csv.DictReader(io.StringIO(document)))
        assert [row["resource_id"] for row in read] == [row["resource_id"] for row in told]
        assert [int(row["done"]) for row in read] == [row.done for row in rows]
        assert [str(row["proven"]).lower() for row in read] == [
            str(row.proven).lower() for row in rows
        ]


@pytest.mark.parametrize("sign", [*"=+-@", *"\uff1d\uff0b\uff0d\uff20", "\t", "\r", "\n"])
def test_csv_has_nothing_that_a_spreadsheet_takes_for_a_formula(sign):
    row = protection_pb2.ReportRow(resource_name=f"{sign}1+1", task_ids=[f"{sign}2+2", "b"])
    document = documents.as_csv([row], heads=True)
    (read,) = csv.DictReader(io.StringIO(document, newline=""))
    assert read["resource_name"] == f"'{sign}1+1"
    assert read["task_ids"] == f"'{sign}2+2 b"


async def test_a_stream_tells_the_same_and_the_sums_last(fleet, period):
    call = fleet.caller()
    method = call.channel.unary_stream(
        f"/cbrgateway.v1.{STREAM}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=CATALOG[STREAM].response_type.FromString,
    )
    stream = method(message_for(STREAM, period), metadata=call.metadata)
    messages = [each async for each in stream]
    pages_told = await pages(call, **period, page_size=200)
    rows = sorted_rows([row for each in messages for row in each.rows])
    assert rows == [row for page in pages_told for row in page.rows]
    assert messages[-1].totals == pages_told[0].totals
    assert {each.coverage.project for each in messages if each.HasField("coverage")} == {
        project.id for project in ALL
    }


async def test_a_restore_that_succeeded_is_a_test(fleet, period):
    server = min(fleet.with_fate("fine"))
    world = next(each for each in fleet.worlds() if server in each.protectables)
    backup = next(each for each in world.backups.values() if each.resource_id == server)
    at = fleet.now - 90 * DAY_S
    world.tasks.log["f" * 32] = Task(
        "f" * 32,
        "restore",
        backup.project_id,
        at,
        backup.provider_id,
        backup.vault_id,
        "good",
        {"id": "another", "type": backup.resource_type, "name": "another"},
        "restore",
        {"backup_id": backup.id, "backup_name": backup.name},
        "req-2",
        "internal",
        Outcome(),
        "0",
        status="success",
        updated_at=at,
        ended_at=at,
    )
    rows = [r for page in await pages(fleet.caller(), **period, page_size=200) for r in page.rows]
    tested = {row.resource_id: row.restore_tested_time for row in rows}
    assert tested.pop(server).seconds == int(at)
    assert not any(each.seconds for each in tested.values())


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"start_time": "2999-01-01T00:00:00Z"}, "start_time"),
        ({"end_time": "2999-01-01T00:00:00Z"}, "end_time"),
        ({"start_time": "2026-02-01T00:00:00Z", "end_time": "2026-01-01T00:00:00Z"}, "start_time"),
        ({"start_time": "2020-02-01T00:00:00Z", "end_time": "2026-01-01T00:00:00Z"}, "start_time"),
        ({"start_time": "0001-01-01T00:00:00Z", "end_time": "0001-05-01T00:00:00Z"}, "end_time"),
        ({"start_time": "1999-12-01T00:00:00Z", "end_time": "2000-05-01T00:00:00Z"}, "start_time"),
        ({"end_time": "0001-01-01T00:00:00Z"}, "end_time"),
        ({"rpo": "0s"}, "rpo"),
    ],
)
async def test_a_period_of_which_nothing_can_be_told_is_refused(fleet, request_, field):
    failed = await fleet.caller().fails(REPORT, request_)
    assert (failed.reason, failed.fields) == ("FIELD_INVALID", [field])


async def test_audit_records_of_the_tasks_are_evidence(tmp_path):
    async with audited_gateway(tmp_path, sections={"watch": FAST}, pace=STILL) as world:
        task, held, _ = await scheduled(world)
        end_task(world, task, "success")

        def told():
            return [row for row in records(tmp_path) if row["unmapped"]["event"] == "TASK_ENDED"]

        await until(told)
        report = await caller(world).ok(REPORT)
        (row,) = [each for each in report.rows if each.vault_id == held.id]
        (record,) = told()
        assert list(row.task_ids) == [task.id]
        assert list(row.audit_record_ids) == [record["metadata"]["uid"]]
        assert (report.audit.searched, report.audit.problem) == (True, "")
        other = await caller(world, "databases").ok(REPORT)
        assert not other.rows

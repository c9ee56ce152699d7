"""Reports over a fleet with faults: each number is what is counted in the emulators' objects."""

import hashlib
from collections import Counter
from urllib.parse import parse_qsl, urlsplit

import pytest
from cbrgateway.v1 import protection_pb2

from tests.functional.calls import CATALOG, message_for
from tests.protection.fleet import ALL, DAY_S, PROJECTS, REGIONS, SERVERS, running_fleet
from tests.protection.requests import lists, most_at_once

UNPROTECTED = "ProtectionService/ListUnprotectedResources"
STREAM = "ProtectionService/StreamUnprotectedResources"
SUMMARY = "ProtectionService/GetProtectionSummary"
EXPIRING = "ProtectionService/ListExpiringBackups"
STREAMS = {rpc for rpc, each in CATALOG.bindings.items() if each.descriptor.server_streaming}
SIZE = 7 if SERVERS < 100 else 200
"""Of pages: small, so that there are many, unless there are many rows."""
CAUSES = {
    "no vault": {"NO_VAULT"},
    "no policy": {"NO_POLICY"},
    "disabled": {"POLICY_DISABLED"},
    "disk excluded": {"DISKS_EXCLUDED"},
    "suspended": {"AUTO_BACKUP_SUSPENDED"},
    "failed": {"LAST_BACKUP_FAILED"},
    "skipped": {"LAST_BACKUP_SKIPPED"},
    "too old": {"BACKUP_TOO_OLD"},
    "never": {"BACKUP_TOO_OLD"},
}


@pytest.fixture(scope="module")
async def shared_fleet():
    async with running_fleet() as fleet:
        yield fleet


@pytest.fixture
def fleet(shared_fleet):
    for emulator in shared_fleet.emulators.values():
        emulator.state.faults.remove()
    return shared_fleet


def words(row):
    prefix = "UNPROTECTED_CAUSE_"
    return {protection_pb2.UnprotectedCause.Name(each).removeprefix(prefix) for each in row.causes}


async def pages(call, rpc, rows, **request):
    found, first, token = [], None, ""
    while first is None or token:
        page = await call.ok(rpc, {**request, "page_token": token})
        first = page if first is None else first
        found += getattr(page, rows)
        token = page.next_page_token
        assert len(found) < 100_000
    return first, found


async def streamed(call, **request):
    method = call.channel.unary_stream(
        f"/cbrgateway.v1.{STREAM}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=CATALOG[STREAM].response_type.FromString,
    )
    return [each async for each in method(message_for(STREAM, request), metadata=call.metadata)]


async def test_unprotected_resources_are_those_with_faults_and_why(fleet):
    first, found = await pages(fleet.caller(), UNPROTECTED, "resources", page_size=SIZE)
    told = {row.resource_id: words(row) for row in found}
    assert told == {server: CAUSES[fate] for server, fate in fleet.fates.items() if fate in CAUSES}
    assert len(found) == len(told) == first.total_size
    assert {row.region for row in found} == set(REGIONS)
    assert [each.project for each in first.coverage] == sorted(p.id for p in ALL)
    assert {each.resources for each in first.coverage} == {SERVERS + 2}
    failed = [row for row in found if fleet.fates[row.resource_id] == "failed"]
    assert all(row.last_failure_task_id and row.HasField("last_success_time") for row in failed)
    skipped = [row for row in found if fleet.fates[row.resource_id] == "skipped"]
    assert all(row.last_skip_task_id and row.HasField("last_skip_time") for row in skipped)
    excluded = [row for row in found if fleet.fates[row.resource_id] == "disk excluded"]
    assert all(len(row.excluded_disk_ids) == 1 for row in excluded)


async def test_a_stream_tells_the_same_project_by_project(fleet):
    messages = await streamed(fleet.caller())
    ends = [each.coverage for each in messages if each.HasField("coverage")]
    assert {each.project for each in ends} == {project.id for project in ALL}
    _, listed = await pages(fleet.caller(), UNPROTECTED, "resources", page_size=200)
    told = [row for each in messages for row in each.resources]
    order = ("project", "type", "resource_id")
    key = lambda row: tuple(getattr(row, name) for name in order)  # noqa: E731
    assert sorted(told, key=key) == listed


async def test_a_selection_narrows_by_project_type_tag_cause_and_age(fleet):
    call, project = fleet.caller(), ALL[4]
    where = {"selection": {"projects": [project.id], "tags": ["env=prod"]}}
    first, found = await pages(call, UNPROTECTED, "resources", **where)
    tagged = {
        each.id
        for world in fleet.worlds()
        for each in world.protectables.values()
        if each.project_id == project.id and each.tags.get("env") == "prod"
    }
    expected = {each for each in tagged if fleet.fates[each] in CAUSES}
    assert {row.resource_id for row in found} == expected
    assert [(c.resources, c.selected) for c in first.coverage] == [
        (resources_of(fleet, project), len(tagged))
    ]
    disks = {"selection": {"types": ["PROTECTABLE_TYPE_DISK"]}}
    _, found = await pages(call, UNPROTECTED, "resources", **disks)
    assert {row.name for row in found} == {"loose-0", "loose-1"}
    only = {"causes": ["UNPROTECTED_CAUSE_NO_POLICY"]}
    _, found = await pages(call, UNPROTECTED, "resources", **only, page_size=200)
    assert {row.resource_id for row in found} == fleet.with_fate("no policy")
    old = {"causes": ["UNPROTECTED_CAUSE_BACKUP_TOO_OLD"], "max_age": f"{7 * DAY_S:.0f}s"}
    _, found = await pages(call, UNPROTECTED, "resources", **old, page_size=200)
    assert {row.resource_id for row in found} == fleet.with_fate("never")


def resources_of(fleet, project):
    """How many there are in a project, disks of servers not counted."""
    return sum(
        each.project_id == project.id and each.id in fleet.fates
        for world in fleet.worlds()
        for each in world.protectables.values()
    )


async def test_a_tag_that_nothing_has_is_not_taken_for_an_empty_fleet(fleet):
    call, project = fleet.caller(), ALL[4]
    where = {"selection": {"projects": [project.id], "tags": ["evn=prod"]}}
    listed, summary = await call.ok(UNPROTECTED, where), await call.ok(SUMMARY, where)
    *_, last = await streamed(call, **where)
    assert not listed.resources
    for (told,) in (listed.coverage, summary.coverage, [last.coverage]):
        assert (told.resources, told.selected) == (resources_of(fleet, project), 0)
    first, _ = await pages(call, UNPROTECTED, "resources", selection={"projects": [project.id]})
    assert [(c.resources, c.selected) for c in first.coverage] == [
        (resources_of(fleet, project),) * 2
    ]


async def test_the_summary_counts_as_the_objects_do(fleet):
    summary = await fleet.caller().ok(SUMMARY, {"period": f"{3 * DAY_S:.0f}s"})
    total = summary.total
    assert total.resources == len(fleet.fates)
    assert total.protected == len(fleet.with_fate("fine", "missed"))
    since = fleet.now - 3 * DAY_S
    good = [
        backup
        for world in fleet.worlds()
        for backup in world.backups.values()
        if backup.status == "available"
    ]
    assert total.backups_made == sum(b.protected_at >= since for b in good)
    assert total.backups_expiring == sum(b.expired_at <= fleet.now + 3 * DAY_S for b in good)
    assert total.failures == len(fleet.with_fate("failed"))
    assert total.skipped == len(fleet.with_fate("skipped")) > 0
    assert total.size_gib == sum(v.size for w in fleet.worlds() for v in w.vaults.values())
    assert total.used_mib == sum(w.used_mb(v) for w in fleet.worlds() for v in w.vaults)
    by_vault = Counter()
    for group in summary.groups:
        by_vault[group.vault_name] += group.counts.resources
    counted = Counter(fleet.fates.values())
    assert by_vault[""] == counted["no vault"]
    assert by_vault["unscheduled"] == counted["no policy"]
    assert by_vault["disabled"] == counted["disabled"]


async def test_expiring_backups_come_soonest_first_and_the_last_ones_are_marked(fleet):
    within = 5 * DAY_S
    request = {"within": f"{within:.0f}s", "page_size": 200}
    first, found = await pages(fleet.caller(), EXPIRING, "backups", **request)
    good = [
        backup
        for world in fleet.worlds()
        for backup in world.backups.values()
        if backup.status == "available"
    ]
    wanted = [backup for backup in good if backup.expired_at <= fleet.now + within]
    assert {row.backup_id for row in found} == {backup.id for backup in wanted}
    assert len(found) == len(wanted) == first.total_size
    times = [row.expire_time.ToNanoseconds() for row in found]
    assert times == sorted(times)
    newest = {}
    for backup in sorted(good, key=lambda each: each.created_at):
        newest[backup.resource_id] = backup.id
    last = {row.backup_id for row in found if row.last}
    assert last == {backup.id for backup in wanted} & set(newest.values())
    _, only = await pages(fleet.caller(), EXPIRING, "backups", **request, last_only=True)
    assert {row.backup_id for row in only} == last


@pytest.mark.parametrize("rpc", [rpc for rpc in CATALOG.bindings if rpc.startswith("Protection")])
async def test_a_report_reads_what_it_declares_and_nothing_else(fleet, rpc):
    before = {region: each.state.truth._seq for region, each in fleet.emulators.items()}
    method = fleet.channel.unary_stream if rpc in STREAMS else fleet.channel.unary_unary
    call = method(
        f"/cbrgateway.v1.{rpc}", request_serializer=lambda message: message.SerializeToString()
    )(CATALOG[rpc].request_type(), metadata=fleet.caller().metadata)
    _ = [each async for each in call] if rpc in STREAMS else await call
    read = {
        entry.operation
        for region, each in fleet.emulators.items()
        for entry in lists(each, before[region])
    }
    assert read == {CATALOG[declared].operation for declared in CATALOG[rpc].reads_by}


async def test_a_summary_reads_each_list_once_and_few_at_a_time(fleet):
    # The first one also learns how this cloud pages.
    await fleet.caller().ok(SUMMARY)
    since = {}
    for region, emulator in fleet.emulators.items():
        since[region] = emulator.state.truth._seq
        emulator.state.faults.add({"kind": "delay", "seconds": 0.02, "times": None})
    await fleet.caller().ok(SUMMARY)
    for region, emulator in fleet.emulators.items():
        entries = lists(emulator, since[region])
        read = Counter((entry.target.partition("?")[0], _query(entry)) for entry in entries)
        assert max(read.values()) == 1, "no page twice"
        asked = Counter((entry.operation, entry.target.partition("?")[0]) for entry in entries)
        assert len(asked) == len(PROJECTS[region]) * 8
        assert most_at_once(entries) <= 8
    emulator.state.faults.remove()
    calls = len(lists(emulator, 0))
    size, call = 200, fleet.caller()
    before = emulator.state.truth._seq
    for project in PROJECTS[REGIONS[1]]:
        there = type(call)(call.channel, (*call.metadata, ("x-cbr-project-id", project.id)))
        for rpc, rows, more in PAGEWISE:
            await pages(there, rpc, rows, page_size=size, **more)
    assert calls
    assert len(entries) <= len(lists(emulator, before))


PAGEWISE = [
    ("VaultService/ListVaults", "vaults", {}),
    ("PolicyService/ListPolicies", "policies", {}),
    ("BackupService/ListBackups", "backups", {}),
    ("TaskService/ListTasks", "tasks", {"type": "TASK_TYPE_BACKUP"}),
    *(
        (
            "ProtectabilityService/ListProtectables",
            "instances",
            {"protectable_type": f"PROTECTABLE_TYPE_{kind}"},
        )
        for kind in ("SERVER", "DISK", "TURBO", "WORKSPACE")
    ),
]


def _query(entry):
    return tuple(parse_qsl(urlsplit(entry.target).query))


async def test_what_cannot_be_read_is_told_and_the_rest_is_there(fleet):
    silent, loud = fleet.emulators[REGIONS[1]], fleet.emulators[REGIONS[0]]
    silent.state.faults.add({"kind": "status", "status": 403, "times": None})
    denied = PROJECTS[REGIONS[0]][1].id
    match = {"operation": "ListPolicies", "project_id": denied}
    loud.state.faults.add({"kind": "status", "status": 403, "match": match, "times": None})
    first, found = await pages(fleet.caller(), UNPROTECTED, "resources", page_size=200)
    problems = {each.project: {p.list for p in each.problems} for each in first.coverage}
    everything = {
        *("servers", "disks", "file systems", "desktops"),
        *("vaults", "policies", "backups", "tasks"),
    }
    for project in ALL:
        wanted = {"policies"} if project.id == denied else set()
        assert problems[project.id] == (everything if project.region == REGIONS[1] else wanted)
    assert all(p.message for each in first.coverage for p in each.problems)
    known = {row.resource_id: words(row) for row in found if row.project == denied}
    # Without the policies nobody can say that there is none.
    assert not any("NO_POLICY" in each or "POLICY_DISABLED" in each for each in known.values())
    assert {row.region for row in found} == {REGIONS[0]}


@pytest.mark.parametrize("operation", ["ListVault", "ListPolicies", "ListBackups", "ListOpLogs"])
async def test_nothing_counts_as_protected_where_a_list_was_not_read(fleet, operation):
    before = (await fleet.caller().ok(SUMMARY, {})).total
    assert before.protected > 0 == before.unknown
    for emulator in fleet.emulators.values():
        match = {"operation": operation}
        emulator.state.faults.add({"kind": "status", "status": 403, "match": match, "times": None})
    total = (await fleet.caller().ok(SUMMARY, {})).total
    assert total.protected == 0
    assert total.unknown >= before.protected


async def test_disks_of_servers_that_cannot_be_read_are_not_taken_for_loose_ones(fleet):
    match = {"operation": "ListProtectable", "object": "server"}
    for emulator in fleet.emulators.values():
        emulator.state.faults.add({"kind": "status", "status": 403, "match": match, "times": None})
    first, found = await pages(fleet.caller(), UNPROTECTED, "resources", page_size=200)
    assert {p.list for each in first.coverage for p in each.problems} == {"servers"}
    assert {row.name for row in found} == {"loose-0", "loose-1"}


async def test_a_vault_that_cannot_be_read_lets_nobody_say_what_is_in_none(fleet):
    project = ALL[0].id
    (vault,) = [
        vault
        for world in fleet.worlds()
        for vault in world.vaults.values()
        if vault.project_id == project and vault.name == "good-0"
    ]
    name, vault.id = vault.id, ""
    try:
        where = {"selection": {"projects": [project]}, "page_size": 200}
        first, found = await pages(fleet.caller(), UNPROTECTED, "resources", **where)
    finally:
        vault.id = name
    assert [p.list for p in first.coverage[0].problems] == ["vaults"]
    assert not any("NO_VAULT" in words(row) for row in found)


async def test_a_region_that_does_not_answer_in_time_is_a_problem_not_the_end(fleet):
    slow = fleet.emulators[REGIONS[1]]
    held = slow.state.faults.add({"kind": "delay", "seconds": 60, "times": None}).id
    # Enough for the other region, and less than the fault lasts.
    answer = await fleet.caller()(SUMMARY, {}, timeout_s=40 if SERVERS > 100 else 8)
    slow.state.faults.release(held)
    reasons = {each.region: {p.reason for p in each.problems} for each in answer.coverage}
    assert reasons[REGIONS[0]] == set()
    assert reasons[REGIONS[1]]
    assert answer.total.resources == len(fleet.fates) // 2


@pytest.mark.parametrize("rpc", [UNPROTECTED, SUMMARY, EXPIRING])
async def test_an_empty_fleet_says_so(rpc):
    async with running_fleet() as fleet:
        for world in fleet.worlds():
            for kind in (world.protectables, world.vaults, world.backups, world.policies):
                kind.clear()
            world.tasks.log.clear()
        answer = await fleet.caller().ok(rpc)
        assert len(answer.coverage) == len(ALL)
        assert not any(c.resources or c.vaults or c.backups or c.problems for c in answer.coverage)


async def test_foreign_projects_and_missing_permissions_are_refused():
    extra = {
        "principals": [
            {
                "id": "job",
                "permissions": ["cbrgateway:protection:*", "cbr:vaults:*"],
                "api_key": hashlib.sha256(b"key-of-job").hexdigest(),
            }
        ]
    }
    async with running_fleet(tenant=extra) as fleet:
        denied = await fleet.caller("job").fails(UNPROTECTED)
        assert denied.reason == "PERMISSION_MISSING"
        foreign = await fleet.caller().fails(UNPROTECTED, {"selection": {"projects": ["0" * 32]}})
        assert foreign.reason == "PROJECT_DENIED"
        assert foreign.message == (
            "The project in selection.projects[0] is not one of this tenant's; use one that is, or"
            " leave it out for all of them."
        )
        assert "projects[0]" in foreign.message
        wrong = await fleet.caller().fails(EXPIRING, {"within": "-5s"})
        assert (wrong.reason, wrong.fields) == ("FIELD_INVALID", ["within"])

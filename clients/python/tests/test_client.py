"""The checks of all clients (clients/README.md), for Python: against real servers, with the package
that callers install.
"""

import asyncio
import base64
import contextlib
import json
import math
import os
import re
import urllib.request
from pathlib import Path

import grpc
import pytest
from cbrgateway.v1 import (
    checkpoint_pb2,
    errors_pb2,
    protectability_pb2,
    task_pb2,
    types_pb2,
    vault_pb2,
)
from cbrgateway.v1.checkpoint_pb2_grpc import CheckpointServiceStub
from cbrgateway.v1.protectability_pb2_grpc import ProtectabilityServiceStub
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub
from cbrgateway_client import (
    CallError,
    Gateway,
    Kind,
    TaskFailed,
    aio,
    pages,
    retry_when_limited,
    rows,
    run_and_wait,
    wait,
    watch_tasks,
)
from google.protobuf.duration_pb2 import Duration

LIST = vault_pb2.ListVaultsRequest()
MISSING = "97ba169e-4851-6707-0daa-36266b660ac4"


def given(name):
    return os.environ[f"CBR_TEST_{name}"]


@pytest.fixture
def passed(request):
    """Notes that the check has passed: a test that fails never gets there."""
    return Path(given("RESULTS"), request.node.name.removeprefix("test_").replace("_", "-")).touch


def reaching(**changes):
    return Gateway(
        **{"address": given("ADDRESS"), "credential": given("API_KEY"), "ca_file": given("CA_FILE")}
        | changes
    )


def connected(**changes):
    return reaching(**changes).channel()


def scripted():
    return reaching(address=given("SCRIPT_ADDRESS"), ca_file=None, plaintext=True)


@contextlib.contextmanager
def vaults(**changes):
    with connected(**changes) as channel:
        yield VaultServiceStub(channel)


def ask(what):
    with urllib.request.urlopen(
        urllib.request.Request(given("CONTROL") + what, method="POST"), timeout=60
    ) as reply:
        return reply.read().decode()


def new_vault(name, size_gib=100):
    billing = {
        "size_gib": size_gib,
        "object_type": "OBJECT_TYPE_SERVER",
        "protect_type": "PROTECT_TYPE_BACKUP",
        "consistent_level": "CONSISTENT_LEVEL_CRASH_CONSISTENT",
    }
    return vault_pb2.CreateVaultRequest(vault={"name": name, "billing": billing})


def failure(code, call, *words):
    with pytest.raises(CallError) as caught:
        call()
    assert caught.value.code() is code, str(caught.value)
    assert not [word for word in words if word.lower() not in str(caught.value).lower()], str(
        caught.value
    )
    return caught.value


def test_unary(passed):
    with vaults() as stub:
        made = stub.CreateVault(new_vault("python-unary")).vault
        assert (
            stub.GetVault(vault_pb2.GetVaultRequest(vault_id=made.id)).vault.name == "python-unary"
        )
        assert stub.ListVaults(LIST).vaults
        stub.DeleteVault(vault_pb2.DeleteVaultRequest(vault_id=made.id))
    passed()


def test_token(passed):
    with vaults(credential=lambda: given("TOKEN")) as stub:
        stub.ListVaults(LIST)
    with (
        vaults(credential=lambda: "hidden\n") as stub,
        pytest.raises(ValueError, match="token") as misread,
    ):
        stub.ListVaults(LIST)
    assert "hidden" not in str(misread.value)

    async def misread_too():
        async with reaching(credential=lambda: "hidden\n").aio_channel() as channel:
            with pytest.raises(ValueError, match="token"):
                await VaultServiceStub(channel).ListVaults(LIST)
            with pytest.raises(ValueError, match="token"):
                await anext(aio.watch_tasks(TaskServiceStub(channel)))

    asyncio.run(misread_too())
    passed()


def test_error(passed):
    with vaults() as stub:
        error = failure(
            grpc.StatusCode.INVALID_ARGUMENT,
            lambda: stub.CreateVault(new_vault("python-error", 5)),
            "FIELD_INVALID",
        )
        missing = failure(
            grpc.StatusCode.NOT_FOUND,
            lambda: stub.GetVault(vault_pb2.GetVaultRequest(vault_id=MISSING)),
        )
    assert (missing.resource.resource_type, missing.resource.resource_name) == ("vault", MISSING)
    assert error.kind is Kind.ANSWERED
    assert error.reason == errors_pb2.ERROR_REASON_FIELD_INVALID
    assert [violation.field for violation in error.field_violations] == ["vault.billing.size_gib"]
    assert error.call_id
    assert error.request_id
    passed()


def test_retry(passed):
    ask("/fault?operation=CreateVault&kind=cut&when=after_commit&times=1")
    with vaults() as stub:
        assert stub.CreateVault(new_vault("python-retry")).vault.name == "python-retry"
    assert ask("/requests?operation=CreateVault&containing=python-retry") == "1"
    passed()


def test_quota(passed):
    with vaults(credential=given("LIMITED_KEY")) as stub:
        error = failure(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            lambda: [stub.ListVaults(LIST) for _ in range(50)],
            "RATE_LIMIT",
        )
        assert error.quota_violations[0].quota_metric == "requests"
        assert error.retry_delay_s > 0
        retry_when_limited(lambda: stub.ListVaults(LIST), timeout_s=math.inf)
        with pytest.raises(ValueError, match="timeout_s is not a number"):
            retry_when_limited(lambda: stub.ListVaults(LIST), timeout_s=math.nan)
        failure(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            lambda: [
                retry_when_limited(lambda: stub.ListVaults(LIST), timeout_s=0) for _ in range(50)
            ],
        )
    passed()


def test_retry_large(passed):
    def request(name):
        large = new_vault(name)
        large.vault.description = "x" * 1024 * 1024
        return large

    with scripted().channel() as channel:
        made = VaultServiceStub(channel).CreateVault(request("python-large"))
        assert made.vault.id == "made"

    async def likewise():
        async with scripted().aio_channel() as channel:
            return await VaultServiceStub(channel).CreateVault(request("python-large-aio"))

    assert asyncio.run(likewise()).vault.id == "made"
    passed()


def test_retry_when_limited(passed):
    with scripted().channel() as channel:
        stub = VaultServiceStub(channel)
        assert (
            retry_when_limited(lambda: stub.CreateVault(new_vault("python-limited"))).vault.id
            == "made"
        )

    async def likewise():
        async with scripted().aio_channel() as channel:
            stub = VaultServiceStub(channel)
            return await asyncio.gather(
                *(
                    aio.retry_when_limited(
                        lambda n=n: stub.CreateVault(new_vault(f"python-limited-{n}"))
                    )
                    for n in range(3)
                )
            )

    assert [made.vault.id for made in asyncio.run(likewise())] == ["made"] * 3
    passed()


def test_wrong_key(passed):
    with pytest.raises(ValueError, match="credential") as misread:
        reaching(credential="hidden\n")
    assert "hidden" not in str(misread.value)
    with vaults(credential="nobody's") as stub:
        failure(
            grpc.StatusCode.UNAUTHENTICATED,
            lambda: stub.ListVaults(LIST),
            "CREDENTIALS_INVALID",
            "API key",
        )
    passed()


def test_wrong_ca(passed):
    with vaults(ca_file=given("OTHER_CA_FILE")) as stub:
        assert (
            failure(grpc.StatusCode.UNAVAILABLE, lambda: stub.ListVaults(LIST), "certificate").kind
            is Kind.UNTRUSTED
        )
    passed()


def test_unreachable(passed):
    with vaults(address=given("CLOSED_ADDRESS"), plaintext=True) as stub:
        error = failure(
            grpc.StatusCode.UNAVAILABLE,
            lambda: stub.ListVaults(LIST),
            "refused",
            given("CLOSED_ADDRESS"),
        )
        assert error.kind is Kind.UNREACHABLE
    with vaults(address=given("SCRIPT_ADDRESS")) as stub:
        assert (
            failure(grpc.StatusCode.UNAVAILABLE, lambda: stub.ListVaults(LIST)).kind
            is Kind.PLAINTEXT_EXPECTED
        )
    passed()


def test_deadline(passed):
    with vaults() as stub:
        for endless in (math.inf, 1e300, 1e12, 1e9, 1e8, 1e6):
            stub.ListVaults(LIST, timeout=endless)
        with pytest.raises(ValueError, match="timeout is not a number"):
            stub.ListVaults(LIST, timeout=math.nan)
        for over in (0, -1, -math.inf):
            failure(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                lambda timeout=over: stub.ListVaults(LIST, timeout=timeout),
                "deadline",
            )
    asyncio.run(endless_with_asyncio())
    ask("/fault?operation=ListVault&kind=delay&seconds=4&times=null")
    try:
        with vaults() as stub:
            assert (
                failure(
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                    lambda: stub.ListVaults(LIST, timeout=1),
                    "deadline",
                ).kind
                is Kind.DEADLINE
            )
    finally:
        ask("/calm")
    passed()


async def endless_with_asyncio():
    async with reaching().aio_channel() as channel:
        for endless in (math.inf, 1e300, 1e12, 1e6):
            await VaultServiceStub(channel).ListVaults(LIST, timeout=endless)
        async for _ in TaskServiceStub(channel).WatchTasks(
            task_pb2.WatchTasksRequest(), timeout=math.inf
        ):
            break


def test_watch(passed):
    with connected() as channel:
        servers = protectability_pb2.ListProtectablesRequest(
            protectable_type=protectability_pb2.PROTECTABLE_TYPE_SERVER
        )
        server = ProtectabilityServiceStub(channel).ListProtectables(servers).instances[0]
        request = new_vault("python-watch", 200)
        request.vault.resources.append(types_pb2.ResourceRef(id=server.id, type=server.type))
        vault = VaultServiceStub(channel).CreateVault(request).vault
        backup = checkpoint_pb2.CreateCheckpointRequest(checkpoint={"vault_id": vault.id})
        submission = CheckpointServiceStub(channel).CreateCheckpoint(backup).submission
        wanted = task_pb2.WatchTasksRequest(
            filter={"submission_ids": [submission.id]}, end_when_all_terminal=True
        )
        ends, restarted = [], False
        for event in watch_tasks(TaskServiceStub(channel), wanted):
            if not restarted:
                ask("/restart")
                restarted = True
            if event.WhichOneof("event") == "terminal":
                ends.append(event.terminal.task.status)
        assert ends == [task_pb2.TASK_STATUS_SUCCEEDED]
        clean_up = vault_pb2.DeleteVaultRequest(vault_id=vault.id, force=True)
        run_and_wait(channel, lambda: VaultServiceStub(channel).DeleteVault(clean_up))
    passed()


def a_vault_with_a_server(channel):
    servers = protectability_pb2.ListProtectablesRequest(
        protectable_type=protectability_pb2.PROTECTABLE_TYPE_SERVER
    )
    found = rows(ProtectabilityServiceStub(channel).ListProtectables, servers)
    free = next(each for each in found if not each.protectable.HasField("vault"))
    request = new_vault("python-waits", 200)
    request.vault.resources.append(types_pb2.ResourceRef(id=free.id, type=free.type))
    return VaultServiceStub(channel).CreateVault(request).vault


def test_waits(passed):
    with connected() as channel:
        vault = a_vault_with_a_server(channel)
        backup = checkpoint_pb2.CreateCheckpointRequest(checkpoint={"vault_id": vault.id})
        made, ended = run_and_wait(
            channel, lambda: CheckpointServiceStub(channel).CreateCheckpoint(backup)
        )
        assert made.checkpoint.id
        assert [task.type for task in ended.tasks] == [task_pb2.TASK_TYPE_BACKUP]
        assert wait(channel, ended.tasks).tasks == ended.tasks
        clean_up = vault_pb2.DeleteVaultRequest(vault_id=vault.id, force=True)
        _, ended = run_and_wait(
            channel, lambda: VaultServiceStub(channel).DeleteVault(clean_up), timeout_s=60
        )
        assert len(ended.tasks) == 1
    with scripted().channel() as channel:
        waits_of_the_script(lambda *what, **how: wait(channel, *what, **how))

    async def likewise(*what, **how):
        async with scripted().aio_channel() as channel:
            return await aio.wait(channel, *what, **how)

    waits_of_the_script(lambda *what, **how: asyncio.run(likewise(*what, **how)))
    passed()


def waits_of_the_script(waited):
    def submission(name):
        return types_pb2.Submission(id=name)

    ended = waited(submission("skipping"))
    assert [task.id for task in ended.tasks] == ["good"]
    assert [(each.id, each.code) for each in ended.skipped] == [("left-out", "BackupService.6125")]
    with pytest.raises(TaskFailed, match="The task failed in CBR") as failed:
        waited([submission("failing"), submission("skipping")])
    (bad,) = failed.value.failures
    assert (bad.id, bad.task.id, bad.code) == ("bad", "bad", "BackupService.1204")
    assert bad.reason == errors_pb2.ERROR_REASON_UPSTREAM_INTERNAL
    assert len(failed.value.ended.skipped) == 1
    assert {task.id for task in failed.value.ended.tasks} == {"good"}
    for name, reason in {"nothing": "", "lost": "SUBMISSION_NOT_FOUND"}.items():
        with pytest.raises(TaskFailed, match=name) as failed:
            waited(submission(name))
        assert [(each.id, each.reason_name) for each in failed.value.failures] == [(name, reason)]
    with pytest.raises(CallError, match="slow") as late:
        waited([submission("open"), submission("skipping")], timeout_s=3)
    assert (late.value.kind, late.value.still_open) == (Kind.DEADLINE, ("slow",))
    many = [f"task-{number}" for number in range(250)]
    assert [task.id for task in waited(many + many).tasks] == many
    assert waited([]).tasks == ()
    with pytest.raises(ValueError, match="no id"):
        waited(submission(""))


def test_pages(passed):
    wanted = vault_pb2.ListVaultsRequest(name="pages")
    with scripted().channel() as channel:
        stub = VaultServiceStub(channel)
        for prefetch in (False, True):
            found = rows(stub.ListVaults, wanted, prefetch=prefetch)
            assert [row.id for row in found] == ["one", "two", "three"]
            assert len(list(pages(stub.ListVaults, wanted, prefetch=prefetch))) == 3
            failure(
                grpc.StatusCode.FAILED_PRECONDITION,
                lambda prefetch=prefetch: list(rows(stub.ListVaults, LIST, prefetch=prefetch)),
                "STATE_INVALID",
            )
        last = vault_pb2.ListVaultsRequest(name="pages", page_token="3")
        assert [row.id for row in rows(stub.ListVaults, last)] == ["three"]
        with pytest.raises(TypeError, match="is no list"):
            next(pages(stub.GetVault, vault_pb2.GetVaultRequest()))
    assert wanted.page_token == ""
    asyncio.run(pages_with_asyncio(wanted))
    with vaults() as stub:
        everything = [vault.id for vault in stub.ListVaults(LIST).vaults]
        one_by_one = rows(stub.ListVaults, vault_pb2.ListVaultsRequest(page_size=1), prefetch=True)
        assert [vault.id for vault in one_by_one] == everything
    passed()


async def pages_with_asyncio(wanted):
    async with scripted().aio_channel() as channel:
        stub = VaultServiceStub(channel)
        for prefetch in (False, True):
            found = [row.id async for row in aio.rows(stub.ListVaults, wanted, prefetch=prefetch)]
            assert found == ["one", "two", "three"]
            with pytest.raises(CallError):
                _ = [each async for each in aio.pages(stub.ListVaults, LIST, prefetch=prefetch)]


def test_client_certificate(passed, tmp_path):
    own = {"certificate_file": tmp_path / "own.crt", "key_file": tmp_path / "own.key"}

    def put(certificate, key):
        own["certificate_file"].write_bytes(Path(given(certificate)).read_bytes())
        own["key_file"].write_bytes(Path(given(key)).read_bytes())

    def listed(**changes):
        with vaults(address=given("MUTUAL_ADDRESS"), **changes) as stub:
            return stub.ListVaults(vault_pb2.ListVaultsRequest(name="pages"))

    failure(grpc.StatusCode.UNAVAILABLE, listed, "certificate_file")
    put("OTHER_CERTIFICATE_FILE", "OTHER_KEY_FILE")
    failure(grpc.StatusCode.UNAVAILABLE, lambda: listed(**own), "certificate_file")
    put("CERTIFICATE_FILE", "KEY_FILE")
    listed(**own)
    pem = {name.replace("file", "pem"): path.read_bytes() for name, path in own.items()}
    listed(**pem, ca_file=None, ca_pem=Path(given("CA_FILE")).read_bytes())
    with pytest.raises(ValueError, match="belong together"):
        listed(key_file=own["key_file"])
    with pytest.raises(ValueError, match="leave one of them out"):
        listed(**own, **pem)
    passed()


def test_kinds(passed):
    cases = {
        Kind.EXPIRED_CERTIFICATE: {"address": given("EXPIRED_ADDRESS")},
        Kind.PLAINTEXT_EXPECTED: {"address": given("SCRIPT_ADDRESS")},
        Kind.TLS_EXPECTED: {"plaintext": True},
    }
    for kind, changes in cases.items():
        with vaults(**changes) as stub:
            error = failure(grpc.StatusCode.UNAVAILABLE, lambda stub=stub: stub.ListVaults(LIST))
        assert error.kind is kind
        assert error.advice
    passed()


def told(event):
    """The kind of an event, with the revision of its task."""
    match event.WhichOneof("event"):
        case "snapshot_task":
            return f"snapshot_task {event.snapshot_task.revision}"
        case ("update" | "terminal") as kind:
            return f"{kind} {getattr(event, kind).task.revision}"
        case kind:
            return kind


def test_resume(passed):
    with scripted().channel() as channel:
        tasks = TaskServiceStub(channel)
        events = watch_tasks(
            tasks, task_pb2.WatchTasksRequest(heartbeat_interval=Duration(nanos=200_000_000))
        )
        assert ", ".join(map(told, events)) == given("SCRIPT_SEEN")
        # No heartbeat that a gateway takes: it is the gateway that has to say so.
        refused = task_pb2.WatchTasksRequest(
            filter={"vault_id": "refused"}, heartbeat_interval=Duration(seconds=10**10)
        )
        assert (
            failure(
                grpc.StatusCode.PERMISSION_DENIED, lambda: list(watch_tasks(tasks, refused))
            ).reason_name
            == "PROJECT_DENIED"
        )
    passed()


def facts(message):
    match message:
        case task_pb2.Task():
            progress = message.details.common
            return {
                "type": message.type,
                "type_raw": message.type_raw,
                "status": message.status,
                "progress_percent": (
                    progress.progress_percent if progress.HasField("progress_percent") else "unset"
                ),
                "start_seconds": message.start_time.seconds,
                "start_nanos": message.start_time.nanos,
                "end_time": message.end_time.seconds if message.HasField("end_time") else "unset",
            }
        case checkpoint_pb2.CheckpointResource():
            return {"backup_size_mib": message.backup_size_mib}
        case _:
            last = message.vaults[-1]
            return {
                "count": len(message.vaults),
                "last_id": last.id,
                "last_used_mib": last.billing.used_mib,
            }


def test_addresses(passed):
    cases = json.loads(Path(given("ADDRESSES")).read_text(encoding="utf-8"))
    assert cases
    for case in cases:
        address, says = case["address"], case["says"]
        if not says:
            Gateway(address).channel().close()
            continue
        with pytest.raises(ValueError, match=re.escape(f"{address!r} {says}") + "$"):
            Gateway(address)
    passed()


def test_vectors(passed):
    kinds = {
        "Task": task_pb2.Task,
        "CheckpointResource": checkpoint_pb2.CheckpointResource,
        "ListVaultsResponse": vault_pb2.ListVaultsResponse,
    }
    vectors = json.loads(Path(given("VECTORS")).read_text(encoding="utf-8"))
    assert vectors
    for vector in vectors:
        content = base64.b64decode(vector["base64"])
        message = kinds[vector["message"]].FromString(content)
        found = facts(message)
        assert {fact: str(found[fact]) for fact in vector["facts"]} == vector["facts"], vector[
            "name"
        ]
        assert message.SerializeToString() == content, vector["name"]
    passed()

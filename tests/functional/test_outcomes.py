"""The outcome table, row by row: what may follow an attempt, for every RPC.

The emulator's truth log says what was really sent.
"""

import asyncio
import socket
import uuid

import pytest

from gateway.upstream.breaker import Level
from gateway.upstream.breakers import Held
from gateway.upstream.declaration import RetryClass
from tests.functional import stage
from tests.functional.calls import (
    BINDINGS,
    REQUESTS,
    Caller,
    Failure,
    arrived,
    asked,
    caller,
    forget,
    gateway_before,
    order,
    tenant_for,
    until,
)
from tests.harness import World

ALL = list(BINDINGS)
UPDATE = "VaultService/UpdateVault"
every_rpc = pytest.mark.parametrize("rpc", BINDINGS)
ALONE = {RetryClass.CREATE, RetryClass.NEVER}
"""Classes of calls that are never sent again when their outcome is unknown."""


def of_class(*classes):
    return pytest.mark.parametrize(
        "rpc", [rpc for rpc, binding in BINDINGS.items() if binding.retry_class in classes]
    )


def request_for(rpc, *, named):
    """The example of an RPC, with or without a request id."""
    fields = {key: value for key, value in REQUESTS[rpc].items() if key != "request_id"}
    return fields | ({"request_id": uuid.uuid4().hex} if named and not BINDINGS[rpc].reads else {})


SHAPE = "200 of another shape"
AMBIGUOUS = {
    "cut": ("cut", {}),
    "500": ("status", {"status": 500, "body": {}}),
    "500 of the API gateway": ("status", {"status": 500}),
    "502": ("status", {"status": 502, "body": "<html>Bad Gateway</html>"}),
    "503 without a code": ("status", {"status": 503, "body": ""}),
    "503 of the API gateway": ("status", {"status": 503}),
    "504": ("status", {"status": 504}),
    "200 that is no JSON": ("status", {"status": 200, "body": '{"vault": '}),
    SHAPE: ("status", {"status": 200, "body": "[]"}),
    "302": ("redirect", {}),
}
FOREIGN = {
    "404 of nobody knows whom": ("status", {"status": 404, "body": "<html>not found</html>"}),
    "404 of an unknown API": (
        "status",
        {"status": 404, "body": {"error_code": "APIGW.0106", "error_msg": "m"}},
    ),
    "409 without a code": ("status", {"status": 409, "body": {}}),
}
"""Ambiguous for a change; a read takes them by their status."""
every_ambiguity = pytest.mark.parametrize("situation", AMBIGUOUS | FOREIGN)


def promises(rpc):
    """Whether an answer of another shape leaves in doubt what became of the call; a change that
    promises nothing has been carried out.
    """
    plan = BINDINGS[rpc].response_plan
    return BINDINGS[rpc].reads or bool(plan.required or plan.required_one_of)


def pairs(*classes, in_full):
    """Every RPC of the classes with two kinds of ambiguity, and the RPCs of `in_full` with all of
    them: a repeat costs time.
    """
    rpcs = [rpc for rpc, binding in BINDINGS.items() if binding.retry_class in classes]
    found = [
        (rpc, situation)
        for rpc in rpcs
        for situation in AMBIGUOUS
        if rpc in in_full or situation in {"cut", "502"}
    ]
    found = [(rpc, situation) for rpc, situation in found if situation != SHAPE or promises(rpc)]
    return pytest.mark.parametrize(("rpc", "situation"), found)


# Never sent
# --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def nowhere():
    """A gateway whose upstream address refuses every connection: the port is bound, and nobody
    listens.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with gateway_before(f"http://127.0.0.1:{taken.getsockname()[1]}") as pair:
            yield pair


@pytest.mark.parametrize(
    "rpcs", [ALL[start : start + 3] for start in range(0, len(ALL), 3)], ids=" ".join
)
async def test_a_call_that_was_never_sent_is_repeated_and_ends_as_unreachable(nowhere, rpcs):
    """Three at once: more would meet the cap on retries in flight."""
    app, anyone = nowhere
    forget(app)
    calls = (
        Caller(anyone.channel, World.metadata(tenant_for(rpc))).fails(
            rpc, request_for(rpc, named=True)
        )
        for rpc in rpcs
    )
    for failed in await asyncio.gather(*calls):
        assert (failed.code, failed.reason) == ("UNAVAILABLE", "UPSTREAM_UNREACHABLE")
        assert (failed.facts["attempts"], failed.facts["sent"]) == ("3", "no")
        assert "RetryInfo" in failed.details


# Refused
# --------------------------------------------------------------------------------------------------


@every_rpc
async def test_a_refused_call_is_repeated(world, rpc):
    order(world, "status", rpc, status=429, headers={"Retry-After": "0"})
    answer = await caller(world, tenant_for(rpc))(rpc, request_for(rpc, named=True))
    assert len(asked(world, rpc)) == 2
    if isinstance(answer, Failure):
        assert answer.facts["attempts"] == "2"
        assert answer.reason not in {
            "OUTCOME_UNKNOWN",
            "UPSTREAM_THROTTLED",
            "UPSTREAM_UNAVAILABLE",
        }


@every_rpc
async def test_a_call_that_is_always_throttled_ends_as_throttled(world, rpc):
    order(world, "status", rpc, status=429, headers={"Retry-After": "0"}, times=None)
    failed = await caller(world, tenant_for(rpc)).fails(rpc, request_for(rpc, named=True))
    attempts = 2 if BINDINGS[rpc].retry_class is RetryClass.NEVER else 3
    assert (failed.code, failed.reason) == ("UNAVAILABLE", "UPSTREAM_THROTTLED")
    assert (failed.facts["attempts"], len(arrived(world, rpc))) == (str(attempts), attempts)
    assert failed.trailers["grpc-retry-pushback-ms"] == "1000"


@every_rpc
async def test_a_refused_credential_is_not_the_callers(world, rpc):
    body = {"error_msg": "Incorrect IAM authentication information", "error_code": "APIGW.0301"}
    order(world, "status", rpc, status=401, body=body, times=None)
    failed = await caller(world, tenant_for(rpc)).fails(rpc, request_for(rpc, named=True))
    assert (failed.code, failed.reason) == ("INTERNAL", "UPSTREAM_CREDENTIALS")
    # A key that was refused would be refused again.
    assert len(arrived(world, rpc)) == 1


async def test_the_pause_that_cbr_asks_for_reaches_the_caller(world):
    order(world, "status", "VaultService/CreateVault", status=429, headers={"Retry-After": "60"})
    failed = await caller(world).fails(
        "VaultService/CreateVault", request_for("VaultService/CreateVault", named=False)
    )
    assert failed.reason == "UPSTREAM_THROTTLED"
    assert failed.details["RetryInfo"].retry_delay.ToSeconds() == 60
    assert failed.trailers["grpc-retry-pushback-ms"] == "-1", "the call has 20 s"


CHANGES = (
    "VaultService/CreateVault",
    "VaultService/OrderVault",
    "VaultService/UpdateVault",
    "VaultService/DeleteVault",
)


@pytest.mark.parametrize("rpc", CHANGES)
async def test_a_pause_that_was_asked_for_does_not_outlast_the_caller(world, rpc):
    order(world, "status", rpc, status=429, headers={"Retry-After": "60"}, times=None)
    # Said at once, not when the time is up.
    async with asyncio.timeout(20):
        failed = await caller(world).fails(rpc, request_for(rpc, named=True), timeout_s=29)
    # Nothing was carried out, so nothing is unknown; and nothing is sent behind the caller's back.
    assert (failed.code, failed.reason) == ("UNAVAILABLE", "UPSTREAM_THROTTLED")
    assert len(arrived(world, rpc)) == 1


async def test_a_refused_change_is_not_repeated_for_a_caller_who_left(world):
    calls = []
    for rpc in CHANGES:
        order(world, "status", rpc, status=429, headers={"Retry-After": "1"})
        order(world, "delay", rpc, seconds=0.2)
        # One vault for each, so that none waits for another.
        own = (
            {"vault_id": f"vault-{len(calls)}"}
            if "vault_id" in request_for(rpc, named=True)
            else {}
        )
        calls.append(caller(world).start(rpc, request_for(rpc, named=True) | own))
    await until(lambda: all(arrived(world, rpc) for rpc in CHANGES))
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await asyncio.sleep(1.5)
    assert {rpc: len(arrived(world, rpc)) for rpc in CHANGES} == dict.fromkeys(CHANGES, 1)


# Ambiguous
# --------------------------------------------------------------------------------------------------


READS = ("VaultService/ListVaults", "VaultService/QueryVaultsByTag", "FeatureService/ListFeatures")


@pairs(RetryClass.READ, RetryClass.DELETE, in_full=(*READS, "VaultService/DeleteVault"))
async def test_reads_and_deletes_are_repeated(world, rpc, situation):
    kind, parts = AMBIGUOUS[situation]
    order(world, kind, rpc, **parts)
    answer = await caller(world, tenant_for(rpc))(rpc, request_for(rpc, named=True))
    assert len(asked(world, rpc)) == 2
    if isinstance(answer, Failure):
        assert BINDINGS[rpc].reads
        assert answer.facts["attempts"] == "2"


@pytest.mark.parametrize("rpc", READS)
@pytest.mark.parametrize(
    ("situation", "code", "reason"),
    [
        ("cut", "UNAVAILABLE", "UPSTREAM_UNAVAILABLE"),
        ("500", "INTERNAL", "UPSTREAM_INTERNAL"),
        ("504", "UNAVAILABLE", "UPSTREAM_UNAVAILABLE"),
        ("200 that is no JSON", "INTERNAL", "UPSTREAM_PROTOCOL"),
        ("302", "INTERNAL", "UPSTREAM_PROTOCOL"),
    ],
)
async def test_a_read_that_fails_three_times_says_how(world, rpc, situation, code, reason):
    kind, parts = AMBIGUOUS[situation]
    order(world, kind, rpc, times=None, **parts)
    failed = await caller(world, tenant_for(rpc)).fails(rpc, request_for(rpc, named=False))
    assert (failed.code, failed.reason, failed.facts["attempts"]) == (code, reason, "3")
    assert len(arrived(world, rpc)) == 3


@of_class(*ALONE)
@every_ambiguity
async def test_what_cannot_be_repeated_ends_as_unknown(world, rpc, situation):
    kind, parts = (AMBIGUOUS | FOREIGN)[situation]
    # UNAVAILABLE invites to repeat, which only a request id makes safe.
    for named, code in ((True, "UNAVAILABLE"), (False, "UNKNOWN")):
        world.emulator.state.reset()
        order(world, kind, rpc, times=None, **parts)
        if situation == SHAPE and not promises(rpc):
            assert (
                await caller(world, tenant_for(rpc)).ok(rpc, request_for(rpc, named=named))
                is not None
            )
            continue
        failed = await caller(world, tenant_for(rpc)).fails(rpc, request_for(rpc, named=named))
        assert (failed.code, failed.reason) == (code, "OUTCOME_UNKNOWN")
        assert (failed.facts["attempts"], len(arrived(world, rpc))) == ("1", 1)
        assert failed.facts["sent"] == ("maybe" if kind == "cut" else "yes")


@pairs(RetryClass.CONVERGE, in_full=("VaultService/UpdateVault", "VaultService/AddVaultResources"))
async def test_a_change_is_read_back_before_anything_else(world, rpc, situation):
    kind, parts = AMBIGUOUS[situation]
    order(world, kind, rpc, **parts)
    read = BINDINGS[rpc].read_back
    order(world, "cut", read, times=None)
    failed = await caller(world, tenant_for(rpc)).fails(rpc, request_for(rpc, named=True))
    # The read failed, so nothing was learnt; writing again would be a guess.
    assert (failed.code, failed.reason) == ("UNAVAILABLE", "OUTCOME_UNKNOWN")
    assert (len(arrived(world, rpc)), len(arrived(world, read))) == (1, 3)


async def never_done(world, then):
    """Updates a vault: the first attempt is lost, a read does not show it, and then comes something
    else.
    """
    made = await stage.vault(caller(world))
    order(world, "cut", UPDATE)
    then(world)
    return await caller(world).fails(UPDATE, {"vault_id": made.id, "vault": {"name": "other"}})


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("cut", {}),
        ("status", {"status": 504, "body": {}}),
        ("status", {"status": 429, "headers": {"Retry-After": "0"}}),
        ("status", {"status": 429, "headers": {"Retry-After": "40"}}),
        (
            "status",
            {
                "status": 400,
                "body": {"error_code": "BackupService.6203", "error_msg": "A task is running."},
            },
        ),
        ("status", {"status": 401, "body": {"error_code": "APIGW.0301", "error_msg": "No."}}),
    ],
)
async def test_a_change_that_a_read_did_not_show_may_still_come(world, kind, parts):
    """It was lost on the way; whatever the later attempts say, nobody knows that it will not
    arrive.
    """
    failed = await never_done(
        world, lambda world: [order(world, kind, UPDATE, nth=nth, **parts) for nth in (2, 3)]
    )
    assert (failed.code, failed.reason) == ("UNKNOWN", "OUTCOME_UNKNOWN")


async def test_a_breaker_that_opens_between_the_attempts_settles_nothing(world, monkeypatch):
    made = await stage.vault(caller(world))
    breakers = world.app.client.factory.breakers
    leave = breakers.enter
    answers = iter([True, False])

    def enter(target, traffic):
        return (
            leave(target, traffic)
            if target.operation != "UpdateVault" or next(answers)
            else Held(Level.OBJECT, 1.0)
        )

    monkeypatch.setattr(breakers, "enter", enter)
    order(world, "cut", UPDATE)
    failed = await caller(world).fails(UPDATE, {"vault_id": made.id, "vault": {"name": "other"}})
    assert (failed.code, failed.reason, failed.facts["attempts"]) == (
        "UNKNOWN",
        "OUTCOME_UNKNOWN",
        "1",
    )


async def test_a_later_answer_that_names_the_mistake_is_told(world):
    body = {"error_code": "BackupService.9900", "error_msg": "Invalid name provided."}
    failed = await never_done(
        world, lambda world: order(world, "status", UPDATE, nth=2, status=400, body=body)
    )
    assert (failed.code, failed.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")


@of_class(RetryClass.DELETE)
async def test_a_delete_that_never_gets_an_answer_is_unknown(world, rpc):
    order(world, "cut", rpc, times=None)
    failed = await caller(world, tenant_for(rpc)).fails(rpc, request_for(rpc, named=False))
    assert (failed.code, failed.reason, failed.facts["attempts"]) == (
        "UNKNOWN",
        "OUTCOME_UNKNOWN",
        "3",
    )
    assert len(arrived(world, rpc)) == 3


@of_class(RetryClass.DELETE)
async def test_a_delete_that_meets_its_own_work_is_unknown(world, rpc):
    order(world, "cut", rpc)
    order(
        world,
        "status",
        rpc,
        nth=2,
        status=400,
        body={"error_code": "BackupService.6203", "error_msg": "Performing backups."},
    )
    failed = await caller(world, tenant_for(rpc)).fails(rpc, request_for(rpc, named=False))
    assert (failed.reason, failed.facts["attempts"]) == ("OUTCOME_UNKNOWN", "2")


@of_class(RetryClass.DELETE)
async def test_a_repeated_delete_takes_every_way_of_saying_gone_for_done(world, rpc):
    order(world, "status", rpc, status=502, body={})
    order(
        world,
        "status",
        rpc,
        nth=2,
        status=400,
        body={"error_code": "BackupService.6200", "error_msg": "gone"},
    )
    await caller(world, tenant_for(rpc)).ok(rpc, request_for(rpc, named=False))
    assert len(arrived(world, rpc)) == 2


@of_class(RetryClass.DELETE)
@pytest.mark.parametrize("situation", ["404 of nobody knows whom", "404 of an unknown API"])
async def test_a_404_of_anybody_does_not_make_a_delete_done(world, rpc, situation):
    order(world, "cut", rpc)
    kind, parts = FOREIGN[situation]
    for nth in (2, 3):
        order(world, kind, rpc, nth=nth, **parts)
    failed = await caller(world, tenant_for(rpc)).fails(rpc, request_for(rpc, named=False))
    assert (failed.code, failed.reason, failed.facts["attempts"]) == (
        "UNKNOWN",
        "OUTCOME_UNKNOWN",
        "3",
    )


@of_class(RetryClass.DELETE)
async def test_a_delete_of_nothing_is_not_found_at_the_first_attempt(world, rpc):
    failed = await caller(world, tenant_for(rpc)).fails(rpc, request_for(rpc, named=False))
    assert (failed.code, failed.facts["attempts"]) == ("NOT_FOUND", "1")


SLOW = {
    "TaskService/ListTasks": (3, "UPSTREAM_UNAVAILABLE"),
    "VaultService/CreateVault": (1, "OUTCOME_UNKNOWN"),
    "VaultService/OrderVault": (1, "OUTCOME_UNKNOWN"),
    "VaultService/UpdateVault": (1, "OUTCOME_UNKNOWN"),
    "PolicyService/DeletePolicy": (2, None),
}


async def test_no_answer_within_an_attempt_is_ambiguous_too(world):
    """All at once, because an attempt lasts five seconds; and without a deadline, because every
    call gets one.
    """
    for rpc, (attempts, _) in SLOW.items():
        order(world, "delay", rpc, seconds=7, times=None if attempts == 3 else 1)
    answers = await asyncio.gather(
        *(caller(world)(rpc, request_for(rpc, named=True), timeout_s=None) for rpc in SLOW)
    )
    for (rpc, (attempts, reason)), answer in zip(SLOW.items(), answers, strict=True):
        # A read has ten seconds in all: the third attempt does not start.
        assert len(arrived(world, rpc)) == min(attempts, 2), rpc
        assert (answer.reason if isinstance(answer, Failure) else None) == reason, rpc


# Definite
# --------------------------------------------------------------------------------------------------


@every_rpc
@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "BackupService.9900", ("INVALID_ARGUMENT", "FIELD_INVALID")),
        (400, "BackupService.6203", ("ABORTED", "RESOURCE_BUSY")),
        (403, "APIGW.0302", ("PERMISSION_DENIED", "UPSTREAM_PERMISSION")),
        (409, "BackupService.99999", ("ABORTED", "RESOURCE_BUSY")),
        (500, "BackupService.0002", ("ABORTED", "RESOURCE_BUSY")),
    ],
)
async def test_an_answer_with_a_reason_ends_the_call(world, rpc, status, code, expected):
    order(
        world,
        "status",
        rpc,
        status=status,
        body={"error_code": code, "error_msg": "No."},
        times=None,
    )
    failed = await caller(world, tenant_for(rpc)).fails(rpc, request_for(rpc, named=True))
    assert (failed.code, failed.reason) == expected
    assert (failed.facts["attempts"], failed.facts["sent"], len(arrived(world, rpc))) == (
        "1",
        "yes",
        1,
    )
    assert failed.facts["upstreamCode"] == code
    assert failed.facts["upstreamHttpStatus"] == str(status)
    assert failed.facts["upstreamRequestId"]


def test_the_table_covers_every_class():
    assert {binding.retry_class for binding in BINDINGS.values()} == set(RetryClass)


async def test_a_missing_object_that_only_the_body_names_is_named_in_the_error(world):
    vault_id = str(uuid.uuid4())
    failed = await caller(world, tenant_for("CheckpointService/CreateCheckpoint")).fails(
        "CheckpointService/CreateCheckpoint", {"checkpoint": {"vault_id": vault_id}}
    )
    named = failed.details["ResourceInfo"]
    assert (failed.reason, named.resource_type, named.resource_name) == (
        "VAULT_NOT_FOUND",
        "vault",
        vault_id,
    )


# Orders
# --------------------------------------------------------------------------------------------------

ORDERING = ["VaultService/OrderVault", "VaultService/CreateVault"]


@pytest.mark.parametrize("failed", [0, "0"])
@pytest.mark.parametrize("rpc", ORDERING)
async def test_an_order_that_failed_is_told_with_its_id(world, rpc, failed):
    line = {
        "cloudServiceId": "cbr",
        "orderId": "CS2611281503ABC",
        "resourceId": "r",
        "subscribeResult": failed,
    }
    order(
        world,
        "status",
        rpc,
        status=200,
        body={"orders": [line], "retCode": 0, "errText": "no money", "error_code": "CBC.0000"},
    )
    refused = await caller(world, tenant_for(rpc)).fails(rpc, request_for(rpc, named=True))
    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "ORDER_REFUSED")
    assert refused.facts["orderIds"] == "CS2611281503ABC"


@pytest.mark.parametrize("done", [1, "1"])
@pytest.mark.parametrize("rpc", ORDERING)
async def test_an_order_that_succeeded_is_read_in_either_form(world, rpc, done):
    line = {
        "cloudServiceId": "cbr",
        "orderId": "CS2611281503ABC",
        "resourceId": "r",
        "subscribeResult": done,
    }
    order(
        world,
        "status",
        rpc,
        status=200,
        body={"orders": [line], "retCode": "0", "error_code": "CBC.0000"},
    )
    answer = await caller(world, tenant_for(rpc))(rpc, request_for(rpc, named=True))
    assert [(each.order_id, each.subscribe_result) for each in answer.orders] == [
        ("CS2611281503ABC", 1)
    ]


ORDERS = [
    "OrderService/ChangeOrder",
    "OrderService/UpdateOrder",
    "VaultService/ChangeVaultChargingMode",
]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"subscribeResult": 1}, ""),
        ({"subscribeResult": "1", "retCode": "0"}, ""),
        ({"orders": [{"orderId": "CS1", "subscribeResult": 1}]}, "CS1"),
        ({"subscribe_result": "1", "order_id": "CS1"}, "CS1"),
        ({"order": {"subscribeResult": 1, "orderId": "CS1"}}, "CS1"),
        ({"result": {"subscribeResult": 1, "orderId": "CS1"}}, "CS1"),
    ],
)
@pytest.mark.parametrize("rpc", [*ORDERS, "VaultService/OrderVault"])
async def test_what_says_that_an_order_was_placed_is_a_success(world, rpc, body, named):
    order(world, "status", rpc, status=200, body=body)
    answer = await caller(world, tenant_for(rpc))(rpc, request_for(rpc, named=True))
    told = answer.orders[0].order_id if rpc not in ORDERS else answer.order_id
    assert told == named


@pytest.mark.parametrize(
    "body",
    [
        {"subscribeResult": 0},
        {"order": {"subscribeResult": "0", "orderId": "CS1"}},
        {"subscribe_result": 0},
        {"result": {"subscribeResult": 0}},
    ],
)
@pytest.mark.parametrize("rpc", [*ORDERS, "VaultService/OrderVault"])
async def test_what_says_that_an_order_failed_is_a_refusal(world, rpc, body):
    order(world, "status", rpc, status=200, body=body)
    refused = await caller(world, tenant_for(rpc)).fails(rpc, request_for(rpc, named=True))
    assert refused.reason == "ORDER_REFUSED"


@pytest.mark.parametrize(
    "rpc",
    [
        "OrderService/ChangeOrder",
        "OrderService/UpdateOrder",
        "VaultService/ChangeVaultChargingMode",
    ],
)
async def test_the_id_of_an_order_is_in_the_error_that_refuses_it(world, rpc):
    order(
        world,
        "status",
        rpc,
        status=200,
        body={"orderId": "CS2611281503ABC", "retCode": 30000052, "errText": "no money"},
    )
    refused = await caller(world, tenant_for(rpc)).fails(rpc, request_for(rpc, named=True))
    assert (refused.reason, refused.facts["upstreamCode"], refused.facts["orderIds"]) == (
        "ORDER_REFUSED",
        "CBC.30000052",
        "CS2611281503ABC",
    )


async def test_the_id_of_an_order_is_told_where_the_rest_cannot_be_read(world):
    rpc = "VaultService/OrderVault"
    order(world, "status", rpc, status=200, body={"orderId": "CS2611281503ABC", "orders": "none"})
    answer = await caller(world, tenant_for(rpc))(rpc, request_for(rpc, named=True))
    if isinstance(answer, Failure):
        assert (answer.reason, answer.facts["orderIds"]) == ("OUTCOME_UNKNOWN", "CS2611281503ABC")


@pytest.mark.parametrize(
    "body",
    [
        {"orders": [], "orderId": "CS1"},
        {"orders": ["CS1"]},
        {"orders": {"orderId": "CS1"}},
        {"order_id": "CS1"},
    ],
)
@pytest.mark.parametrize("rpc", ORDERING)
async def test_the_id_of_an_order_is_told_wherever_it_stands(world, rpc, body):
    order(world, "status", rpc, status=200, body=body)
    answer = await caller(world, tenant_for(rpc))(rpc, request_for(rpc, named=False))
    told = (
        answer.facts["orderIds"]
        if isinstance(answer, Failure)
        else ",".join(line.order_id for line in answer.orders)
    )
    assert told == "CS1"


async def test_what_was_made_is_answered_with_the_orders_beside_it(world):
    rpc = "VaultService/CreateVault"
    order(
        world,
        "status",
        rpc,
        status=200,
        body={
            "vault": {"id": "v"},
            "orderId": "CS1",
            "error_code": 200,
            "code": 201,
            "message": "created",
        },
    )
    answer = await caller(world, tenant_for(rpc))(rpc, request_for(rpc, named=False))
    assert (answer.vault.id, [line.order_id for line in answer.orders]) == ("v", ["CS1"])


@pytest.mark.parametrize(
    "body", [{"orders": []}, {"orders": [{}]}, {"vault": None, "orders": [None]}]
)
@pytest.mark.parametrize("rpc", ["VaultService/CreateVault", "VaultService/OrderVault"])
async def test_an_answer_that_names_nothing_that_was_made_proves_nothing(world, rpc, body):
    order(world, "status", rpc, status=200, body=body)
    failed = await caller(world, tenant_for(rpc)).fails(rpc, request_for(rpc, named=False))
    assert failed.reason == "OUTCOME_UNKNOWN"


async def test_a_list_beside_an_error_is_not_empty(world):
    order(
        world,
        "status",
        "VaultService/ListVaults",
        status=200,
        body={"vaults": [], "count": 0, "error": {"message": "db down"}},
    )
    assert (await caller(world).fails("VaultService/ListVaults", {})).reason == "UPSTREAM_PROTOCOL"


# Objects of any keys
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [{"vaults": [], "count": 0}, {"features": None}, {"state": "on"}])
@pytest.mark.parametrize("rpc", ["FeatureService/ListFeatures", "FeatureService/GetFeature"])
async def test_an_object_of_something_else_is_no_feature(world, rpc, body):
    order(world, "status", rpc, status=200, body=body, times=None)
    failed = await caller(world).fails(rpc, request_for(rpc, named=True))
    assert failed.reason == "UPSTREAM_PROTOCOL"

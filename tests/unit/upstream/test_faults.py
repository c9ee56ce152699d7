"""CBR's answers as our errors: every code of the vendor's table, every shape of body, and nothing
of CBR's text in what callers see.
"""

import csv
import json
from pathlib import Path

import pytest
from google.rpc import code_pb2
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError, Resource, UpstreamFacts, reason_name
from gateway.operations import load_catalog
from gateway.rpc.status import to_status
from gateway.upstream.error_in_success import order_error
from gateway.upstream.faults import to_gateway_error
from gateway.upstream.lookup import named_in_body
from gateway.upstream.upstream_error import UpstreamError, codes, read_error

CATALOG = load_catalog()
FACTS = UpstreamFacts(attempts=1, sent="yes", http_status=400, code="x", request_id="r")
with Path(__file__).with_name("cbr_codes.csv").open(encoding="utf-8", newline="") as file:
    ROWS = list(csv.DictReader(file))


def answered(status, body, rpc="VaultService/GetVault", subject=None, named=None):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return to_gateway_error(
        read_error(status, raw), CATALOG[rpc], FACTS, subject or {}, named or {}
    )


def names(error: GatewayError):
    return reason_name(error.reason), code_pb2.Code.Name(error.code)


@pytest.mark.parametrize("http", sorted({row["http"] for row in ROWS}))
def test_a_code_of_the_vendors_table_gets_its_reason(http):
    for row in (row for row in ROWS if row["http"] == http):
        error = answered(int(http), {"error_code": row["code"], "error_msg": "Something."})
        assert names(error) == (row["reason"], row["grpc"]), row
        assert error.message.endswith("."), row
        assert error.upstream is FACTS


def test_the_table_of_the_gateway_holds_no_other_code():
    assert set(codes().known) == {row["code"] for row in ROWS}


def test_every_meaning_is_a_phrase_of_ours():
    for known in codes().known.values():
        assert known.meaning
        assert not known.meaning.endswith(".")


@pytest.mark.parametrize(
    ("status", "body", "code", "text"),
    [
        (
            404,
            {"error_code": "BackupService.6500", "error_msg": "Operation log does not exist."},
            "BackupService.6500",
            "Operation log does not exist.",
        ),
        (
            429,
            {"error_msg": "slow", "error_code": "APIGW.0308", "request_id": "0" * 32},
            "APIGW.0308",
            "slow",
        ),
        (
            401,
            {"unauthorized": {"code": "401", "message": "Malformed request url"}},
            "401",
            "Malformed request url",
        ),
        (400, {"badRequest": {"code": 400, "message": "m"}}, "400", "m"),
        (404, {"itemNotFound": {"code": "404", "message": "m"}}, "404", "m"),
        (403, {"forbidden": {"message": "m", "code": "403"}}, "403", "m"),
        (401, {"error": {"code": 401, "message": "m", "title": "Unauthorized"}}, "401", "m"),
        (400, {"errorCode": "E.1", "errorMsg": "m"}, "E.1", "m"),
        (400, {"code": "E.1", "message": "m"}, "E.1", "m"),
        (
            403,
            {"error_code": "PAP5.0001", "error_msg": "m", "encoded_authorization_message": "x"},
            "PAP5.0001",
            "m",
        ),
        (403, "a JSON string", "", ""),
        (400, {"error_code": None, "error_msg": None}, "", ""),
        (400, {"error_code": "E.1", "error_msg": None}, "E.1", ""),
        (500, {"vault": {"id": "x"}}, "", ""),
        (502, b"<html>Bad Gateway</html>", "", ""),
        (500, b"", "", ""),
        (500, [], "", ""),
        (500, [{"error_code": "E.1"}], "", ""),
        (400, {"error_code": "", "code": "E.1", "message": "m"}, "E.1", "m"),
        (400, {"error_code": None, "error": {"code": "E.1"}}, "E.1", ""),
        (500, b'{"error_code":"a","error_code":"b"}', "", ""),
    ],
)
def test_every_shape_of_error_body_is_read(status, body, code, text):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    error = read_error(status, raw)
    assert (error.status, error.code, error.text) == (status, code, text)


DELETING = '{"error_code":"BackupService.6203","error_msg":"Déjà 正在备份"}'
BUSY = '{"conflictingRequest" : {"message": "a \\"code\\": \\"1\\"", "code": 409, "more": [1]}}'


@pytest.mark.parametrize(
    ("body", "code", "wrapper"),
    [
        (DELETING.encode("utf-16"), "BackupService.6203", ""),
        (DELETING.encode("utf-16-be"), "BackupService.6203", ""),
        (DELETING.encode("utf-16-le"), "BackupService.6203", ""),
        (DELETING.encode("utf-32"), "BackupService.6203", ""),
        (DELETING.encode("utf-32-be"), "BackupService.6203", ""),
        (DELETING.encode("utf-32-le")[:-7], "BackupService.6203", ""),
        (DELETING.encode("utf-8-sig"), "BackupService.6203", ""),
        (DELETING.encode("gb18030"), "BackupService.6203", ""),
        (DELETING.replace("正在备份", "").encode("latin-1"), "BackupService.6203", ""),
        (DELETING.encode()[:-3], "BackupService.6203", ""),
        (DELETING.encode("utf-16")[:-7], "BackupService.6203", ""),
        (DELETING.encode()[:37], "BackupService.6203", ""),
        (DELETING.encode()[:33], "", ""),
        (
            b'{"error_code":"BackupService.6203","error_msg":"a","error_msg":"b"}',
            "BackupService.6203",
            "",
        ),
        (
            b'{"error_code":"BackupService.6203","error_code":"BackupService.6203"}',
            "BackupService.6203",
            "",
        ),
        (b'{"error_code":"BackupService.6203","error_code":"BackupService.6105"}', "", ""),
        (BUSY.encode("utf-16"), "409", "conflictingRequest"),
        (BUSY.encode()[:-3], "409", "conflictingRequest"),
        (b'{"conflictingRequest":{"code":40', "", ""),
        (b'<p>{"error_code":"BackupService.6203"}', "", ""),
        (b'["error_code", {"error_code":"BackupService.6203"}', "", ""),
        (b'{"note":"\\"error_code\\":\\"BackupService.6203\\"', "", ""),
    ],
)
def test_an_error_body_that_is_no_strict_json_keeps_its_code(body, code, wrapper):
    error = read_error(409, body)
    assert (error.code, error.wrapper) == (code, wrapper)
    assert error.proves_nothing_done == bool(code)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_error_body_is_read(before, after):
    assert read_error(400, before + b'{"error_code":"E.1' + after).status == 400


@pytest.mark.parametrize(
    "code",
    ["c" * 65, "host-10.1.2.3 project 0605767b", "a/b", "a:b", "ü", "<b>", "a\n", ["x"], {"a": 1}],
)
def test_a_code_that_could_hold_anything_is_dropped(code):
    bodies = ({"error_code": code}, {"error_code": code, "error_msg": "m" * 10_000})
    for error in (read_error(400, json.dumps(body).encode()) for body in bodies):
        assert error.code == ""
        assert len(error.text) <= 512
    assert order_error({"retCode": code}, 200).code == ""


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        (300, "UPSTREAM_PROTOCOL", "INTERNAL"),
        (302, "UPSTREAM_PROTOCOL", "INTERNAL"),
        (400, "FIELD_INVALID", "INVALID_ARGUMENT"),
        (401, "UPSTREAM_CREDENTIALS", "INTERNAL"),
        (403, "UPSTREAM_PERMISSION", "PERMISSION_DENIED"),
        (404, "VAULT_NOT_FOUND", "NOT_FOUND"),
        (409, "RESOURCE_BUSY", "ABORTED"),
        (413, "FIELD_INVALID", "INVALID_ARGUMENT"),
        (418, "FIELD_INVALID", "INVALID_ARGUMENT"),
        (429, "UPSTREAM_THROTTLED", "UNAVAILABLE"),
        (500, "UPSTREAM_INTERNAL", "INTERNAL"),
        (502, "UPSTREAM_UNAVAILABLE", "UNAVAILABLE"),
        (503, "UPSTREAM_UNAVAILABLE", "UNAVAILABLE"),
        (504, "UPSTREAM_UNAVAILABLE", "UNAVAILABLE"),
        (507, "UPSTREAM_UNAVAILABLE", "UNAVAILABLE"),
    ],
)
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"error_code":"BackupService.99999","error_msg":"new"}']
)
def test_without_a_known_code_the_status_decides(status, reason, code, body):
    assert names(answered(status, body)) == (reason, code)


@pytest.mark.parametrize(
    ("rpc", "reason"),
    [
        ("VaultService/GetVault", "VAULT_NOT_FOUND"),
        ("BackupService/GetBackup", "BACKUP_NOT_FOUND"),
        ("CheckpointService/GetCheckpoint", "CHECKPOINT_NOT_FOUND"),
        ("PolicyService/GetPolicy", "POLICY_NOT_FOUND"),
        ("OrganizationPolicyService/GetOrganizationPolicy", "POLICY_NOT_FOUND"),
        ("TaskService/GetTask", "TASK_NOT_FOUND"),
        ("BackupShareService/GetBackupMember", "MEMBER_NOT_FOUND"),
        ("VaultService/DeleteVaultTag", "TAG_NOT_FOUND"),
        ("ProtectabilityService/GetProtectable", "RESOURCE_NOT_FOUND"),
        ("AgentService/GetAgent", "NOT_FOUND"),
        ("VaultService/ListVaults", "NOT_FOUND"),
    ],
)
@pytest.mark.parametrize(
    ("status", "body"),
    [(404, b""), (401, b'{"unauthorized":{"code":"401","message":"Malformed request url"}}')],
)
def test_a_404_and_the_odd_401_say_what_is_gone(rpc, reason, status, body):
    assert names(answered(status, body, rpc)) == (reason, "NOT_FOUND")


def test_the_odd_401_is_no_matter_of_credentials():
    odd = read_error(401, b'{"unauthorized":{"code":"401","message":"Malformed request url"}}')
    plain = read_error(401, b'{"unauthorized":{"code":"401","message":"Unauthorized"}}')
    assert (odd.vanished, odd.credentials) == (True, False)
    assert (plain.vanished, plain.credentials) == (False, True)


@pytest.mark.parametrize(
    ("rpc", "text", "paths"),
    [
        ("VaultService/GetVault", "Invalid vault_id provided.", ["vault_id"]),
        ("TaskService/GetTask", "Invalid operation_log_id provided.", ["task_id"]),
        (
            "VaultService/CreateVault",
            "Invalid consistent_level provided.",
            ["vault.billing.consistent_level"],
        ),
        ("VaultService/CreateVault", "invalid key enable_acceleration", [""]),
        ("VaultService/CreateVault", "invalid key period_num", ["vault.billing.period_num"]),
        (
            "PolicyService/CreatePolicy",
            "policy.trigger.properties.pattern is wrong",
            ["policy.trigger.properties.pattern"],
        ),
        (
            "VaultService/CreateVault",
            "'threshold' and 'smn_notify' exclude each other; threshold",
            ["vault.threshold_percent", "vault.smn_notify"],
        ),
        ("VaultService/ListExternalVaults", "Invalid objcet_type", ["object_type"]),
        ("VaultService/GetVault", "nothing known", [""]),
        ("VaultService/GetVault", "", [""]),
    ],
)
@pytest.mark.parametrize("code", ["BackupService.9900", "BackupService.6101"])
def test_a_parameter_that_the_text_names_becomes_a_field_path(rpc, text, paths, code):
    error = answered(400, {"error_code": code, "error_msg": text}, rpc)
    assert names(error) == ("FIELD_INVALID", "INVALID_ARGUMENT")
    assert [violation.subject for violation in error.violations] == paths
    assert {violation.rule for violation in error.violations} == {code}
    assert error.message.startswith(paths[0])


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ({"retCode": 0, "retMsg": "ok"}, None),
        ({"retCode": "0"}, None),
        ({"error_code": "0", "errText": "success"}, None),
        ({"error_code": ""}, None),
        ({"error_code": "CBC.0000", "retCode": "CBC.0000", "errText": "success"}, None),
        ({"error_code": 0, "retCode": "0000"}, None),
        ({"orders": [{"orderId": "o", "subscribeResult": 1}]}, None),
        ({"orders": [{"orderId": "o", "subscribeResult": "1"}]}, None),
        ({"orders": [{"orderId": "o"}]}, None),
        ({"orders": [{"subscribeResult": 1}, {"subscribeResult": 0}]}, None),
        ({"vault": {"id": "v"}, "orders": [{"subscribeResult": 0}]}, None),
        ({"orders": [{"orderId": "o", "subscribeResult": 0}]}, ""),
        ({"orders": [{"subscribeResult": "0"}, {"subscribeResult": 0}], "errText": "no money"}, ""),
        ({"orders": [{"subscribeResult": "0"}], "error_code": "CBC.30000052"}, "CBC.30000052"),
        ({"error_code": 30000052}, "CBC.30000052"),
        ({"error_code": "CBC.0000", "retCode": "CBC.0156"}, "CBC.0156"),
        ({"retCode": 1.0}, "1.0"),
        ({"error_code": None, "retCode": None}, None),
        ({"vault": {}}, None),
        ({}, None),
        ([], None),
        (None, None),
        ("text", None),
        ({"error_code": "CBC.30000052", "errText": "no money"}, "CBC.30000052"),
        ({"error_code": "BackupService.6133"}, "BackupService.6133"),
        ({"retCode": 30000052, "errText": "no money"}, "CBC.30000052"),
        ({"retCode": "30000052", "retMsg": "no money"}, "CBC.30000052"),
    ],
)
def test_an_error_inside_a_success_is_found(value, code):
    error = order_error(value, 200)
    assert (error.code if error else None) == code


def test_the_older_services_say_what_is_busy_and_which_limit_is_reached():
    busy = answered(
        409, {"conflictingRequest": {"code": 409, "message": "m"}}, "VaultService/UpdateVault"
    )
    assert names(busy) == ("RESOURCE_BUSY", "ABORTED")
    for status, wrapper in ((413, "overLimit"), (413, "quotaExceeded"), (403, "overQuota")):
        body = {wrapper: {"code": status, "message": "m"}}
        full = answered(status, body, "VaultService/CreateVault")
        assert names(full) == ("UPSTREAM_LIMIT", "FAILED_PRECONDITION")
    throttled = answered(
        429, {"overLimit": {"code": 429, "message": "m"}}, "VaultService/CreateVault"
    )
    assert names(throttled) == ("UPSTREAM_THROTTLED", "UNAVAILABLE")


def test_a_refused_order_is_a_failed_precondition_and_a_known_code_wins():
    binding = CATALOG["OrderService/ChangeOrder"]
    refused = order_error({"retCode": 1, "errText": "no money"}, 200)
    assert names(to_gateway_error(refused, binding, FACTS, {}, {})) == (
        "ORDER_REFUSED",
        "FAILED_PRECONDITION",
    )
    limit = order_error({"error_code": "BackupService.6133"}, 200)
    assert names(to_gateway_error(limit, binding, FACTS, {}, {})) == (
        "UPSTREAM_LIMIT",
        "FAILED_PRECONDITION",
    )


@pytest.mark.parametrize(
    ("code", "subject", "resource"),
    [
        ("6105", {"vault_id": "v"}, Resource("vault", "v")),
        ("6200", {"backup_id": "b"}, Resource("backup", "b")),
        ("6705", {"backup_id": "b", "member_id": "m"}, Resource("member", "m")),
        ("6200", {"backup_id": "b", "member_id": "m"}, Resource("backup", "b")),
        ("6000", {"organization_policy_id": "p"}, Resource("organization policy", "p")),
        ("6601", {"vault_id": "v", "key": "k"}, Resource("tag", "k")),
        ("6120", {"backup_id": "b"}, Resource("vault", "")),
        ("6105", {}, Resource("vault", "")),
        ("6112", {"backup_id": "b"}, Resource("vault", "")),
        ("6203", {"backup_id": "b"}, Resource("backup", "b")),
        ("6203", {}, None),
        ("9910", {"backup_id": "b"}, None),
    ],
)
def test_the_error_is_about_the_right_object(code, subject, resource):
    assert (
        answered(
            400, {"error_code": f"BackupService.{code}", "error_msg": ""}, subject=subject
        ).resource
        == resource
    )


@pytest.mark.parametrize(
    ("rpc", "request_fields", "code", "resource"),
    [
        (
            "CheckpointService/CreateCheckpoint",
            {"checkpoint": {"vault_id": "v"}},
            "6105",
            Resource("vault", "v"),
        ),
        (
            "BackupService/ReplicateBackup",
            {"backup_id": "b", "replicate": {"destination_vault_id": "d"}},
            "6120",
            Resource("vault", "d"),
        ),
        (
            "CheckpointService/ReplicateCheckpoint",
            {"replicate": {"vault_id": "v", "destination_vault_id": "d"}},
            "6105",
            Resource("vault", ""),
        ),
        (
            "VaultService/AssociateVaultPolicy",
            {"vault_id": "v", "policy_id": "p"},
            "6000",
            Resource("policy", "p"),
        ),
        (
            "VaultService/AssociateVaultPolicy",
            {"vault_id": "v", "policy_id": "p"},
            "6105",
            Resource("vault", "v"),
        ),
        (
            "VaultService/AddVaultResources",
            {"vault_id": "v", "resources": [{"id": "r"}]},
            "6302",
            Resource("resource", "r"),
        ),
        (
            "VaultService/AddVaultResources",
            {"vault_id": "v", "resources": [{"id": "r"}, {"id": "s"}]},
            "6302",
            Resource("resource", ""),
        ),
    ],
)
def test_an_object_in_the_body_is_named_where_it_is_the_only_one_of_its_kind(
    rpc, request_fields, code, resource
):
    binding = CATALOG[rpc]
    request = binding.request_type(**request_fields)
    subject = {segment.variable: getattr(request, segment.variable) for segment in binding.segments}
    error = answered(
        400,
        {"error_code": f"BackupService.{code}", "error_msg": ""},
        rpc,
        subject,
        named_in_body(binding, request),
    )
    assert error.resource == resource


def test_a_missing_permission_names_the_action():
    assert answered(403, b"").metadata == {"permission": "cbr:vaults:get"}


VENDORS_STATUS = {(row["code"], int(row["http"])) for row in ROWS}


def test_what_proves_that_nothing_was_done_is_as_the_vendor_lists_it():
    listed = {
        (code, status) for status, found in codes().nothing_was_done.items() for code in found
    }
    assert listed <= VENDORS_STATUS
    assert not {status for _, status in listed} & {502, 503, 504}
    assert not {code for code, _ in listed} & {
        "APIGW.0103",
        "APIGW.0202",
        "APIGW.0203",
        "APIGW.0601",
        "APIGW.0613",
    }
    of_500 = {
        code
        for code, status in VENDORS_STATUS
        if status == 500 and code.startswith("BackupService.")
    }
    assert codes().nothing_was_done[500] == {
        code for code in of_500 if codes().known[code].reason != "UPSTREAM_INTERNAL"
    }


@pytest.mark.parametrize(
    ("status", "body", "proven"),
    [
        (400, {"error_code": "BackupService.6125"}, True),
        (400, {"error_code": "BackupService.99999"}, True),
        (500, {"error_code": "BackupService.0002"}, True),
        (500, {"error_code": "BackupService.6125"}, False),
        (500, {"error_code": "BackupService.9910"}, False),
        (503, {"error_code": "BackupService.0002"}, False),
        (504, {"error_code": "BackupService.6101"}, False),
        (403, {"error_code": "PAP5.0001"}, True),
        (401, {"unauthorized": {"code": "401", "message": "Malformed request url"}}, True),
        (404, {"itemNotFound": {"code": "404", "message": "m"}}, True),
        (409, {"conflictingRequest": {"code": 409, "message": "m"}}, True),
        (409, {"conflictingRequest": {"code": "409", "message": "m"}}, True),
        (409, {"conflictingRequest": {"code": 5, "message": "m"}}, False),
        (413, {"overLimit": {"code": 413, "message": "m", "retryAfter": 3}}, True),
        (413, {"overLimit": {"message": "m"}}, False),
        *(
            (status, {wrapper: {"code": status, "message": "m"}}, True)
            for status in (403, 409, 413)
            for wrapper in ("quotaExceeded", "QuotaError", "OverQuota", "volumeLimitExceeded")
        ),
        (413, {"quotaExceeded": {"code": 400, "message": "m"}}, False),
        (504, {"quotaExceeded": {"code": 504, "message": "m"}}, False),
        (413, {"requestEntityTooLarge": {"code": 413, "message": "m"}}, True),
        (405, {"methodNotAllowed": {"code": 405, "message": "m"}}, True),
        (409, {"buildInProgress": {"code": 409, "message": "m"}}, True),
        (412, {"preconditionFailed": {"code": 412, "message": "m"}}, True),
        (408, {"requestTimeout": {"code": 408, "message": "m"}}, False),
        (400, {"applicationFault": {"code": 400, "message": "m"}}, False),
        (403, {"unlimited": {"code": 403, "message": "m"}}, False),
        *(
            (409, {wrapper: {"code": 409, "message": "m"}}, True)
            for wrapper in ("conflict", "Conflict", "HTTPConflict")
        ),
        *(
            (404, {wrapper: {"code": "404", "message": "m"}}, True)
            for wrapper in ("NotFound", "HTTPNotFound", "itemnotfound")
        ),
        *(
            (400, {wrapper: {"code": 400, "message": "m"}}, True)
            for wrapper in ("badRequest", "HTTPBadRequest")
        ),
        (405, {"badMethod": {"code": 405, "message": "m"}}, True),
        (415, {"badMediaType": {"code": 415, "message": "m"}}, True),
        (422, {"unprocessableEntity": {"code": 422, "message": "m"}}, True),
        (409, {"Conflict": {"message": "m"}}, False),
        (404, {"NotFound": {"code": 409, "message": "m"}}, False),
        (500, {"computeFault": {"code": 500, "message": "m"}}, False),
        (401, {"error": {"code": 401, "message": "m", "title": "Unauthorized"}}, True),
        (404, {"itemNotFound": {"code": "5", "message": "m"}}, False),
        (404, {"code": 404, "message": "no route"}, False),
        (404, {"detail": {"code": 404, "message": "no route"}}, False),
        (404, {"error_code": "APIGW.0106"}, False),
        (404, {"error_code": "E.1"}, False),
        (404, "<html>not found</html>", False),
        (408, "", False),
        (409, {}, False),
        (499, "<html>", False),
        (429, {"error_code": "APIGW.0308"}, True),
    ],
)
def test_what_an_error_proves(status, body, proven):
    assert read_error(status, json.dumps(body).encode()).proves_nothing_done is proven


@pytest.mark.parametrize(
    ("status", "body", "gone"),
    [
        (400, {"error_code": "BackupService.6105"}, True),
        (401, {"unauthorized": {"code": "401", "message": "Malformed request url"}}, True),
        (404, {"error_code": "BackupService.6203"}, False),
        (404, {"error_code": "BackupService.99999"}, False),
        (404, {"itemNotFound": {"code": "404", "message": "m"}}, False),
        (404, "<html>not found</html>", False),
    ],
)
def test_only_cbr_itself_can_say_that_an_object_is_gone(status, body, gone):
    assert read_error(status, json.dumps(body).encode()).gone is gone


@given(st.sampled_from(ROWS), st.sampled_from(list(CATALOG)), st.text(max_size=20))
def test_cbrs_own_text_never_reaches_a_caller(row, binding, noise):
    marker = "s3cr3t-host.internal"
    text = f"{noise} {marker} {noise}"
    error = to_gateway_error(
        UpstreamError(int(row["http"]), row["code"], text), binding, FACTS, {"vault_id": "v"}, {}
    )
    assert marker.encode() not in to_status(error, "id").SerializeToString()

"""A 2xx answer that says in its body that the call failed, or only looks as if it did."""

import json

import pytest

from gateway.upstream.http import HttpResponse
from gateway.upstream.orders import order_ids, refused
from gateway.upstream.outcome import Outcome, judge

VAULT = {"vault": {"id": "97ba169e-4851-6707-0daa-36266b660ac4", "name": "n"}}
LINE = {"cloudServiceId": "cbr", "orderId": "CS1", "resourceId": "r"}
PLACED = {"orders": [{**LINE, "subscribeResult": 1}]}
OWN = "BackupService.6105"


def judged(body, *, reads=False):
    return judge(HttpResponse(200, {}, json.dumps(body).encode()), reads=reads)


FINE = [
    0,
    "0",
    "0.0",
    "0000",
    "",
    None,
    False,
    "null",
    "None",
    200,
    "200",
    200.0,
    201,
    "202",
    204,
    "200 OK",
    "success",
    "SUCCESS",
    "Succeeded",
]
FINE += ["ok", "OK", "CBC.0000", "CBC.0"]


@pytest.mark.parametrize(
    "body",
    [
        {"status": "error"},
        {"status": "ERROR", "request_id": "r"},
        {"ret": -1},
        {"ret": 5, "msg": "x"},
        {"returnCode": "7"},
        {"badRequest": {"code": 400, "message": "no"}},
    ],
    ids=str,
)
def test_a_verdict_that_stands_alone_is_an_error(body):
    for reads in (True, False):
        assert judged(body, reads=reads).error is not None
    assert judged(body).outcome is Outcome.AMBIGUOUS


def test_the_status_of_an_object_is_no_verdict():
    for body in (
        {"status": "failed"},
        {"status": "failed", "projects": []},
        {"status": "error", "id": "x"},
        {"ret": 0},
    ):
        assert judged(body).error is None


@pytest.mark.parametrize("key", ["error_code", "retCode", "errorCode", "code", "error"])
@pytest.mark.parametrize("made", [VAULT, PLACED, {"orderId": "CS1"}, {}])
def test_a_word_of_success_is_no_error(made, key):
    for code in FINE:
        attempt = judged({**made, key: code, "message": "created", "errText": "success"})
        assert (attempt.outcome, attempt.error) == (Outcome.DEFINITE, None), code


@pytest.mark.parametrize(
    "told",
    [
        {"error_code": "CBC.30000052"},
        {"retCode": 1},
        {"code": OWN},
        {"error": {"code": OWN, "message": "no"}},
    ],
)
@pytest.mark.parametrize("made", [VAULT, PLACED, {"checkpoint": {"id": "c"}}])
def test_an_error_beside_what_was_made_is_no_refusal(made, told):
    assert judged({**made, **told}).outcome is Outcome.AMBIGUOUS
    assert judged(told).outcome is not Outcome.AMBIGUOUS


ERRORS = [
    {"error": {"message": "no"}},
    {"error": {"code": OWN}},
    {"error": {"code": 404}},
    {"error": {"title": "Not Found"}},
    {"error": {"code": 500.0, "message": "m"}},
    {"error": {"code": "", "message": "no"}},
    {"error": {"code": None, "message": "no"}},
    {"error": "no"},
    {"error": True},
    {"error": ["no"]},
    {"code": OWN},
    {"code": "APIGW.0301"},
    {"code": OWN, "msg": "m"},
    {"code": OWN, "message": None},
    {"code": 500.0, "message": "m"},
    {"code": 404},
    {"errors": [{"code": OWN, "message": "m"}]},
    {"errors": [None, "no"]},
    {"error_msg": "no"},
    {"errorMsg": "no"},
    {"errcode": "x"},
    {"badRequest": {"message": "m"}},
    {"serviceUnavailable": {"code": 503, "message": "m"}},
    {"computeFault": {"code": 500, "message": "m"}},
    {"cinderFault": {"message": "m"}},
    {"NotFound": {"code": 404, "message": "m"}},
    {"NeutronError": {"type": "t", "message": "m", "detail": ""}},
    {"fault": {"faultstring": "m"}},
    *(
        {key: text}
        for key in ("message", "msg", "detail", "title", "reason")
        for text in ("no", "The vault is locked", "the vault was not deleted", "Unsuccessful")
    ),
    {"message": "no", "code": None, "error": {}},
    {"message": "deleted", "detail": "the vault is busy"},
    {"message": ["no"]},
    {"message": "no", "request_id": "r", "timestamp": 1},
    {"status": 404, "path": "/v3"},
    {"status": "fail", "message": "no"},
    {"type": "about:blank", "title": "Forbidden", "status": 403, "detail": "m"},
    {"__type": "AccessDenied", "message": "m"},
    {"ErrorCode": OWN, "ErrorMessage": "m"},
    {"Error": {"Code": OWN, "Message": "m"}},
    {"resp_code": OWN, "resp_msg": "m"},
    {"retcode": 1, "retmsg": "m"},
    {"success": False},
    {"success": "false", "data": None},
    {"result": "failed"},
]
WRAPPED = [
    {"response": {"error": {"code": OWN, "message": "m"}}},
    {"anyOther": {"code": 404, "message": "m"}},
    [{"error_code": OWN, "error_msg": "m"}],
    "The vault is locked",
]


@pytest.mark.parametrize("body", [*ERRORS, *WRAPPED], ids=json.dumps)
def test_an_error_document_is_no_success(body):
    own = OWN in json.dumps(body)
    assert judged(body).value is None
    assert judged(body).outcome is (Outcome.DEFINITE if own else Outcome.AMBIGUOUS)
    assert judged(body).error.code == (OWN if own else judged(body).error.code)
    assert judged(body, reads=True).outcome is Outcome.DEFINITE


@pytest.mark.parametrize("body", ERRORS, ids=json.dumps)
def test_a_list_beside_an_error_is_no_list(body):
    attempt = judged({"vaults": [], "count": 0, **body}, reads=True)
    assert (attempt.outcome, attempt.value) == (Outcome.DEFINITE, None)


@pytest.mark.parametrize(
    "text",
    [
        "deleted",
        "The vault was deleted.",
        "Tags added successfully",
        "Request accepted",
        "success",
        "OK!",
    ],
)
def test_a_sentence_of_success_alone_is_no_error(text):
    for body in ({"message": text}, {"message": text, "request_id": "r", "status": 200}, text):
        assert judged(body).value == body


@pytest.mark.parametrize(
    "told",
    [
        {"error": {}},
        {"error": []},
        {"errors": []},
        {"error": {"code": 0, "message": "fine"}},
        {"errors": None},
    ],
)
def test_a_place_for_errors_without_one_is_no_error(told):
    assert judged({**VAULT, **told}).error is None
    assert judged({"message": "deleted", **told}).error is None


@pytest.mark.parametrize(
    "body",
    [
        {"orders": [], "orderId": "CS1"},
        {"orders": ["CS1"]},
        {"orders": "CS1"},
        {"orders": {"orderId": "CS1"}},
        {"orders": [{"order_id": "CS1"}]},
        {"order_id": "CS1"},
        {"orderId": ["CS1"]},
        {"orderIds": ["CS1"]},
        {"orders": [{"orderId": ["CS1"]}], "orderId": "CS1"},
    ],
)
def test_the_id_of_an_order_is_found_in_any_form(body):
    assert order_ids(body) == ("CS1",)


@pytest.mark.parametrize("failed", [0, "0", 0.0, "0.0", "00", False, "false"])
def test_an_order_is_refused_where_all_lines_say_so(failed):
    assert refused({"orders": [{**LINE, "subscribeResult": failed}]})
    assert refused({"orders": {**LINE, "subscribeResult": failed}})
    for other in (
        {},
        {"subscribeResult": None},
        {"subscribeResult": 1},
        {"subscribeResult": "1.0"},
    ):
        assert not refused({"orders": [{**LINE, "subscribeResult": failed}, {**LINE, **other}]})

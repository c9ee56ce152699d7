"""What one answer proves, and what may follow from it."""

import csv
import json
from pathlib import Path

import pytest

from gateway.upstream.declaration import RetryClass
from gateway.upstream.http import HttpResponse
from gateway.upstream.outcome import Next, Outcome, judge, what_next

with Path(__file__).with_name("cbr_codes.csv").open(encoding="utf-8", newline="") as file:
    OF_THE_API_GATEWAY = [
        (row["code"], int(row["http"]))
        for row in csv.DictReader(file)
        if row["code"].startswith("APIGW.")
    ]
MAY_HAVE_REACHED_CBR = {"APIGW.0103", "APIGW.0202", "APIGW.0203", "APIGW.0601", "APIGW.0613"}
CHANGES = [retry_class for retry_class in RetryClass if retry_class is not RetryClass.READ]


def answered(status, body=b"", headers=None, *, reads=False):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return judge(HttpResponse(status, headers or {}, raw), reads=reads)


def follows(attempt, retry_class, refusals=1):
    return what_next(retry_class, attempt.outcome, refusals)


@pytest.mark.parametrize("retry_class", [RetryClass.CREATE, RetryClass.NEVER])
@pytest.mark.parametrize(("code", "status"), OF_THE_API_GATEWAY)
def test_a_code_of_the_api_gateway_allows_what_its_place_in_the_chain_allows(
    retry_class, code, status
):
    attempt = answered(status, {"error_code": code, "error_msg": "m"})
    if code in MAY_HAVE_REACHED_CBR or status >= 500:
        assert follows(attempt, retry_class) is Next.UNKNOWN
    elif status in {401, 429}:
        assert follows(attempt, retry_class) is Next.REPEAT
    else:
        assert follows(attempt, retry_class) is Next.END


@pytest.mark.parametrize("retry_class", [RetryClass.CREATE, RetryClass.NEVER])
@pytest.mark.parametrize("code", sorted({code for code, _ in OF_THE_API_GATEWAY} | {"APIGW.9999"}))
def test_a_503_allows_a_repeat_only_where_it_throttles(retry_class, code):
    attempt = answered(503, {"error_code": code, "error_msg": "m"})
    assert follows(attempt, retry_class) is (Next.REPEAT if code == "APIGW.0308" else Next.UNKNOWN)


FOREIGN = [
    (401, b"<html>"),
    (403, b""),
    (404, b"<html>not found</html>"),
    (404, {"code": 404, "message": "no route"}),
    (404, {"error_code": "APIGW.0106"}),
    (408, b""),
    (409, {}),
    (499, b""),
]


@pytest.mark.parametrize(("status", "body"), FOREIGN)
def test_an_answer_that_may_be_of_anybody_proves_nothing_to_a_change(status, body):
    attempt = answered(status, body)
    assert attempt.outcome is Outcome.AMBIGUOUS
    assert not attempt.credentials
    assert {follows(attempt, retry_class) for retry_class in CHANGES} == {
        Next.UNKNOWN,
        Next.READ_BACK,
        Next.REPEAT,
    }


@pytest.mark.parametrize(("status", "body"), FOREIGN)
def test_a_read_takes_it_by_its_status(status, body):
    assert answered(status, body, reads=True).outcome is (
        Outcome.REFUSED if status == 401 else Outcome.DEFINITE
    )


@pytest.mark.parametrize("sent", ["a" * 65, "id with blanks", "10.0.0.1:80", "é"])
def test_a_request_id_that_could_hold_anything_is_dropped(sent):
    assert answered(200, b"{}", {"x-request-id": sent}).request_id == ""
    assert answered(200, b"{}", {"x-request-id": "0a_B.c-d"}).request_id == "0a_B.c-d"

"""Errors as statuses: bounded whatever they hold, and whole at the other end of a real
connection.
"""

import grpc
import pytest
from cbrgateway.v1 import errors_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError, Resource, UpstreamFacts, Violation
from gateway.reasons import REASONS
from gateway.rpc.status import (
    MAX_DETAILS_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_VIOLATIONS,
    pushback,
    to_status,
)

ID = "0" * 32
TRAILER_LIMIT = 8192
HEADER_OVERHEAD = 32
"""Bytes that HTTP/2 counts for each header beside its name and value."""

wide = st.text(max_size=40) | st.sampled_from(
    ["x" * 5000, "é" * 3000, "😀" * 2000, "\x00\r\n\x1b[2J" * 500, "\ud800" * 100, ""]
)
errors = st.builds(
    GatewayError,
    st.sampled_from(sorted(REASONS)),
    wide,
    violations=st.lists(st.builds(Violation, wide, wide, wide), max_size=30),
    resource=st.none() | st.builds(Resource, st.just("vault"), wide),
    retry_after_s=st.none() | st.floats(0, 1e6),
    upstream=st.builds(
        UpstreamFacts,
        st.integers(0, 9),
        st.just("maybe"),
        st.none() | st.integers(100, 599),
        wide,
        wide,
    ),
    metadata=st.dictionaries(st.sampled_from(["permission", "errorId"]), wide),
)
WORST = GatewayError(
    errors_pb2.ERROR_REASON_FIELD_INVALID,
    "é" * 5000,
    violations=[Violation("é" * 500, "é" * 500, "é" * 500)] * 30,
    resource=Resource("vault", "é" * 500),
    retry_after_s=1.5,
    upstream=UpstreamFacts(9, "maybe", 500, "é" * 500, "é" * 500),
    metadata={"permission": "é" * 500},
)


def details(status, kind):
    found = [
        kind.FromString(detail.value) for detail in status.details if detail.Is(kind.DESCRIPTOR)
    ]
    assert len(found) <= 1
    return found[0] if found else None


def trailer_bytes(status):
    """Size of the header list, with the message percent-encoded as gRPC sends it."""
    message = sum(
        1 if 0x20 <= byte < 0x7F and byte != 0x25 else 3 for byte in status.message.encode()
    )
    details_bin = (len(status.SerializeToString()) + 2) // 3 * 4
    sizes = {
        "grpc-status": 2,
        "grpc-message": message,
        "grpc-status-details-bin": details_bin,
        "x-request-id": 32,
        "grpc-retry-pushback-ms": 8,
    }
    return sum(len(name) + size + HEADER_OVERHEAD for name, size in sizes.items())


@given(errors)
@settings(max_examples=150)
def test_no_error_passes_the_caps(error):
    status = to_status(error, ID)
    assert len(status.message.encode()) <= MAX_MESSAGE_BYTES
    assert sum(detail.ByteSize() for detail in status.details) <= MAX_DETAILS_BYTES
    assert trailer_bytes(status) <= TRAILER_LIMIT
    info = details(status, error_details_pb2.ErrorInfo)
    assert (info.domain, info.metadata["requestId"]) == ("cbrgateway", ID)
    assert details(status, error_details_pb2.RequestInfo).request_id == ID
    assert (details(status, error_details_pb2.RetryInfo) is None) == (error.retry_after_s is None)
    texts = [
        status.message,
        *info.metadata.values(),
        *(text for v in violations(status) for text in (v.description,)),
    ]
    assert all(text.isprintable() for text in texts)


def violations(status):
    kinds = {
        error_details_pb2.BadRequest: "field_violations",
        error_details_pb2.PreconditionFailure: "violations",
        error_details_pb2.QuotaFailure: "violations",
    }
    return [
        item
        for kind, name in kinds.items()
        if (found := details(status, kind)) is not None
        for item in getattr(found, name)
    ]


def test_twenty_violations_are_shown_and_no_more():
    error = GatewayError(
        errors_pb2.ERROR_REASON_FIELD_INVALID,
        "no",
        violations=[Violation(f"field_{i}", "is wrong", "rule") for i in range(50)],
    )
    shown = violations(to_status(error, ID))
    assert [v.field for v in shown] == [f"field_{i}" for i in range(MAX_VIOLATIONS)]


def test_as_many_long_violations_are_shown_as_there_is_room_for():
    shown = violations(to_status(WORST, ID))
    assert 3 <= len(shown) < MAX_VIOLATIONS


def test_the_message_is_cut_between_characters():
    assert (
        to_status(GatewayError(errors_pb2.ERROR_REASON_INTERNAL, "x" + "é" * 400), ID).message
        == "x" + "é" * 255
    )


def test_control_characters_are_replaced():
    error = GatewayError(errors_pb2.ERROR_REASON_FIELD_INVALID, "a\r\nb\x1b[2J\x00\u202e\ud800")
    assert to_status(error, ID).message == "a??b?[2J???"


@pytest.mark.parametrize(
    ("reason", "kind", "name"),
    [
        (errors_pb2.ERROR_REASON_FIELD_INVALID, error_details_pb2.BadRequest, "field_violations"),
        (errors_pb2.ERROR_REASON_UPSTREAM_LIMIT, error_details_pb2.QuotaFailure, "violations"),
        (
            errors_pb2.ERROR_REASON_STATE_INVALID,
            error_details_pb2.PreconditionFailure,
            "violations",
        ),
    ],
)
def test_violations_take_the_form_of_the_code(reason, kind, name):
    status = to_status(GatewayError(reason, "no", violations=[Violation("s", "d", "r")]), ID)
    (item,) = getattr(details(status, kind), name)
    assert item.description == "d"


def test_the_facts_of_the_upstream_call_are_in_the_metadata():
    facts = UpstreamFacts(2, "maybe", 404, "BackupService.6105", "abc")
    info = details(
        to_status(GatewayError(errors_pb2.ERROR_REASON_VAULT_NOT_FOUND, "no", upstream=facts), ID),
        error_details_pb2.ErrorInfo,
    )
    assert info.reason == "VAULT_NOT_FOUND"
    assert dict(info.metadata) == {
        "requestId": ID,
        "attempts": "2",
        "sent": "maybe",
        "upstreamHttpStatus": "404",
        "upstreamCode": "BackupService.6105",
        "upstreamRequestId": "abc",
    }


async def test_the_largest_error_arrives_whole():
    async def refuse(_request, context):
        await context.abort_with_status(rpc_status.to_status(to_status(WORST, ID)))

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(refuse)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("test.Test", {"Refuse": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/test.Test/Refuse")(b"")
    finally:
        await server.stop(0)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    raw = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
    assert status_pb2.Status.FromString(raw) == to_status(WORST, ID)
    assert to_status(WORST, ID).code == code_pb2.INVALID_ARGUMENT


def refused(reason, retry_after_s):
    return GatewayError(reason, "no", retry_after_s=retry_after_s)


@given(
    st.sampled_from(sorted(REASONS)), st.none() | st.floats(0, 1e9), st.none() | st.floats(0, 1e9)
)
def test_pushback_fits_into_the_deadline_or_says_not_to_repeat(reason, retry_after_s, left_s):
    sent = pushback(refused(reason, retry_after_s), left_s)
    if retry_after_s is None or not REASONS[reason].pushback:
        assert sent == ""
    elif sent != "-1":
        assert 1 <= int(sent) < 2**31
        assert retry_after_s <= int(sent) / 1000 <= retry_after_s + 0.0011
        assert left_s is None or int(sent) / 1000 < left_s
    else:
        assert retry_after_s > 2**31 / 1000 - 1 or (
            left_s is not None and retry_after_s > left_s - 0.41
        )


@pytest.mark.parametrize(
    ("retry_after_s", "left_s", "sent"),
    [
        *[
            (0.0, 20.0, "1"),
            (0.0001, 20.0, "1"),
            (1.0, 20.0, "1000"),
            (1.0001, 20.0, "1001"),
            (16.0, 20.0, "16000"),
        ],
        *[
            (19.5, 20.0, "19500"),
            (19.7, 20.0, "-1"),
            (60.0, 20.0, "-1"),
            (60.0, None, "60000"),
            (0.0, 0.0, "-1"),
            (3e6, None, "-1"),
        ],
    ],
)
def test_pushback_is_rounded_up_and_never_nothing(retry_after_s, left_s, sent):
    assert pushback(refused(errors_pb2.ERROR_REASON_RATE_LIMIT, retry_after_s), left_s) == sent


def test_pushback_comes_only_with_codes_that_may_be_repeated():
    """Java repeats what has one, whatever its code."""
    pushed = {reason for reason in REASONS if pushback(refused(reason, 1.0), None)}
    assert pushed
    assert {REASONS[reason].code for reason in pushed} <= {
        code_pb2.UNAVAILABLE,
        code_pb2.RESOURCE_EXHAUSTED,
    }

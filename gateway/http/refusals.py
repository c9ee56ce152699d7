"""What the listener answers by itself, where no call does: in the form that errors of calls have.

Details tell the reason, and where the API is described.
"""

import base64
import json
import re
from collections import Counter
from typing import Any, Final

from cbrgateway.v1 import errors_pb2
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from gateway.errors import GatewayError
from gateway.http.asgi import BODY, JSON, START, Headers, Send, respond
from gateway.http.asgi import Message as Event
from gateway.http.codes import code_name
from gateway.reasons import reason_name
from gateway.rpc.status import DOMAIN

API: Final = "/openapi.json"
_HELP: Final = error_details_pb2.Help(
    links=[{"description": "All calls, with their requests, answers and errors.", "url": API}]
)
_REASONS: Final = {
    "invalid_argument": errors_pb2.ERROR_REASON_METADATA_INVALID,
    "unimplemented": errors_pb2.ERROR_REASON_UNIMPLEMENTED,
}
"""Of what the library refuses: it reads the headers that its protocols have."""
_UNCOMPRESSED: Final = (b"", b"identity")
_FIRST_ERROR: Final = 400


def malformed(text: str) -> GatewayError:
    return GatewayError(errors_pb2.ERROR_REASON_METADATA_INVALID, text)


def absent(text: str) -> GatewayError:
    return GatewayError(errors_pb2.ERROR_REASON_UNIMPLEMENTED, text)


def content(error: GatewayError) -> bytes:
    """The body of the answer."""
    info = error_details_pb2.ErrorInfo(
        reason=reason_name(error.reason), domain=DOMAIN, metadata=dict(error.metadata)
    )
    return _body(code_name(error.code), error.message, info, _HELP)


async def refuse(send: Send, status: int, error: GatewayError, headers: Headers = ()) -> None:
    await respond(send, status, content(error), (JSON, *headers))


def wrong_head(headers: Headers, *, connect: bool) -> str:
    """What is wrong with the headers of a call, and what to send; empty: nothing that this looks
    at. `connect`: it is one of the Connect protocol, and not of gRPC-Web.
    """
    if Counter(name for name, _ in headers)[b"content-type"] > 1:
        return "The header content-type is there more than once; send one."
    known = dict(headers)
    if not re.fullmatch(rb"[0-9]{1,10}", known.get(b"connect-timeout-ms", b"0")) and connect:
        return (
            "The header connect-timeout-ms is a deadline in milliseconds: send a whole number of at"
            " most ten digits, such as 5000."
        )
    if not (connect or re.fullmatch(rb"[0-9]{1,8}[HMSmun]", known.get(b"grpc-timeout", b"0S"))):
        return (
            "The header grpc-timeout is a deadline: send a whole number of at most eight digits and"
            " a unit of H, M, S, m, u, n, such as 5S."
        )
    if connect and known.get(b"connect-protocol-version", b"1") != b"1":
        return "The header connect-protocol-version must be 1; send that, or leave it out."
    for name in (b"content-encoding", b"connect-content-encoding"):
        if known.get(name, b"") not in _UNCOMPRESSED:
            return f"Requests are not compressed: leave {name.decode()} out."
    return ""


class OneForm:
    """Sends an answer on, and an error without details, as the library makes them, with some."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held: Event | None = None
        self._content = b""

    async def __call__(self, event: Event) -> None:
        if event["type"] == START and event["status"] >= _FIRST_ERROR:
            self._held = event
        elif self._held is None:
            await self._send(event)
        else:
            assert event["type"] == BODY
            self._content += event.get("body", b"")
            if not event.get("more_body", False):
                kept = [h for h in self._held["headers"] if not h[0].startswith(b"content-")]
                told = _completed(self._content, self._held["status"])
                await respond(self._send, self._held["status"], told, (JSON, *kept))


def _completed(body: bytes, status: int) -> bytes:
    try:
        told: dict[str, Any] = json.loads(body)
    except ValueError:
        told = {"code": "unknown", "message": f"The gateway's answer is {status}, without a text."}
    if told.get("details"):
        return body
    reason = _REASONS.get(told["code"])
    if reason is None:
        return _body(told["code"], told.get("message", ""), _HELP)
    info = error_details_pb2.ErrorInfo(reason=reason_name(reason), domain=DOMAIN)
    return _body(told["code"], told.get("message", ""), info, _HELP)


def _body(code: str, message: str, *details: Message) -> bytes:
    shown = [
        {
            "type": each.DESCRIPTOR.full_name,
            "value": base64.b64encode(each.SerializeToString()).decode().rstrip("="),
            "debug": json_format.MessageToDict(each),
        }
        for each in details
    ]
    return json.dumps({"code": code, "message": message, "details": shown}).encode()

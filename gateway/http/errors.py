"""A google.rpc.Status as an error of the Connect protocol."""

import json
from typing import Any

from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from google.protobuf import any_pb2, json_format
from google.protobuf.message import Message
from google.rpc import status_pb2
from protobuf.wkt import Any as Packed
from protobuf.wkt import Struct

from gateway.http.codes import code_name
from gateway.upstream.declaration import Binding


class _Detail(ErrorDetail):
    """A detail that shows its fields beside its bytes (`debug`), for people and scripts."""

    def __init__(self, packed: any_pb2.Any) -> None:
        super().__init__(Packed(type_url=packed.type_url, value=packed.value))
        shown = json_format.MessageToDict(packed)
        shown.pop("@type")
        self._shown = json.dumps(shown)

    def value(self, *_: Any) -> Struct:  # type: ignore[override]  # noqa: ANN401 - the library asks without arguments
        """What its fields hold. The library knows messages of its own kind only."""
        return Struct.from_json(self._shown)


def connect_error(status: status_pb2.Status) -> ConnectError:
    details = [_Detail(each) for each in status.details]
    return ConnectError(Code(code_name(status.code)), status.message, details)


def deadline_passed(binding: Binding | None, request: Message | None) -> ConnectError:
    """What the caller of a call is told whose deadline has ended it."""
    if binding is None or binding.reads:
        text = "The deadline has passed. Give the call more time."
    elif request_id := getattr(request, "request_id", ""):
        text = (
            "The deadline has passed, and the change may have been made. Repeat it with the same"
            f" request_id, {request_id}: then it is made once."
        )
    else:
        text = (
            "The deadline has passed, and the change may have been made. Look before you repeat it;"
            " with a request_id in the request a repeat is made once."
        )
    return ConnectError(Code.DEADLINE_EXCEEDED, text)

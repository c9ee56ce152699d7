"""A google.rpc.Status as an error of the Connect protocol."""

import json
from typing import Any

from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from google.protobuf import any_pb2, json_format
from google.rpc import status_pb2
from protobuf.wkt import Any as Packed
from protobuf.wkt import Struct

from gateway.http.codes import code_name


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

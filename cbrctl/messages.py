"""From an RPC and plain data to the message of its request."""

import importlib
import re
from typing import Any, Final, NamedTuple

from google.protobuf import descriptor_pb2, json_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from cbrctl.transport import Data

PACKAGE: Final = "cbrgateway.v1"
_PLACE: Final = re.compile(r"Failed to parse (\w+) field: ")
"""How protobuf tells the way to a field, a step at a time."""
_NO_SIDE_EFFECTS: Final = descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS


class Prepared(NamedTuple):
    """A call that can be sent. `module`: of the generated messages. `read`: it changes nothing."""

    module: str
    message: Message
    answer: type[Message]
    read: bool


def prepared(rpc: str, request: Data) -> Prepared:
    """Raises ValueError for what the request has no field for."""
    service, name = rpc.split("/")
    # The package knows which of its modules has the request, and with it the service.
    module = str(getattr(importlib.import_module(PACKAGE), f"{name}Request").__module__)
    messages: Any = importlib.import_module(module)
    declared = messages.DESCRIPTOR.services_by_name[service].methods_by_name[name]
    message = GetMessageClass(declared.input_type)()
    try:
        json_format.ParseDict(dict(request), message)
    except json_format.ParseError as error:
        place = ".".join(_PLACE.findall(str(error)))
        text = _PLACE.sub("", str(error)).rstrip(".")
        told = f"{place}: {text}" if place else text
        raise ValueError(f"The request cannot be sent: {told}") from error
    return Prepared(
        module,
        message,
        GetMessageClass(declared.output_type),
        declared.GetOptions().idempotency_level == _NO_SIDE_EFFECTS,
    )

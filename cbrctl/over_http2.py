"""The light way for what is called most: reads go over a connection of our own, and gRPC's library
is loaded for all else.

It knows only answers. A read that does not come to one is made anew over gRPC, which has the
repeats, and says what was wrong; nothing is changed by a read that is made twice.
"""

import json
import os
import re
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from h2.exceptions import H2Error

from cbrctl.advice import advice
from cbrctl.contexts import Context
from cbrctl.failures import Refusal
from cbrctl.http2 import Connection
from cbrctl.messages import PACKAGE, Prepared, prepared
from cbrctl.plain import plain
from cbrctl.transport import Data

if TYPE_CHECKING:
    from cbrgateway.v1.task_pb2 import WatchTasksRequest, WatchTasksResponse

    from cbrctl.over_grpc import OverGrpc

_ADDRESS: Final = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")
_LONGEST_S: Final = 86_400.0


class OverHttp2:
    """Raises ValueError for a credential that cannot be sent."""

    def __init__(self, context: Context, deadline_s: float | None) -> None:
        self._context, self._deadline_s = context, deadline_s
        self._headers = [("user-agent", "cbrctl")]
        if credential := context.credential():
            self._headers.append(("authorization", f"Bearer {credential}"))
        if context.project:
            self._headers.append(("x-cbr-project-id", context.project))
        self._connection: Connection | None = None
        self._grpc: OverGrpc | None = None

    def call(self, rpc: str, request: Data) -> dict[str, Any]:
        ready = prepared(rpc, request)
        left_s = _usual_s(rpc) if self._deadline_s is None else self._deadline_s
        if not ready.read or self._grpc is not None or not left_s <= _LONGEST_S:
            return self._over_grpc().call(rpc, request)
        end = time.monotonic() + left_s
        try:
            answer = self._answer(rpc, ready, end)
        except TimeoutError as error:
            known = advice("deadline", "", "", self._context)
            raise Refusal("DEADLINE_EXCEEDED", "Deadline Exceeded", advice=known) from error
        if answer is not None:
            return plain(ready.answer.FromString(answer))
        return self._over_grpc().call(rpc, request, max(end - time.monotonic(), 0.001))

    def stream(self, rpc: str, request: Data) -> Iterator[dict[str, Any]]:
        return self._over_grpc().stream(rpc, request)

    def watch(
        self,
        request: "WatchTasksRequest",
        reconnect_timeout_s: float,
        timeout_s: float | None = None,
    ) -> "Iterator[WatchTasksResponse]":
        return self._over_grpc().watch(request, reconnect_timeout_s, timeout_s)

    def close(self) -> None:
        for each in (self._connection, self._grpc):
            if each is not None:
                each.close()

    def _answer(self, rpc: str, ready: Prepared, end: float) -> bytes | None:
        """None where the gateway did not answer well. Raises TimeoutError."""
        message = ready.message.SerializeToString()
        try:
            if self._connection is None:
                self._connection = Connection(self._context, end)
            return self._connection.call(f"/{PACKAGE}.{rpc}", self._headers, message, end)
        except TimeoutError:
            raise
        except (OSError, ValueError, H2Error):
            return None

    def _over_grpc(self) -> "OverGrpc":
        if self._grpc is None:
            if self._connection is not None:
                self._connection.close()
            from cbrctl.over_grpc import OverGrpc

            self._grpc = OverGrpc(self._context, self._deadline_s)
        return self._grpc


def _usual_s(rpc: str) -> float:
    """The deadline that the Python client gives this call."""
    found = find_spec("cbrgateway_client")
    assert found is not None
    assert found.origin is not None
    file = Path(found.origin).with_name("service_config.json")
    service, method = f"{PACKAGE}.{rpc}".split("/")
    return next(
        float(each["timeout"].removesuffix("s"))
        for each in json.loads(file.read_text("utf-8"))["methodConfig"]
        if {"service": service, "method": method} in each["name"]
    )


def can_reach(context: Context) -> bool:
    """Whether it can be as gRPC has it: no proxy, no way to find addresses, and the authorities
    that are named, since gRPC comes with some of its own.
    """
    proxies = any(
        name.lower().endswith("_proxy") and name.lower() != "no_proxy" and value
        for name, value in os.environ.items()
    )
    return (
        _ADDRESS.fullmatch(context.address) is not None
        and (context.plaintext or context.ca_file is not None)
        and context.project.isascii()
        and (not context.project or context.project.isprintable())
        and not proxies
    )

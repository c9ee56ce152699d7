"""An upstream that costs next to nothing: it answers fixed bytes, so that what is measured is the
gateway.

Run in a process of its own: `python -m benchmarks.stub`; the first line of its output is its
address. Arguments such as `PROJECT=hang` make a project sick: it never answers (`hang`), answers a
byte now and then (`drip`), or always the same error (`503`, `429`).

    GET /v3/...         as CBR answers; POST as it answers CreateVault and CreateCheckpoint; no task
                        is ever listed
    GET /canonical/...  the same vaults in the spelling that protobuf's json_format reads, for the
                        naive gateway
"""

import asyncio
import itertools
import re
import sys
from collections.abc import Mapping
from email.utils import formatdate
from typing import cast

from google.protobuf import json_format
from google.protobuf.message import Message

from benchmarks import payloads
from benchmarks.runtime import run
from gateway.operations import load_catalog

_END = b"\r\n\r\n"
_NO_CHUNKS = b"0\r\n\r\n"
"""The body that Envoy sends with a GET."""
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_DRIP_S = 0.5
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Upstream(asyncio.Protocol):
    """Requests, also several in one read, answered in order; their bodies are not looked at."""

    def __init__(self, answers: dict[bytes, bytes], sick: Mapping[bytes, str]) -> None:
        self._answers = answers
        self._sick = sick
        self._rest = b""
        self._numbers = itertools.count()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while (end := self._rest.find(_END)) >= 0:
            head = self._rest[:end]
            length = _LENGTH.search(head)
            body = int(length[1]) if length else len(_NO_CHUNKS) if _CHUNKED.search(head) else 0
            whole = end + len(_END) + body
            if len(self._rest) < whole:
                return
            self._rest = self._rest[whole:]
            method, target, _ = head[: head.index(b"\r\n")].split(b" ")
            path = target.partition(b"?")[0]
            kind = self._sick.get(path.split(b"/")[2]) if self._sick else None
            if kind is None:
                self._transport.write(self._answer_to(method, path))
            else:
                self._fail(kind)

    def _fail(self, kind: str) -> None:
        match kind:
            case "hang":
                return
            case "drip":
                self._transport.write(_answer(b" " * 1000).removesuffix(b" " * 1000))
                self._drip()
            case _:
                self._transport.write(_answer(b"{}", f"{kind} Sick"))

    def _drip(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b" ")
            asyncio.get_running_loop().call_later(_DRIP_S, self._drip)

    def _answer_to(self, method: bytes, path: bytes) -> bytes:
        base = path[: path.index(b"/", 1)]
        if path.endswith(b"/checkpoints"):
            return self._answers[base + b"/checkpoint"].replace(
                payloads.CHECKPOINT_ID.encode(),
                payloads.checkpoint_id(next(self._numbers)).encode(),
            )
        if path.endswith(b"/operation-logs"):
            # With the time, from which the gateway learns CBR's clock.
            return self._answers[base + b"/tasks"].replace(
                b"\r\n", f"\r\nDate: {formatdate(usegmt=True)}\r\n".encode(), 1
            )
        one = method == b"POST" or not path.endswith(b"/vaults")
        return self._answers[base + (b"/one" if one else b"/many")]


def messages() -> tuple[Message, Message]:
    """The responses of GetVault and ListVaults that the gateway makes of the payloads."""
    catalog = load_catalog()
    return catalog["VaultService/GetVault"].response(payloads.vault()), catalog[
        "VaultService/ListVaults"
    ].response(payloads.vaults())


def _answer(body: bytes, status: str = "200 OK") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nX-Request-Id:"
        f" 5f0c3a6be1d24c55\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _canonical(message: Message) -> bytes:
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, indent=None
    ).encode()


async def main() -> None:
    one, many = messages()
    answers = {
        b"/v3/one": _answer(payloads.encode(payloads.vault())),
        b"/v3/many": _answer(payloads.encode(payloads.vaults())),
        b"/v3/checkpoint": _answer(payloads.encode(payloads.checkpoint())),
        b"/v3/tasks": _answer(payloads.encode({"operation_logs": [], "count": 0})),
        b"/canonical/one": _answer(_canonical(one)),
        b"/canonical/many": _answer(_canonical(many)),
    }
    sick = {
        project.encode(): kind
        for project, _, kind in (each.partition("=") for each in sys.argv[1:])
    }
    server = await asyncio.get_running_loop().create_server(
        lambda: Upstream(answers, sick), "127.0.0.1", 0
    )
    print(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    run(main())

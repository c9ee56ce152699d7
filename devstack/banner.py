"""What `cbr-gateway dev` prints once it serves: enough for a first call."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devstack.tenants import DevTenant
from devstack.wanted import Wanted

_RULE: Final = "=" * 100
_TEXT: Final = """\
{rule}
  CBR GATEWAY FOR DEVELOPMENT - NOT FOR PRODUCTION
  An emulated cloud, public API keys, plain text{no_audit}. Everything is forgotten when it ends (Ctrl-C).
{rule}
  gRPC      {address}   plain text, reflection on
  health    {health}
  admin     http://{admin}   /console, /metrics, /livez, /readyz, /version{admin_note}
  HTTP      http://{http}   the same calls as JSON, Connect and gRPC-Web{http_note}
  emulator  {emulator}   the cloud's REST API; control under /_emulator

  API keys, as metadata `authorization: Bearer KEY`:
{keys}

  A first call, with cbrctl:

export CBR_ADDRESS={address} CBR_PLAINTEXT=1 CBR_API_KEY={key}
{cbrctl} protectables list server

  The same with curl, as JSON over HTTP:

curl -sw '\\n' -H 'authorization: Bearer {key}' -H 'content-type: application/json' \\
  -d '{{"protectable_type": "PROTECTABLE_TYPE_SERVER"}}' http://{http}/cbrgateway.v1.ProtectabilityService/ListProtectables

  The same in Python:

{python} - <<'END'
import grpc
from cbrgateway.v1.protectability_pb2 import PROTECTABLE_TYPE_SERVER, ListProtectablesRequest
from cbrgateway.v1.protectability_pb2_grpc import ProtectabilityServiceStub
with grpc.insecure_channel("{address}") as channel:
    request = ListProtectablesRequest(protectable_type=PROTECTABLE_TYPE_SERVER)
    reply = ProtectabilityServiceStub(channel).ListProtectables(request, metadata=[("authorization", "Bearer {key}")])
    print(*(f"{{server.id}}  {{server.name}}" for server in reply.instances), sep="\\n")
END

  The same with buf, by reflection{buf_note}:

{buf} curl --protocol grpc --http2-prior-knowledge -H 'authorization: Bearer {key}' \\
  -d '{{"protectable_type": "PROTECTABLE_TYPE_SERVER"}}' http://{address}/cbrgateway.v1.ProtectabilityService/ListProtectables

{audit}  More: `{cbrctl} --help` lists every command, `{command} bindings` lists every RPC, `{command} explain CreateVault` explains one, `{command} demo` shows them at work.
{rule}"""

_AUDIT: Final = """\
  The audit log, which is not forgotten:

{command} audit tail {directory} --follow
{command} audit verify {directory} --key-file {directory}/{key} --anchors {directory}/{anchors}

"""
_ELSEWHERE: Final = "; a free port, since the usual one is taken"
AUDIT_KEY, AUDIT_ANCHORS = "key", "anchors"
"""Files beside the log."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything listens; `emulator` is a URL, the others are `host:port`."""

    address: str
    health: str
    admin: str
    http: str
    emulator: str


def banner(at: Addresses, tenants: Sequence[DevTenant], wanted: Wanted) -> str:
    """The text, without a line feed at its end. The first call is that of the first tenant."""
    audit = wanted.audit
    table = "\n".join(
        f"    {each.api_key:<20}  project {each.project_id} in"
        f" {each.region}{', administrator' * each.administrator}"
        for each in tenants
    )
    buf, command = _beside("buf"), _beside("cbr-gateway") or "cbr-gateway"
    shown = (
        ""
        if audit is None
        else _AUDIT.format(
            command=command, directory=_typed(audit), key=AUDIT_KEY, anchors=AUDIT_ANCHORS
        )
    )
    return _TEXT.format(
        rule=_RULE,
        address=at.address,
        health=at.health,
        admin=at.admin,
        admin_note="" if wanted.admin else _ELSEWHERE,
        http=at.http,
        http_note="" if wanted.http else _ELSEWHERE,
        emulator=at.emulator,
        keys=table,
        key=tenants[0].api_key,
        python=_typed(Path(sys.executable)),
        buf=buf or "buf",
        buf_note="" if buf else ", which `make tools` installs",
        command=command,
        cbrctl=_beside("cbrctl") or "cbrctl",
        no_audit=", no audit log" if audit is None else "",
        audit=shown,
    )


def _beside(program: str) -> str:
    """A program of the running environment, as one would type it here; empty when it is not
    installed.
    """
    path = Path(sys.executable).with_name(program)
    return _typed(path) if path.exists() else ""


def _typed(path: Path) -> str:
    """Relative for what is below the current directory."""
    inside = os.path.relpath(path)
    return str(path) if inside.startswith("..") else inside

"""What `cbr-gateway dev` prints once it serves: enough for a first call."""

import os
import sys
from collections.abc import Sequence
from typing import Final

from devstack.tenants import DevTenant

_RULE: Final = "=" * 100
_TEXT: Final = """\
{rule}
  CBR GATEWAY FOR DEVELOPMENT - NOT FOR PRODUCTION
  An emulated cloud, public API keys, plain text. Everything is forgotten when it ends (Ctrl-C).
{rule}
  gRPC      {address}   plain text, reflection on
  health    {health}
  emulator  {emulator}   the cloud's REST API; control under /_emulator

  API keys, as metadata `authorization: Bearer KEY`:
{keys}

  A first call, in Python:

{python} - <<'END'
import grpc
from cbrgateway.v1.protectability_pb2 import PROTECTABLE_TYPE_SERVER, ListProtectablesRequest
from cbrgateway.v1.protectability_pb2_grpc import ProtectabilityServiceStub
with grpc.insecure_channel("{address}") as channel:
    request = ListProtectablesRequest(protectable_type=PROTECTABLE_TYPE_SERVER)
    reply = ProtectabilityServiceStub(channel).ListProtectables(request, metadata=[("authorization", "Bearer {key}")])
    print(*(f"{{server.id}}  {{server.name}}" for server in reply.instances), sep="\\n")
END

  The same with buf, by reflection:

buf curl --protocol grpc --http2-prior-knowledge -H 'authorization: Bearer {key}' \\
  -d '{{"protectable_type": "PROTECTABLE_TYPE_SERVER"}}' http://{address}/cbrgateway.v1.ProtectabilityService/ListProtectables

  More: `cbr-gateway bindings` lists every RPC, `cbr-gateway explain CreateVault` explains one, `cbr-gateway demo` shows them at work.
{rule}"""


def banner(address: str, health: str, emulator: str, tenants: Sequence[DevTenant]) -> str:
    """The text, without a line feed at its end. The first call is that of the first tenant."""
    table = "\n".join(
        f"    {each.api_key:<20}  project {each.project_id} in {each.region}{', administrator' * each.administrator}" for each in tenants
    )
    return _TEXT.format(rule=_RULE, address=address, health=health, emulator=emulator, keys=table, key=tenants[0].api_key, python=_python())


def _python() -> str:
    """The running interpreter, as one would type it here."""
    inside = os.path.relpath(sys.executable)
    return inside if not inside.startswith("..") else sys.executable

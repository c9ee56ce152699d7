"""What one would write first: grpc.aio, one httpx client, protobuf's json_format.

No identity, no signing, no retries, no log, no uvloop; and its upstream answers in json_format's
own spelling. Run in a process of its own: `python -m benchmarks.naive UPSTREAM`; the first line of
its output is its address.
"""

import asyncio
import sys
from typing import Any

import grpc
import httpx
from cbrgateway.v1 import vault_pb2
from google.protobuf import json_format

from benchmarks.payloads import PROJECT_ID


class NaiveVaults:
    """Two RPCs, each one request."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def get(
        self, request: vault_pb2.GetVaultRequest, _context: object
    ) -> vault_pb2.GetVaultResponse:
        answer = await self._client.get(f"/canonical/{PROJECT_ID}/vaults/{request.vault_id}")
        return json_format.ParseDict(answer.json(), vault_pb2.GetVaultResponse())

    async def list(
        self, _request: vault_pb2.ListVaultsRequest, _context: object
    ) -> vault_pb2.ListVaultsResponse:
        answer = await self._client.get(f"/canonical/{PROJECT_ID}/vaults")
        return json_format.ParseDict(answer.json(), vault_pb2.ListVaultsResponse())


def methods(vaults: NaiveVaults) -> dict[str, Any]:
    return {
        "GetVault": grpc.unary_unary_rpc_method_handler(
            vaults.get,
            request_deserializer=vault_pb2.GetVaultRequest.FromString,
            response_serializer=vault_pb2.GetVaultResponse.SerializeToString,
        ),
        "ListVaults": grpc.unary_unary_rpc_method_handler(
            vaults.list,
            request_deserializer=vault_pb2.ListVaultsRequest.FromString,
            response_serializer=vault_pb2.ListVaultsResponse.SerializeToString,
        ),
    }


async def main() -> None:
    async with httpx.AsyncClient(
        base_url=f"http://{sys.argv[1]}", headers={"X-Auth-Token": "a-token"}, timeout=60
    ) as client:
        vaults = NaiveVaults(client)
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("cbrgateway.v1.VaultService", methods(vaults)),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        print(f"127.0.0.1:{port}", flush=True)
        await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())

"""The floor: a bare grpc.aio server that answers fixed bytes of the right size and calls nobody.

Run in a process of its own: `python -m benchmarks.echo`; the first line of its output is its
address.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from benchmarks.runtime import run
from benchmarks.stub import messages


def _always(answer: bytes) -> Callable[[bytes, Any], Awaitable[bytes]]:
    async def serve(_request: bytes, _context: object) -> bytes:
        return answer

    return serve


async def main() -> None:
    one, many = messages()
    methods: dict[str, Any] = {
        "GetVault": grpc.unary_unary_rpc_method_handler(_always(one.SerializeToString())),
        "ListVaults": grpc.unary_unary_rpc_method_handler(_always(many.SerializeToString())),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("cbrgateway.v1.VaultService", methods),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    run(main())

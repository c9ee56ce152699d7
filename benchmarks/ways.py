"""The ways in which a caller can reach CBR. Each answers decoded objects, as the caller needs them.

- grpc: the generated Python client on grpc.aio
- grpc-sync: the generated Python client, one thread per call in flight
- httpx: httpx.AsyncClient with a token, which spares it the signing
- sdk: the vendor's SDK with an access key, one thread per call in flight
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

from benchmarks.payloads import NEW_VAULT, PROJECT_ID, ROWS, VAULT_ID

API_KEY: Final = "key-of-the-benchmark"
_METADATA: Final = (("authorization", f"Bearer {API_KEY}"),)
_TIMEOUT_S: Final = 60

Call = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class SyncCall:
    """A call that blocks its thread."""

    make: Callable[[], object]

    def __call__(self) -> object:
        return self.make()


Calls = Mapping[str, Call | SyncCall]


@dataclass(frozen=True, slots=True)
class Way:
    """`calls`: by workload: get and list, with grpc also create."""

    name: str
    calls: Calls


@asynccontextmanager
async def open_way(name: str, address: str) -> AsyncIterator[Way]:
    """The way of that name to a gRPC or HTTP server at `address`, host and port."""
    async with AsyncExitStack() as stack:
        calls: Calls
        match name:
            case "grpc":
                calls = await stack.enter_async_context(_grpc(address))
            case "grpc-sync":
                calls = stack.enter_context(_grpc_sync(address))
            case "httpx":
                calls = await stack.enter_async_context(_httpx(address))
            case "sdk":
                calls = _sdk(address)
            case _:
                raise ValueError(f"no way {name!r}")
        yield Way(name, calls)


@asynccontextmanager
async def _grpc(address: str) -> AsyncIterator[Calls]:
    import grpc  # noqa: PLC0415 - each process loads one client only
    from cbrgateway.v1 import vault_pb2  # noqa: PLC0415
    from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub  # noqa: PLC0415

    async with grpc.aio.insecure_channel(address) as channel:
        stub = VaultServiceStub(channel)
        one, many = (
            vault_pb2.GetVaultRequest(vault_id=VAULT_ID),
            vault_pb2.ListVaultsRequest(page_size=ROWS),
        )
        new = vault_pb2.CreateVaultRequest(vault=NEW_VAULT)
        yield {
            "get": lambda: stub.GetVault(one, metadata=_METADATA, timeout=_TIMEOUT_S),
            "list": lambda: stub.ListVaults(many, metadata=_METADATA, timeout=_TIMEOUT_S),
            "create": lambda: stub.CreateVault(new, metadata=_METADATA, timeout=_TIMEOUT_S),
        }


@contextmanager
def _grpc_sync(address: str) -> Iterator[Calls]:
    import grpc  # noqa: PLC0415
    from cbrgateway.v1 import vault_pb2  # noqa: PLC0415
    from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub  # noqa: PLC0415

    with grpc.insecure_channel(address) as channel:
        stub = VaultServiceStub(channel)
        one, many = (
            vault_pb2.GetVaultRequest(vault_id=VAULT_ID),
            vault_pb2.ListVaultsRequest(page_size=ROWS),
        )
        yield {
            "get": SyncCall(lambda: stub.GetVault(one, metadata=_METADATA, timeout=_TIMEOUT_S)),
            "list": SyncCall(lambda: stub.ListVaults(many, metadata=_METADATA, timeout=_TIMEOUT_S)),
        }


@asynccontextmanager
async def _httpx(address: str) -> AsyncIterator[Calls]:
    import httpx  # noqa: PLC0415

    async with httpx.AsyncClient(
        base_url=f"http://{address}", headers={"X-Auth-Token": "a-token"}, timeout=_TIMEOUT_S
    ) as client:

        async def get(path: str) -> object:
            answer = await client.get(path)
            return answer.raise_for_status().json()

        yield {
            "get": lambda: get(f"/v3/{PROJECT_ID}/vaults/{VAULT_ID}"),
            "list": lambda: get(f"/v3/{PROJECT_ID}/vaults?limit={ROWS}"),
        }


def _sdk(address: str) -> Calls:
    from huaweicloudsdkcbr.v1 import CbrClient, ListVaultRequest, ShowVaultRequest  # noqa: PLC0415
    from huaweicloudsdkcore.auth.credentials import BasicCredentials  # noqa: PLC0415

    credentials = BasicCredentials("AKOFTHEBENCHMARK", "a-secret-key", PROJECT_ID)
    client = (
        CbrClient.new_builder()
        .with_endpoint(f"http://{address}")
        .with_credentials(credentials)
        .build()
    )
    return {
        "get": SyncCall(lambda: client.show_vault(ShowVaultRequest(vault_id=VAULT_ID))),
        "list": SyncCall(lambda: client.list_vault(ListVaultRequest(limit=ROWS))),
    }

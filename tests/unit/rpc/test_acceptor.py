"""How many calls gRPC's core is asked for at a time, and that each of them is carried out."""

import asyncio

import grpc
import pytest

from gateway.rpc import acceptor
from tests.functional.calls import until

CALLS = 200


@pytest.fixture
def asked(monkeypatch):
    """Calls that are asked for and have not come."""
    open_ = set()

    class Counted(acceptor.Acceptor):
        async def _request_call(self):
            open_.add(number := object())
            try:
                return await super()._request_call()
            finally:
                open_.discard(number)

    monkeypatch.setattr(acceptor, "Acceptor", Counted)
    return open_


class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        async def echo(request, context):
            del context
            await asyncio.sleep(0)
            return request

        return grpc.unary_unary_rpc_method_handler(echo)


@pytest.mark.parametrize(("room", "at_once"), [(True, acceptor.AT_ONCE), (False, 1)])
async def test_many_calls_are_asked_for_while_there_is_room(asked, room, at_once):
    server = acceptor.server((), lambda: room)
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await until(lambda: len(asked) == at_once)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        echo = channel.unary_unary("/some.Service/Echo")
        texts = [str(number).encode() for number in range(CALLS)]
        assert await asyncio.gather(*(echo(each, timeout=60) for each in texts)) == texts
        await until(lambda: len(asked) == at_once)
    await server.stop(None)
    await until(lambda: not asked)

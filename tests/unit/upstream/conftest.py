"""The event loops on which the tests of transports run: that of Python and the one that the gateway takes where it is installed."""

import asyncio

import uvloop

BOTH = {"test_transport.py", "test_tls.py"}


def pytest_asyncio_loop_factories(item):
    loops = {"asyncio": asyncio.new_event_loop}
    return loops | {"uvloop": uvloop.new_event_loop} if item.path.name in BOTH else loops

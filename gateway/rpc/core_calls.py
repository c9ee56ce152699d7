"""Calls as gRPC's core counts them (channelz): also those that it ends before anything of ours
hears of them, such as one whose caller has gone before it was taken up.
"""

from collections.abc import Callable, Mapping

import grpc
from grpc_channelz.v1 import channelz, channelz_pb2

STATES = ("started", "succeeded", "failed")


class CoreCalls:
    """Of the one server that `make` makes."""

    def __init__(self, make: Callable[[], grpc.aio.Server]) -> None:
        before = _ids()
        self.server = make()
        # Others may be made at the same time, after this one.
        self._id = min(_ids() - before, default=0)

    def counts(self) -> Mapping[str, int]:
        """By state; what has neither succeeded nor failed is under way."""
        if not self._id:
            return {}
        asked = channelz_pb2.GetServerRequest(server_id=self._id)
        data = channelz.ChannelzServicer.GetServer(asked, None).server.data
        return {state: getattr(data, f"calls_{state}") for state in STATES}


def _ids() -> set[int]:
    found = channelz.ChannelzServicer.GetServers(channelz_pb2.GetServersRequest(), None)
    return {int(server.ref.server_id) for server in found.server}

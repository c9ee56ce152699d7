"""What would keep a gateway from starting, found out without starting one and without changing
anything: by the functions of the start itself, so that it is told in the same words.
"""

import contextlib
from collections.abc import Iterator

from msgspec import Struct

from gateway.audit.lock import Running, Unusable
from gateway.audit.trying import try_log
from gateway.background import in_background
from gateway.config import Config
from gateway.rpc.port import AddressInUse, held_port
from gateway.state import StoreDown, StoreHeld, try_store
from gateway.workers.child import NotStarted
from gateway.workers.parent import own_folder
from gateway.workers.part import audit_of
from gateway.workers.store_owner import bound, socket_in


class Refusal(Struct, frozen=True):
    """What `serve` would say. `held`: another process has now what it would need, which may be the
    gateway whose place it is to take.
    """

    text: str
    held: bool = False


async def refusals(config: Config) -> list[Refusal]:
    """All that stands against a start here and now, as far as this machine knows."""
    found = []
    try:
        anchors = await try_store(config.state)
    except StoreDown as down:
        anchors = []
        found.append(Refusal(str(down), isinstance(down, StoreHeld)))
    return await in_background(
        lambda: [*_ports(config), *found, *_workers(config), *_log(config, anchors)]
    )


def _ports(config: Config) -> Iterator[Refusal]:
    wanted = (
        config.server.listen,
        config.server.health_listen,
        config.http.listen,
        config.admin.listen,
    )
    for address in filter(None, wanted):
        with contextlib.ExitStack() as stack:
            try:
                held_port(stack, address)
            except AddressInUse as problem:
                yield Refusal(str(problem), problem.taken)


def _workers(config: Config) -> Iterator[Refusal]:
    """What only a parent of workers needs, for the owner of their store."""
    if config.server.workers == 1 or config.state.kind == "valkey":
        return
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(bound(socket_in(own_folder(stack))))
        except NotStarted as problem:
            yield Refusal(str(problem))


def _log(config: Config, anchors: list[bytes]) -> Iterator[Refusal]:
    count = config.server.workers
    writers = [audit_of(config, n) for n in range(1, count + 1)] if count > 1 else [config.audit]
    for settings in writers:
        try:
            try_log(settings, anchors)
        except Unusable as problem:
            yield Refusal(str(problem), isinstance(problem, Running))

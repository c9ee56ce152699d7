"""Gives back to counters what a delete frees, once its object is gone."""

from collections.abc import Awaitable, Callable, Mapping

import structlog
from google.protobuf.message import Message
from msgspec import Struct

from gateway import failpoint
from gateway.changes.named_tasks import NamedTasks
from gateway.changes.outcome_search import POLLS_S
from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.state import Counters, StoreDown
from gateway.upstream.declaration import Binding
from gateway.upstream.reader import UpstreamReader

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Freed(Struct, frozen=True):
    """One per process."""

    counters: Counters
    reader: UpstreamReader
    clock: Clock
    tasks: NamedTasks
    count_again: Callable[[str], None]
    """Has a project counted, since a count that came between may have shown what is gone."""

    def give_back(
        self,
        binding: Binding,
        project: str,
        request: Message,
        amounts: Mapping[str, int],
        fence: int | None,
    ) -> None:
        """Frees `amounts` (counter -> negative) once the object of a delete is gone; should that be
        missed, the next recount tells.
        """
        gone = binding.traits.gone
        assert gone is not None, binding.rpc
        name = gone.id_of(request)

        async def is_gone() -> bool:
            return await self.reader.read(gone.request(request), gone.response, project) is None

        self.tasks.start(f"gone-{name}", self._give_back(name, project, is_gone, amounts, fence))

    async def _give_back(
        self,
        name: str,
        project: str,
        is_gone: Callable[[], Awaitable[bool]],
        amounts: Mapping[str, int],
        fence: int | None,
    ) -> None:
        for delay_s in (0.0, 0.2, 0.5, *POLLS_S[1:]):
            await self.clock.sleep(delay_s)
            try:
                if await is_gone():
                    failpoint.reach("object_gone")
                    taken = [
                        await self.counters.adjust(key, amount, name, fence)
                        for key, amount in amounts.items()
                    ]
                    if not all(taken):
                        self.count_again(project)
                    failpoint.reach("given_back")
                    return
            except (GatewayError, StoreDown) as error:
                log.warning(
                    "cannot see yet whether an object is gone", object=name, error=str(error)
                )

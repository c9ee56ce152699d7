"""Dead letters, for those who look at them and send them again."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from gateway.events.letters import DeadLetter, dead_queue_of, queue_of, read
from gateway.state import Queues

_PAGE: Final = 100


async def dead_letters(
    queues: Queues, sinks: Sequence[str]
) -> AsyncIterator[tuple[str, str, DeadLetter]]:
    """Sink, id of the event, and letter; of each sink the oldest first. Raises StoreDown."""
    for sink in sinks:
        after = 0
        while page := await queues.read(dead_queue_of(sink), after, _PAGE):
            for queued in page:
                letter = read(queued.value, DeadLetter)
                if letter is not None:
                    yield sink, queued.key, letter
            after = page[-1].position


async def resend(queues: Queues, sinks: Sequence[str], most: int, now: float) -> int:
    """How many are in the queues again, with all their time before them. Raises StoreDown."""
    count = 0
    async for sink, event_id, dead in dead_letters(queues, sinks):
        if dead.letter.type and await queues.length(queue_of(sink)) < most:
            again = msgspec.structs.replace(dead.letter, put_at=now).packed()
            await queues.put(queue_of(sink), event_id, again, most)
            await queues.remove(dead_queue_of(sink), [event_id])
            count += 1
    return count

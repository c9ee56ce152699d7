"""Dead letters, for those who look at them and send them again."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec
from msgspec import Struct

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


class Resent(Struct, frozen=True):
    """How many letters of a sink are in its queue again, and how many are not: for want of room,
    or since this version cannot read them.
    """

    sink: str
    sent: int
    no_room: int
    unreadable: int


async def resend(queues: Queues, sink: str, most: int, now: float) -> Resent:
    """Puts letters into the queue again, with all their time before them, as far as it has room for
    them. Raises StoreDown.
    """
    sent, no_room, unreadable = 0, 0, 0
    async for _, event_id, dead in dead_letters(queues, [sink]):
        if not dead.letter.type:
            unreadable += 1
        elif await queues.length(queue_of(sink)) >= most:
            no_room += 1
        else:
            again = msgspec.structs.replace(dead.letter, put_at=now).packed()
            await queues.put(queue_of(sink), event_id, again, most)
            await queues.remove(dead_queue_of(sink), [event_id])
            sent += 1
    return Resent(sink, sent, no_room, unreadable)

"""What one process has read for all, in streams of a Valkey."""

from collections.abc import Mapping
from typing import Final

from gateway.clock import Clock
from gateway.state.channel import Heard
from gateway.state.valkey_link import ValkeyLink

_KEPT: Final = 4
"""Of a channel."""
_KEPT_MS: Final = 60_000


class ValkeyChannel:
    """A Channel."""

    def __init__(self, link: ValkeyLink, clock: Clock) -> None:
        self._link = link
        self._clock = clock

    async def publish(self, channel: str, payload: bytes) -> None:
        name = self._link.at(f"channel:{channel}")
        async with self._link.client.pipeline(transaction=False) as pipe:
            pipe.xadd(name, {"payload": payload}, maxlen=_KEPT, approximate=False)
            pipe.pexpire(name, _KEPT_MS)
            await self._link.ask(pipe.execute)

    async def heard(self, after: Mapping[str, str]) -> list[Heard]:
        prefix = self._link.at("channel:")
        asked_at = self._clock.monotonic()
        async with self._link.client.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.xread(
                {f"{prefix}{channel}": position for channel, position in after.items()},
                block=round(self._link.timeout_s * 500),
            )
            (seconds, micros), streams = await self._link.ask(pipe.execute)
        # The server took its time after we asked, so that nothing is younger than this says.
        waited_s = self._clock.monotonic() - asked_at
        asked_ms: float = seconds * 1000 + micros / 1000

        def ago_s(position: bytes) -> float:
            return waited_s - (int(position.split(b"-")[0]) - asked_ms) / 1000

        return [
            Heard(
                name.decode().removeprefix(prefix),
                position.decode(),
                ago_s(position),
                fields[b"payload"],
            )
            for name, entries in streams or ()
            for position, fields in entries
        ]

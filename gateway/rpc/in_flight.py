"""How many calls are being carried out."""

import asyncio


class InFlight:
    """One per process."""

    __slots__ = ("_waiting", "number")

    def __init__(self) -> None:
        self.number = 0
        self._waiting: list[asyncio.Future[None]] = []

    def begin(self) -> None:
        self.number += 1

    def end(self) -> None:
        self.number -= 1
        if self._waiting and not self.number:
            for future in self._waiting:
                if not future.done():
                    future.set_result(None)
            self._waiting.clear()

    async def none(self) -> None:
        """Returns once there is none."""
        while self.number:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future

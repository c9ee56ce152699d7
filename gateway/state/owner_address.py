"""Where workers ask the owner of the store."""

from pathlib import Path

from msgspec import Struct


class OwnerAddress(Struct, frozen=True):
    """Where the owner listens, and how many workers ask it."""

    socket: Path
    workers: int

"""What the parent and the fork server tell each other."""

from msgspec import Struct


class Request(Struct, frozen=True):
    """For one process. `name`: what the system calls it; `order`: what `works` is told beside the
    descriptors that come with this.
    """

    works: str
    name: str
    order: str = ""


class Told(Struct, frozen=True):
    """A process has begun, or with a `code` ended: the exit code, negative for a signal."""

    pid: int
    code: int | None = None

"""Where ids come from: one seeded source for objects, one for requests, and names for seeded
resources.

Objects and requests draw from separate sources, so the ids of objects depend only on the objects
made before.
"""

import functools
import random
import uuid

SEEDED_NAMESPACE = uuid.UUID("6f1f2f4e-31f9-4f1c-9d8e-0e7a1c5b3d42")


class Ids:
    """Repeatable ids: the same seed and the same calls give the same ids."""

    def __init__(self, seed: int) -> None:
        self._objects = random.Random(f"objects {seed}")  # noqa: S311 - repeatable, not secret
        self._requests = random.Random(f"requests {seed}")  # noqa: S311 - repeatable, not secret

    def new(self) -> str:
        """Return a fresh object id (a random-looking UUID)."""
        return str(uuid.UUID(int=self._objects.getrandbits(128), version=4))

    def suffix(self) -> str:
        """Return four hex digits, as in names of automatic backups."""
        return f"{self._objects.getrandbits(16):04x}"

    def order(self) -> str:
        """Return an order number of the billing centre."""
        return f"CS{self._objects.randrange(10**15):015d}"

    def request(self) -> str:
        """Return 32 hex digits, the form of X-Request-Id."""
        return f"{self._requests.getrandbits(128):032x}"

    def access_key(self) -> str:
        """Return a temporary access key."""
        return f"HSTA{self._requests.getrandbits(64):016X}"

    def token(self) -> str:
        """Return an IAM token: opaque, longer than an id, different at each call."""
        return f"MIIE{self._requests.getrandbits(1024):0256x}"


@functools.lru_cache(maxsize=10_000)
def seeded(*names: str) -> str:
    """Return the id of a resource that exists from the start; it depends on its names only, never
    on the seed.
    """
    return str(uuid.uuid5(SEEDED_NAMESPACE, "/".join(names)))

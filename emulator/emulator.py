"""All the state behind one running emulator, and the order in which it is built and thrown away."""

import time
from collections import defaultdict

from emulator.auth import Authenticator
from emulator.clock import Clock
from emulator.faults import FaultPlan
from emulator.ids import Ids
from emulator.routes import all_routes
from emulator.seed import seed_world
from emulator.settings import EmulatorSettings
from emulator.truth import TruthLog
from emulator.world import World


class Throttle:
    """Counts requests per project and operation in each whole second of wall time."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._second = 0
        self._counts: defaultdict[tuple[str, str], int] = defaultdict(int)

    def admits(self, project_id: str, operation: str) -> bool:
        """Count one request; False once the second is used up."""
        if self._limit is None:
            return True
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._counts.clear()
        self._counts[project_id, operation] += 1
        return self._counts[project_id, operation] <= self._limit


class Emulator:
    """Clock, ids, world, credentials, faults and truth log; `reset` makes all of them new."""

    clock: Clock
    ids: Ids
    world: World
    auth: Authenticator
    faults: FaultPlan
    throttle: Throttle

    def __init__(self, settings: EmulatorSettings) -> None:
        self.settings = settings
        self.truth = TruthLog(settings.truth_limit)
        self.reset()

    def reset(self) -> None:
        """Forget all that happened: objects, faults, tokens, clock steps, pace, truth log."""
        settings = self.settings
        self.clock = Clock(frozen=settings.freeze_clock, ahead_s=settings.clock_ahead_s)
        self.ids = Ids(settings.seed)
        self.world = World(settings, self.clock, self.ids)
        if settings.seed_resources:
            seed_world(self.world)
        self.auth = Authenticator(settings)
        self.faults = FaultPlan(settings.seed, {route.operation for route in all_routes()})
        self.throttle = Throttle(settings.throttle_rps)
        self.truth.clear()

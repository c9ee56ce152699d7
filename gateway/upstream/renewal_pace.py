"""How soon IAM may be asked again for a project's token, so that neither revocations nor a wrong
credential become a storm on it.

refused after it was accepted     the token was revoked: replaced at once, ten times in quick
                                  succession, then every 2 s
refused before it was accepted    perhaps revoked as well, perhaps every token is refused: at once,
                                  then after 0.2, 0.4, ... 60 s
IAM itself failed                 after 1, 2, ... 60 s; it locks accounts that keep trying a wrong
                                  password
"""

import math
from typing import Final

_AT_ONCE: Final = 10
_EVERY_S: Final = 2.0
_MIN_REFUSED_S: Final = 0.2
_MIN_FAILED_S: Final = 1.0
_MAX_PAUSE_S: Final = 60.0


class RenewalPace:
    """Of one project. Times are monotonic."""

    def __init__(self) -> None:
        self.failures = 0
        """Of IAM, since it last gave a token."""
        self._unaccepted = 0
        """Tokens in a row that were refused before they had been accepted."""
        self._paid_until = -math.inf
        """When all renewals so far would be over, had each taken its turn."""
        self._not_before = -math.inf

    def pause_s(self, now: float) -> float:
        """Seconds until IAM may be asked; 0 when it may be asked now."""
        return max(0.0, self._not_before - now)

    def refused(self, now: float, *, accepted: bool) -> None:
        """The cloud has refused a token, which it had `accepted` before or not."""
        self._unaccepted = 0 if accepted else self._unaccepted + 1
        self._paid_until = max(self._paid_until, now) + _EVERY_S
        pause_s = _doubled(_MIN_REFUSED_S, self._unaccepted - 1) if self._unaccepted > 1 else 0.0
        self._not_before = max(now + pause_s, self._paid_until - _AT_ONCE * _EVERY_S)

    def failed(self, now: float) -> float:
        """IAM gave no token; the seconds for which it is left alone."""
        self.failures += 1
        pause_s = _doubled(_MIN_FAILED_S, self.failures)
        self._not_before = now + pause_s
        return pause_s

    def succeeded(self) -> None:
        """IAM gave a token."""
        self.failures = 0


def _doubled(first_s: float, times: int) -> float:
    """The pause after that many failures: doubled each time, with a ceiling."""
    return min(_MAX_PAUSE_S, first_s * float(2 ** min(times - 1, 10)))

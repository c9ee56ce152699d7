"""What of a call was sent to CBR, and what was answered: one state at any moment.

    NEW ──▶ PREPARING ◀──▶ QUEUED
     │          │
     │          ▼
     │      ANNOUNCED                (a change with observers)
     └────┬─────┘
          ▼         every answer usable
      IN_FLIGHT ───────────────────────▶ ANSWERED
          │  ▲                              │
          │  └──── the next attempt ────────┘
          ▼             read back: absent
      UNANSWERED ─────────────────────────▶ DOUBTFUL

From UNANSWERED and DOUBTFUL further attempts are made, too. None of them takes the doubt back.
"""

from enum import Enum
from typing import Final

from gateway.upstream.outcome import Outcome


class SendState(Enum):
    NEW = "nothing of it has run yet"
    PREPARING = "what a change needs is looked up"
    QUEUED = "it waits for its turn behind another change to the same object"
    ANNOUNCED = "the observers of the change know that it will be sent"
    IN_FLIGHT = "bytes of a request were written, and its answer is not there"
    ANSWERED = "no request is without an answer that tells what became of it"
    UNANSWERED = "one may have been carried out or may be yet, and more can be found out"
    DOUBTFUL = "one may have been carried out or may be yet, and a read did not show it"


UNSENT: Final = (SendState.NEW, SendState.PREPARING, SendState.QUEUED, SendState.ANNOUNCED)
"""Not one byte of any request was written."""
UNANNOUNCED: Final = (SendState.NEW, SendState.PREPARING, SendState.QUEUED)
UNFINISHED: Final = (SendState.IN_FLIGHT, SendState.UNANSWERED)
"""Going on can still tell what became of the call."""
IN_DOUBT: Final = (SendState.IN_FLIGHT, SendState.UNANSWERED, SendState.DOUBTFUL)
"""CBR may be carrying a request out, or may have done so without our knowing."""


def after_attempt(before: SendState, now: SendState, outcome: Outcome) -> SendState:
    """Where a call stands after an attempt that proved `outcome`.

    `before`: where it stood when the attempt began; `now`: as the attempt left it. One that was cut
    short has proved nothing, which is NEVER_SENT.
    """
    cut_short = now is SendState.IN_FLIGHT and outcome is Outcome.NEVER_SENT
    if cut_short or outcome is Outcome.AMBIGUOUS:
        return SendState.UNANSWERED
    # A doubt is never taken back: a read without the change does not prove that it will not come.
    return SendState.ANSWERED if now is SendState.IN_FLIGHT and before not in IN_DOUBT else before

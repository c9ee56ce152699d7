"""What of a call was sent and answered, from attempt to attempt."""

import pytest

from gateway.upstream.outcome import Outcome
from gateway.upstream.send_state import IN_DOUBT, UNSENT, SendState, after_attempt

NEVER, REFUSED = Outcome.NEVER_SENT, Outcome.REFUSED
AMBIGUOUS, DEFINITE = Outcome.AMBIGUOUS, Outcome.DEFINITE
DOUBTS = (SendState.UNANSWERED, SendState.DOUBTFUL)
SETTLED = (*UNSENT, SendState.ANSWERED)


def after(before, outcome, *, written):
    return after_attempt(before, SendState.IN_FLIGHT if written else before, outcome)


@pytest.mark.parametrize("before", [*SETTLED, *DOUBTS], ids=lambda state: state.name)
def test_an_attempt_of_which_nothing_was_written_changes_nothing(before):
    assert after(before, NEVER, written=False) is before


@pytest.mark.parametrize("before", [*SETTLED, *DOUBTS], ids=lambda state: state.name)
def test_an_attempt_without_an_answer_can_still_be_found_out(before):
    assert after(before, AMBIGUOUS, written=True) is SendState.UNANSWERED


@pytest.mark.parametrize("before", [*SETTLED, *DOUBTS], ids=lambda state: state.name)
def test_an_attempt_cut_short_after_its_first_byte_has_no_answer(before):
    assert after(before, NEVER, written=True) is SendState.UNANSWERED


@pytest.mark.parametrize("outcome", [REFUSED, DEFINITE], ids=lambda outcome: outcome.name)
@pytest.mark.parametrize("before", SETTLED, ids=lambda state: state.name)
def test_a_usable_answer_settles_what_was_not_in_doubt(before, outcome):
    assert after(before, outcome, written=True) is SendState.ANSWERED


@pytest.mark.parametrize("outcome", [REFUSED, DEFINITE], ids=lambda outcome: outcome.name)
@pytest.mark.parametrize("before", DOUBTS, ids=lambda state: state.name)
def test_no_answer_to_a_repeat_takes_a_doubt_back(before, outcome):
    assert after(before, outcome, written=True) is before


def test_every_state_is_unsent_in_doubt_or_answered():
    assert set(SendState) == {*UNSENT, *IN_DOUBT, SendState.ANSWERED}

import pytest

from gateway.clock import in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "less than a second"),
        (1, "1 second"),
        (90, "1 minute 30 seconds"),
        (3600, "1 hour"),
        (86400 * 30, "30 days"),
        (93784, "1 day 2 hours"),
    ],
)
def test_a_span_is_told_in_its_two_largest_units(seconds, words):
    assert in_words(seconds) == words

"""Rows of a whole list that its pages have left out, because they moved while it was paged.

A token holds no name of each row that was shown, but the sum of all names. As long as the list
has the same rows, the difference between its own sum and that one is made of the names of a few
rows: those that were left out, less those that were shown twice.
"""

from collections.abc import Sequence

from gateway.upstream.rows import Row
from gateway.upstream.trail import END_OF_SUMS, Trail, numbers


def left_out(rows: Sequence[Row], shown: Trail, whole: Trail) -> list[Row] | None:
    """The rows of the whole list that were not shown; None if too many have moved to tell."""
    if shown.shows_the_same(whole):
        return []
    sums, difference = numbers(rows), (whole.names - shown.names) % END_OF_SUMS
    at = {number: index for index, number in enumerate(sums)}
    more = whole.shown - shown.shown
    if more == 1 and difference in at:
        return [rows[at[difference]]]
    if more == -1 and -difference % END_OF_SUMS in at:
        return []
    if more == 0:
        pairs = (at.get((number + difference) % END_OF_SUMS) for number in sums)
        return next(([rows[index]] for index in pairs if index is not None), None)
    if more == 2:  # noqa: PLR2004
        both = (
            (index, at.get((difference - number) % END_OF_SUMS)) for number, index in at.items()
        )
        return next(([rows[i], rows[j]] for i, j in both if j is not None and i != j), None)
    return None

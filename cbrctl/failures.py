"""How commands end that do not succeed: one sentence on standard error, and an exit code."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

import click

NOT_ALL_WELL: Final = 1
"""The work has ended, and not all of it well; or a question was answered with no."""
USAGE: Final = 2
REFUSED: Final = 3
IN_DOUBT: Final = 4
NOT_FOUND: Final = 5
BUG: Final = 70
INTERRUPTED: Final = 130
PIPE_CLOSED: Final = 141


class Failed(click.ClickException):
    """Ends a command with its text and its exit code."""

    def __init__(self, text: str, exit_code: int = REFUSED) -> None:
        super().__init__(text)
        # Of click's own classes each has one for all.
        self.exit_code = exit_code  # type: ignore[misc]


class ReaderGone(Exception):  # noqa: N818 - nobody is there to be told
    """Who reads standard output has closed it."""


@contextmanager
def telling_of_output() -> Iterator[None]:
    """Raises ReaderGone, or Failed where the output has no room.

    Not left to click, which ends the process with 1 for a closed pipe: the code of work that has
    not ended well.
    """
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGone from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise Failed("The output cannot be written: no space is left.", NOT_ALL_WELL) from error


class Violation(NamedTuple):
    """A field that breaks a rule, by its path."""

    field: str
    text: str


class Refusal(Exception):  # noqa: N818 - what the gateway says, or the way to it
    """A call that has failed, as every transport tells it.

    `code`: gRPC's word. `reason`: the gateway's, empty where it did not answer. `advice`: what to
    do next, where the text does not say it. `in_doubt`: a change may have been made.
    """

    def __init__(
        self,
        code: str,
        text: str,
        *,
        reason: str = "",
        advice: str = "",
        violations: Sequence[Violation] = (),
        call_id: str = "",
        request_id: str = "",
        in_doubt: bool = False,
    ) -> None:
        super().__init__(text)
        self.code, self.text, self.reason, self.advice = code, text, reason, advice
        self.violations, self.call_id, self.request_id = violations, call_id, request_id
        self.in_doubt = in_doubt

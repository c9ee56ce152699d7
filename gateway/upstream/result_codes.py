"""Result codes, words and sentences that mean success, in whatever form.

Pure, and the only place that knows them.
"""

import re
from typing import Final

from gateway.upstream.values import Json

_ZERO: Final = r"(?:[a-z]+\.)?0+(?:\.0+)?"
"""Also as the billing system writes it: `CBC.0000`."""
_STATUS: Final = r"2\d\d(?:\.0+)?(?: (?:ok|created|accepted|no content))?"
_WORD: Final = (
    "ok|success|successful|successfully|succeeded|succeed|created|accepted|completed"
    "|none|null|nil|false"
)
_SUCCESS: Final = re.compile(f"{_ZERO}|{_STATUS}|{_WORD}")

_SUCCEEDED: Final = re.compile(
    r"\b(?:ok|done|success|successful|successfully|succeeded|succeed"
    r"|accepted|added|completed|created|deleted|finished|removed|sent|started|submitted|updated)\b"
)
_NOT: Final = re.compile(
    r"\b(?:no|not|cannot|can't|\w+n't|never|nothing|without|only|must|should|already|un\w+|fail\w*"
    r"|error\w*|invalid|illegal|denied|refused|reject\w*|forbidden|exceed\w*|missing|wrong|bad"
    r"|conflict\w*|unable|limit\w*)\b"
)


def is_success(code: Json) -> bool:
    """Whether a result code, or what stands where an error would, says that there is none.

    Nothing at all says so, too.
    """
    if not code:
        return True
    return (
        type(code) in {str, int, float}
        and _SUCCESS.fullmatch(str(code).strip().lower().rstrip(".!")) is not None
    )


def tells_success(text: Json) -> bool:
    """Whether a sentence for people says that something was done, and nothing else."""
    told = str(text).lower()
    return is_success(text) or (_SUCCEEDED.search(told) is not None and _NOT.search(told) is None)

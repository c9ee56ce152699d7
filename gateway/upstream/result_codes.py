"""Result codes and words that mean success, in whatever form.

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

"""What the vendor's billing system says inside CBR's answers: whether an order was placed, and its id. Pure.

`subscribeResult` is a number in one source and a text in another, and so is `retCode`; both are read in both forms.
"""

from typing import Final

from gateway.upstream.values import Json

_PREFIX: Final = "CBC."
_FAILED: Final = (0, "0")
_NAMES: Final = ("orderId", "orders")
_MAX_IDS: Final = 100
"""An order is for at most so many vaults."""


def word(code: Json) -> str:
    """A result code as the billing system's public table writes it, such as `CBC.0156`; empty for a success, whose code there is `CBC.0000`."""
    text = str(code or "")
    number = text.removeprefix(_PREFIX)
    if not number.strip("0"):
        return ""
    return f"{_PREFIX}{number}" if number.isascii() and number.isdigit() else text


def refused(answer: Json) -> bool:
    """Whether every subscription in an answer has failed and no vault came of it. One that has succeeded is a change that was made."""
    if not isinstance(answer, dict) or answer.get("vault"):
        return False
    results = [line.get("subscribeResult") for line in _lines(answer)]
    told = [result for result in results if result not in (None, "")]
    return bool(told) and all(result in _FAILED for result in told)


def order_ids(answer: Json) -> tuple[str, ...]:
    """The ids of all orders in an answer, each once."""
    if not isinstance(answer, dict) or answer.keys().isdisjoint(_NAMES):
        return ()
    found = [answer.get("orderId"), *(line.get("orderId") for line in _lines(answer))]
    texts = (str(each) for each in found if isinstance(each, str | int) and not isinstance(each, bool))
    return tuple(dict.fromkeys(text for text in texts if text))[:_MAX_IDS]


def _lines(answer: dict[str, Json]) -> list[dict[str, Json]]:
    lines = answer.get("orders")
    return [line for line in lines if isinstance(line, dict)] if isinstance(lines, list) else []

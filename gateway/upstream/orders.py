"""What the vendor's billing system says inside CBR's answers: whether an order was placed, and its
id. Pure.

`subscribeResult` is a number in one source and a text in another, and so is `retCode`; both are
read in both forms.
"""

from collections.abc import Iterator
from typing import Any, Final, cast

from google.protobuf.message import Message

from gateway.upstream.result_codes import is_success
from gateway.upstream.tolerant_json import Damaged
from gateway.upstream.values import Json, ProtocolError

_PREFIX: Final = "CBC."
_RESULTS: Final = frozenset({"subscribeResult", "subscribe_result"})
_FAILED: Final = frozenset({"0", "false", "failed", "fail"})
_PLACED: Final = frozenset({"1", "true", "success", "succeeded"})
_ID_NAMES: Final = ("orderId", "order_id", "orderIds", "order_ids", "orderID")
_LINES: Final = ("orders", "order")
MEMBERS: Final = frozenset(
    {*_RESULTS, "errText", "retMsg", "error_code", "retCode", *_ID_NAMES, *_LINES}
)
"""Of an answer of which the billing system may have a say."""
_MAX_IDS: Final = 100
"""An order is for at most so many vaults."""


def word(code: Json) -> str:
    """A result code as the billing system's public table writes it, such as `CBC.0156`; empty for a
    success, whose code there is `CBC.0000`, and for what nobody can take for a code.
    """
    if is_success(code) or type(code) is Damaged:
        return ""
    text = str(code)
    number = text.removeprefix(_PREFIX)
    return f"{_PREFIX}{number}" if number.isascii() and number.isdigit() else text


def refused(answer: Json) -> bool:
    """Whether every subscription in an answer has failed and no vault came of it.

    One that has succeeded is a change that was made.
    """
    if not isinstance(answer, dict) or answer.get("vault"):
        return False
    results = _results(answer)
    return bool(results) and _FAILED.issuperset(results)


def placed(answer: Json) -> bool:
    """Whether a subscription in an answer has succeeded."""
    return isinstance(answer, dict) and not _PLACED.isdisjoint(_results(answer))


def order_ids(answer: Json) -> tuple[str, ...]:
    """The ids of all orders in an answer, each once."""
    if not isinstance(answer, dict):
        return ()
    parts = _parts(answer)
    if not parts and answer.keys().isdisjoint((*_ID_NAMES, *_LINES)):
        return ()
    lines = (line for name in _LINES for line in _listed(answer.get(name)))
    found = (
        *_named(answer),
        *(text for line in lines for text in _of_line(line)),
        *(text for part in parts for text in _named(part)),
    )
    return tuple(dict.fromkeys(filter(None, found)))[:_MAX_IDS]


def response_to(kind: type[Message], answer: Json) -> Message | None:
    """The response to an answer that says of an order no more than that it was placed, and at most
    its id; None if it does not say so, or the response is not one of an order.
    """
    fields = kind.DESCRIPTOR.fields_by_name
    if not placed(answer) or {"orders", "order_id"}.isdisjoint(fields.keys()):
        return None
    response, ids = kind(), order_ids(answer)
    if "orders" in fields:
        lines = [{"order_id": each, "subscribe_result": 1} for each in ids or ("",)]
        response = kind(orders=lines)
    keep_ids(response, ids)
    return response


def keep_ids(response: Message, ids: tuple[str, ...]) -> None:
    """Give each order that an answer names a place in the response to it.

    Raises ProtocolError where there is none, and where a response that may hold orders names
    nothing that was made or ordered.
    """
    fields = response.DESCRIPTOR.fields_by_name
    known = cast("Any", response)
    if "orders" in fields:
        held = {line.order_id for line in known.orders} | {
            text
            for line in known.orders
            for text in line.extra_fields.values()
            if type(text) is str
        }
        for lost in ids:
            if lost not in held:
                known.orders.add(order_id=lost)
        made = "vault" in fields and response.HasField("vault")
        if not made and not any(line.ByteSize() for line in known.orders):
            raise ProtocolError("names nothing that was made or ordered")
    elif "order_id" in fields and ids:
        known.order_id = known.order_id or ids[0]
        if set(ids) != {known.order_id}:
            raise ProtocolError("names orders that have no place in the response")


def _of_line(line: Json) -> Iterator[str]:
    """The ids in a line of orders: those that it names, or the line itself.

    A word such as `none` is no id.
    """
    if isinstance(line, dict):
        yield from _named(line)
    else:
        yield from (text for text in _texts(line) if any(map(str.isdigit, text)))


def _named(held: dict[str, Json]) -> Iterator[str]:
    for name in _ID_NAMES:
        yield from _texts(held.get(name))


def _texts(held: Json) -> Iterator[str]:
    for item in _listed(held):
        if isinstance(item, str | int) and not isinstance(item, bool):
            yield str(item)


def _listed(held: Json) -> list[Json]:
    return held if isinstance(held, list) else [held]


def _results(answer: dict[str, Json]) -> list[str]:
    """The outcome of each subscription in an answer, as text; empty where a line has none."""
    told = [line for name in _LINES if answer.get(name) for line in _listed(answer[name])]
    told += [] if _RESULTS.isdisjoint(answer) else [answer]
    told += _parts(answer)
    return [_result(_told(line) if isinstance(line, dict) else None) for line in told]


def _parts(answer: dict[str, Json]) -> list[dict[str, Json]]:
    """Parts of an answer under other keys that tell of a subscription."""
    return [
        part
        for key, part in answer.items()
        if type(part) is dict and key not in _LINES and not _RESULTS.isdisjoint(part)
    ]


def _told(held: dict[str, Json]) -> Json:
    return next((held[key] for key in _RESULTS if key in held), None)


def _result(value: Json) -> str:
    text = "" if value is None else str(value).strip().lower().removesuffix(".0")
    return text.lstrip("0") or "0" if text.isdecimal() else text

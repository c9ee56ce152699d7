"""What a 2xx answer says of itself in its body: that the call failed after all, or that something
was made. Pure.

Errors stand there in the billing system's form, or in one that error answers have. There is no
source for the latter; but they must not pass as success.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from gateway.upstream import orders
from gateway.upstream.result_codes import is_success, tells_success
from gateway.upstream.upstream_error import (
    UpstreamError,
    codes,
    is_own_wrapper,
    presentable,
    wrapper_word,
)
from gateway.upstream.values import Json


def plain(key: str) -> str:
    """A key without what differs between services: `error_code` is `errorCode` is `ErrorCode`."""
    return key.lower().replace("_", "")


_CODES: Final = (
    *("errorcode", "errcode", "retcode", "respcode", "resultcode", "returncode", "ret"),
)
_CODE: Final = "code"
_ERROR_TEXTS: Final = ("errormsg", "errormessage", "errmsg", "respmsg")
"""Texts that only errors have."""
_TEXTS: Final = (*_ERROR_TEXTS, "message", "msg", "title", "detail", "details", "reason")
_STATUS: Final = "status"
_BESIDE: Final = frozenset(
    {
        *("requestid", "traceid", "hostid", "instance", "path", "timestamp", "time", "type"),
        *(_STATUS, "links", "help", "created", "retryafter"),
    }
)
"""What errors have besides, which alone says nothing."""
MEMBERS: Final = frozenset({*_CODES, _CODE, *_TEXTS, *_BESIDE})
"""Of an object that is an error, as `plain` writes them."""
_WRAPPERS: Final = frozenset(
    {"serviceunavailable", "notimplemented", "badgateway", "gatewaytimeout", "requesttimeout"}
)
"""Beside those of refusals."""
_WRAPPER_ENDINGS: Final = ("error", "errors", "fault", "exception")
_VERDICTS: Final = ("success", "succeeded", "ok", "result")
_FAILED: Final = frozenset({"false", "fail", "failed", "failure", "error"})
_TELLING: Final = frozenset(map(plain, orders.MEMBERS)) | {*_CODES, _CODE, *_ERROR_TEXTS}
_ERROR: Final = "error"
"""As a status. CBR itself says `failed` of a migration, with nothing beside it."""
_FAILED_STATUSES: Final = frozenset(map(str, range(400, 600)))


def order_error(value: Json, status: int) -> UpstreamError | None:
    """The error that a 2xx answer of an order carries in its body, if it does."""
    if not isinstance(value, dict):
        return None
    text = str(value.get("errText") or value.get("retMsg") or "")[:512]
    told = orders.word(value.get("error_code")) or orders.word(value.get("retCode"))
    if told or orders.refused(value):
        return UpstreamError(status, presentable(told), text)
    return None


def error_document(value: Json, status: int) -> UpstreamError | None:
    """The error in a 2xx answer of a known shape: at the top, alone in a list, or inside a known
    wrapper; or a sentence alone that is not of success.
    """
    if isinstance(value, list):
        return next(filter(None, (error_document(item, status) for item in value)), None)
    if not isinstance(value, dict):
        complains = type(value) is str and " " in value.strip() and not tells_success(value)
        return UpstreamError(status, text=str(value)[:512]) if complains else None
    found = (_inside(status, wrapper, held) for wrapper, held in _wrapped(value))
    return _at_top(status, _plain(value)) or next(filter(None, found), None)


def tells_no_error(keys: Iterable[str]) -> bool:
    """Whether an answer with these members can be no error, nor name an order, whatever stands in
    them; unless one of them is all that it has, and an object of nothing but what errors have.
    """
    return not any(plain(key) in _TELLING or _is_wrapper(key) for key in keys)


def shows_success(value: Json) -> bool:
    """Whether an answer holds an object with its id, or an order that was placed: something was
    made, whatever else stands there.
    """
    if not isinstance(value, dict):
        return False
    objects = (
        held for key, held in value.items() if isinstance(held, dict) and not _is_wrapper(key)
    )
    return orders.placed(value) or any(held.get("id") or held.get("agent_id") for held in objects)


def _at_top(status: int, value: dict[str, Json]) -> UpstreamError | None:
    for key in _CODES:
        if not is_success(code := value.get(key)):
            return _error(status, code, value)
    code = value.get(_CODE)
    if not is_success(code) and (_is_error_code(code) or not value.keys().isdisjoint(_TEXTS)):
        return _error(status, code, value)
    verdicts = [str(value[key]).lower() for key in _VERDICTS if key in value]
    if (
        _FAILED.isdisjoint(verdicts)
        and all(is_success(value.get(key)) for key in _ERROR_TEXTS)
        and not _only_complains(value)
    ):
        return None
    return _error(status, "", value)


def _only_complains(value: dict[str, Json]) -> bool:
    """Whether nothing but what errors hold stands there, and a sentence is not of success, or a
    status is that of an error, or its word where no other key is known.

    No answer of CBR that is known is so.
    """
    if value.keys() <= MEMBERS and str(value.get(_STATUS)).lower() == _ERROR:
        return True
    told = {key: held for key, held in value.items() if not is_success(held)}
    return told.keys() <= MEMBERS and (
        _is_failed_status(told.get(_STATUS))
        or not all(tells_success(told[key]) for key in told.keys() & set(_TEXTS))
    )


def _inside(status: int, wrapper: str, held: Json) -> UpstreamError | None:
    """The error below a key whose name says that there is one, unless all that stands there says
    that there is none.
    """
    if isinstance(held, list):
        held = next((item for item in held if not is_success(item)), None)
    if not isinstance(held, dict):
        return (
            None
            if is_success(held)
            else UpstreamError(status, text=str(held)[:512], wrapper=wrapper)
        )
    held = _plain(held)
    told = [code for code in (held.get(key) for key in (*_CODES, _CODE)) if code not in (None, "")]
    if told:
        code = next((code for code in told if not is_success(code)), None)
        return None if code is None else _error(status, code, held, wrapper)
    return None if all(map(is_success, held.values())) else _error(status, "", held, wrapper)


def _error(status: int, code: Json, held: dict[str, Json], wrapper: str = "") -> UpstreamError:
    text = next((str(held[key]) for key in _TEXTS if held.get(key)), "")
    return UpstreamError(status, presentable(str(code)), text[:512], wrapper)


def _is_error_code(code: Json) -> bool:
    """Whether a code needs no text beside it to be known as an error's."""
    word = str(code).removesuffix(".0")
    return UpstreamError(0, word).is_own or word in codes().known or _is_failed_status(code)


def _is_failed_status(status: Json) -> bool:
    return str(status).removesuffix(".0") in _FAILED_STATUSES


def _words(value: Iterable[str]) -> list[str]:
    """Each as `plain` writes it, without a call for each: every change comes by here."""
    return [key.lower().replace("_", "") for key in value]


def _plain(value: dict[str, Json]) -> dict[str, Json]:
    """With plain keys; of two that are the same then, the one that says something."""
    words = _words(value)
    found = dict(zip(words, value.values(), strict=True))
    if len(found) < len(value):
        told = zip(words, value.values(), strict=True)
        found |= {word: held for word, held in told if not is_success(held)}
    return found


def _wrapped(value: dict[str, Json]) -> Iterator[tuple[str, Json]]:
    if len(value) > 1:
        yield from ((key, held) for key, held in value.items() if _is_wrapper(key))
        return
    for key, held in value.items():
        if _is_wrapper(key) or _is_error_object(held):
            yield key, held
        elif isinstance(held, dict) and len(held) == 1:
            yield from _wrapped(held)


def _is_wrapper(key: str) -> bool:
    word = wrapper_word(key)
    return is_own_wrapper(key) or word in _WRAPPERS or word.endswith(_WRAPPER_ENDINGS)


def _is_error_object(held: Json) -> bool:
    return (
        isinstance(held, dict)
        and 0 < len(held) <= len(MEMBERS)
        and MEMBERS.issuperset(words := _words(held))
        and not set(words).isdisjoint(_TEXTS)
    )

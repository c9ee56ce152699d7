"""What an answer of CBR that is not a success says, and what it proves.

A proxy on the way or a wrong address answers with 403 and 404, too, so a status alone proves
nothing.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Final

from google.rpc import code_pb2
from msgspec import Struct

from gateway.reasons import REASONS, reason_of
from gateway.upstream import error_body, strict_json

CLIENT_ERROR: Final = range(400, 500)


class Known(Struct, frozen=True):
    """A code's reason name and meaning."""

    reason: str
    meaning: str


class Codes(Struct, frozen=True):
    """The table in this package."""

    known: Mapping[str, Known]
    nothing_was_done: Mapping[int, frozenset[str]]
    """HTTP status -> codes that prove with it that CBR did nothing."""


@cache
def codes() -> Codes:
    """The table, read once."""
    table = tomllib.loads(
        resources.files("gateway.upstream").joinpath("cbr_codes.toml").read_text(encoding="utf-8")
    )
    proofs = {
        int(status): frozenset(found) for status, found in table.pop("nothing_was_done").items()
    }
    known = {
        code: Known(reason, meaning)
        for reason, meanings in table.items()
        for code, meaning in meanings.items()
    }
    return Codes(known, proofs)


class UpstreamError(Struct, frozen=True):
    """The error of one answer.

    `code` is empty where the body has none; `wrapper` is the key of the object that holds it, such
    as `itemNotFound`.
    """

    status: int
    code: str = ""
    text: str = ""
    wrapper: str = ""

    @property
    def vanished(self) -> bool:
        """The backend's odd way of saying that an id is malformed or gone: a 401 that has nothing
        to do with credentials. Source: live use.
        """
        return self.status == 401 and self.text == "Malformed request url"  # noqa: PLR2004

    @property
    def gone(self) -> bool:
        """Whether CBR itself says that an object does not exist."""
        known = codes().known.get(self.code)
        return self.vanished or (
            known is not None and REASONS[reason_of(known.reason)].code == code_pb2.NOT_FOUND
        )

    @property
    def throttled(self) -> bool:
        return self.status == 429 or self.code == "APIGW.0308"  # noqa: PLR2004

    @property
    def credentials(self) -> bool:
        return self.status == 401 and not self.vanished  # noqa: PLR2004

    @property
    def proves_nothing_done(self) -> bool:
        """Whether the answer is the cloud's own refusal.

        A status by itself, or a code of unknown origin, may be anybody's.
        """
        if self.vanished or self.code in codes().nothing_was_done.get(self.status, ()):
            return True
        repeated = self.code == str(self.status) and is_own_wrapper(self.wrapper)
        return (self.is_own or repeated) and self.status in CLIENT_ERROR

    @property
    def is_own(self) -> bool:
        """Whether the code is one of the cloud's own."""
        return self.code.startswith(_OWN_CODES)


_CODE_KEYS: Final = (("error_code", "error_msg"), ("errorCode", "errorMsg"), ("code", "message"))
_OWN_CODES: Final = ("BackupService.", "CBC.", "PAP5.")
"""Of CBR, of the billing system behind orders, and of IAM's identity policies."""
OWN_WRAPPERS: Final = frozenset(
    {
        *("error", "badrequest", "unauthorized", "forbidden", "itemnotfound", "notfound", "gone"),
        *("badmethod", "methodnotallowed", "conflict", "conflictingrequest", "buildinprogress"),
        *("preconditionfailed", "requestentitytoolarge", "badmediatype", "unsupportedmediatype"),
        *("unprocessableentity", "toomanyrequests"),
    }
)
"""Of the older services and of IAM, as OpenStack names refusals of a request, see `wrapper_word`;
the code inside repeats the HTTP status. Not `requestTimeout`: a proxy may say so of a request that
it has passed on.
"""
_OF_LIMIT: Final = re.compile(r"over(limit|quota)|(limit|quota)s?(exceeded|reached|error)")
_PRESENTABLE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def wrapper_word(key: str) -> str:
    """A wrapper's key without what differs between services: `HTTPBadRequest` is `badRequest`."""
    return key.lower().replace("_", "").removeprefix("http")


def names_limit(key: str) -> bool:
    """Whether a wrapper's key says that a limit is reached: `overLimit`, `volumeLimitExceeded`."""
    return _OF_LIMIT.search(wrapper_word(key)) is not None


def is_own_wrapper(key: str) -> bool:
    return wrapper_word(key) in OWN_WRAPPERS or names_limit(key)


def presentable(word: str) -> str:
    """A code or id of CBR that may be shown to callers; empty for anything else, which could be
    text, a host or an address.
    """
    return word if _PRESENTABLE.fullmatch(word) else ""


def read_error(status: int, body: bytes) -> UpstreamError:
    """The error in a body of any of the known shapes.

    Source: cbr error bodies of the service, its API gateway, IAM and the older services.
    """
    try:
        value = strict_json.loads(body)
    except strict_json.NotJson:
        value = error_body.members(body)
    for wrapper, candidate in (("", value), *(value.items() if isinstance(value, dict) else ())):
        if isinstance(candidate, dict):
            for code_key, text_key in _CODE_KEYS:
                if candidate.get(code_key) not in (None, ""):
                    return UpstreamError(
                        status,
                        presentable(str(candidate[code_key])),
                        str(candidate.get(text_key) or "")[:512],
                        wrapper,
                    )
    return UpstreamError(status)

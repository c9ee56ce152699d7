"""An answer of CBR that is not a success, as one of our errors: by its error code first
(cbr_codes.toml), then by its HTTP status.

Also what such an answer proves: a proxy on the way or a wrong address answers with 403 and 404,
too, so a status alone proves nothing.

Pure functions and data. CBR's own text is read for one purpose only, to find which parameter it
complains of; it never reaches a caller.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from google.rpc import code_pb2

from gateway.errors import GatewayError, Resource, UpstreamFacts, Violation
from gateway.reasons import REASONS, reason_of
from gateway.upstream import error_body, strict_json
from gateway.upstream.declaration import Binding

CLIENT_ERROR: Final = range(400, 500)
_NOT_FOUND_BY_VARIABLE: Final = {
    "vault_id": ("VAULT_NOT_FOUND", "vault"),
    "backup_id": ("BACKUP_NOT_FOUND", "backup"),
    "checkpoint_id": ("CHECKPOINT_NOT_FOUND", "checkpoint"),
    "policy_id": ("POLICY_NOT_FOUND", "policy"),
    "organization_policy_id": ("POLICY_NOT_FOUND", "organization policy"),
    "task_id": ("TASK_NOT_FOUND", "task"),
    "member_id": ("MEMBER_NOT_FOUND", "member"),
    "instance_id": ("RESOURCE_NOT_FOUND", "resource"),
    "key": ("TAG_NOT_FOUND", "tag"),
}
_BY_STATUS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("FIELD_INVALID", "CBR refused a parameter without saying which"),
    401: ("UPSTREAM_CREDENTIALS", "the credential of the gateway was refused"),
    403: ("UPSTREAM_PERMISSION", "the credential of the gateway may not do this"),
    404: ("NOT_FOUND", "the object does not exist"),
    409: ("RESOURCE_BUSY", "the object is in use by another operation"),
    413: ("FIELD_INVALID", "the request is too large for CBR"),
    414: ("FIELD_INVALID", "the request is too long for CBR"),
    429: ("UPSTREAM_THROTTLED", "the account makes too many requests"),
    500: ("UPSTREAM_INTERNAL", "CBR failed inside"),
    502: ("UPSTREAM_UNAVAILABLE", "CBR is not available"),
    503: ("UPSTREAM_UNAVAILABLE", "CBR is not available"),
    504: ("UPSTREAM_UNAVAILABLE", "CBR did not answer in time"),
}
_BY_WRAPPER: Final = {
    "overlimit": ("UPSTREAM_LIMIT", "a limit of the account at the vendor is reached")
}


@dataclass(frozen=True, slots=True)
class Known:
    """A code's reason name and meaning."""

    reason: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Codes:
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


@dataclass(frozen=True, slots=True)
class UpstreamError:
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
        ours = self.is_own or (
            wrapper_word(self.wrapper) in OWN_WRAPPERS and self.code == str(self.status)
        )
        return ours and self.status in CLIENT_ERROR

    @property
    def is_own(self) -> bool:
        """Whether the code is one of the cloud's own."""
        return self.code.startswith(_OWN_CODES)


_CODE_KEYS: Final = (("error_code", "error_msg"), ("errorCode", "errorMsg"), ("code", "message"))
_OWN_CODES: Final = ("BackupService.", "CBC.", "PAP5.")
"""Of CBR, of the billing system behind orders, and of IAM's identity policies."""
OWN_WRAPPERS: Final = frozenset(
    {
        *(
            "error",
            "unauthorized",
            "forbidden",
            "badrequest",
            "itemnotfound",
            "notfound",
            "badmethod",
        ),
        *("conflictingrequest", "conflict", "overlimit", "badmediatype", "unprocessableentity"),
    }
)
"""Of the older services and of IAM, as OpenStack names them, see `wrapper_word`; the code inside
repeats the HTTP status.
"""
_PRESENTABLE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def wrapper_word(key: str) -> str:
    """A wrapper's key without what differs between services: `HTTPBadRequest` is `badRequest`."""
    return key.lower().replace("_", "").removeprefix("http")


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
                if candidate.get(code_key) is not None:
                    return UpstreamError(
                        status,
                        presentable(str(candidate[code_key])),
                        str(candidate.get(text_key) or "")[:512],
                        wrapper,
                    )
    return UpstreamError(status)


def to_gateway_error(
    error: UpstreamError,
    binding: Binding,
    facts: UpstreamFacts,
    subject: Mapping[str, str],
    named: Mapping[str, str],
) -> GatewayError:
    """Our error for an answer.

    For the resource that it is about, `subject`: path variable -> value, `named`: kind -> the one
    id in the body.
    """
    reason_name, meaning = _reason(error, binding)
    reason = reason_of(reason_name)
    follows = REASONS[reason]
    message = meaning[0].upper() + meaning[1:]
    if follows.advice:
        message += f"; {follows.advice}"
    violations: tuple[Violation, ...] = ()
    if follows.code == code_pb2.INVALID_ARGUMENT:
        violations = _fields(error, binding, meaning)
        if violations[0].subject:
            message = f"{violations[0].subject}: {meaning}"
    elif follows.code == code_pb2.FAILED_PRECONDITION:
        violations = (Violation(binding.operation, meaning, error.code),)
    return GatewayError(
        reason,
        message + ".",
        violations=violations,
        resource=_resource(follows.about, subject, named),
        retry_after_s=follows.retry_after_s,
        upstream=facts,
        metadata={"permission": binding.permission} if reason_name == "UPSTREAM_PERMISSION" else {},
    )


_INSIDE_SUCCESS: Final = {
    True: ("ORDER_REFUSED", "the vendor's billing system refused the order"),
    False: (
        "UPSTREAM_PROTOCOL",
        "CBR answered with an error inside a success; report it to the gateway's operator",
    ),
}
"""By whether the call orders something."""


def _reason(error: UpstreamError, binding: Binding) -> tuple[str, str]:
    known = codes().known.get(error.code)
    if known is not None and not (error.code == "APIGW.0201" and error.status != 400):  # noqa: PLR2004
        return known.reason, known.meaning
    if error.vanished or error.status == 404:  # noqa: PLR2004
        variable = binding.segments[-1].variable if binding.segments else ""
        reason, kind = _NOT_FOUND_BY_VARIABLE.get(variable, ("NOT_FOUND", "object"))
        return reason, f"the {kind} does not exist"
    if error.status < 300:  # noqa: PLR2004
        return _INSIDE_SUCCESS[binding.orders]
    if error.status < 400:  # noqa: PLR2004
        return "UPSTREAM_PROTOCOL", "CBR answered with a redirect, which is never followed"
    by_wrapper = None if error.throttled else _BY_WRAPPER.get(wrapper_word(error.wrapper))
    if plain := by_wrapper or _BY_STATUS.get(error.status):
        return plain
    return (
        ("UPSTREAM_UNAVAILABLE", "CBR is not available")
        if error.status >= 500  # noqa: PLR2004
        else ("FIELD_INVALID", "CBR refused the request")
    )


def _fields(error: UpstreamError, binding: Binding, meaning: str) -> tuple[Violation, ...]:
    """One violation for each parameter of the request that CBR's text names; one without a path
    when it names none.
    """
    # "invalid key enable_acceleration" does not complain of the key of a tag.
    text = re.sub(r"\bkey (?=[A-Za-z_])", "", error.text)
    named = [
        binding.paths_of_keys[word]
        for word in re.findall(r"[A-Za-z_][A-Za-z0-9_]+", text)
        if word in binding.paths_of_keys
    ]
    # CBR writes the way to a member as its names one by one; only the innermost is at fault.
    inner = [
        path
        for path in dict.fromkeys(named)
        if not any(other.startswith(f"{path}.") for other in named)
    ]
    return tuple(Violation(path, meaning, error.code) for path in inner) or (
        Violation("", meaning, error.code),
    )


def _resource(about: str, subject: Mapping[str, str], named: Mapping[str, str]) -> Resource | None:
    if not about:
        return None
    of_kind = {
        variable: kind
        for variable, (reason, kind) in _NOT_FOUND_BY_VARIABLE.items()
        if REASONS[reason_of(reason)].about == about
    }
    for variable, kind in of_kind.items():
        if variable in subject:
            return Resource(kind, subject[variable])
    if of_kind:
        # Such as the destination vault of a replication: the path names something else.
        kind = next(iter(of_kind.values()))
        return Resource(kind, named.get(kind, ""))
    if not subject:
        return None
    variable, name = list(subject.items())[-1]
    return Resource(
        _NOT_FOUND_BY_VARIABLE.get(variable, ("", variable.removesuffix("_id")))[1], name
    )

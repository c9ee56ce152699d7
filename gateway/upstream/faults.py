"""An error of CBR as one of ours: by its code first (cbr_codes.toml), then by its HTTP status.

Pure functions and data. CBR's own text is read for one purpose only, to find which parameter it
complains of; it never reaches a caller.
"""

import re
from collections.abc import Mapping
from typing import Final

from google.rpc import code_pb2

from gateway.errors import GatewayError, Resource, UpstreamFacts, Violation
from gateway.reasons import REASONS, reason_of
from gateway.upstream.declaration import Binding
from gateway.upstream.upstream_error import UpstreamError, codes, names_limit

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
_LIMIT: Final = ("UPSTREAM_LIMIT", "a limit of the account at the vendor is reached")


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
    limited = names_limit(error.wrapper) and not error.throttled
    if plain := _LIMIT if limited else _BY_STATUS.get(error.status):
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

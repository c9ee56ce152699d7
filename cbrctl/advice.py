"""What to do about a call that the gateway did not answer, in the words of the command line."""

from typing import Final

from cbrctl.address import DEFAULT
from cbrctl.contexts import Context

_NOT_THIS_API: Final = (
    "What answers at {address} does not have this RPC: it may be the health port (50052 unless the"
    " gateway is told otherwise; the services are at 50051), another service, or an older gateway."
)
_CREDENTIAL: Final = (
    "Set CBR_API_KEY, or name a file with --api-key-file; the gateway's operator makes API keys"
    " (`cbr-gateway keys new`)."
)


def advice(kind: str, code: str, reason: str, context: Context) -> str:
    """`kind`: who ended the call, as the Python client says it."""
    if reason == "CREDENTIALS_INVALID":
        return _CREDENTIAL
    if reason == "PROJECT_DENIED":
        return "Name one of the tenant's projects with --project, or none for its default one."
    if reason == "DEADLINE_TOO_SHORT":
        return "Give the call more time with --deadline SECONDS."
    if kind not in {"answered", "deadline", "other"}:
        from cbrctl.diagnosis import diagnosed

        return diagnosed(context)
    if kind == "deadline":
        default = "" if context.address != DEFAULT else ", which is the default"
        return (
            f"Nothing was answered in time. Look whether the gateway is at {context.address}"
            f"{default} (--address), or give more time with --deadline SECONDS."
        )
    return (
        _NOT_THIS_API.format(address=context.address)
        if code == "UNIMPLEMENTED" and not reason
        else ""
    )

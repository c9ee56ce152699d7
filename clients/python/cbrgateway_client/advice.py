"""What to do about a call that failed, where its text does not say it: for the words of people, in
those of this package.

Where the gateway has answered, its own text says what to do; what is here is for calls that never
reached it, and for those that only look as if they did.
"""

from typing import Final

_PLAIN_TEXT: Final = (
    "The call used TLS and the port speaks plain text: use Gateway(..., plaintext=True), or the"
    " port of a gateway with TLS."
)
_TLS: Final = (
    "The port speaks TLS, or is going away: leave out plaintext=True, or look whether the gateway"
    " still runs."
)
_OTHER_PROTOCOL: Final = (
    "The port speaks another protocol, such as the admin port: use that of the services, 50051"
    " unless the gateway is told otherwise."
)
_HOST: Final = "Check the host name in the address."
_ADDRESS: Final = "Check host and port of the address, and that the gateway runs there."
_CUT: Final = (
    "Look whether the gateway still runs. Where it wants TLS, leave out plaintext=True; where it"
    " wants a certificate of the caller, name one (certificate_file and key_file)."
)
_SEVERAL: Final = (
    "The name has several addresses, and only the last one is told here: call 127.0.0.1 in the"
    " place of localhost to learn of the other. Check host and port, and that the gateway runs."
)
_BY_TEXT: Final = {
    "socket closed": _CUT,
    "connection reset": _CUT,
    "ipv6:%5b::1%5d": _SEVERAL,
    "failed parsing http/2": _OTHER_PROTOCOL,
    "http1.x server": _OTHER_PROTOCOL,
    "errors resolving": _HOST,
    "failed to connect": _ADDRESS,
}
"""Words of gRPC's text, in lower case; the first that is found counts."""
_NOT_THIS_API: Final = (
    "What answers at this address does not have the RPC: it may be the health port (50052 unless"
    " told otherwise; the services are at 50051), another service, or an older gateway."
)
_UNTRUSTED: Final = (
    "Name the authorities that vouch for the gateway (ca_file), and address it by a name that its"
    " certificate has."
)
_EXPIRED: Final = (
    "The gateway's certificate is out of date, or not valid yet: its operator has to renew it. Look"
    " at the clock of this machine, too."
)
_BY_KIND: Final = {
    "untrusted": _UNTRUSTED,
    "expired_certificate": _EXPIRED,
    "plaintext_expected": _PLAIN_TEXT,
    "tls_expected": _TLS,
}
_CREDENTIAL: Final = "Check the credential, or ask the gateway's operator for one."


def of_answer(code: str, reason: str) -> str:
    """For what was answered, by the gateway or by something else that speaks gRPC."""
    if reason == "CREDENTIALS_INVALID":
        return _CREDENTIAL
    return _NOT_THIS_API if code == "UNIMPLEMENTED" and not reason else ""


def of_connection(kind: str, text: str) -> str:
    """For a gateway that was not reached, by the kind of the failure and by gRPC's text."""
    lower = text.lower()
    by_text = next((advice for words, advice in _BY_TEXT.items() if words in lower), "")
    return _BY_KIND.get(kind, by_text)


def of_deadline(request_id: str) -> str:
    """For a call that nobody answered in time."""
    if request_id:
        return (
            "It is not known whether the change was made: make it again with the same request_id,"
            " and it is made once. Give it more time (timeout), and check address and port."
        )
    return "Give the call more time (timeout), and check address and port."


def of_wait() -> str:
    """For work that has not ended in time."""
    return "The work goes on: wait for it again, with more time (timeout_s)."

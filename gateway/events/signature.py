"""Signatures of webhooks, as the Standard Webhooks specification says
(standardwebhooks.com, symmetric `v1`).

Where a sink has two keys, both sign: a receiver may know either of them while they change.
"""

import base64
import binascii
import hmac
from collections.abc import Sequence
from typing import Final

PREFIX: Final = "whsec_"
_SHORTEST: Final = 24
_LONGEST: Final = 64


def key_of(text: str) -> bytes:
    """Raises ValueError with a sentence that does not show the key."""
    how = (
        f"must be {PREFIX} and then base64 of {_SHORTEST} to {_LONGEST} random bytes, such as"
        f' "{PREFIX}$(openssl rand -base64 32)"'
    )
    if not text.startswith(PREFIX):
        raise ValueError(how)
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(how) from None
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise ValueError(how)
    return key


def signed(event_id: str, body: bytes, keys: Sequence[bytes], now: float) -> dict[str, str]:
    """The headers of a request with that body."""
    stamp = str(int(now))
    content = f"{event_id}.{stamp}.".encode() + body
    signatures = (
        base64.b64encode(hmac.digest(key, content, "sha256")).decode("ascii") for key in keys
    )
    return {
        "webhook-id": event_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(f"v1,{each}" for each in signatures),
    }

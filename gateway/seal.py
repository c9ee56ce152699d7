"""Words that only this gateway can have written: signed, and readable by every replica with the
same key.

A seal is made for one purpose. What was signed for another one, such as a page token shown as a
resume token, is not accepted.
"""

import base64
import hmac
from typing import Final

_MAC_BYTES: Final = 16


class Seal:
    """Signs and reads opaque texts. `key`: secret shared by all replicas."""

    def __init__(self, key: bytes, purpose: str) -> None:
        self._key = hmac.digest(key, purpose.encode(), "sha256")

    def write(self, payload: bytes) -> str:
        """The payload and its signature, in URL-safe characters.

        The payload can be read by anyone.
        """
        return base64.b64encode(self._mac(payload) + payload, altchars=b"-_").decode()

    def read(self, text: str) -> bytes | None:
        """The payload; None for a text that this key has not signed for this purpose."""
        try:
            raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        except ValueError:
            return None
        mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        return payload if hmac.compare_digest(mac, self._mac(payload)) else None

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, "sha256")[:_MAC_BYTES]

"""Request signatures of the SDK-HMAC-SHA256 kind.

Source: Huawei Cloud API Signing Guide, and the vendor's Python SDK for what the guide leaves open:
every header without `_` in its name is signed, the signed path always ends with `/`, and inner
blanks of header values are kept. With a scope the key is derived for a day, a region and a service.
Source: clients of Open Telekom Cloud.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from gateway.upstream.quoting import encoded, is_plain_path

_ALGORITHM: Final = "SDK-HMAC-SHA256"
_DATE: Final = "x-sdk-date"
_CONTENT_HASH: Final = "x-sdk-content-sha256"
_EMPTY: Final = hashlib.sha256(b"").hexdigest()


class Signer:
    """Signs with one access key.

    The secret is made ready once: to do so for each request gives other threads the turn each time.

    `scope`: `region/service` where the cloud wants a key that is derived for them and the day.
    """

    def __init__(self, access_key: str, secret_key: str, scope: str = "") -> None:
        self._access_key = access_key
        self._secret_key = secret_key
        self._scope = scope
        self._within = ""
        """What the key below is derived for; empty for the secret itself."""
        self._mac = hmac.new(secret_key.encode(), digestmod=hashlib.sha256)

    def sign(
        self,
        method: str,
        path: str,
        query: Iterable[tuple[str, str]],
        headers: Mapping[str, str],
        body: bytes,
    ) -> str:
        """The value of the Authorization header.

        `path` as sent, percent-encoded or not; `query` decoded, names may repeat; `headers` exactly
        those that will be sent and signed, with Host and X-Sdk-Date (`YYYYMMDDTHHMMSSZ`) among
        them. Raises KeyError without X-Sdk-Date.
        """
        order, names = _order(tuple(headers))
        signed = {name: headers[written].strip() for name, written in order}
        lines = "\n".join([f"{name}:{value}" for name, value in signed.items()])
        pairs = "&".join([f"{encoded(name)}={encoded(value)}" for name, value in sorted(query)])
        body_hash = _body_hash(body, signed) if body else _EMPTY
        canonical = (
            f"{method.upper()}\n{_canonical_path(path)}\n{pairs}\n{lines}\n\n{names}\n{body_hash}"
        )
        date = signed[_DATE]
        who, within = self._credential(date[:8])
        mac = self._mac.copy()
        mac.update(f"{_ALGORITHM}\n{date}\n{within}{_hex_sha256(canonical.encode())}".encode())
        return f"{_ALGORITHM} {who}, SignedHeaders={names}, Signature={mac.hexdigest()}"

    def _credential(self, day: str) -> tuple[str, str]:
        """How the header names the key, and what is signed of its scope; the key is one day's."""
        if not self._scope:
            return f"Access={self._access_key}", ""
        within = f"{day}/{self._scope}/sdk_request"
        if within != self._within:
            key = f"SDK{self._secret_key}".encode()
            for part in within.split("/"):
                key = hmac.digest(key, part.encode(), hashlib.sha256)
            self._within, self._mac = within, hmac.new(key, digestmod=hashlib.sha256)
        return f"Credential={self._access_key}/{within}", f"{within}\n"


@lru_cache(maxsize=64)
def _order(written: tuple[str, ...]) -> tuple[list[tuple[str, str]], str]:
    """The names of headers in the order of signing, each in lower case and as written; and all of
    them as the signature lists them.
    """
    signed = {name.lower(): name for name in written if "_" not in name}
    return sorted(signed.items()), ";".join(sorted(signed))


def _canonical_path(path: str) -> str:
    canonical = (
        path
        if is_plain_path(path)
        else "/".join(encoded(segment) for segment in unquote(path).split("/"))
    )
    return canonical if canonical.endswith("/") else f"{canonical}/"


def _body_hash(body: bytes, signed: Mapping[str, str]) -> str:
    return signed.get(_CONTENT_HASH) or _hex_sha256(body)


def _hex_sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

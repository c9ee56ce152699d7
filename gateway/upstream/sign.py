"""Request signatures of the SDK-HMAC-SHA256 kind.

Source: Huawei Cloud API Signing Guide, and the vendor's Python SDK for what the guide leaves open: every header without `_`
in its name is signed, the signed path always ends with `/`, and inner blanks of header values are kept.
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
    """Signs with one access key. The secret is made ready once: to do so for each request gives other threads the turn each time."""

    def __init__(self, access_key: str, secret_key: str) -> None:
        self._access_key = access_key
        self._mac = hmac.new(secret_key.encode(), digestmod=hashlib.sha256)

    def sign(self, method: str, path: str, query: Iterable[tuple[str, str]], headers: Mapping[str, str], body: bytes) -> str:
        """The value of the Authorization header.

        `path` as sent, percent-encoded or not; `query` decoded, names may repeat; `headers` exactly those that will be sent and signed, with Host
        and X-Sdk-Date (`YYYYMMDDTHHMMSSZ`) among them. Raises KeyError without X-Sdk-Date.
        """
        order, names = _order(tuple(headers))
        signed = {name: headers[written].strip() for name, written in order}
        lines = "\n".join([f"{name}:{value}" for name, value in signed.items()])
        pairs = "&".join([f"{encoded(name)}={encoded(value)}" for name, value in sorted(query)])
        canonical = f"{method.upper()}\n{_canonical_path(path)}\n{pairs}\n{lines}\n\n{names}\n{_body_hash(body, signed)}"
        mac = self._mac.copy()
        mac.update(f"{_ALGORITHM}\n{signed[_DATE]}\n{_hex_sha256(canonical.encode())}".encode())
        return f"{_ALGORITHM} Access={self._access_key}, SignedHeaders={names}, Signature={mac.hexdigest()}"


@lru_cache(maxsize=64)
def _order(written: tuple[str, ...]) -> tuple[list[tuple[str, str]], str]:
    """The names of headers in the order of signing, each in lower case and as written; and all of them as the signature lists them."""
    signed = {name.lower(): name for name in written if "_" not in name}
    return sorted(signed.items()), ";".join(sorted(signed))


def _canonical_path(path: str) -> str:
    canonical = path if is_plain_path(path) else "/".join(encoded(segment) for segment in unquote(path).split("/"))
    return canonical if canonical.endswith("/") else f"{canonical}/"


def _body_hash(body: bytes, signed: Mapping[str, str]) -> str:
    given = signed.get(_CONTENT_HASH) if body else None
    return given or (_hex_sha256(body) if body else _EMPTY)


def _hex_sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

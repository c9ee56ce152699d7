"""Request signatures of the SDK-HMAC-SHA256 kind.

Source: Huawei Cloud API Signing Guide, and the vendor's Python SDK for what the guide leaves open: every header without `_`
in its name is signed, the signed path always ends with `/`, and inner blanks of header values are kept.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote, unquote

_ALGORITHM: Final = "SDK-HMAC-SHA256"
_DATE: Final = "x-sdk-date"
_CONTENT_HASH: Final = "x-sdk-content-sha256"


def sign(
    method: str,
    path: str,
    query: Iterable[tuple[str, str]],
    headers: Mapping[str, str],
    body: bytes,
    *,
    access_key: str,
    secret_key: str,
) -> str:
    """The value of the Authorization header.

    `path` as sent, percent-encoded or not; `query` decoded, names may repeat; `headers` exactly those that will be sent and signed, with Host and
    X-Sdk-Date (`YYYYMMDDTHHMMSSZ`) among them. Raises KeyError without X-Sdk-Date.
    """
    signed = {name.lower(): value.strip() for name, value in headers.items() if "_" not in name}
    names = sorted(signed)
    canonical = "\n".join(
        (
            method.upper(),
            _canonical_path(path),
            "&".join(f"{_encode(name)}={_encode(value)}" for name, value in sorted(query)),
            *(f"{name}:{signed[name]}" for name in names),
            "",
            ";".join(names),
            _body_hash(body, signed),
        )
    )
    to_sign = f"{_ALGORITHM}\n{signed[_DATE]}\n{_hex_sha256(canonical.encode())}"
    signature = hmac.digest(secret_key.encode(), to_sign.encode(), hashlib.sha256).hex()
    return f"{_ALGORITHM} Access={access_key}, SignedHeaders={';'.join(names)}, Signature={signature}"


def _canonical_path(path: str) -> str:
    encoded = "/".join(_encode(segment) for segment in unquote(path).split("/"))
    return encoded if encoded.endswith("/") else f"{encoded}/"


def _body_hash(body: bytes, signed: Mapping[str, str]) -> str:
    given = signed.get(_CONTENT_HASH) if body else None
    return given or _hex_sha256(body)


def _encode(text: str) -> str:
    return quote(text, safe="~")


def _hex_sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

"""The short ways of encoding and signing against the plain ones."""

import hashlib
import hmac
from urllib.parse import quote, unquote

from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.quoting import encoded
from gateway.upstream.sign import Signer

TEXTS = st.text() | st.text("abcXYZ019-._~") | st.text("ab/%~ +&=\u00fc")
PATHS = st.lists(TEXTS.map(lambda text: quote(text, safe="")), min_size=1).map(
    lambda parts: "/" + "/".join(parts)
) | st.text("ab-.~/%2F", min_size=1)
NAMES = st.sampled_from(
    [
        "Host",
        "host",
        "X-Sdk-Date",
        "x-project-id",
        "X-Project-Id",
        "Content-Type",
        "under_score",
        "X-Sdk-Content-Sha256",
    ]
)


@given(TEXTS)
def test_encoded_is_what_the_standard_library_makes_of_it(text):
    assert encoded(text) == quote(text, safe="")


@given(
    PATHS,
    st.lists(st.tuples(TEXTS, TEXTS)),
    st.dictionaries(NAMES, st.text("ab :\u00e4")),
    st.binary(max_size=9),
)
def test_a_signature_is_that_of_the_plain_way(path, query, headers, body):
    headers = {**headers, "X-Sdk-Date": "20250131T080910Z"}
    made = Signer("AK", "SK").sign("get", path, query, headers, body)
    assert made == plainly_signed("GET", path, query, headers, body)


def plainly_signed(method, path, query, headers, body):
    def plain(text):
        return quote(text, safe="~")

    signed = {name.lower(): value.strip() for name, value in headers.items() if "_" not in name}
    names = ";".join(sorted(signed))
    canonical_path = (
        "/".join(plain(segment) for segment in unquote(path).split("/")).removesuffix("/") + "/"
    )
    pairs = "&".join(f"{plain(name)}={plain(value)}" for name, value in sorted(query))
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    content = (signed.get("x-sdk-content-sha256") if body else None) or hashlib.sha256(
        body
    ).hexdigest()
    canonical = f"{method}\n{canonical_path}\n{pairs}\n{lines}\n{names}\n{content}"
    to_sign = (
        f"SDK-HMAC-SHA256\n{signed['x-sdk-date']}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    )
    signature = hmac.digest(b"SK", to_sign.encode(), hashlib.sha256).hex()
    return f"SDK-HMAC-SHA256 Access=AK, SignedHeaders={names}, Signature={signature}"

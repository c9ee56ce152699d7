"""Signatures: recorded vectors, and the vendor's own signer as the oracle for everything else."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer as VendorSigner
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator import signing
from gateway.upstream.sign import Signer

VECTORS = json.loads(Path(__file__).with_name("sign_vectors.json").read_text(encoding="utf-8"))
DATE = "20250131T080910Z"

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.text(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_0123456789", min_size=1, max_size=10
)
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=16)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_recorded_request_gets_its_recorded_signature(vector):
    query = [(name, value) for name, value in vector["query"]]
    body = vector["body"].encode()
    signer = Signer(vector["access_key"], vector["secret_key"])
    assert (
        signer.sign(vector["method"], vector["path"], query, vector["headers"], body)
        == vector["authorization"]
    )


@given(
    method=st.sampled_from(["GET", "put", "POST", "DELETE"]),
    path=st.lists(text, max_size=4).map(lambda segments: "/" + "/".join(segments)),
    query=st.lists(st.tuples(text, text), max_size=5),
    headers=st.dictionaries(names, values, max_size=4),
    body=st.binary(max_size=40),
    content_hash=st.sampled_from(["", "UNSIGNED-PAYLOAD"]),
)
@settings(max_examples=300)
def test_any_request_is_signed_as_the_vendors_sdk_signs_it(
    *, method, path, query, headers, body, content_hash
):
    headers = {name: value for name, value in headers.items() if name.lower() != "content-type"}
    headers = {name.title(): value for name, value in headers.items()} | {
        "X-Sdk-Date": DATE,
        "Host": "cbr.example",
    }
    if content_hash:
        headers["X-Sdk-Content-Sha256"] = content_hash
    oracle = SdkRequest(
        method=method,
        schema="https",
        host="cbr.example",
        resource_path=path,
        query_params=list(query),
        header_params=dict(headers),
        body=body,
    )
    VendorSigner(SimpleNamespace(ak="AK", sk="SK")).sign(oracle)
    assert (
        Signer("AK", "SK").sign(method, path, query, headers, body)
        == oracle.header_params["Authorization"]
    )


def test_a_request_without_a_date_is_not_signed():
    with pytest.raises(KeyError):
        Signer("AK", "SK").sign("GET", "/", [], {"Host": "cbr.example"}, b"")


def test_a_key_that_is_derived_for_a_scope_is_what_the_cloud_derives():
    signer, path, body = Signer("AK", "SK", "eu-de/cbr"), "/v3/p/vaults", b'{"a": 1}'
    for day in ("20250131", "20250131", "20250201"):
        headers = {
            "Host": "cbr.example",
            "X-Sdk-Date": f"{day}T080910Z",
            "Content-Type": "application/json",
        }
        claimed = signer.sign("POST", path, [("b", "2")], headers, body)
        assert claimed.startswith(
            f"SDK-HMAC-SHA256 Credential=AK/{day}/eu-de/cbr/sdk_request,"
            " SignedHeaders=content-type;host;x-sdk-date, "
        )
        claim = signing.claim_of(claimed)
        arrival = signing.Arrival(
            "POST", path, "b=2", {name.lower(): value for name, value in headers.items()}, body
        )
        assert claim is not None
        assert signing.matches(arrival, claim, "SK")
        assert not signing.matches(arrival, claim, "SK2")

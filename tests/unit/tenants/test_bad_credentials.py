"""Every way to be somebody else that we know of: none is let in, and none is repeated in the
refusal.
"""

import json
import time
from datetime import timedelta

import pytest
from joserfc.jwk import ECKey, RSAKey

from gateway.errors import GatewayError, reason_name
from gateway.rpc.identity import AUTHORIZATION, authenticate
from gateway.tenants import Issuer, IssuerSettings, Principal, Tenant, TenantDirectory, new_api_key
from gateway.tenants.keys import FileKeys
from testkit.identities import (
    AUDIENCE,
    DROP,
    ISSUER,
    authority,
    b64,
    certificate,
    claims,
    compact,
    dns,
    hmac_signed,
    key_set,
    signed,
    uri,
)
from tests.counting import counted_steps
from tests.fakes import SteppedClock

NOW = float(int(time.time()))
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
P384 = ECKey.generate_key("P-384", {"kid": "p384"})
STRANGER = RSAKey.generate_key(2048, {"kid": "rsa"})
OTHER = ECKey.generate_key("P-256", {"kid": "other"})
KEY, SHA = new_api_key()
PUBLIC_PEM = RSA.as_pem(private=False)


def tenant(name, *principals):
    projects = [{"id": f"p-{name}", "region": "r", "credential": "c"}]
    return Tenant.model_validate(
        {"id": name, "default_project": f"p-{name}", "projects": projects, "principals": principals}
    )


OURS = tenant(
    "ours",
    {"id": "key", "api_key": SHA, "role": "operator"},
    {"id": "ci", "jwt": {"issuer": "main", "subject": "ci"}, "role": "viewer"},
    {"id": "pod", "spiffe": "spiffe://example.org/ns/a", "role": "operator"},
    {"id": "host", "dns_san": "team.example", "role": "operator"},
)
THEIRS = tenant(
    "theirs",
    {"id": "bot", "jwt": {"issuer": "second", "subject": "bot"}, "role": "operator"},
    {"id": "host", "dns_san": "theirs.example", "role": "operator"},
)


def directory(clock: SteppedClock) -> TenantDirectory:
    def issuer(name, url, *keys, **settings):
        jwks = {"url": f"{url}/keys"}
        known = IssuerSettings.model_validate(
            {"issuer": url, "audience": AUDIENCE, "jwks": jwks, **settings}
        )
        return Issuer(name, known, FileKeys(key_set(*keys)))

    issuers = [
        issuer("main", ISSUER, RSA, EC, P384),
        issuer("second", "https://second.example", OTHER, algorithms=("ES256",)),
    ]
    return TenantDirectory([OURS, THEIRS], issuers, clock)


CLOCK = SteppedClock(NOW)
DIRECTORY = directory(CLOCK)


async def shown(token=None, certificate=None) -> Principal:
    metadata = [(AUTHORIZATION, f"Bearer {token}")] if token is not None else []
    return await authenticate(DIRECTORY, metadata, certificate)


def good(**changes):
    return claims(NOW, **changes)


def rs(payload=None, key=RSA, algorithm="RS256", **header):
    return signed(key, good() if payload is None else payload, algorithm, **header)


HEAD, BODY, SIGNATURE = rs().split(".")
GOOD = {
    "RS256": rs(),
    "ES256": rs(key=EC, algorithm="ES256"),
    "no kid, one key that fits": rs(kid=DROP),
    "audience in a list": rs(good(aud=["x", AUDIENCE])),
    "at the end of its leeway": rs(good(iat=NOW - 600, exp=NOW - 29)),
    "a clock that is ahead": rs(good(iat=NOW + 29)),
    "fractions": rs(good(iat=NOW + 0.5, exp=NOW + 60.5)),
    "at+jwt": rs(typ="at+jwt"),
}


@pytest.mark.parametrize("case", GOOD)
async def test_good_tokens_are_believed(case):
    assert (await shown(GOOD[case])).id == "ci"


BAD = {
    # the algorithm
    "alg none": compact({"alg": "none"}, b'{"iss":"https://issuer.example"}'),
    "alg none, good claims": compact({"alg": "none", "kid": "rsa"}, BODY.encode()),
    "alg None": compact({"alg": "None"}, b"{}"),
    "alg none, signature kept": ".".join((b64(b'{"alg":"none"}'), BODY, SIGNATURE)),
    "alg missing": rs(alg=DROP),
    "alg not text": rs(alg=["RS256"]),
    "alg of other case": rs(alg="rs256"),
    "alg unknown": rs(alg="XX256"),
    "HS256 with the public key in PEM": hmac_signed(PUBLIC_PEM, good(), kid="rsa"),
    "HS256 with the public modulus": hmac_signed(
        RSA.as_dict(private=False)["n"].encode(), good(), kid="rsa"
    ),
    "HS256 with nothing": hmac_signed(b"", good(), kid="rsa"),
    "PS256 where it is not allowed": rs(algorithm="PS256"),
    "RS512 where it is not allowed": rs(algorithm="RS512"),
    "ES384 where it is not allowed": rs(key=P384, algorithm="ES384"),
    "RS256 said, ES256 done": rs(key=EC, algorithm="ES256", alg="RS256"),
    "ES256 said, RS256 done": rs(alg="ES256"),
    # the key
    "another key of the same kid": rs(key=STRANGER),
    "kid unknown": rs(kid="nobody"),
    "kid a path": rs(kid="../../../dev/null"),
    "kid an SQL text": rs(kid="' OR 1=1 --"),
    "kid a URL": rs(kid="https://evil.example/keys"),
    "kid empty": rs(kid=""),
    "kid a number": rs(kid=1),
    "kid null is no kid of theirs": rs(key=STRANGER, kid=None),
    "kid of the other issuer": rs(key=OTHER, algorithm="ES256"),
    "kid very long": rs(kid="x" * 257),
    "kid of another kind of key": rs(kid="ec"),
    "jwk in the header": rs(key=STRANGER, jwk=STRANGER.as_dict(private=False)),
    "jku in the header": rs(jku="https://evil.example/keys"),
    "x5u in the header": rs(x5u="https://evil.example/cert"),
    "x5c in the header": rs(x5c=["MIIB"]),
    "crit in the header": rs(crit=["exp"]),
    "b64 false": rs(b64=False, crit=["b64"]),
    # the times
    "expired": rs(good(iat=NOW - 700, exp=NOW - 31)),
    "expired long ago": rs(good(iat=0, exp=600)),
    "no exp": rs(good(exp=DROP)),
    "exp null": rs(good(exp=None)),
    "exp text": rs(good(exp=str(int(NOW) + 600))),
    "exp true": rs(good(exp=True)),
    "exp 10^300": rs(good(exp=10**300)),
    "exp 10^400": rs(
        b'{"iss":"https://issuer.example","aud":"cbr-gateway","sub":"ci","iat":0,"exp":1'
        + b"0" * 400
        + b"}"
    ),
    "exp 1e999": rs(
        b'{"iss":"https://issuer.example","aud":"cbr-gateway","sub":"ci","iat":0,"exp":1e999}'
    ),
    "exp Infinity": rs(good(exp=float("inf"))),
    "exp NaN": rs(good(exp=float("nan"))),
    "exp before iat": rs(good(iat=NOW + 20, exp=NOW + 10)),
    "life over an hour": rs(good(exp=NOW + 3601)),
    "no iat": rs(good(iat=DROP)),
    "iat in the future": rs(good(iat=NOW + 31, exp=NOW + 600)),
    "iat negative, endless life": rs(good(iat=-(10**300))),
    "iat NaN": rs(good(iat=float("nan"))),
    "nbf in the future": rs(good(nbf=NOW + 31)),
    "nbf text": rs(good(nbf="soon")),
    # who, and for whom
    "no aud": rs(good(aud=DROP)),
    "another aud": rs(good(aud="other")),
    "aud a prefix": rs(good(aud=AUDIENCE[:-1])),
    "aud of other case": rs(good(aud=AUDIENCE.upper())),
    "aud a list without us": rs(good(aud=["a", "b"])),
    "aud a list with an object": rs(good(aud=[AUDIENCE, {}])),
    "aud empty": rs(good(aud=[])),
    "aud an object": rs(good(aud={AUDIENCE: 1})),
    "no iss": rs(good(iss=DROP)),
    "another iss": rs(good(iss="https://evil.example")),
    "iss with a slash more": rs(good(iss=f"{ISSUER}/")),
    "iss of other case": rs(good(iss=ISSUER.upper())),
    "iss a list": rs(good(iss=[ISSUER])),
    "iss of the other issuer, key of ours": rs(good(iss="https://second.example", sub="bot")),
    "no sub": rs(good(sub=DROP)),
    "sub empty": rs(good(sub="")),
    "sub a list": rs(good(sub=["ci"])),
    "another sub": rs(good(sub="admin")),
    "sub of the other issuer": rs(good(sub="bot")),
    "sub with a blank": rs(good(sub="ci ")),
    "sub with NUL": rs(good(sub="ci\0")),
    # the form
    "no signature": f"{HEAD}.{BODY}.",
    "signature cut": f"{HEAD}.{BODY}.{SIGNATURE[:-4]}",
    "signature of another token": ".".join(
        (HEAD, b64(b'{"iss":"https://issuer.example"}'), SIGNATURE)
    ),
    "signature empty bytes": f"{HEAD}.{BODY}.AA",
    "claims changed": ".".join(
        (HEAD, b64(json.dumps(good(sub="bot", iss="https://second.example")).encode()), SIGNATURE)
    ),
    "claims repeated": rs(b'{"iss":"https://evil.example","iss":"https://issuer.example"}'),
    "claims a list": rs(b"[]"),
    "claims no JSON": rs(b"{"),
    "claims no UTF-8": rs(b'{"iss":"\xff"}'),
    "claims deep": rs(b'{"iss":' + b"[" * 500 + b"]" * 500 + b"}"),
    "header no JSON": ".".join((b64(b"x"), BODY, SIGNATURE)),
    "header a list": ".".join((b64(b"[]"), BODY, SIGNATURE)),
    "base64 with padding": f"{HEAD}=.{BODY}.{SIGNATURE}",
    "base64 with spare bits": f"{HEAD}.{BODY}.{SIGNATURE}".replace(
        BODY, BODY[:-1] + chr(ord(BODY[-1]) + 1)
    ),
    "base64 with other letters": f"{HEAD}.{BODY}.{SIGNATURE[:-2]}+/",
    "five parts (JWE)": f"{HEAD}.{BODY}.{SIGNATURE}.x.y",
    "two parts": f"{HEAD}.{BODY}",
    "dots": "..",
    "a blank inside": f"{HEAD}. {BODY}.{SIGNATURE}",
    "very long": rs(good(x="y" * 9000)),
    "typ of something else": rs(typ="dpop+jwt"),
    # API keys
    "a part of a key": KEY[:-1],
    "a key and more": KEY + "A",
    "two keys": f"{KEY} {KEY}",
    "the hash of a key": SHA,
    "the prefix of keys": "cbrgw_",
    "a key in capitals": KEY.upper(),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_credentials_are_refused_and_not_repeated(case):
    with pytest.raises(GatewayError) as caught:
        await shown(BAD[case])
    assert reason_name(caught.value.reason) == "CREDENTIALS_INVALID"
    assert caught.value.message.startswith("Authentication failed: ")
    for part in (BAD[case], *BAD[case].split(".")):
        assert len(part) < 8 or part not in caught.value.message


def test_there_are_enough_bad_ones():
    assert len(BAD) + len(BAD_CERTIFICATES) >= 60


async def test_each_rule_has_its_words():
    words = {}
    for case in (
        "alg none",
        "kid unknown",
        "expired",
        "iat in the future",
        "another aud",
        "another iss",
        "another sub",
        "no signature",
    ):
        with pytest.raises(GatewayError) as caught:
            await shown(BAD[case])
        words[caught.value.message] = case
    assert len(words) == 8, words


async def test_a_token_cannot_be_used_again_after_its_life():
    clock = SteppedClock(NOW)
    known, token = directory(clock), rs(good(exp=NOW + 3600))
    assert (await known.by_token(token)).id == "ci"
    clock.advance(3631)
    with pytest.raises(Exception, match="has expired"):
        await known.by_token(token)


async def test_two_entries_are_refused_although_both_are_good():
    twice = [(AUTHORIZATION, f"Bearer {rs()}"), (AUTHORIZATION, f"Bearer {rs()}")]
    with pytest.raises(GatewayError, match="METADATA_INVALID"):
        await authenticate(DIRECTORY, twice)


CA = authority()
SPIFFE = "spiffe://example.org/ns/a"
GOOD_CERTIFICATES = {
    "SPIFFE id": ([uri(SPIFFE)], "pod"),
    "DNS name": ([dns("team.example")], "host"),
    "DNS name in capitals": ([dns("TEAM.example")], "host"),
    "DNS name among strangers": ([dns("x.example"), dns("*.example"), dns("team.example")], "host"),
}


@pytest.mark.parametrize("case", GOOD_CERTIFICATES)
async def test_good_certificates_are_believed(case):
    names, holder = GOOD_CERTIFICATES[case]
    principal = await shown(None, certificate(CA, *names).pem)
    assert (principal.tenant.id, principal.id) == ("ours", holder)


BAD_CERTIFICATES = {
    "no names": (),
    "a wildcard": (dns("*.example"),),
    "a NUL after our name": (dns("team.example\0.evil.example"),),
    "a NUL before our name": (dns("evil\0team.example"),),
    "a closing dot": (dns("team.example."),),
    "a name below ours": (dns("a.team.example"),),
    "a name above ours": (dns("example"),),
    "a SPIFFE id as DNS name": (dns(SPIFFE),),
    "a DNS name as URI": (uri("team.example"),),
    "a SPIFFE id with a slash more": (uri(f"{SPIFFE}/"),),
    "a SPIFFE id with dots": (uri("spiffe://example.org/x/../ns/a"),),
    "a SPIFFE id in capitals": (uri("SPIFFE://example.org/ns/a"),),
    "a SPIFFE id with a NUL": (uri(f"{SPIFFE}\0x"),),
    "a SPIFFE id with a query": (uri(f"{SPIFFE}?x"),),
    "a SPIFFE id with a port": (uri("spiffe://example.org:443/ns/a"),),
    "two SPIFFE ids": (uri(SPIFFE), uri("spiffe://example.org/ns/b")),
    "a SPIFFE id below ours": (uri(f"{SPIFFE}/b"),),
    "names of two principals": (uri(SPIFFE), dns("team.example")),
    "names of two tenants": (dns("team.example"), dns("theirs.example")),
}


@pytest.mark.parametrize("case", BAD_CERTIFICATES)
async def test_bad_certificates_are_refused(case):
    with pytest.raises(GatewayError, match="CREDENTIALS_INVALID"):
        await shown(None, certificate(CA, *BAD_CERTIFICATES[case]).pem)


async def test_a_certificate_that_expired_on_an_open_connection_is_refused():
    with pytest.raises(GatewayError, match="not valid at this time"):
        await shown(None, certificate(CA, dns("team.example"), lasts=timedelta(days=-1)).pem)


@pytest.mark.parametrize(
    "pem", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
async def test_what_is_no_certificate_is_refused(pem):
    with pytest.raises(GatewayError, match="CREDENTIALS_INVALID"):
        await shown(None, pem)


async def test_the_token_counts_beside_a_certificate_of_the_same_tenant():
    assert (await shown(rs(), certificate(CA, dns("team.example")).pem)).id == "ci"
    assert (await shown(KEY, certificate(CA, uri(SPIFFE)).pem)).id == "key"
    assert (await shown(KEY, certificate(CA, dns("nobody.example")).pem)).id == "key"


async def test_a_certificate_and_a_token_of_different_tenants_are_refused():
    theirs = certificate(CA, dns("theirs.example")).pem
    for token in (rs(), KEY):
        with pytest.raises(GatewayError, match="mean different tenants"):
            await shown(token, theirs)


async def test_a_bad_token_is_refused_beside_a_good_certificate():
    with pytest.raises(GatewayError, match="has expired"):
        await shown(BAD["expired"], certificate(CA, dns("team.example")).pem)


CHEAP = (
    "alg none",
    "expired",
    "another aud",
    "another key of the same kid",
    "signature cut",
    "a part of a key",
)


@pytest.mark.parametrize("case", CHEAP)
async def test_a_refusal_costs_no_more_than_an_acceptance(case):
    """A signature that fails costs as much as one that fits, and none is tried with another key."""
    await shown(rs())
    with counted_steps() as accepted:
        await shown(rs())
    with counted_steps() as refused, pytest.raises(GatewayError):
        await shown(BAD[case])
    assert refused.number < 1.5 * accepted.number

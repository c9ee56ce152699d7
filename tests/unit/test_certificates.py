"""Certificates that every client would refuse are refused by `check` and at the start, with their
file's key and line.
"""

import asyncio
import contextlib
import datetime as dt
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.certificate_files import renewals
from gateway.cli.main import main
from gateway.clock import SystemClock
from gateway.config import Config, load
from gateway.config.certificates import expiries
from gateway.renewal import Renewable
from tests.unit.test_config import ENVIRON, TENANTS, UPSTREAM

DAY = dt.timedelta(days=1)


Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
SIGNS, PROVES = "key_cert_sign", "digital_signature"
USAGES = (
    PROVES,
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    SIGNS,
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True)
class Pair:
    """A certificate with its key; `write` makes NAME.crt and NAME.key of it and of what comes after
    it in its chain.
    """

    pem: bytes
    key: Key
    name: str

    def write(self, *chain: "Pair", name: str = "") -> None:
        path = Path(name or self.name)
        path.with_suffix(".crt").write_bytes(self.pem + b"".join(each.pem for each in chain))
        private = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path.with_suffix(".key").write_bytes(private)


def pair(name: str) -> str:
    return f"certificate_file: {name}.crt, key_file: {name}.key"


def made(
    name: str,
    issuer: Pair | None = None,
    *,
    begins: dt.timedelta = -DAY,
    ends: dt.timedelta = DAY,
    extended: x509.ObjectIdentifier | None = None,
    usage: str | None = None,
    ca: bool | None = None,
    key: Key | None = None,
) -> Pair:
    """Valid from now + `begins` to now + `ends`; without `issuer` signed by itself."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject, by = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)])
        for each in (name, issuer.name if issuer else name)
    )
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(by, subject, key.public_key(), 1, now + begins, now + ends)
    if extended is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([extended]), critical=False)
    if usage is not None:
        builder = builder.add_extension(
            x509.KeyUsage(**{each: each == usage for each in USAGES}), critical=True
        )
    if ca is not None:
        builder = builder.add_extension(
            x509.BasicConstraints(ca=ca, path_length=None), critical=True
        )
    signed_by = issuer.key if issuer else key
    signed = builder.sign(
        signed_by, None if isinstance(signed_by, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    )
    return Pair(signed.public_bytes(serialization.Encoding.PEM), key, name)


@pytest.fixture
def here(tmp_path: Path, certificates: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(certificates, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    with contextlib.chdir(folder):
        _write_all()
    return folder


def _write_all() -> None:
    root, other, old = (
        made("root", ca=True, usage=SIGNS),
        made("other", ca=True),
        made("old", begins=-2 * DAY, ends=-DAY),
    )
    middle = made("middle", root, ca=True, usage=SIGNS)
    leaf = made("leaf", middle, ca=False, usage=PROVES, extended=ExtendedKeyUsageOID.SERVER_AUTH)
    good = made("good")
    for each in (root, old, other, good, leaf):
        each.write()
    made("early", begins=DAY, ends=2 * DAY).write()
    made("client", extended=ExtendedKeyUsageOID.CLIENT_AUTH).write()
    made("unsigning", usage="key_encipherment").write()
    made("server", extended=ExtendedKeyUsageOID.SERVER_AUTH).write()
    made("alone", ca=False).write()
    made("idle", ca=True, usage=PROVES).write()
    made("p521", key=ec.generate_private_key(ec.SECP521R1())).write()
    made("ed25519", key=ed25519.Ed25519PrivateKey.generate()).write()
    made("rsa", root, ca=False, key=rsa.generate_private_key(65537, 2048)).write(root)
    leaf.write(middle, name="chain")
    leaf.write(middle, root, name="whole")
    leaf.write(other, middle, name="stranger")
    leaf.write(root, middle, name="disorder")
    middle.write(leaf, name="reversed")
    shutil.copy("leaf.key", "reversed.key")
    stale = made("stale", root, ca=True, begins=-2 * DAY, ends=-DAY)
    made("late", stale).write(stale, name="late")
    half = made("half", root, ca=False)
    made("bottom", half).write(half, name="half")
    Path("both.crt").write_bytes(old.pem + root.pem)
    Path("none.crt").write_bytes(old.pem + leaf.pem)


SERVER, CALLERS, CLOUD = (
    "server.tls.certificate_file",
    "server.tls.client_ca_file",
    "upstream.transport.ca_file",
)
NO_KEY = (
    "has a key that clients do not take. Give one whose key is RSA with 2048 bits or more, or EC on"
    " P-256 or P-384"
)
ORDER = (
    "Give the server's own certificate, then that of its issuer, then that of the issuer's issuer,"
    " and nothing else"
)
NO_CA = "is not that of an authority (it is not CA:TRUE)"
REFUSED = {
    "expired": (pair("old"), SERVER, "'CN=old' has expired at "),
    "not yet valid": (pair("early"), SERVER, "'CN=early' is not valid before "),
    "an expired link": (pair("late"), SERVER, "'CN=stale' has expired at "),
    "for clients": (
        pair("client"),
        SERVER,
        (
            "'CN=client' is not one for servers: its extended key usage lacks serverAuth. Give one"
            " that has it"
        ),
    ),
    "a key that may not sign": (
        pair("unsigning"),
        SERVER,
        "'CN=unsigning' is not one for servers: its key usage lacks digitalSignature. ",
    ),
    "an authority's": (
        pair("other"),
        SERVER,
        "'CN=other' is that of an authority (CA:TRUE), which clients may refuse as a server's. ",
    ),
    "a curve that clients do not take": (pair("p521"), SERVER, f"'CN=p521' {NO_KEY}"),
    "a kind of key that clients do not take": (pair("ed25519"), SERVER, f"'CN=ed25519' {NO_KEY}"),
    "a link of strangers at the end": (
        pair("stranger"),
        SERVER,
        f"'CN=other' stands after the certificate of 'CN=leaf' and is not its issuer's. {ORDER}",
    ),
    "links in disorder": (
        pair("disorder"),
        SERVER,
        f"'CN=root' stands after the certificate of 'CN=leaf' and is not its issuer's. {ORDER}",
    ),
    "a link that is no authority's": (
        pair("half"),
        SERVER,
        f"'CN=half' {NO_CA}, so that clients would refuse what it has issued. ",
    ),
    "an expired authority of callers": (
        f"{pair('good')}, client_ca_file: old.crt",
        CALLERS,
        "'CN=old' has expired at ",
    ),
    "a caller's own as authority": (
        f"{pair('good')}, client_ca_file: leaf.crt",
        CALLERS,
        f"'CN=leaf' {NO_CA}. Give an authority that is valid",
    ),
    "a caller's own, self-signed": (
        f"{pair('good')}, client_ca_file: alone.crt",
        CALLERS,
        f"'CN=alone' {NO_CA}. ",
    ),
    "an authority that may not sign": (
        f"{pair('good')}, client_ca_file: idle.crt",
        CALLERS,
        "'CN=idle' is not that of an authority (its key usage ",
    ),
    "none of several": (
        f"{pair('good')}, client_ca_file: none.crt",
        CALLERS,
        "'CN=old' has expired at ",
    ),
}


def configured(server: str, more: str = "") -> str:
    """Listens where nobody else does: `check` says which ports are taken."""
    free = "listen: 127.0.0.1:0, health_listen: 127.0.0.1:0"
    ours = f"server: {{{free}, tls: {{{server}}}}}\n"
    return f"{ours}{UPSTREAM}{more}{TENANTS}\nadmin: {{listen: null}}\n"


def told(command: str, text: str) -> str:
    """The one problem that the command tells, and it does no more."""
    Path("gateway.yaml").write_text(text)
    result = CliRunner().invoke(main, [command, "--config", "gateway.yaml"], env=ENVIRON)
    assert (result.exit_code, result.stdout) == (1, "")
    heading, found = result.stderr.splitlines()
    assert heading == "Error: 1 problem in the configuration:"
    return found.strip()


@pytest.mark.parametrize("case", REFUSED)
def test_a_certificate_that_serves_nobody_is_refused(here: Path, case: str) -> None:
    server, path, expected = REFUSED[case]
    assert told("check", configured(server)).startswith(
        f"{path} (gateway.yaml:1): the certificate of {expected}"
    )


def test_a_start_refuses_it_as_well(here: Path) -> None:
    assert told("serve", configured(pair("old"))) == told("check", configured(pair("old")))


@pytest.mark.parametrize(
    "server", [pair("old"), f"{pair('good')}, client_ca_file: old.crt"], ids=["own", "callers"]
)
def test_a_start_takes_an_expired_one_where_it_is_told_to(here: Path, server: str) -> None:
    assert "has expired" in told("check", configured(server))
    Path("gateway.yaml").write_text(configured(f"{server}, start_expired: true"))
    result = CliRunner().invoke(main, ["check", "--config", "gateway.yaml"], env=ENVIRON)
    assert (result.exit_code, result.stderr) == (0, "")


def test_one_that_is_not_valid_yet_is_never_taken(here: Path) -> None:
    server, _, expected = next(
        case for case in REFUSED.values() if "is not valid before" in case[2]
    )
    found = told("check", configured(f"{server}, start_expired: true"))
    assert expected in found


def test_a_chain_that_begins_with_another_certificate_than_the_keys(here: Path) -> None:
    assert (
        "(KEY_VALUES_MISMATCH). Give a certificate chain, the server's own first, and its own"
        " unencrypted key" in told("check", configured(pair("reversed")))
    )


@pytest.mark.parametrize(("file", "expected"), [("old", "has expired at "), ("leaf", f"{NO_CA}. ")])
def test_an_authority_of_the_cloud_that_cannot_be_one(here: Path, file: str, expected: str) -> None:
    found = told("check", configured(pair("good"), f"  transport: {{ca_file: {file}.crt}}\n"))
    assert found.startswith(f"{CLOUD} (gateway.yaml:7): the certificate of 'CN={file}' {expected}")


STORE = "\nstate: {kind: valkey, url: {file: url}}\n"


@pytest.mark.parametrize(
    ("client", "authority", "expected"),
    [
        ("old", "root", "ssl_certfile: the certificate of 'CN=old' has expired at "),
        ("early", "root", "ssl_certfile: the certificate of 'CN=early' is not valid before "),
        ("client", "old", "ssl_ca_certs: the certificate of 'CN=old' has expired at "),
    ],
)
def test_what_a_valkey_is_shown_and_known_by(
    here: Path, client: str, authority: str, expected: str
) -> None:
    files = f"ssl_certfile={client}.crt&ssl_keyfile={client}.key&ssl_ca_certs={authority}.crt"
    Path("url").write_text(f"valkeys://someone:secret-word@localhost:1?{files}")
    found = told("check", configured(pair("good")) + STORE)
    assert found.startswith("state.url (")
    assert f": {expected}" in found
    assert "secret-word" not in found
    Path("gateway.yaml").write_text(configured(pair("good")) + STORE)
    ends = expiries(load(Path("gateway.yaml"), ENVIRON, {}))
    assert [*ends] == [SERVER, "state.url ssl_certfile", "state.url ssl_ca_certs"]


@pytest.fixture
def with_valkey(here: Path) -> Config:
    url = "valkeys://localhost:1?ssl_certfile=own.crt&ssl_keyfile=own.key&ssl_ca_certs=ca.crt"
    Path("url").write_text(url)
    shutil.copy("client.crt", "own.crt")
    shutil.copy("client.key", "own.key")
    shutil.copy("root.crt", "ca.crt")
    Path("gateway.yaml").write_text(configured(pair("good")) + STORE)
    return load(Path("gateway.yaml"), ENVIRON, {})


async def test_what_has_expired_is_not_taken_over_whichever_part_has_read_it(
    with_valkey: Config,
) -> None:
    used = list[str]()
    files = Path("own.crt"), Path("own.key"), Path("ca.crt")
    reading = Renewable("state.url", files, lambda: lambda: used.append("taken over"))
    watched = renewals(with_valkey, SystemClock(), [], None, [reading], warns=False)  # type: ignore[arg-type]
    async with watched.running():
        shutil.copy("old.crt", "own.crt")
        # It is told at the second look.
        while not watched.refused["state.url"]:
            watched.ask()
            await asyncio.sleep(0.01)
        assert not used
        shutil.copy("server.crt", "own.crt")
        while not used:
            watched.ask()
            await asyncio.sleep(0.01)
    assert not watched.refused["state.url"]


TAKEN = [
    *map(pair, ("good", "server", "leaf", "chain", "whole", "rsa", "alone")),
    f"{pair('good')}, client_ca_file: both.crt",
]


@pytest.mark.parametrize("server", TAKEN)
def test_a_certificate_that_serves_is_taken(here: Path, server: str) -> None:
    Path("gateway.yaml").write_text(configured(server, "  transport: {ca_file: alone.crt}\n"))
    result = CliRunner().invoke(main, ["check", "--config", "gateway.yaml"], env=ENVIRON)
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_certificate_that_expires_later_does_not_stop_reloads(here: Path) -> None:
    Path("gateway.yaml").write_text(configured(pair("old")))
    assert load(Path("gateway.yaml"), ENVIRON, {}).server.tls is not None

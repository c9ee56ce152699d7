"""Certificates that every client would refuse are refused by `check` and at the start, with their file's key and line."""

import datetime as dt
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.cli import main
from gateway.config import load
from tests.unit.test_config import ENVIRON, TENANTS, UPSTREAM

DAY = dt.timedelta(days=1)


def made(path: Path, begins: dt.timedelta, ends: dt.timedelta, usage: x509.ObjectIdentifier | None = None) -> bytes:
    """Writes a certificate and its key, `path` with .crt and .key; valid from now + `begins` to now + `ends`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, path.name)])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now + begins, now + ends)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    path.with_suffix(".crt").write_bytes(pem)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.with_suffix(".key").write_bytes(private)
    return pem


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    good = made(tmp_path / "good", -DAY, DAY)
    old = made(tmp_path / "old", -2 * DAY, -DAY)
    made(tmp_path / "early", DAY, 2 * DAY)
    made(tmp_path / "client", -DAY, DAY, ExtendedKeyUsageOID.CLIENT_AUTH)
    made(tmp_path / "server", -DAY, DAY, ExtendedKeyUsageOID.SERVER_AUTH)
    (tmp_path / "both.crt").write_bytes(old + good)
    (tmp_path / "chain.crt").write_bytes(good + old)
    (tmp_path / "chain.key").write_bytes((tmp_path / "good.key").read_bytes())
    return tmp_path


def configured(server: str, more: str = "") -> str:
    return f"server: {{tls: {{{server}}}}}\n{UPSTREAM}{more}{TENANTS}"


def pair(name: str) -> str:
    return f"certificate_file: {name}.crt, key_file: {name}.key"


REFUSED = {
    "expired": (configured(pair("old")), "server.tls.certificate_file (gateway.yaml:1): the certificate of 'CN=old' has expired at "),
    "not yet valid": (configured(pair("early")), "server.tls.certificate_file (gateway.yaml:1): the certificate of 'CN=early' is not valid before "),
    "an expired link": (configured(pair("chain")), "server.tls.certificate_file (gateway.yaml:1): the certificate of 'CN=old' has expired at "),
    "for clients": (
        configured(pair("client")),
        "server.tls.certificate_file (gateway.yaml:1): the certificate of 'CN=client' is not one for servers: ",
    ),
    "expired authority of callers": (
        configured(f"{pair('good')}, client_ca_file: old.crt"),
        "server.tls.client_ca_file (gateway.yaml:1): the certificate of 'CN=old' has expired at ",
    ),
    "expired authority of the cloud": (
        configured(pair("good"), "  transport: {ca_file: old.crt}\n"),
        "upstream.transport.ca_file (gateway.yaml:7): the certificate of 'CN=old' has expired at ",
    ),
}


@pytest.mark.parametrize("command", ["check", "serve"])
@pytest.mark.parametrize("case", REFUSED)
def test_a_certificate_that_serves_nobody_is_refused(here: Path, case: str, command: str) -> None:
    text, expected = REFUSED[case]
    Path("gateway.yaml").write_text(text)
    result = CliRunner().invoke(main, [command, "--config", "gateway.yaml"], env=ENVIRON)
    assert (result.exit_code, result.stdout) == (1, "")
    heading, found = result.stderr.splitlines()
    assert heading == "Error: 1 problem in the configuration:"
    assert found.strip().startswith(expected)


@pytest.mark.parametrize("server", [pair("good"), pair("server"), f"{pair('good')}, client_ca_file: both.crt"])
def test_a_certificate_that_serves_is_taken(here: Path, server: str) -> None:
    Path("gateway.yaml").write_text(configured(server))
    result = CliRunner().invoke(main, ["check", "--config", "gateway.yaml"], env=ENVIRON)
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_certificate_that_expires_later_does_not_stop_reloads(here: Path) -> None:
    Path("gateway.yaml").write_text(configured(pair("old")))
    assert load(Path("gateway.yaml"), ENVIRON, {}).server.tls is not None

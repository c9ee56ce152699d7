"""Every mistake one can make in a configuration, each with the exact words that lead out of it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent, indent

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from gateway.config import Config, ConfigError, load, read_layers, shown, validated
from gateway.secret import Secret
from gateway.workers.part import Part, own_config

EXAMPLE = Path(__file__).parents[2] / "config" / "example.yaml"
EXAMPLE_ENVIRON = {
    "ACME_ACCESS_KEY": "canary-access",
    "ACME_SECRET_KEY": "canary-secret",
    "GLOBEX_PASSWORD": "canary-password",
}
CANARIES = tuple(EXAMPLE_ENVIRON.values())

HASH = "0" * 63
UPSTREAM = """\
upstream:
  regions:
    cn-north-4: {endpoint: "https://cbr.example"}
  credentials:
    main: {kind: access_key, access_key: {env: AK}, secret_key: {env: SK}}
"""
TENANTS = f"""\
tenants:
  - id: acme
    default_project: p1
    projects: [{{id: p1, region: cn-north-4, credential: main}}]
    api_keys: [{{id: first, sha256: "{HASH}1"}}]
"""
ENVIRON = {"AK": "ak", "SK": "sk", "LONG": "a" * 32}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(text: str) -> Path:
    path = Path("gateway.yaml")
    path.write_text(text)
    return path


def problems(text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(written(text), ENVIRON if environ is None else environ, {})
    return [str(problem) for problem in caught.value.problems]


def test_the_example_is_loaded() -> None:
    config = load(EXAMPLE, EXAMPLE_ENVIRON, {})
    assert [tenant.id for tenant in config.tenants] == ["acme", "globex"]
    assert config.server.listen == "0.0.0.0:50051"
    assert (
        config.upstream.regions["cn-north-4"].endpoint == "https://cbr.cn-north-4.myhuaweicloud.com"
    )
    assert config.upstream.credentials["acme"].credential().secret_key.reveal() == "canary-secret"


def test_a_later_layer_wins(here: Path) -> None:
    text = "server: {listen: 127.0.0.1:1, drain_delay_s: 1}\n" + UPSTREAM + TENANTS
    environ = {
        **ENVIRON,
        "CBR_GATEWAY_SERVER__LISTEN": "127.0.0.1:2",
        "CBR_GATEWAY_SERVER__REFLECTION": "true",
        "CBR_GATEWAY_SERVER__LIMITS__MAX_CONNECTIONS": "7",
        "CBR_GATEWAY_UPSTREAM__REGIONS__CN_NORTH_4__ENDPOINT": "http://127.0.0.1:9",
    }
    config = load(written(text), environ, {"server.listen": "127.0.0.1:3"})
    assert (config.server.listen, config.server.reflection, config.server.drain_delay_s) == (
        "127.0.0.1:3",
        True,
        1,
    )
    assert config.server.limits.max_connections == 7
    assert config.upstream.regions["cn-north-4"].endpoint == "http://127.0.0.1:9"


def test_the_environment_alone_is_enough() -> None:
    environ = {
        "AK": "ak",
        "SK": "sk",
        "CBR_GATEWAY_UPSTREAM": '{"regions": {"r": {"endpoint": "http://127.0.0.1:1"}}}',
        "CBR_GATEWAY_UPSTREAM__CREDENTIALS__MAIN": (
            '{"kind": "access_key", "access_key": {"env": "AK"}, "secret_key": {"env": "SK"}}'
        ),
        "CBR_GATEWAY_TENANTS": (
            '[{"id": "a", "default_project": "p", "projects": [{"id": "p", "region": "r",'
            f' "credential": "main"}}], "api_keys": [{{"id": "k", "sha256": "{HASH}1"}}]}}]'
        ),
        "CBR_GATEWAY_SERVER__LISTEN": "[::1]:50051",
    }
    config = load(None, environ, {})
    assert config.server.listen == "[::1]:50051"
    assert config.tenants[0].project(None) is not None


def test_a_variable_can_take_a_value_away() -> None:
    there, gone = (
        load(EXAMPLE, EXAMPLE_ENVIRON | {"CBR_GATEWAY_ADMIN__LISTEN": text}, {})
        for text in ("127.0.0.1:1", "null")
    )
    assert there.admin.listen == "127.0.0.1:1"
    assert gone.admin.listen is None


def test_variables_of_kubernetes_service_links_are_not_settings() -> None:
    links = {
        "CBR_GATEWAY_SERVICE_HOST": "10.0.0.1",
        "CBR_GATEWAY_SERVICE_PORT": "50051",
        "CBR_GATEWAY_SERVICE_PORT_GRPC": "50051",
        "CBR_GATEWAY_PORT": "tcp://10.0.0.1:50051",
        "CBR_GATEWAY_PORT_50051_TCP_ADDR": "10.0.0.1",
        "CBR_GATEWAY_HEALTH_SERVICE_HOST": "10.0.0.2",
        "CBR_GATEWAY_CONFIG": "somewhere.yaml",
    }
    load(EXAMPLE, EXAMPLE_ENVIRON | links, {})
    with pytest.raises(
        ConfigError,
        match=r"server.port \(environment variable CBR_GATEWAY_SERVER__PORT\): is not a known key",
    ):
        load(EXAMPLE, EXAMPLE_ENVIRON | {"CBR_GATEWAY_SERVER__PORT": "50051"}, {})


UNREADABLE = "No such file or directory. Give the path of a file that this user may read"
HOW = "Name where it is kept: {env: NAME} or {file: PATH}"
MISTAKES = {
    "unknown section": (
        "sever: {}",
        "sever (gateway.yaml:1): is not a known key. Did you mean server?",
    ),
    "unknown key": (
        "server:\n  listn: x",
        "server.listn (gateway.yaml:2): is not a known key. Did you mean listen?",
    ),
    "nothing near": (
        "log: {zzz: 1}",
        "log.zzz (gateway.yaml:1): is not a known key. Known keys here: format, level",
    ),
    "address": (
        "server: {listen: localhost}",
        (
            "server.listen (gateway.yaml:1): is not an address. Write host:port, such as"
            " 127.0.0.1:50051 or [::]:50051, with a port from 0 to 65535"
        ),
    ),
    "port": (
        "server: {listen: 127.0.0.1:70000}",
        (
            "server.listen (gateway.yaml:1): is not an address. Write host:port, such as"
            " 127.0.0.1:50051 or [::]:50051, with a port from 0 to 65535"
        ),
    ),
    "one port for both": (
        "server: {listen: 127.0.0.1:50052}",
        (
            "server.health_listen (gateway.yaml:1): is the same address as server.listen. Health"
            " answers on a port of its own: change one of the two"
        ),
    ),
    "one port for three": (
        "admin: {listen: 127.0.0.1:50052}",
        (
            "admin.listen (gateway.yaml:1): is the same address as server.health_listen. The admin"
            " port answers on a port of its own: change one of the two"
        ),
    ),
    "a port of every address": (
        "server: {listen: 0.0.0.0:50053}",
        (
            "admin.listen (gateway.yaml:1): is taken by server.listen. The admin port answers on a"
            " port of its own: change one of the two"
        ),
    ),
    "admin address": (
        "admin:\n  listen: 50053",
        "admin.listen (gateway.yaml:2): must be text. Put quotes around it",
    ),
    "polls that never come": (
        "watch: {idle_s: 1.0e+9}",
        "watch.idle_s (gateway.yaml:1): must be at most 3600",
    ),
    "vaults that are read too rarely for the alert on it": (
        "metrics: {vaults_s: 3600}",
        "metrics.vaults_s (gateway.yaml:1): must be at most 1800",
    ),
    "labels beyond the cap": (
        "metrics:\n  max_tenants: 0\n  tenants: [acme]",
        (
            "metrics.tenants (gateway.yaml:3): names 1 tenants, and metrics.max_tenants allows"
            " labels for 0. Raise it, up to 1000, or name fewer"
        ),
    ),
    "a cap too high": (
        "metrics: {max_tenants: 100000}",
        "metrics.max_tenants (gateway.yaml:1): must be at most 1000",
    ),
    "a label for nobody": (
        "metrics:\n  tenants:\n    - acne",
        "metrics.tenants[0] (gateway.yaml:3): 'acne' is not a tenant. Did you mean acme?",
    ),
    "a label twice": (
        "metrics: {tenants: [acme, acme]}",
        "metrics.tenants[1] (gateway.yaml:1): 'acme' stands there twice. Remove one of the two",
    ),
    "the same limit twice": (
        (
            "limits: [{metric: vaults, level: tenant, value: 1}, {metric: vaults, level: tenant,"
            " value: 9}]"
        ),
        (
            "limits[1] (gateway.yaml:1): is the same limit as limits[0]: metric, level, subject and"
            " method_class are equal. Remove one of the two"
        ),
    ),
    "a limit for no tenant": (
        "limits:\n  - {metric: vaults, value: 1, subject: acne}",
        "limits[0].subject (gateway.yaml:2): 'acne' is no tenant. Did you mean acme?",
    ),
    "a limit for no project": (
        "limits: [{metric: vaults, level: project, value: 1, subject: q}]",
        "limits[0].subject (gateway.yaml:1): 'q' is no project of a tenant. Known: p1",
    ),
    "a limit for no caller": (
        "limits: [{metric: open_streams, level: principal, value: 1, subject: acme/frist}]",
        (
            "limits[0].subject (gateway.yaml:1): 'acme/frist' is no caller of a tenant, as"
            " tenant/name. Did you mean acme/first?"
        ),
    ),
    "a limit for no credential": (
        "limits: [{metric: vaults, level: account, value: 1, subject: other}]",
        "limits[0].subject (gateway.yaml:1): 'other' is no credential. Known: main",
    ),
    "not text": (
        "server: {listen: 50051}",
        "server.listen (gateway.yaml:1): must be text. Put quotes around it",
    ),
    "not a number": (
        "server: {drain_delay_s: soon}",
        "server.drain_delay_s (gateway.yaml:1): must be a number",
    ),
    "endless": (
        "server: {drain_delay_s: .inf}",
        "server.drain_delay_s (gateway.yaml:1): must be a finite number",
    ),
    "not a whole number": (
        "server: {limits: {max_connections: 1.5}}",
        "server.limits.max_connections (gateway.yaml:1): must be a whole number",
    ),
    "no workers": ("server: {workers: 0}", "server.workers (gateway.yaml:1): must be at least 1"),
    "workers in words": (
        "server: {workers: two}",
        "server.workers (gateway.yaml:1): is neither a number from 1 to 64 nor auto",
    ),
    "one output of several workers": (
        "server: {workers: auto}\naudit: {stdout: true, key: {env: LONG}}",
        (
            "audit.stdout (gateway.yaml:2): cannot be used with server.workers: several processes"
            " would write to one output. Give audit.directory, which they share"
        ),
    ),
    "too small": (
        "server: {limits: {max_connections: 0}}",
        "server.limits.max_connections (gateway.yaml:1): must be at least 1",
    ),
    "not a bool": (
        "server: {reflection: perhaps}",
        "server.reflection (gateway.yaml:1): must be true or false",
    ),
    "not a mapping": (
        "server: []",
        "server (gateway.yaml:1): must be a mapping of keys and values",
    ),
    "TLS file": (
        "server: {tls: {certificate_file: absent.pem, key_file: gateway.yaml}}",
        f"server.tls.certificate_file (gateway.yaml:1): cannot be read: absent.pem: {UNREADABLE}",
    ),
    "TLS key missing": (
        "server: {tls: {certificate_file: gateway.yaml}}",
        "server.tls.key_file (gateway.yaml:1): is missing. Private key of the certificate.",
    ),
    "word": (
        "log: {level: warn}",
        "log.level (gateway.yaml:1): must be debug, info, warning or error. Did you mean warning?",
    ),
    "twice": (
        "log: {level: info}\nlog: {level: debug}",
        "log (gateway.yaml:2): is given twice. Keep one",
    ),
    "literal key": (
        "page_token_key: literal",
        f"page_token_key (gateway.yaml:1): a secret must not stand in the configuration. {HOW}",
    ),
    "unset variable": (
        "page_token_key: {env: ABSENT}",
        (
            "page_token_key (gateway.yaml:1): the environment variable named here is not set. Set"
            " it, or name another one"
        ),
    ),
    "secret file": (
        "page_token_key: {file: absent}",
        f"page_token_key (gateway.yaml:1): the secret file named here cannot be read: {UNREADABLE}",
    ),
    "odd reference": (
        "page_token_key: {vault: x}",
        f"page_token_key (gateway.yaml:1): does not name a secret. {HOW}",
    ),
}
MISPLACED = "c4nary+Secret/in%the^wrong=place"
"""What somebody has pasted where the name of a variable or a file belongs."""


@pytest.mark.parametrize("kind", ["env", "file"])
@pytest.mark.parametrize("secret", [MISPLACED, "C4NARYSECRETC4NARYSE", "c" * 5000, "c\\0"])
def test_a_secret_in_the_place_of_a_name_is_not_shown(here: Path, kind: str, secret: str) -> None:
    (found,) = problems(f'page_token_key: {{{kind}: "{secret}"}}\n{UPSTREAM}{TENANTS}')
    assert found.startswith("page_token_key (gateway.yaml:1): the ")
    assert "named here" in found
    assert secret[:4] not in found
    assert secret[:4] not in str(read_layers(Path("gateway.yaml"), ENVIRON, {}).problems)


def test_a_key_that_is_pasted_in_place_of_its_file_is_not_shown(here: Path) -> None:
    certificate("a")
    pasted = "-----BEGIN PRIVATE KEY-----\\nMIIcanary\\n-----END PRIVATE KEY-----"
    (found,) = problems(
        f'server: {{tls: {{certificate_file: a.crt, key_file: "{pasted}"}}}}\n{UPSTREAM}{TENANTS}'
    )
    assert found.startswith(
        "server.tls.key_file (gateway.yaml:1): cannot be read: what stands here is no path: "
    )
    assert "canary" not in found


def test_the_address_of_a_store_is_no_path(here: Path) -> None:
    (found,) = problems(f"state: {{path: 'redis://user:canary@store'}}\n{UPSTREAM}{TENANTS}")
    assert found.startswith("state (gateway.yaml:1): has the address of a Valkey as its path. ")
    assert "canary" not in found


def test_a_misspelt_variable_is_guessed_by_the_names_that_exist(here: Path) -> None:
    (found,) = problems(
        f"page_token_key: {{env: PAGE_KEYS}}\n{UPSTREAM}{TENANTS}", ENVIRON | {"PAGE_KEY": "x"}
    )
    assert (
        found
        == "page_token_key (gateway.yaml:1): the environment variable named here is not set. Did"
        " you mean PAGE_KEY?"
    )


STRAY = {
    "line feed": ("k\ney", "U+000A (CONTROL CHARACTER) as character 2 of 4"),
    "carriage return": ("k\rey", "U+000D (CONTROL CHARACTER) as character 2 of 4"),
    "byte order mark": ("\ufeffkey", "U+FEFF (ZERO WIDTH NO-BREAK SPACE) as character 1 of 4"),
    "no-break space at the end": ("key\u00a0", "U+00A0 (NO-BREAK SPACE) as character 4 of 4"),
    "zero-width space": ("k\u200bey", "U+200B (ZERO WIDTH SPACE) as character 2 of 4"),
    "line separator": ("key\u2028", "U+2028 (LINE SEPARATOR) as character 4 of 4"),
    "hangul filler": ("key\u3164", "U+3164 (HANGUL FILLER) as character 4 of 4"),
    "tab": ("k\tey", "U+0009 (CONTROL CHARACTER) as character 2 of 4"),
}


@pytest.mark.parametrize("case", STRAY)
def test_a_secret_with_a_character_that_nobody_sees_is_refused_by_name(
    here: Path, case: str
) -> None:
    text, told = STRAY[case]
    Path("secret").write_text(text, newline="")
    for reference, what in (
        ("{env: KEY}", "environment variable KEY"),
        ("{file: secret}", "secret file secret"),
    ):
        found = problems(
            f"page_token_key: {reference}\n{UPSTREAM}{TENANTS}", ENVIRON | {"KEY": text}
        )
        assert found == [f"page_token_key (gateway.yaml:1): {what} holds {told}. Remove it"]


def test_white_space_around_a_secret_is_no_part_of_it(here: Path) -> None:
    Path("secret").write_text("pass word \r\n")
    config = load(written(f"page_token_key: {{file: secret}}\n{UPSTREAM}{TENANTS}"), ENVIRON, {})
    assert config.page_token_key is not None
    assert config.page_token_key.reveal() == "pass word"


@pytest.mark.parametrize("case", MISTAKES)
def test_each_mistake_has_its_words(here: Path, case: str) -> None:
    text, expected = MISTAKES[case]
    assert problems(f"{text}\n{UPSTREAM}{TENANTS}") == [expected]


def certificate(name: str) -> None:
    """A self-signed pair: `name.crt` and `name.key`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        subject, subject, key.public_key(), 1, now, now + timedelta(days=1)
    )
    signed = builder.sign(key, hashes.SHA256())
    Path(f"{name}.crt").write_bytes(signed.public_bytes(Encoding.PEM))
    Path(f"{name}.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    locked = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"locked")
    )
    Path(f"{name}.locked").write_bytes(locked)


PAIR = "Give a certificate chain, the server's own first, and its own unencrypted key, both PEM"
TLS = {
    "the key of another certificate": (
        "certificate_file: a.crt, key_file: b.key",
        f"certificate_file and key_file are not a usable pair (KEY_VALUES_MISMATCH). {PAIR}",
    ),
    "an encrypted key": (
        "certificate_file: a.crt, key_file: a.locked",
        "certificate_file and key_file are not a usable pair (",
    ),
    "no PEM": (
        "certificate_file: gateway.yaml, key_file: a.key",
        "certificate_file and key_file are not a usable pair (",
    ),
    "no authorities": (
        "certificate_file: a.crt, key_file: a.key, client_ca_file: gateway.yaml",
        (
            "client_ca_file holds no certificate (NO_CERTIFICATE_OR_CRL_FOUND). Give certificates"
            " in PEM"
        ),
    ),
}


@pytest.mark.parametrize("case", TLS)
def test_tls_files_are_tried_before_the_server_starts(here: Path, case: str) -> None:
    certificate("a")
    certificate("b")
    load(
        written(
            "server: {tls: {certificate_file: a.crt, key_file: a.key, client_ca_file:"
            f" b.crt}}}}\n{UPSTREAM}{TENANTS}"
        ),
        ENVIRON,
        {},
    )
    wrong, expected = TLS[case]
    (found,) = problems(f"server: {{tls: {{{wrong}}}}}\n{UPSTREAM}{TENANTS}")
    assert found.startswith(f"server.tls (gateway.yaml:1): {expected}")


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_authorities_of_the_cloud_are_tried_before_the_start(
    here: Path, content: str | None
) -> None:
    if content is not None:
        Path("ca.pem").write_text(content)
    (found,) = problems(UPSTREAM + "  transport: {ca_file: ca.pem}\n" + TENANTS)
    assert found.startswith("upstream.transport (gateway.yaml:6): ca_file ca.pem cannot be used: ")
    assert found.endswith(". Give a file of certificates in PEM")


UPSTREAM_MISTAKES = {
    "no region's id": (
        ("  credentials:", "    North 4: {}\n  credentials:"),
        (
            "upstream.regions.North 4 (gateway.yaml:4): has no endpoint and is no region's id, such"
            " as cn-north-4, of which its cloud's could be made. "
        ),
    ),
    "cloud": (
        ('{endpoint: "https://cbr.example"}', "{flavor: aws}"),
        (
            "upstream.regions.cn-north-4.flavor (gateway.yaml:3): is not a cloud that the gateway"
            " knows. Known are huawei, otc; "
        ),
    ),
    "scheme": (
        ("https://cbr.example", "ftp://cbr.example"),
        "upstream.regions.cn-north-4.endpoint (gateway.yaml:3): is not an endpoint. ",
    ),
    "path": (
        ("https://cbr.example", "https://cbr.example/v3"),
        "upstream.regions.cn-north-4.endpoint (gateway.yaml:3): is not an endpoint. ",
    ),
    "password in URL": (
        ("https://", "https://u:canary-secret@"),
        "upstream.regions.cn-north-4.endpoint (gateway.yaml:3): is not an endpoint. ",
    ),
    "kind": (
        ("kind: access_key", "kind: acces_key"),
        (
            "upstream.credentials.main.kind (gateway.yaml:5): must be access_key or password. Did"
            " you mean access_key?"
        ),
    ),
    "no kind": (
        ("kind: access_key, ", ""),
        "upstream.credentials.main.kind (gateway.yaml:5): is missing. It is access_key or password",
    ),
    "literal secret": (
        ("secret_key: {env: SK}", "secret_key: canary-secret"),
        (
            "upstream.credentials.main.secret_key (gateway.yaml:5): a secret must not stand in the"
            f" configuration. {HOW}"
        ),
    ),
    "misplaced secret": (
        ("secret_key: {env: SK}", "secret_key: {env: SK}, secert: canary-secret"),
        (
            "upstream.credentials.main.secert (gateway.yaml:5): is not a known key. Did you mean"
            " secret_key?"
        ),
    ),
    "no secret": (
        ("access_key: {env: AK}, ", ""),
        "upstream.credentials.main.access_key (gateway.yaml:5): is missing. Access key id (AK).",
    ),
}


@pytest.mark.parametrize("case", UPSTREAM_MISTAKES)
def test_each_upstream_mistake_has_its_words_and_shows_no_secret(here: Path, case: str) -> None:
    (right, wrong), expected = UPSTREAM_MISTAKES[case]
    (found,) = problems(UPSTREAM.replace(right, wrong) + TENANTS)
    assert found.startswith(expected)
    assert "canary" not in found


TENANT_MISTAKES = {
    "unknown region": (
        "region: cn-nort-4, credential: main",
        (
            "tenants[0].projects[0].region (gateway.yaml:9): 'cn-nort-4' is not under"
            " upstream.regions. Did you mean cn-north-4?"
        ),
    ),
    "unknown credential": (
        "region: cn-north-4, credential: other",
        (
            "tenants[0].projects[0].credential (gateway.yaml:9): 'other' is not under"
            " upstream.credentials. Known there: main"
        ),
    ),
}


@pytest.mark.parametrize("case", TENANT_MISTAKES)
def test_a_project_names_what_exists(here: Path, case: str) -> None:
    wrong, expected = TENANT_MISTAKES[case]
    assert problems(UPSTREAM + TENANTS.replace("region: cn-north-4, credential: main", wrong)) == [
        expected
    ]


def second_tenant(name: str, project: str, key_hash: str) -> str:
    entry = f"""\
        - id: {name}
          default_project: {project}
          projects: [{{id: {project}, region: cn-north-4, credential: main}}]
          api_keys: [{{id: first, sha256: "{key_hash}"}}]
        """
    return UPSTREAM + TENANTS + indent(dedent(entry), "  ")


def test_tenants_share_nothing(here: Path) -> None:
    load(written(second_tenant("globex", "p2", f"{HASH}2")), ENVIRON, {})
    assert problems(second_tenant("acme", "p2", f"{HASH}2")) == [
        "tenants[1].id (gateway.yaml:11): is also the id of tenant tenants[0]. Give it another one",
    ]
    assert problems(second_tenant("globex", "p1", f"{HASH}2")) == [
        f"tenants[{index}].projects[0].id (gateway.yaml:{line}): is a project of another tenant,"
        " too. Tenants that share a project need an enterprise_project_id each"
        for index, line in ((0, 9), (1, 13))
    ]
    (found,) = problems(second_tenant("globex", "p2", f"{HASH}1"))
    assert (
        found == "tenants[1].api_keys[0].sha256 (gateway.yaml:14): is also the sha256 of key"
        " tenants[0].api_keys[0]. One key must not open two tenants. Make another with"
        " `cbr-gateway keys new`"
    )


def test_the_default_project_is_one_of_the_tenants(here: Path) -> None:
    assert problems(UPSTREAM + TENANTS.replace("default_project: p1", "default_project: p2")) == [
        (
            "tenants[0].default_project (gateway.yaml:8): 'p2' is not one of the tenant's projects. Its"  # noqa: E501 - as it stands on the wire
            " projects: p1"
        )
    ]


@pytest.mark.parametrize("project", ["..", "a/b", '""', '"a b"', "x" * 129])
def test_a_project_id_is_safe_in_a_path(here: Path, project: str) -> None:
    found = problems(UPSTREAM + TENANTS.replace("p1", project))
    text = "is not an identifier. Use 1 to 128 of `A-Z a-z 0-9 . _ -`, and neither `.` nor `..`"
    assert found == [
        f"tenants[0].default_project (gateway.yaml:8): {text}",
        f"tenants[0].projects[0].id (gateway.yaml:9): {text}",
    ]


def test_a_key_is_kept_as_its_hash_only(here: Path) -> None:
    (found,) = problems(UPSTREAM + TENANTS.replace(f"{HASH}1", "cbrgw_canary-secret"))
    assert (
        found
        == "tenants[0].api_keys[0].sha256 (gateway.yaml:10): is not a SHA-256 hash of 64 digits in"
        " lower-case hex. Make a key with `cbr-gateway keys new` and paste the lines it prints"
    )


def test_tokens_need_an_iam_endpoint(here: Path) -> None:
    text = UPSTREAM.replace(
        "{kind: access_key, access_key: {env: AK}, secret_key: {env: SK}}",
        "{kind: password, user: u, password: {env: SK}, domain: d}",
    )
    (found,) = problems(text + TENANTS)
    assert (
        found == "tenants[0].projects[0].credential (gateway.yaml:9): is a password credential, and"
        " region cn-north-4 has no IAM endpoint to fetch tokens from. Set"
        " upstream.regions.cn-north-4.iam_endpoint"
    )


def test_all_mistakes_are_told_at_once(here: Path) -> None:
    text = (
        "server: {listn: x}\n"
        + UPSTREAM.replace("secret_key: {env: SK}", "secret_key: x")
        + TENANTS.replace("credential: main", "credential: man")
    )
    environ = {
        **ENVIRON,
        "CBR_GATEWAY_LOG__LEVEL": "loud",
        "CBR_GATEWAY_TENANTS__0__ID": "x",
        "CBR_GATEWAY_SEVER__LISTEN": "x",
    }
    with pytest.raises(ConfigError) as caught:
        load(written(text), environ, {"server.reflection": "x"})
    paths = [str(problem).split(":")[0] for problem in caught.value.problems]
    assert sorted(paths) == [
        "log.level (environment variable CBR_GATEWAY_LOG__LEVEL)",
        "server.listn (gateway.yaml",
        "server.reflection (--reflection)",
        "sever (environment variable CBR_GATEWAY_SEVER__LISTEN)",
        "tenants.0.id (environment variable CBR_GATEWAY_TENANTS__0__ID)",
        "tenants[0].projects[0].credential (gateway.yaml",
        "upstream.credentials.main.secret_key (gateway.yaml",
    ]
    assert str(caught.value).startswith("7 problems in the configuration:\n  ")


BROKEN_FILES = {
    "not YAML": (
        "a: [1",
        "gateway.yaml:1: is not YAML: expected ',' or ']', but got '<stream end>'",
    ),
    "a list": (
        "- a",
        "gateway.yaml: must be a mapping of sections: server, upstream, tenants, log",
    ),
    "two documents": ("a: 1\n---\nb: 2", "gateway.yaml:2: is not YAML: but found another document"),
}


@pytest.mark.parametrize("case", BROKEN_FILES)
def test_a_broken_file_is_one_problem(here: Path, case: str) -> None:
    text, expected = BROKEN_FILES[case]
    assert problems(text) == [expected]


def test_an_absent_file_is_one_problem() -> None:
    with pytest.raises(
        ConfigError,
        match=(
            r"^1 problem in the configuration:\n  absent.yaml: cannot be read: No such file or"
            r" directory"
        ),
    ):
        load(Path("absent.yaml"), {}, {})


@pytest.mark.parametrize("text", ["a: &x [*x]", "? {a: 1}\n: 2", "a: 2026-99-99", "a: \x07"])
def test_odd_yaml_is_refused_without_a_crash(here: Path, text: str) -> None:
    assert problems(text)


def test_secrets_are_never_shown() -> None:
    layers = read_layers(EXAMPLE, EXAMPLE_ENVIRON, {})
    config = validated(layers, EXAMPLE_ENVIRON)
    for text in (
        shown(config, layers),
        repr(config),
        str(config),
        str(config.model_dump()),
        config.model_dump_json(fallback=repr),
    ):
        assert not any(canary in text for canary in CANARIES), text


def test_the_effective_configuration_names_the_source_of_each_value() -> None:
    environ = EXAMPLE_ENVIRON | {"CBR_GATEWAY_LOG__LEVEL": "debug"}
    layers = read_layers(EXAMPLE, environ, {"server.reflection": True})
    lines = shown(validated(layers, environ), layers).splitlines()
    assert '  listen: "0.0.0.0:50051"  # ' + f"{EXAMPLE}:5" in lines
    assert "  reflection: true  # --reflection" in lines
    assert '  level: "debug"  # environment variable CBR_GATEWAY_LOG__LEVEL' in lines
    assert "  drain_delay_s: 5  # default" in lines
    assert '      secret_key: "***"  # ' + f"{EXAMPLE}:25, env ACME_SECRET_KEY" in lines


def test_editors_get_a_schema_that_knows_references() -> None:
    schema = Config.model_json_schema()
    assert schema["properties"]["page_token_key"]["anyOf"][0]["oneOf"][0]["required"] == ["env"]
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVER__LISTEN", "127.0.0.1:7001"),
        ("ADMIN__LISTEN", "127.0.0.1:7002"),
        ("STATE__PATH", "kept.db"),
        ("EVENTS__SOURCE", "elsewhere"),
        ("AUDIT__POLICY", '[{"rpc": "*/List*", "level": "none"}]'),
        ("LOG__LEVEL", "debug"),
        ("QUOTA__MARKERS", "false"),
    ],
)
def test_the_version_tells_settings_of_every_part_apart(name: str, value: str) -> None:
    other = load(EXAMPLE, EXAMPLE_ENVIRON | {f"CBR_GATEWAY_{name}": value}, {})
    assert other.version != load(EXAMPLE, EXAMPLE_ENVIRON, {}).version


def test_the_version_tells_no_secrets_apart_and_is_that_of_the_whole_in_each_worker() -> None:
    first = load(EXAMPLE, EXAMPLE_ENVIRON, {})
    assert load(EXAMPLE, dict.fromkeys(EXAMPLE_ENVIRON, "another"), {}).version == first.version
    part = Part(2, 4, "127.0.0.1:1", None, None, Secret("k" * 32))
    assert own_config(first, part).version == first.version

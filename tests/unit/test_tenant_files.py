"""The directory of tenants: what is read from it, and the words for each mistake, with its file and
line.
"""

import os
from pathlib import Path

import pytest
from joserfc.jwk import RSAKey

from gateway.config import Config, ConfigError, load
from testkit.identities import authority, certificate, key_set

ENVIRON = {"AK": "ak", "SK": "sk"}
MAIN = """\
upstream:
  regions: {r: {endpoint: "https://cbr.example"}}
  credentials: {main: {kind: access_key, access_key: {env: AK}, secret_key: {env: SK}}}
issuers:
  corp: {issuer: "https://issuer.example", audience: gateway, jwks: {url: "https://issuer.example/keys"}}
tenants_dir: tenants
"""
ONLY_VALUE = "vaults takes value, and none of per_second, burst and method_class"
TOO_SMALL = "burst is below 10, the cost of one call: it would never be allowed"
WHICH_LEVEL = "Use tenant, project or principal, or the list `limits` of the whole gateway"


def tenant(name: str, *principals: str, project: str = "") -> str:
    callers = "\n".join(
        f"  - {each}"
        for each in principals
        or [f"{{id: ci, jwt: {{issuer: corp, subject: {name}}}, role: operator}}"]
    )
    project = project or f"p-{name}"
    return (
        f"id: {name}\ndefault_project: {project}\nprojects:\n  - {{id: {project}, region: r,"
        f" credential: main}}\nprincipals:\n{callers}\n"
    )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tenants").mkdir()
    return tmp_path


def loaded(main: str = MAIN, **files: str) -> Config:
    Path("gateway.yaml").write_text(main)
    for name, text in files.items():
        Path("tenants", f"{name}.yaml").write_text(text)
    return load(Path("gateway.yaml"), ENVIRON, {})


def problems(main: str = MAIN, **files: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(main, **files)
    return [str(problem) for problem in caught.value.problems]


def test_each_file_is_a_tenant_and_nothing_else_is_looked_at(here: Path) -> None:
    Path("tenants/README.md").write_text("no tenant")
    Path("tenants/.hidden.yaml").write_text("no: tenant")
    config = loaded(b=tenant("b"), a=tenant("a"))
    assert [each.id for each in config.tenants] == ["a", "b"]


def test_a_mounted_config_map_can_be_used_as_it_is(here: Path) -> None:
    Path("tenants/..2026").mkdir()
    Path("tenants/..2026/a.yaml").write_text(tenant("a"))
    Path("tenants/..data").symlink_to("..2026")
    Path("tenants/a.yaml").symlink_to("..data/a.yaml")
    assert [each.id for each in loaded().tenants] == ["a"]


def test_a_file_that_is_none_is_not_opened(here: Path) -> None:
    """To open a FIFO waits for somebody who writes, and a reload would wait with it."""
    os.mkfifo("tenants/z.yaml")
    (found,) = problems(a=tenant("a"))
    assert "tenants/z.yaml: is no regular file" in found


MISTAKES: dict[str, tuple[str, str, str]] = {
    "a typo": (
        "role: operator",
        "rolle: operator",
        "tenants[0].principals[0].rolle (tenants/a.yaml:6): is not a known key. Did you mean role?",
    ),
    "a role": (
        "role: operator",
        "role: operater",
        (
            "tenants[0].principals[0].role (tenants/a.yaml:6): must be viewer, operator or"
            " administrator. Did you mean operator?"
        ),
    ),
    "an issuer": (
        "issuer: corp",
        "issuer: crop",
        (
            "tenants[0].principals[0].jwt.issuer (tenants/a.yaml:6): 'crop' is not under issuers."
            " Did you mean corp?"
        ),
    ),
    "a region": (
        "region: r",
        "region: s",
        (
            "tenants[0].projects[0].region (tenants/a.yaml:4): 's' is not under upstream.regions."
            " Known there: r"
        ),
    ),
    "an action": (
        "role: operator",
        'permissions: ["cbr:vault:get"]',
        (
            "tenants[0].principals[0].permissions[0] (tenants/a.yaml:6): 'cbr:vault:get' is not an"
            " action of any RPC. Did you mean cbr:vaults:get?"
        ),
    ),
    "a kind of action": (
        "role: operator",
        'permissions: ["cbr:valuts:*"]',
        (
            "tenants[0].principals[0].permissions[0] (tenants/a.yaml:6): 'cbr:valuts:*' is not an"
            " action of any RPC. Did you mean cbr:vaults:*?"
        ),
    ),
    "role and permissions": (
        "role: operator",
        'role: operator, permissions: ["cbr:vaults:get"]',
        (
            "tenants[0].principals[0] (tenants/a.yaml:6): must have either a role or permissions,"
            " not both"
        ),
    ),
    "no role": (
        ", role: operator",
        "",
        (
            "tenants[0].principals[0] (tenants/a.yaml:6): must have either a role or permissions,"
            " not neither"
        ),
    ),
    "two ways": (
        "role: operator",
        f'role: operator, api_key: "{"0" * 64}"',
        (
            "tenants[0].principals[0] (tenants/a.yaml:6): must be recognised in exactly one way. "
            "Give one of api_key, jwt, spiffe and dns_san, not api_key and jwt"
        ),
    ),
    "no client certificates": (
        "jwt: {issuer: corp, subject: a}",
        "dns_san: a.example",
        (
            "tenants[0].principals[0].dns_san (tenants/a.yaml:6): is looked for in client"
            " certificates, and the server asks for none. Set server.tls.client_ca_file"
        ),
    ),
    "no enterprise project": (
        "region: r",
        "region: r, enterprise_project_id: e1",
        (
            "tenants[0].projects[0].enterprise_project_id (tenants/a.yaml:4): is not the id of an"
            " enterprise project. Copy it from the console: 36 characters with hyphens, or 0 for"
            " the default one"
        ),
    ),
    "nobody": (
        "principals:\n  - {id: ci, jwt: {issuer: corp, subject: a}, role: operator}\n",
        "",
        "tenants[0] (tenants/a.yaml:1): has nobody who could call. Give it api_keys or principals",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_each_mistake_has_its_words(here: Path, case: str) -> None:
    right, wrong, expected = MISTAKES[case]
    assert right in tenant("a")
    assert problems(a=tenant("a").replace(right, wrong)) == [expected]


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("{metric: vaults, value: -1}", "limits[0].value (tenants/a.yaml:7): must be at least 0"),
        ("{metric: vaults}", f"limits[0] (tenants/a.yaml:7): {ONLY_VALUE}"),
        (
            "{metric: vaults, value: 1, per_second: 1}",
            f"limits[0] (tenants/a.yaml:7): {ONLY_VALUE}",
        ),
        ("{metric: vaults, value: 1, burst: 2}", f"limits[0] (tenants/a.yaml:7): {ONLY_VALUE}"),
        (
            "{metric: requests, per_second: 1, value: 1}",
            "limits[0] (tenants/a.yaml:7): requests takes per_second and burst, and no value",
        ),
        (
            "{metric: requests, per_second: 9, burst: 9}",
            f"limits[0] (tenants/a.yaml:7): {TOO_SMALL}",
        ),
        (
            "{metric: requests, per_second: 0}",
            "limits[0].per_second (tenants/a.yaml:7): must be greater than 0",
        ),
        (
            "{metric: requests, per_second: .inf}",
            "limits[0].per_second (tenants/a.yaml:7): must be a finite number",
        ),
        (
            "{metric: vaults, value: 1, level: planet}",
            (
                "limits[0].level (tenants/a.yaml:7): must be global, account, tenant, project or"
                " principal"
            ),
        ),
        (
            "{metric: vaults, value: 1, level: account}",
            f"limits[0] (tenants/a.yaml:7): level account is for all tenants. {WHICH_LEVEL}",
        ),
        (
            "{metric: vaults, value: 1, subject: b}",
            "limits[0].subject (tenants/a.yaml:7): 'b' is not this tenant. Its own: a",
        ),
        (
            "{metric: concurrent_changes, value: 1, level: principal, subject: a/ic}",
            (
                "limits[0].subject (tenants/a.yaml:7): 'a/ic' is not one of the tenant's callers."
                " Did you mean a/ci?"
            ),
        ),
    ],
)
def test_limits_have_their_ranges(here: Path, limit: str, words: str) -> None:
    assert problems(a=tenant("a") + f"limits: [{limit}]\n") == [f"tenants[0].{words}"]


def test_every_broken_file_is_named_beside_good_ones(here: Path) -> None:
    assert problems(
        a=tenant("a"), b="id: [", c="- x", d=tenant("d").replace("region: r", "region: s"), e="\tx"
    ) == [
        (
            "tenants_dir (tenants/b.yaml:1): is not YAML: expected the node content, but found"
            " '<stream end>'"
        ),
        "tenants_dir (tenants/c.yaml): must be a mapping that describes one tenant",
        (
            "tenants_dir (tenants/e.yaml:1): is not YAML: found character '\\t' that cannot start"
            " any token"
        ),
        (
            "tenants[1].projects[0].region (tenants/d.yaml:4): 's' is not under upstream.regions."
            " Known there: r"
        ),
    ]


def test_nothing_leads_to_two_principals(here: Path) -> None:
    (found,) = problems(a=tenant("a"), b=tenant("b").replace("subject: b", "subject: a"))
    assert (
        found == "tenants[1].principals[0].jwt (tenants/b.yaml:6): is also the jwt of principal"
        " tenants[0].principals[0]. What a caller shows must mean one principal. Remove one of"
        " the two"
    )
    key = f'{{id: k, api_key: "{"0" * 64}", role: viewer}}'
    (found,) = problems(a=tenant("a", key), b=tenant("b", key))
    assert (
        "is also the api_key of key tenants[0].principals[0]. One key must not open two tenants"
        in found
    )
    (found,) = problems(a=tenant("a"), b=tenant("b", key, key.replace("0" * 64, "1" * 64)))
    assert "is also the id of caller tenants[1].principals[0]" in found


def test_tenants_that_share_a_project_have_a_part_of_it_each(here: Path) -> None:
    def part(number: int) -> str:
        return f"region: r, enterprise_project_id: 5d8b2c4e-0f13-4a77-9a0e-1c2d3e4f5a6{number}"

    first, second = tenant("a"), tenant("b", project="p-a")
    config = loaded(
        MAIN, a=first.replace("region: r", part(1)), b=second.replace("region: r", part(2))
    )
    assert [t.projects[0].key for t in config.tenants] == [
        f"p-a/5d8b2c4e-0f13-4a77-9a0e-1c2d3e4f5a6{n}" for n in (1, 2)
    ]
    (found,) = problems(a=first.replace("region: r", part(1)), b=second)
    assert (
        found
        == "tenants[1].projects[0].id (tenants/b.yaml:4): is a project of another tenant, too. "
        "Tenants that share a project need an enterprise_project_id each"
    )
    (found,) = problems(
        a=first.replace("region: r", part(1)), b=second.replace("region: r", part(1))
    )
    assert (
        found == "tenants[1].projects[0].enterprise_project_id (tenants/b.yaml:4): is also the"
        " enterprise_project_id of project tenants[0].projects[0]. Tenants that share a project"
        " need a part of it each. Give it another one"
    )
    limited = (
        first.replace("region: r", part(1))
        + "limits: [{metric: vaults, level: project, subject: p-a, value: 1}]\n"
    )
    (found,) = problems(a=limited, b=second.replace("region: r", part(2)))
    assert (
        "'p-a' is not one of the tenant's projects. Did you mean"
        " p-a/5d8b2c4e-0f13-4a77-9a0e-1c2d3e4f5a61"
        in found
        or "Its own: p-a/5d8b" in found
    )


def test_certificates_need_a_server_that_asks_for_them(here: Path) -> None:
    pair, ca = certificate(authority()), authority()
    for name, content in {"ca.pem": ca.pem, "s.crt": pair.pem, "s.key": pair.key_pem}.items():
        Path(name).write_bytes(content)
    tls = "server: {tls: {certificate_file: s.crt, key_file: s.key, client_ca_file: ca.pem}}\n"
    config = loaded(
        tls + MAIN,
        a=tenant(
            "a",
            "{id: h, dns_san: a.example, role: viewer}",
            "{id: s, spiffe: spiffe://t.example/a, role: viewer}",
        ),
    )
    assert len(config.tenants[0].principals) == 2
    for wrong in (
        "dns_san: '*.example'",
        "dns_san: a.example.",
        "spiffe: spiffe://t.example",
        "spiffe: https://t.example/a",
    ):
        assert len(problems(tls + MAIN, a=tenant("a", f"{{id: h, {wrong}, role: viewer}}"))) == 1


@pytest.mark.parametrize(
    ("jwks", "words"),
    [
        (
            "{url: http://issuer.example/keys}",
            "issuers.corp.jwks.url (gateway.yaml:5): is not a URL to fetch keys from.",
        ),
        (
            "{url: https://u:p@issuer.example/keys}",
            "issuers.corp.jwks.url (gateway.yaml:5): is not a URL to fetch keys from.",
        ),
        ("{}", "issuers.corp.jwks (gateway.yaml:5): must have either a url or a file"),
        (
            "{file: absent.json}",
            "issuers.corp.jwks.file (gateway.yaml:5): cannot be read: absent.json: No such file",
        ),
        (
            "{file: gateway.yaml}",
            "issuers.corp.jwks.file (gateway.yaml:5): gateway.yaml is not JSON.",
        ),
    ],
)
def test_keys_of_an_issuer_come_from_where_they_can_be_trusted(
    here: Path, jwks: str, words: str
) -> None:
    (found,) = problems(MAIN.replace('{url: "https://issuer.example/keys"}', jwks), a=tenant("a"))
    assert found.startswith(words)


@pytest.mark.parametrize("algorithm", ["HS256", "none", "RS1", "EdDSA"])
def test_shared_secrets_and_no_signature_cannot_be_configured(here: Path, algorithm: str) -> None:
    (found,) = problems(
        MAIN.replace("audience: gateway", f"audience: gateway, algorithms: [RS256, {algorithm}]"),
        a=tenant("a"),
    )
    assert found.startswith("issuers.corp.algorithms[1] (gateway.yaml:5): must be RS256, ")


def test_a_key_set_may_be_a_file(here: Path) -> None:
    Path("keys.json").write_bytes(key_set(RSAKey.generate_key(2048, {"kid": "a"})))
    assert loaded(
        MAIN.replace('url: "https://issuer.example/keys"', "file: keys.json"), a=tenant("a")
    ).issuers["corp"].jwks.file == Path("keys.json")


def test_the_directory_and_the_list_exclude_each_other(here: Path) -> None:
    assert "tenants_dir (gateway.yaml:6): stands beside `tenants`. Keep one of the two" in problems(
        MAIN + "tenants: []\n", a=tenant("a")
    )
    (found,) = problems(MAIN.replace("tenants_dir: tenants", "tenants_dir: absent"))
    assert found.startswith(
        "gateway.yaml:6: tenants_dir cannot be read: absent: No such file or directory."
    )
    Path("tenants/a.yaml").unlink()
    assert problems() == ["tenants (gateway.yaml:6): must have at least one entry"]


def test_a_limit_for_a_tenant_that_is_gone_does_not_keep_it(here: Path) -> None:
    limited = (
        MAIN + "limits: [{metric: vaults, value: 3, subject: b}, {metric: vaults, value: 9}]\n"
    )
    before = loaded(limited, a=tenant("a"), b=tenant("b"))
    Path("tenants/b.yaml").unlink()
    with pytest.raises(ConfigError) as caught:
        loaded(limited)
    (found,) = caught.value.problems
    assert str(found) == "limits[0].subject (gateway.yaml:7): 'b' is no tenant. Known: a"
    usable = caught.value.usable(before.files)
    assert usable is not None
    assert [each.id for each in usable.tenants] == ["a"]
    assert [each.value for each in usable.limits] == [9]

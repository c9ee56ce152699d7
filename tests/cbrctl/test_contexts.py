"""The file of contexts: made, used, refused with the place of a mistake; no credential in it."""

import os

import pytest
from click.testing import CliRunner

from cbrctl import contexts
from cbrctl.contexts import Context
from cbrctl.main import main


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "below" / "config.toml"
    monkeypatch.setenv("CBRCTL_CONFIG", str(path))
    for name in ("CBR_ADDRESS", "CBR_PROJECT", "CBR_PLAINTEXT", "CBR_API_KEY", "CBRCTL_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    return path


def ctl(*arguments):
    return CliRunner().invoke(main, arguments, prog_name="cbrctl")


def test_what_was_set_is_what_is_read(file, tmp_path):
    (tmp_path / "key").write_text(" the-key\n")
    made = (
        *("--address", "gw.example:443", "--tls", "--project", 'p"1'),
        *("--api-key-file", str(tmp_path / "key"), "--ca-file", "/ca.pem"),
    )
    assert ctl("config", "set", "prod one", *made).exit_code == 0
    assert ctl("config", "set", "dev", "--plaintext", "--api-key-env", "DEV_KEY").exit_code == 0
    known = contexts.load()
    assert known.current == "prod one"
    prod = known.by_name["prod one"]
    assert (prod.address, prod.project, prod.credential()) == ("gw.example:443", 'p"1', "the-key")
    assert known.by_name["dev"] == Context("dev", plaintext=True, api_key_env="DEV_KEY")
    assert "the-key" not in file.read_text()
    ctl("config", "set", "prod one", "--project", "")
    assert contexts.load().by_name["prod one"].project == ""
    assert contexts.load().by_name["prod one"].address == "gw.example:443"


def test_contexts_are_used_listed_and_deleted(file, monkeypatch):
    monkeypatch.setenv("CBR_API_KEY", "secret-key")
    for name in ("a", "b"):
        ctl("config", "set", name, "--address", f"{name}:1")
    assert ctl("config", "use", "b").exit_code == 0
    shown = ctl("config", "list").output
    assert shown.splitlines() == [
        "  a  a:1  TLS  key $CBR_API_KEY",
        "* b  b:1  TLS  key $CBR_API_KEY",
    ]
    assert ctl("config", "delete", "b").exit_code == 0
    assert contexts.load().current == ""
    for refused in (ctl("config", "use", "b"), ctl("config", "delete", "b")):
        assert (refused.exit_code, "there is: a" in refused.output) == (5, True)


def test_a_context_without_a_name_is_none(file):
    for name in ("", " "):
        refused = ctl("config", "set", name, "--address", "a:1")
        assert (refused.exit_code, "NAME is empty" in refused.output) == (2, True)
    assert not file.exists()


def test_options_go_before_the_environment_and_that_before_the_file(file, monkeypatch):
    ctl("config", "set", "a", "--address", "file:1", "--project", "of-file")
    assert contexts.chosen("", {}).address == "file:1"
    monkeypatch.setenv("CBR_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("CBR_PLAINTEXT", "true")
    assert "Nobody listens at 127.0.0.1:1" in ctl("vaults", "list", "--deadline", "30").output
    said = ctl("--address", "127.0.0.1:2", "vaults", "list", "--deadline", "30").output
    assert "Nobody listens at 127.0.0.1:2" in said
    monkeypatch.setenv("CBR_PLAINTEXT", "perhaps")
    refused = ctl("vaults", "list")
    assert (refused.exit_code, "CBR_PLAINTEXT" in refused.output) == (2, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not toml", "is not TOML"),
        ("contexts = 1", "contexts: must be tables"),
        ("[contexts.a]\nadress = 'x'", "contexts.a.adress: is not known; known: address"),
        ("[contexts.a]\nplaintext = 'yes'", "contexts.a.plaintext: must be true or false"),
        ("[contexts.a]\naddress = 1", "contexts.a.address: must be text in quotes"),
        ("current = 'b'", "There is no context 'b'"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(file, text, said):
    file.parent.mkdir()
    file.write_text(text)
    refused = ctl("vaults", "list")
    assert refused.exit_code == 2
    assert said in refused.output
    assert str(file) in refused.output


@pytest.mark.parametrize("text", ["", " \n", "key\nkey", "a key", "\ufeffkey", "“key”"])
def test_a_credential_that_cannot_be_sent_is_refused_and_not_shown(file, tmp_path, text):
    (tmp_path / "secret").write_text(text, "utf-8")
    refused = ctl("vaults", "list", "--api-key-file", str(tmp_path / "secret"))
    assert refused.exit_code == 2
    assert f"{tmp_path / 'secret'} " in refused.output
    assert "key" not in refused.output.replace("API key", "")


def test_a_credential_is_read_of_a_regular_file_only(file, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "nothing"):
        refused = ctl("vaults", "list", "--api-key-file", str(path))
        assert (refused.exit_code, str(path) in refused.output) == (2, True)

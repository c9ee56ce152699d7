"""Every RPC is a command, and help and completion stand on plain data."""

import importlib
import json
import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from cbrctl import index
from cbrctl.main import main
from cbrctl.messages import prepared
from gateway.upstream.catalog import own_services
from scripts import cbrctl_commands

GROUPS = {name: list(index.verbs(name)) for name in index.groups()}


def test_every_rpc_is_one_command():
    rpcs = [
        f"{service.name}/{method.name}" for service in own_services() for method in service.methods
    ]
    made = [index.verb(group, name).rpc for group, names in GROUPS.items() for name in names]
    assert sorted(made) == sorted(rpcs)
    assert all(
        index.place(index.verb(group, names[0]).rpc)[0] == group for group, names in GROUPS.items()
    )


@pytest.mark.parametrize("group", GROUPS)
def test_a_request_of_every_command_can_be_made(group):
    """Also where the file of a service does not have its name."""
    for name in GROUPS[group]:
        verb = index.verb(group, name)
        made = prepared(verb.rpc, {})
        assert type(made.message).__name__ == verb.request
        assert hasattr(
            importlib.import_module(f"{made.module}_grpc"), f"{verb.rpc.split('/')[0]}Stub"
        )


@pytest.mark.parametrize(
    ("method", "noun", "verb"),
    [
        ("ListVaults", "Vault", "list"),
        ("AddVaultResources", "Vault", "add-resources"),
        ("UpdateAllVaultAlerts", "Vault", "update-all-alerts"),
        ("ListPolicies", "Policy", "list"),
        ("ListOrganizationPolicyDeployments", "OrganizationPolicy", "list-deployments"),
        ("WatchTasks", "Task", "watch"),
        ("GetSubmission", "Task", "get-submission"),
    ],
)
def test_a_verb_is_the_rpc_without_the_noun(method, noun, verb):
    assert cbrctl_commands.verb_name(method, noun) == verb


@pytest.mark.parametrize("group", GROUPS)
def test_every_command_has_help_with_the_comments_of_the_protos(group):
    for name in GROUPS[group]:
        verb = index.verb(group, name)
        shown = CliRunner().invoke(main, [group, name, "--help"], prog_name="cbrctl")
        assert shown.exit_code == 0, shown.output
        said = "".join(shown.output.split())
        for flag in () if (group, name) == ("tasks", "watch") else verb.flags:
            assert f"--{flag.name}" in said
            assert "".join(flag.help.split()) in said
        if (group, name) != ("tasks", "watch"):
            assert "".join(verb.help.split()) in said


@pytest.mark.parametrize("group", GROUPS)
def test_no_option_is_there_twice(group):
    """Click would let the last one win."""
    for name in GROUPS[group]:
        command = main.get_command(click.Context(main), group).get_command(
            click.Context(main), name
        )
        taken = [each for param in command.params for each in (*param.opts, *param.secondary_opts)]
        assert len(taken) == len(set(taken)), (group, name)


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("vaults", "--help"), ("vaults", "create", "--help"), ("explain", "Vault")],
)
def test_help_needs_nothing_heavy(arguments):
    heavy = {"grpc", "google.protobuf", "cbrgateway", "yaml", "jmespath", "rich", "asyncio", "ssl"}
    code = (
        "import sys\nfrom cbrctl.main import main\n"
        f"main({list(arguments)!r}, prog_name='cbrctl', standalone_mode=False)\n"
        f"print(sorted({heavy!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("line", ["vau", "vaults li", "vaults create --siz", "vaults list --sta"])
def test_a_tab_loads_little(line):
    """Each of these takes longer to load than what is asked takes to find."""
    heavy = {"dataclasses", "pathlib", "urllib.parse", "importlib.metadata", "yaml", "ssl"}
    words = line.split()
    asked = {
        "_CBRCTL_COMPLETE": "bash_complete",
        "COMP_WORDS": f"cbrctl {line}",
        "COMP_CWORD": str(len(words)),
    }
    code = (
        "import atexit, sys\nimport click, click.shell_completion\nbefore = set(sys.modules)\n"
        "atexit.register(lambda: print(*set(sys.modules) - before, file=sys.stderr))\n"
        "sys.argv = ['cbrctl']\nfrom cbrctl.__main__ import run\nrun()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | asked,
    )
    assert words[-1] in done.stdout
    loaded = set(done.stderr.split())
    assert loaded
    assert not loaded & (heavy | {"grpc", "google.protobuf", "h2", "jmespath", "datetime"})


def test_a_file_that_is_made_from_the_protos_has_one_line_for_each_command():
    lines = cbrctl_commands.COMMANDS.read_text("utf-8").splitlines()
    assert len(lines) == sum(map(len, GROUPS.values()))
    assert json.loads("\n".join(lines)).keys() == GROUPS.keys()

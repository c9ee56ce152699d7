"""`cbr-gateway tasks watch`, which is that of `cbrctl`, as a process of its own, against a server
that plays scripts.
"""

import asyncio
import io
import json
import os
import sys

import pytest
from cbrgateway.v1 import task_pb2
from google.rpc import code_pb2
from rich.console import Console

from cbrctl.bars import Bars
from testkit.ports import free_port
from tests.client.scripted import DONE, SUCCEEDED, playing, refuse, snapshot, terminal, update
from tests.quota.processes import ROOT

FAILED = task_pb2.WatchTasksResponse(
    terminal={
        "task": {
            "id": "b",
            "revision": 9,
            "status": "TASK_STATUS_FAILED",
            "error_info": {"message": "no room"},
        }
    }
)
VAULT = "0c5b8f0e-7a2b-4d4e-9a57-6a4e1f7a9f10"
UNKNOWN = task_pb2.WatchTasksResponse(
    removed={"task_id": "c", "reason": "TASK_REMOVAL_REASON_NOT_FOUND"}
)


@pytest.fixture(scope="module")
async def stage():
    async with playing() as (player, gateway):
        yield player, gateway.address


async def command(address, *options, key="a-key", how=("--plaintext",)):
    """Exit code, standard output and standard error."""
    arguments = ("-m", "gateway", "tasks", "watch", "--address", address, *how, *options)
    path = os.pathsep.join(str(ROOT / part) for part in ("generated/python", "clients/python", "."))
    environ = os.environ | {"PYTHONPATH": path, "CBR_API_KEY": key}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=environ, cwd=ROOT, stdout=pipe, stderr=pipe
    )
    out, err = await asyncio.wait_for(process.communicate(), 25)
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("text", ["a-key\nb", "\ufeffa-key", "a-key\u00a0"])
async def test_a_key_with_a_character_that_nobody_sees_is_refused_by_name(stage, tmp_path, text):
    player, address = stage
    player.scripts[:] = []
    (tmp_path / "key").write_text(text)
    ended, _, err = await command(address, "--api-key-file", str(tmp_path / "key"))
    assert (ended, "key holds U+" in err, "Remove it" in err) == (2, True, True)
    ended, out, err = await command(address, key=text)
    assert (ended, out) == (2, "")
    assert "environment variable CBR_API_KEY holds U+" in err
    assert "a-key" not in err


async def test_a_key_that_cannot_be_sent_is_refused_in_a_sentence(stage):
    _, address = stage
    ended, out, err = await command(address, key="“a-key”")
    assert (ended, out, "Traceback" in err) == (2, "", False)
    assert "cannot stand in a header" in err
    assert "a-key" not in err


LEFT_OUT = task_pb2.WatchTasksResponse(
    submission={
        "id": "s",
        "state": "SUBMISSION_STATE_RESOLVED",
        "skipped_resources": [{"id": "r", "name": "server", "reason": "being backed up"}],
    }
)

ENDS = {
    "all succeed": ((snapshot("a", 1), update("a", 2), terminal("a", 3), DONE), 0, "1 succeeded"),
    "one fails": ((terminal("a", 1), FAILED, DONE), 1, "1 succeeded, 1 failed"),
    "one is unknown": ((terminal("a", 1), UNKNOWN, DONE), 1, "1 succeeded, 1 unknown"),
    "a resource is left out": ((LEFT_OUT, terminal("a", 1), DONE), 1, "1 left out, 1 succeeded"),
    "nothing runs": ((DONE,), 0, "no task is running"),
}


@pytest.mark.parametrize(("script", "code", "summary"), ENDS.values(), ids=list(ENDS))
async def test_ends_when_all_tasks_are_final(stage, script, code, summary):
    player, address = stage
    player.scripts[:] = [script]
    ended, out, err = await command(address)
    assert (ended, err) == (code, "")
    assert out.splitlines()[-1] == summary


async def test_writes_events_as_json_and_asks_for_what_it_is_told(stage):
    player, address = stage
    player.scripts[:] = [(snapshot("a", 1), terminal("a", 2), DONE)]
    ended, out, err = await command(
        address, "--json", "--submission", "s-1", "--submission", "s-2", "--vault", VAULT
    )
    assert (ended, err) == (0, "")
    assert [
        next(key for key in ("snapshot_task", "terminal") if key in json.loads(line))
        for line in out.splitlines()
    ] == [
        "snapshot_task",
        "terminal",
    ]
    wanted = player.requests[-1]
    assert (
        list(wanted.filter.submission_ids),
        wanted.filter.vault_id,
        wanted.end_when_all_terminal,
    ) == (["s-1", "s-2"], VAULT, True)


async def test_says_why_there_is_no_answer(stage):
    player, address = stage
    player.scripts[:] = [
        (refuse(code_pb2.UNAUTHENTICATED, "CREDENTIALS_INVALID"),),
        (refuse(code_pb2.INVALID_ARGUMENT, "FIELD_INVALID"),),
    ]
    code, out, err = await command(address)
    assert (code, out) == (3, "")
    assert err.startswith("Error: UNAUTHENTICATED (CREDENTIALS_INVALID): as scripted\n")
    assert "Set CBR_API_KEY" in err
    code, _, err = await command(address)
    assert (code, err.splitlines()[-1]) == (
        2,
        "Error: INVALID_ARGUMENT (FIELD_INVALID): as scripted",
    )
    code, _, err = await command(f"127.0.0.1:{free_port()}", "--reconnect-timeout", "0.1")
    assert code == 3
    assert err.startswith("Error: UNAVAILABLE: ")
    assert (await command(address, "--task", "a", "--submission", "b"))[0] == 2


def test_draws_a_bar_for_each_task_and_takes_nothing_for_markup():
    out = io.StringIO()
    with Bars(Console(file=out, force_terminal=True, width=150)) as view:
        hostile = task_pb2.Task(
            id="a",
            vault_name="[bold]vault[/bold]",
            status=SUCCEEDED,
            error_info={"message": "[/nothing]"},
        )
        view.show(task_pb2.WatchTasksResponse(snapshot_task=hostile))
        view.show(UNKNOWN)
        view.show(LEFT_OUT)
    assert "[bold]vault[/bold]" in out.getvalue()
    assert "[/nothing]" in out.getvalue()
    assert "c is not known." in out.getvalue()
    assert "s: CBR left out server (being backed up)." in out.getvalue()
    assert "100%" in out.getvalue()


async def test_tls_against_a_port_of_plain_text_says_what_to_add(stage):
    _, address = stage
    code, _, err = await command(address, "--reconnect-timeout", "0.1", how=())
    assert code == 3
    assert "for a gateway that takes plain text, add --plaintext" in err


async def test_why_a_task_failed_is_said_in_our_words_and_what_was_left_out_once(stage):
    player, address = stage
    failed = task_pb2.WatchTasksResponse(
        terminal={
            "task": {
                "id": "f",
                "status": "TASK_STATUS_FAILED",
                "error_info": {"code": "BackupService.7102", "message": "stopped by task_failed"},
                "failure": {"message": "The task failed in CBR: server is stopped."},
            }
        }
    )
    player.scripts[:] = [(LEFT_OUT, LEFT_OUT, failed, DONE)]
    _, out, _ = await command(address)
    said = "failed: The task failed in CBR: server is stopped. CBR: stopped by task_failed"
    assert out.count(said) == 1
    assert out.count("CBR left out server (being backed up).") == 1

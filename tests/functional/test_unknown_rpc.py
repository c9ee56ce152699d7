"""Calls of RPCs that do not exist: they are answered, named and logged as every other call, and
cost little.
"""

import pytest

from tests.functional.calls import until
from tests.functional.test_server import raw


async def call_lines(lines):
    """The lines of calls: each is written once its answer is on its way."""
    await until(lambda: [line for line in lines() if line["event"] == "call"])
    return [line for line in lines() if line["event"] == "call"]


@pytest.mark.parametrize("metadata", [None, ()], ids=["known caller", "nobody"])
async def test_a_call_of_an_unknown_rpc_has_an_id_and_a_line(world, lines, metadata):
    failed = await raw(world.channel, "/cbrgateway.v1.VaultService/GetVaul", metadata=metadata)
    call_id = failed.facts["requestId"]
    assert len(call_id) == 32
    assert failed.trailers["x-request-id"] == call_id == failed.details["RequestInfo"].request_id
    (line,) = await call_lines(lines)
    assert (line["request_id"], line["rpc"], line["code"], line["reason"]) == (
        call_id,
        "VaultService/GetVaul",
        "UNIMPLEMENTED",
        "UNIMPLEMENTED",
    )


@pytest.mark.parametrize(
    ("rpc", "meant"),
    [
        ("VaultService/GetVaul", "VaultService/GetVault"),
        ("vaultservice/getvault", "VaultService/GetVault"),
        ("BackupService/CreateVault", "VaultService/CreateVault"),
        ("VaultService/Something", None),
        ("NoService/GetVaul", None),
        ("VaultService", None),
    ],
)
async def test_what_was_meant_is_said_where_it_is_near(world, rpc, meant):
    failed = await raw(world.channel, f"/cbrgateway.v1.{rpc}")
    assert failed.code == "UNIMPLEMENTED"
    assert (
        (f"did you mean {meant}?" in failed.message)
        if meant
        else ("did you mean" not in failed.message)
    )


async def test_an_endless_name_is_neither_compared_nor_logged(world, lines):
    failed = await raw(world.channel, "/cbrgateway.v1.VaultService/GetVault" + "s" * 4000)
    assert failed.code == "UNIMPLEMENTED"
    assert "did you mean" not in failed.message
    (line,) = await call_lines(lines)
    assert len(line["rpc"]) == 80

"""What the engine derives from a declaration: how often a call may be sent, where its fields go,
which messages its rules see.
"""

import pytest
from cbrgateway.v1 import backup_pb2, protectability_pb2, vault_pb2

from gateway.operations import load_catalog
from gateway.upstream.catalog import own_services
from gateway.upstream.declaration import Declaration, RetryClass, query_pairs
from gateway.upstream.rules import RULES, reachable

CATALOG = load_catalog()


@pytest.mark.parametrize(
    ("rpc", "expected"),
    [
        ("VaultService/GetVault", RetryClass.READ),
        ("ProtectabilityService/CheckAgents", RetryClass.READ),
        ("VaultService/QueryVaultsByTag", RetryClass.READ),
        ("VaultService/DeleteVault", RetryClass.DELETE),
        ("VaultService/UpdateVault", RetryClass.CONVERGE),
        ("VaultService/CreateVault", RetryClass.CREATE),
        ("CheckpointService/CreateCheckpoint", RetryClass.CREATE),
        ("BackupService/RestoreBackup", RetryClass.NEVER),
        ("OrderService/ChangeOrder", RetryClass.NEVER),
    ],
)
def test_how_often_a_call_may_be_sent(rpc, expected):
    assert CATALOG[rpc].retry_class is expected


def test_only_reads_get_and_only_deletes_delete():
    for binding in CATALOG:
        assert binding.reads or binding.method != "GET"
        assert (binding.retry_class is RetryClass.DELETE) == (binding.method == "DELETE")


def test_a_read_back_reads():
    changed = [binding for binding in CATALOG if binding.read_back]
    assert changed
    assert all(CATALOG[binding.read_back].reads for binding in changed)


def test_the_catalog_keeps_the_order_of_the_services_and_breaks_no_rule():
    declarations = [Declaration(method) for service in own_services() for method in service.methods]
    assert [d.rpc for d in declarations] == [binding.rpc for binding in CATALOG]
    assert [text for d in declarations for rule in RULES for text in rule(d)] == []


def test_messages_that_hold_themselves_are_reached_once():
    found = [message.name for message in reachable(backup_pb2.ListBackupsResponse.DESCRIPTOR)]
    assert found.count("Backup") == 1
    assert "Struct" not in found
    assert "Protectable" in [
        message.name
        for message in reachable(protectability_pb2.ListProtectablesResponse.DESCRIPTOR)
    ]


def test_path_fields_are_not_sent_again():
    binding = CATALOG["VaultService/UpdateVault"]
    request = vault_pb2.UpdateVaultRequest(vault_id="v", request_id="r", vault={"name": "n"})
    assert binding.members(request) == {"vault": {"name": "n"}}


def test_query_values_are_texts_and_lists_repeat_their_name():
    members = {"flag": True, "count": 5, "word": "a b", "ids": ["x", "y"], "none": []}
    assert query_pairs(members) == [
        ("flag", "true"),
        ("count", "5"),
        ("word", "a b"),
        ("ids", "x"),
        ("ids", "y"),
    ]


def test_errors_of_cbr_find_fields_by_key_and_outer_fields_win():
    paths = CATALOG["VaultService/CreateVault"].paths_of_keys
    assert paths["name"] == "vault.name"
    assert paths["size"] == "vault.billing.size_gib"
    assert "request_id" not in paths

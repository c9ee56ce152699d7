"""One wrong trait per rule, each with the exact text that an author gets to read."""

import pytest
from cbrgateway.v1 import policy_pb2, types_pb2, vault_pb2
from msgspec.structs import replace

from gateway.operations import TRAITS
from gateway.upstream import trait_rules
from gateway.upstream.amounts import Metric
from gateway.upstream.catalog import DeclarationError, compile_catalog, own_services
from gateway.upstream.traits import Mark, ObjectRead, Read, ReadFirst, Traits

OWN = {each.rpc: each for each in TRAITS}
CREATE_VAULT, DELETE_BACKUP = "VaultService/CreateVault", "BackupService/DeleteBackup"
DELETE_ALL = "OrganizationPolicyService/DeleteOrganizationPolicy"
UNREGISTER = "AgentService/UnregisterAgent"
DELETE_VAULT, UPDATE_VAULT, GET_VAULT = (
    "VaultService/DeleteVault",
    "VaultService/UpdateVault",
    "VaultService/GetVault",
)


def text_of(_message):
    return ""


BAD = {
    f"{GET_VAULT}: has no side effects and cannot have the trait created_id": (
        GET_VAULT,
        {"created_id": text_of},
    ),
    f"{DELETE_VAULT}: the trait gone reads a UpdateVaultResponse, which no RPC without side effects answers": (
        DELETE_VAULT,
        {"gone": ObjectRead(Read(text_of, vault_pb2.UpdateVaultResponse), text_of)},
    ),
    f"{DELETE_VAULT}: needs both the trait losing with a guard, which tells what it destroys, and the request field force, without which it is refused": (
        DELETE_VAULT,
        {"losing": None},
    ),
    f"{UNREGISTER}: has the request field etag and needs gone or read_back, the read that shows the one object with an etag": (
        UNREGISTER,
        {"gone": None},
    ),
    f"{UPDATE_VAULT}: needs both the trait losing with a guard, which tells what it destroys, and the request field force, without which it is refused": (
        UPDATE_VAULT,
        {"losing": OWN[DELETE_VAULT].losing},
    ),
    f"{UPDATE_VAULT}: the trait read_first reads a Vault, which no RPC without side effects answers": (
        UPDATE_VAULT,
        {
            "read_first": ReadFirst(
                shown_by=ObjectRead(Read(text_of, types_pb2.Vault), text_of),
                metrics=frozenset({Metric.VAULTS}),
            )
        },
    ),
    f"{UPDATE_VAULT}: has the trait read_first and needs deltas, the amounts that depend on what is read": (
        UPDATE_VAULT,
        {"deltas": None, "resize": None},
    ),
    f"{UPDATE_VAULT}: has the trait resize and needs deltas, the amounts by which it grows": (
        UPDATE_VAULT,
        {"deltas": None, "read_first": None},
    ),
    f"{DELETE_ALL}: is a DELETE with deltas and needs gone, the read that shows when they are given back": (
        DELETE_ALL,
        {"gone": None, "deltas": text_of},
    ),
    f"{CREATE_VAULT}: has the trait read_back and does not declare read_back, the RPC to read": (
        CREATE_VAULT,
        {"read_back": text_of},
    ),
    f"{UPDATE_VAULT}: has the trait mark, and a PUT that may be sent twice creates nothing that needs one": (
        UPDATE_VAULT,
        {"mark": Mark(has_room=lambda _request, _most: True, put=lambda _request, _op_id: None)},
    ),
    f"{DELETE_BACKUP}: is asynchronous and needs the trait search, by which the tasks are found that it starts": (
        DELETE_BACKUP,
        {"search": None, "answer": None},
    ),
    f"{DELETE_BACKUP}: has the trait search and needs answer or result, which make up the response where CBR's own was lost": (
        DELETE_BACKUP,
        {"answer": None},
    ),
    f"{CREATE_VAULT}: has the trait search and is not asynchronous": (
        CREATE_VAULT,
        {"search": text_of, "answer": text_of},
    ),
    f"{CREATE_VAULT}: has the trait answer and needs search, by which the tasks are found that it is about": (
        CREATE_VAULT,
        {"answer": text_of},
    ),
    f"{CREATE_VAULT}: the trait creates lists by a GetVaultRequest, which no RPC with pages takes": (
        CREATE_VAULT,
        {"creates": replace(OWN[CREATE_VAULT].creates, listed=vault_pb2.GetVaultRequest)},
    ),
    f"{CREATE_VAULT}: the trait creates has rows of Policy, which ListVaultsResponse does not hold": (
        CREATE_VAULT,
        {"creates": replace(OWN[CREATE_VAULT].creates, row=policy_pb2.Policy)},
    ),
    f"{CREATE_VAULT}: the trait creates has the member 'policy', which is not a field of CreateVaultRequest": (
        CREATE_VAULT,
        {"creates": replace(OWN[CREATE_VAULT].creates, member="policy")},
    ),
    f"{CREATE_VAULT}: has the trait creates and needs created_id, since what it makes is counted": (
        CREATE_VAULT,
        {"created_id": None},
    ),
    f"{CREATE_VAULT}: is sent at most once and needs the trait search, creates or proof, which shows whether it was carried out, or to be declared untraceable": (
        CREATE_VAULT,
        {"creates": None},
    ),
    f"{GET_VAULT}: has the trait sieve, which is only for what is paged": (
        GET_VAULT,
        {"sieve": lambda _row, _project: True},
    ),
}


def changed(rpc, members):
    """All traits, with other ones for one RPC."""
    own = OWN.get(rpc) or Traits(rpc=rpc)
    return [*(each for each in TRAITS if each.rpc != rpc), replace(own, **members)]


def problems(traits):
    try:
        compile_catalog(own_services(), None, traits=traits)
    except DeclarationError as error:
        return set(error.problems)
    return set()


def test_our_own_traits_are_right():
    assert problems(TRAITS) == set()


@pytest.mark.parametrize(("want", "bad"), BAD.items())
def test_a_wrong_trait_is_refused_with_exactly_these_words(want, bad):
    assert problems(changed(*bad)) == {want}


def test_traits_of_no_rpc_and_two_of_one_are_refused():
    assert problems([*TRAITS, Traits(rpc="VaultService/ShowVault")]) == {
        "VaultService/ShowVault: has traits and is not declared"
    }
    assert problems([*TRAITS, Traits(rpc=UPDATE_VAULT)]) == {
        f"{UPDATE_VAULT}: has traits in two places; join them"
    }


def test_all_wrong_traits_are_named_at_once():
    wrong = [Traits(rpc="VaultService/ShowVault"), *changed(DELETE_VAULT, {"losing": None})]
    assert len(problems(wrong)) == 2


@pytest.mark.parametrize(
    "rule", trait_rules.TRAIT_RULES, ids=lambda rule: rule.__name__.removeprefix("_")
)
def test_every_rule_has_a_bad_trait_that_needs_it(rule, monkeypatch):
    monkeypatch.setattr(
        trait_rules,
        "TRAIT_RULES",
        tuple(each for each in trait_rules.TRAIT_RULES if each is not rule),
    )
    assert any(problems(changed(*bad)) != {want} for want, bad in BAD.items())

"""Which of the latest changes a list shows already, and which count beside it."""

import pytest
from cbrgateway.v1 import backup_share_pb2, order_pb2, types_pb2, vault_pb2

from gateway.limits.listing import Listing, Recent, shared
from gateway.operations.backup_share import ADD_BACKUP_MEMBERS, DELETE_BACKUP_MEMBER
from gateway.operations.order import CHANGE_ORDER
from gateway.operations.vault import UPDATE_VAULT
from gateway.upstream.amounts import Metric, Resize


def vault(size, vault_id="v", maker=""):
    tags = [{"key": "gw-op", "value": maker}] if maker else []
    return types_pb2.Vault(id=vault_id, billing={"size_gib": size}, tags=tags)


def resizes(*sizes):
    """By update and by order, as o-0, o-1 and so on."""
    updates = [
        vault_pb2.UpdateVaultRequest(vault_id="v", vault={"billing": {"size_gib": size}})
        for size in sizes
    ]
    orders = [
        order_pb2.ChangeOrderRequest(resource_id="v", product_info={"resource_size_gib": size})
        for size in sizes
    ]
    wanted = [
        UPDATE_VAULT.resize(update) if n % 2 else CHANGE_ORDER.resize(orders[n])
        for n, update in enumerate(updates)
    ]
    return [Recent(f"o-{n}", each) for n, each in enumerate(wanted)]


@pytest.mark.parametrize(
    ("listed", "sizes", "shown"),
    [
        (50, [70, 90], set()),
        (70, [70, 90], {"o-0"}),
        (90, [70, 90], {"o-0", "o-1"}),
        # Made smaller since, which the list shows, or does not yet.
        (60, [70, 90, 60], {"o-0", "o-1", "o-2"}),
        (50, [70, 90, 60], set()),
        (90, [70, 90, 60], {"o-0", "o-1", "o-2"}),
    ],
)
def test_a_new_size_is_shown_once_the_vault_has_reached_it(listed, sizes, shown):
    assert Listing([vault(listed)], None).shown((), resizes(*sizes)) - {"v"} == shown


def test_a_change_that_gives_no_size_or_another_vault_is_passed_over():
    renamed = Recent(
        "o-1",
        UPDATE_VAULT.resize(vault_pb2.UpdateVaultRequest(vault_id="v", vault={"name": "another"})),
    )
    foreign = Recent("o-2", Resize("w", 1))
    assert Listing([vault(50)], None).shown((), [renamed, foreign]) == {"v"}


def test_what_an_open_operation_made_is_counted_by_its_reservation_alone():
    listing = Listing([vault(10, "v", "open"), vault(20, "w", "done")], None)
    reserved = {"open": {"vaults:project:p"}}
    assert listing.shown(reserved, ()) == {"w", "done"}
    assert listing.amount(Metric.VAULTS, "vaults:project:p", reserved) == 1
    # Begun before anybody counted sizes.
    assert listing.amount(Metric.CAPACITY_GIB, "capacity_gib:project:p", reserved) == 30


def add(op_id, *projects, backup="b", **more):
    request = backup_share_pb2.AddBackupMembersRequest(
        backup_id=backup, project_ids=projects, **more
    )
    return Recent(op_id, ADD_BACKUP_MEMBERS.shares(request))


def remove(project):
    request = backup_share_pb2.DeleteBackupMemberRequest(backup_id="b", member_id=project)
    return Recent("gone", DELETE_BACKUP_MEMBER.shares(request))


def test_a_share_is_shown_once_all_its_members_are_listed_or_were_removed_after_it():
    assert shared([add("one", "x"), add("two", "y", "z")], "b", {"x", "y"}) == {"one"}
    assert shared([add("one", "x"), remove("x")], "b", ()) == {"one"}
    assert shared([remove("x"), add("again", "x")], "b", ()) == set()
    assert (
        shared([add("other", "x", backup="c"), add("account", domains=["d"])], "b", {"x"}) == set()
    )

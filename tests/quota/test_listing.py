"""Which of the latest changes a list shows already, and which count beside it."""

import pytest
from cbrgateway.v1 import backup_share_pb2, order_pb2, types_pb2, vault_pb2

from gateway.limits.limits import Metric
from gateway.limits.listing import Listing, Recent, shared


def vault(size, vault_id="v", maker=""):
    tags = [{"key": "gw-op", "value": maker}] if maker else []
    return types_pb2.Vault(id=vault_id, billing={"size_gib": size}, tags=tags)


def resizes(*sizes):
    """By update and by order, as o-0, o-1 and so on."""
    updates = [vault_pb2.UpdateVaultRequest(vault_id="v", vault={"billing": {"size_gib": size}}) for size in sizes]
    orders = [order_pb2.ChangeOrderRequest(resource_id="v", product_info={"resource_size_gib": size}) for size in sizes]
    return [Recent(f"o-{n}", "", update if n % 2 else order) for n, (update, order) in enumerate(zip(updates, orders, strict=True))]


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
    renamed = Recent("o-1", "", vault_pb2.UpdateVaultRequest(vault_id="v", vault={"name": "another"}))
    foreign = Recent("o-2", "", vault_pb2.UpdateVaultRequest(vault_id="w", vault={"billing": {"size_gib": 1}}))
    assert Listing([vault(50)], None).shown((), [renamed, foreign]) == {"v"}


def test_what_an_open_operation_made_is_counted_by_its_reservation_alone():
    listing = Listing([vault(10, "v", "open"), vault(20, "w", "done")], None)
    reserved = {"open": {"vaults:project:p"}}
    assert listing.shown(reserved, ()) == {"w", "done"}
    assert listing.amount(Metric.VAULTS, "vaults:project:p", reserved) == 1
    # Begun before anybody counted sizes.
    assert listing.amount(Metric.CAPACITY_GIB, "capacity_gib:project:p", reserved) == 30


def add(op_id, *projects, backup="b", **more):
    request = backup_share_pb2.AddBackupMembersRequest(backup_id=backup, project_ids=projects, **more)
    return Recent(op_id, "BackupShareService/AddBackupMembers", request)


def remove(project):
    return Recent("gone", "BackupShareService/DeleteBackupMember", backup_share_pb2.DeleteBackupMemberRequest(backup_id="b", member_id=project))


def test_a_share_is_shown_once_all_its_members_are_listed_or_were_removed_after_it():
    assert shared([add("one", "x"), add("two", "y", "z")], "b", {"x", "y"}) == {"one"}
    assert shared([add("one", "x"), remove("x")], "b", ()) == {"one"}
    assert shared([remove("x"), add("again", "x")], "b", ()) == set()
    assert shared([add("other", "x", backup="c"), add("account", domains=["d"])], "b", {"x"}) == set()

"""Whatever a change names that is not there `validate_only` tells just as the change itself would
be told: every change, and every field of it that names something.
"""

import pytest

from tests.functional import sound_changes
from tests.functional import test_changes_in_doubt as scenes
from tests.functional.calls import BINDINGS, Failure
from tests.functional.sound_changes import CHANGES, changing, request_of, validating
from tests.isolation.requests import put

shared_world = sound_changes.shared_world

NOWHERE = "00000000-0000-4000-8000-000000000000"
UNFORESEEN = {
    ("OrderService/UpdateOrder", ("order_id",)): "no call of CBR shows an order",
    ("VaultService/BatchUpdateVaultTags", ("system_tags", "value")): (
        "whether CBR takes tags of the platform from a caller nothing shows"
    ),
}
TWO_ARE_WRONG = {
    ("OrderService/UpdateOrder", ("resource_id",)),
    ("VaultService/AssociateVaultPolicy", ("destination_vault_id",)),
}
"""There is no such order; a backup policy takes no destination. CBR may name that first."""
NAMED = sorted(
    (rpc, field.names)
    for rpc in CHANGES
    for field in BINDINGS[rpc].id_fields
    if (rpc, field.names) not in UNFORESEEN
)


@pytest.mark.parametrize(
    ("rpc", "names"), NAMED, ids=lambda each: each if isinstance(each, str) else ".".join(each)
)
async def test_what_is_not_there_is_told_by_a_validation(world, rpc, names):
    call = scenes.someone(world, rpc)
    request = await request_of(world, call, rpc)
    put(request, names, NOWHERE)
    since = scenes.last_seq(world)
    told = await call(rpc, validating(request))
    assert changing(world, since) == []
    real = await call(rpc, request)
    assert isinstance(told, Failure) == isinstance(real, Failure)
    if isinstance(real, Failure) and (rpc, names) not in TWO_ARE_WRONG:
        assert (told.reason, told.code) == (real.reason, real.code)

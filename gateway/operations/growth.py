"""Amounts that changes of several services have in common."""

from collections.abc import Callable
from typing import Final

from cbrgateway.v1 import vault_pb2

from gateway.operations.reads import VAULT
from gateway.upstream.amounts import Metric, Resize, ResourceDelta
from gateway.upstream.traits import Deltas, ObjectRead, ReadFirst, Request

_SIZES: Final = frozenset({Metric.CAPACITY_GIB, Metric.GROWTH_GIB_PER_DAY})


def grown(
    resize: Callable[[Request], Resize],
) -> Callable[[Request, vault_pb2.GetVaultResponse | None], Deltas]:
    """The deltas of a change that gives a vault a size."""

    def deltas(request: Request, current: vault_pb2.GetVaultResponse | None) -> Deltas:
        size = resize(request).size_gib
        if current is None or size is None:
            return ()
        more = size - current.vault.billing.size_gib
        # A smaller size is left to the next recount: two changes at once could give the same room
        # back twice.
        return (
            (
                ResourceDelta(Metric.CAPACITY_GIB, more),
                ResourceDelta(Metric.GROWTH_GIB_PER_DAY, more),
            )
            if more > 0
            else ()
        )

    return deltas


def size_first(resize: Callable[[Request], Resize]) -> ReadFirst[Request]:
    """The vault whose size is changed."""
    return ReadFirst(
        shown_by=ObjectRead(VAULT, lambda request: resize(request).vault_id),
        metrics=_SIZES,
    )


def one(metric: Metric, amount: int = 1) -> Callable[[object, object], Deltas]:
    """The deltas of a change that always takes, or gives back, the same."""
    return lambda _request, _current: (ResourceDelta(metric, amount),)

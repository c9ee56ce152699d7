"""What goes to the Valkey and comes back: the scripts' text, and the values in their answers."""

import hashlib
import importlib.resources
import json
from collections.abc import Sequence

from gateway.state.counters import Charge, Shortage
from gateway.state.operation import OperationView, State

VIEW_FIELDS = (
    "tenant",
    "rpc",
    "request_id",
    "state",
    "charges",
    "detail",
    "resource_id",
    "created_at",
    "note",
)


class Scripts:
    """The files of `lua/`, each behind the prelude, with the names that a server knows them by."""

    def __init__(self) -> None:
        folder = importlib.resources.files("gateway.state") / "lua"
        texts = {
            file.name.removesuffix(".lua"): file.read_text("utf-8") for file in folder.iterdir()
        }
        prelude = texts.pop("prelude")
        self._texts = {name: f"{prelude}\n{text}" for name, text in texts.items()}
        self._hashes = {
            name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            for name, text in self._texts.items()
        }

    def text(self, name: str) -> str:
        return self._texts[name]

    def sha(self, name: str) -> str:
        return self._hashes[name]


def charges_json(charges: Sequence[Charge]) -> str:
    return json.dumps([[c.key, c.amount, c.limit, c.shadow, c.expires_at] for c in charges])


def shortages(
    charges: Sequence[Charge], rows: Sequence[tuple[int, bytes, bytes]]
) -> tuple[Shortage, ...]:
    """From rows of (index of the charge, committed, reserved)."""
    # A charge without a limit is in no row.
    return tuple(
        Shortage(charge.key, charge.limit or 0, int(committed), int(reserved), charge.amount)
        for charge, committed, reserved in (
            (charges[index], committed, reserved) for index, committed, reserved in rows
        )
    )


def view(op_id: str, row: Sequence[bytes]) -> OperationView:
    """From the values of VIEW_FIELDS."""
    tenant, rpc, request_id, state, charges, detail, resource_id, created_at, note = row
    return OperationView(
        id=op_id,
        tenant=tenant.decode(),
        rpc=rpc.decode(),
        request_id=request_id.decode(),
        state=State(state.decode()),
        charges=tuple((key, amount) for key, amount, *_ in json.loads(charges)),
        detail=detail,
        resource_id=resource_id.decode(),
        created_at=float(created_at),
        note=note or b"",
    )

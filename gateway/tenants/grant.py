"""What a principal may call: a role, or a list of actions by the names that CBR's own access
control has for them.

viewer          the RPCs that change nothing, in the tenant's projects
operator        every RPC in the tenant's projects
administrator   every RPC, those whose objects belong to no tenant too
permissions     the RPCs whose declared action is listed, wherever they are; those that are made of
                the lists of others need the actions of these, too

Beside these, everybody may ask about itself: AccessService.
"""

from typing import Final, Literal

from cbrgateway.v1 import errors_pb2
from msgspec import Struct

from gateway.errors import GatewayError
from gateway.upstream.declaration import Binding
from gateway.upstream.losses import LISTED_WITH

Role = Literal["viewer", "operator", "administrator"]
EVERYBODYS: Final = frozenset({"cbrgateway:caller:get", "cbrgateway:caller:test"})
"""Actions that need no permission: they tell a caller about itself alone."""


class Grant(Struct, frozen=True):
    """A role or, without one, actions; `cbr:vaults:*` stands for all of a kind."""

    role: Role | None = None
    permissions: frozenset[str] = frozenset()

    def allows(self, binding: Binding) -> bool:
        if binding.permission in EVERYBODYS:
            return True
        match self.role:
            case "administrator":
                return True
            case "operator":
                return not binding.for_administrators
            case "viewer":
                return binding.reads and not binding.for_administrators
        return not self._unlisted(binding)

    def missing(self, binding: Binding) -> list[str]:
        """The actions that the caller lacks for it; none: it may call it."""
        if self.allows(binding):
            return []
        return [binding.permission] if self.role else self._unlisted(binding)

    @property
    def hidden(self) -> frozenset[str]:
        """The kinds of objects that the caller may not list."""
        if self.role:
            return frozenset()
        return frozenset(kind for kind, needed in LISTED_WITH.items() if not self._has(needed))

    def _unlisted(self, binding: Binding) -> list[str]:
        needed = dict.fromkeys((binding.permission, *binding.reads_by.values()))
        return [each for each in needed if not self._has(each)]

    def _has(self, permission: str) -> bool:
        return not self.permissions.isdisjoint((permission, whole_kind(permission)))

    def check(self, binding: Binding) -> None:
        """Raises ADMINISTRATOR_ONLY or PERMISSION_MISSING."""
        if self.allows(binding):
            return
        if self.role and binding.for_administrators:
            raise GatewayError(
                errors_pb2.ERROR_REASON_ADMINISTRATOR_ONLY,
                f"{binding.rpc} is for administrators only.",
            )
        has = f"the role {self.role}" if self.role else "other permissions"
        missing = self.missing(binding)
        raise GatewayError(
            errors_pb2.ERROR_REASON_PERMISSION_MISSING,
            f"{binding.rpc} needs {', '.join(missing)}, and the caller has {has}; ask the gateway's"
            " operator for it.",
            metadata={"permission": missing[0]},
        )


def whole_kind(permission: str) -> str:
    """`cbr:vaults:*` for `cbr:vaults:get`."""
    return f"{permission.rpartition(':')[0]}:*"

"""Keeps tenants apart: destinations are the tenant's own projects, and of a shared project only the
tenant's enterprise project is used.

What an RPC may do in a shared project follows from what the ids of its request name (`refers`):

bounded    the request has a place for an enterprise project: the list is filtered, what is created
           is stamped
checked    it names objects: each is looked up before it is used
sifted     CBR cannot filter the list: it is read whole, and rows of others are left out
harmless   what it shows is nobody's
refused    everything else, with PROJECT_SHARED

A foreign object and a missing one end in the same error, which is made here. Nothing is remembered
from call to call: a vault can be moved to another enterprise project in the vendor's console at any
time.
"""

from collections.abc import Callable
from typing import Any, Final

from cbrgateway.v1 import errors_pb2, options_pb2
from google.protobuf.message import Message

from gateway.errors import GatewayError, Resource, Violation, field_invalid
from gateway.upstream.account import Account
from gateway.upstream.declaration import Binding
from gateway.upstream.id_fields import Id
from gateway.upstream.lookup import KNOWN, Lookup, Read
from gateway.upstream.retry import Deadline

_UNKNOWABLE: Final = frozenset(
    {options_pb2.REFERS_AGENT, options_pb2.REFERS_ORGANIZATION_POLICY, options_pb2.REFERS_ORDER}
)
"""CBR does not tell which enterprise project these belong to."""
_SHOWN_ALONE: Final = frozenset(
    {
        options_pb2.REFERS_VAULT,
        options_pb2.REFERS_DESTINATION_VAULT,
        options_pb2.REFERS_BACKUP,
        options_pb2.REFERS_CHECKPOINT,
        options_pb2.REFERS_POLICY,
    }
)
"""What a read of its own shows, whoever it belongs to."""
_EVERYWHERE: Final = "all_granted_eps"


class Ownership:
    """One per client. `read`: what CBR shows to the gateway itself."""

    def __init__(self, read: Read) -> None:
        self._read = read

    def bounded(self, binding: Binding, request: Message, account: Account) -> Message:
        """The request as it may be sent for the tenant.

        Raises PROJECT_DENIED, PROJECT_SHARED or FIELD_INVALID; calls nothing.
        """
        if binding.for_administrators:
            return request
        _check_projects(binding, request, account)
        if not account.enterprise_project_id:
            return request
        check_reach(binding, account)
        for field in binding.id_fields:
            if field.refers in _UNKNOWABLE and (given := next(field.ids(request), None)):
                raise _shared(f"CBR does not tell whose the id in {given.path} is")
        if binding.traits.check_owner is not None:
            binding.traits.check_owner(request, account.enterprise_project_id)
        return _stamped(binding, request, account)

    async def check(
        self,
        binding: Binding,
        request: Message,
        account: Account,
        deadline: Deadline,
        *,
        exists: bool = False,
    ) -> None:
        """Looks up what the request names.

        Raises one of the NOT_FOUND reasons, the same for what is foreign and what does not exist.
        `exists`: also where it can be nobody else's.
        """
        if not account.some_shared and not exists:
            return
        shared = bool(account.enterprise_project_id)
        wanted: dict[int, list[Id]] = {}
        for field in binding.id_fields:
            # The other ids of a list are filters, and the list itself is bounded.
            known = (
                field.refers in KNOWN
                if shared
                else field.refers in _SHOWN_ALONE
                if exists
                else field.refers == options_pb2.REFERS_DESTINATION_VAULT
            )
            if known and (field.in_path or not binding.paging):
                wanted.setdefault(field.refers, []).extend(field.ids(request))
        lookup = Lookup(self._read, account, deadline)
        for refers, ids in sorted(wanted.items()):
            own = await lookup.own(refers, ids)
            if foreign := next((each for each in ids if each.value not in own), None):
                raise missing(refers, foreign)

    def sieve(
        self, binding: Binding, account: Account, keep: Callable[[Any], bool] | None
    ) -> Callable[[Any], bool] | None:
        """Which rows of a list to keep that has to be read whole: those that `keep` wants and that
        are the tenant's; None: CBR filters.
        """
        own = account.enterprise_project_id
        theirs = binding.traits.sieve
        if not own or theirs is None:
            return keep
        return lambda row: theirs(row, own) and (keep is None or keep(row))


def within_reach(binding: Binding) -> bool:
    """Whether an RPC can be kept to a part of a project."""
    if binding.harmless or binding.traits.sieve is not None:
        return True
    return any(
        (field.refers == options_pb2.REFERS_ENTERPRISE_PROJECT and not field.many)
        or (field.refers in KNOWN and (field.in_path or not binding.paging))
        for field in binding.id_fields
    )


def check_reach(binding: Binding, account: Account) -> None:
    """Raises PROJECT_SHARED for an RPC that cannot be kept to the tenant's part of the project."""
    if (
        account.enterprise_project_id
        and not binding.for_administrators
        and not within_reach(binding)
    ):
        raise _shared(f"{binding.rpc} reaches the whole project")


def _check_projects(binding: Binding, request: Message, account: Account) -> None:
    for field in binding.id_fields:
        if field.refers != options_pb2.REFERS_PROJECT:
            continue
        for each in field.ids(request):
            there = account.of_tenant(each.value)
            if there is None:
                raise GatewayError(
                    errors_pb2.ERROR_REASON_PROJECT_DENIED,
                    f"The project in {each.path} is not one of this tenant's; name one that is.",
                    violations=(Violation(each.path, "is not one of this tenant's", "project"),),
                )
            if binding.paging and there.enterprise_project_id:
                raise _shared(f"{binding.rpc} reaches the whole of the project in {each.path}")


def _stamped(binding: Binding, request: Message, account: Account) -> Message:
    own = account.enterprise_project_id
    stamped = binding.request_type()
    stamped.CopyFrom(request)
    for field in binding.id_fields:
        if field.refers != options_pb2.REFERS_ENTERPRISE_PROJECT:
            continue
        for each in field.ids(request):
            if each.value != own and not (binding.paging and each.value == _EVERYWHERE):
                raise field_invalid(
                    each.path,
                    "must be left out, or be the enterprise project of this tenant",
                    "owner",
                )
        if not field.many:
            field.put(stamped, own)
    return stamped


def _shared(what: str) -> GatewayError:
    text = (
        f"{what}, and this tenant has only a part of it; see docs/tenants.md for what to use"
        " instead."
    )
    return GatewayError(errors_pb2.ERROR_REASON_PROJECT_SHARED, text)


def missing(refers: int, each: Id) -> GatewayError:
    """One of the NOT_FOUND reasons, for what an id names."""
    kind = KNOWN[refers]
    reason = errors_pb2.ErrorReason.Value(f"ERROR_REASON_{kind.upper()}_NOT_FOUND")
    return GatewayError(
        reason,
        f"The {kind} in {each.path} does not exist; check the id and the project.",
        resource=Resource(kind, each.value),
    )

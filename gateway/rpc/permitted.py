"""Whether a caller could call an RPC in a project, by the very checks that a call meets, in their
order.
"""

from gateway.errors import GatewayError
from gateway.tenants import Principal
from gateway.upstream.account import Account
from gateway.upstream.declaration import Binding
from gateway.upstream.ownership import check_reach


def refusal(binding: Binding, principal: Principal, account: Account) -> GatewayError | None:
    """What a call would end with; None: it would be let in."""
    try:
        principal.grant.check(binding)
        account.flavor.check(binding)
        if binding.operation:
            check_reach(binding, account)
    except GatewayError as error:
        return error
    return None

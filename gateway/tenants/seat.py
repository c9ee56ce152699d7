"""A caller at one of its projects: what follows from one configuration alone, worked out once for
all of its calls there.
"""

from typing import Self

from msgspec import Struct, field

from gateway.limits.limits import Scope
from gateway.tenants.directory import Principal
from gateway.tenants.tenant import Project
from gateway.upstream.account import Account


class Seat(Struct, frozen=True):
    """`quota_scope`: whose limits count. `page_scope`: names the tenant and project, for page
    tokens. `hidden`: kinds of objects that the caller may not list. `allowed`: the RPCs that were
    found to be allowed, and there in the project's cloud.
    """

    project: Project
    account: Account
    quota_scope: Scope
    page_scope: str
    hidden: frozenset[str]
    allowed: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, principal: Principal, project: Project, account: Account) -> Self:
        tenant = principal.tenant.id
        who = f"{tenant}/{principal.id}"
        scope = Scope(project.credential, tenant, project.key, who)
        return cls(project, account, scope, f"{tenant}/{project.id}", principal.grant.hidden)

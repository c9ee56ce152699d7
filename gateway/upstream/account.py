"""What a tenant may use of CBR: a project, or the part of one that is in an enterprise project."""

from dataclasses import dataclass, field

from gateway.upstream.auth import Authenticator
from gateway.upstream.flavors import HUAWEI, Flavor


@dataclass(frozen=True, slots=True)
class Account:
    """A CBR project and the way into it."""

    project_id: str
    endpoint: str
    """Scheme and host, such as `https://cbr.cn-north-4.myhuaweicloud.com`."""
    auth: Authenticator
    enterprise_project_id: str = ""
    """Set where the project is shared: only what is in this enterprise project is the tenant's."""
    tenant: str = ""
    others: tuple["Account", ...] = ()
    """The tenant's other projects, where replicas may go."""
    region: str = ""
    flavor: Flavor = HUAWEI
    """The cloud that the region belongs to."""
    some_shared: bool = field(init=False)
    """Whether this project, or another of the tenant's, is shared."""

    def __post_init__(self) -> None:
        some = any(each.enterprise_project_id for each in (self, *self.others))
        object.__setattr__(self, "some_shared", some)

    def of_tenant(self, project_id: str) -> "Account | None":
        """The account of one of the tenant's projects; None for all others."""
        return next(
            (account for account in (self, *self.others) if account.project_id == project_id), None
        )

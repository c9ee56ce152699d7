"""The tenants that `cbr-gateway dev` serves.

Their keys are public: they open nothing but emulated resources.
"""

from dataclasses import dataclass
from typing import Final

from emulator import settings as emulated


@dataclass(frozen=True, slots=True)
class DevTenant:
    """A tenant with one project.

    `administrator`: may call the RPCs that are bound to no project.
    """

    name: str
    project_id: str
    region: str = "cn-north-4"
    administrator: bool = False

    @property
    def api_key(self) -> str:
        """The same in every run."""
        return f"dev-key-{self.name}"


PAYMENTS: Final = DevTenant("payments", emulated.PAYMENTS_PROJECT_ID)
DATABASES: Final = DevTenant("databases", emulated.DATABASES_PROJECT_ID)
STANDBY: Final = DevTenant("standby", emulated.STANDBY_PROJECT_ID, "cn-east-3")
# A project belongs to one tenant only, so the administrator's is one of the emulator's second
# account.
OPERATOR: Final = DevTenant("operator", emulated.RESEARCH_PROJECT_ID, administrator=True)
TENANTS: Final = (PAYMENTS, DATABASES, STANDBY, OPERATOR)

"""How a tenant is kept from destroying what it may still need, as the configuration gives it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.upstream.losses import Guard

Mode = Literal["refuse", "force", "allow"]


class GuardSettings(BaseModel):
    """The guards of a tenant.

    `refuse`: no call of this gateway does it. `force`: a call with `force` does. `allow`: every
    call does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    delete_vault: Mode = Field(
        default="force",
        description=(
            "DeleteVault of a vault that holds backups: refuse, force (only with `force: true` in"
            " the request) or allow."
        ),
    )
    remove_vault_resources: Mode = Field(
        default="force",
        description="RemoveVaultResources of resources that have backups in the vault: the same.",
    )
    delete_policy: Mode = Field(
        default="force", description="DeletePolicy of a policy that works on vaults: the same."
    )
    shorten_retention: Mode = Field(
        default="force",
        description=(
            "UpdatePolicy by which the policy keeps fewer backups than there are: the same."
        ),
    )
    min_age_of_last_backup_s: float = Field(
        default=0,
        ge=0,
        description=(
            "For the guard `force`: how old the newest of the backups that would be deleted has to"
            " be. While it is younger `force` does not help. 0: any age."
        ),
    )

    def mode(self, guard: Guard) -> Mode:
        found: Mode = getattr(self, guard)
        return found

"""How much is told apart in metrics."""

from pydantic import BaseModel, ConfigDict, Field


class MetricsSettings(BaseModel):
    """How many tenants, projects, vaults and limits have series of their own; all further ones of a
    kind share the label `(other)`, or are left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    enabled: bool = Field(default=True, description="Count, and answer `/metrics`.")
    tenants: tuple[str, ...] = Field(
        default=(),
        description=(
            "Tenants with a label of their own. Unset: the first `max_tenants` of the"
            " configuration."
        ),
    )
    max_tenants: int = Field(
        default=100, ge=0, le=1000, description="How many tenants have a label of their own."
    )
    max_projects: int = Field(
        default=100, ge=0, le=1000, description="How many projects have a label of their own."
    )
    max_vaults: int = Field(
        default=500,
        ge=0,
        le=5000,
        description="How many vaults are shown, with their last backup. 0: CBR is not asked.",
    )
    vaults_s: float = Field(
        default=300,
        gt=0,
        le=1800,
        description="Time between two readings of vaults and policies from CBR.",
    )
    max_limits: int = Field(
        default=500,
        ge=0,
        le=5000,
        description="Of how many counters of limits use and limit are shown.",
    )
    sample_s: float = Field(
        default=15,
        gt=0,
        le=300,
        description="Time between two readings of what only the store knows.",
    )

"""How missed runs of policies are looked for, as the configuration gives it."""

from pydantic import BaseModel, ConfigDict, Field


class ScheduleSettings(BaseModel):
    """When a run of a backup policy that has not come is told as missed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    grace_s: float = Field(
        default=3600,
        ge=0,
        le=7 * 86_400,
        description=(
            "How long after its time, and after the start window of its policy, a run may come"
            " before it is told as missed; for reports, too."
        ),
    )
    read_s: float = Field(
        default=300,
        ge=0,
        le=86_400,
        description=(
            "Time between two readings of the policies and vaults of a project, by one replica for"
            " all. 0: missed runs are not looked for."
        ),
    )

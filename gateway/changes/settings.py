"""How asynchronous work is followed, as the configuration gives it."""

from pydantic import BaseModel, ConfigDict, Field


class TaskSettings(BaseModel):
    """How the gateway finds the tasks of a change."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    correlate: bool = Field(
        default=True,
        description=(
            "Ask CBR for the tasks that changes start. Off: submissions hold only the tasks that"
            " CBR's answers name."
        ),
    )
    settle_s: float = Field(
        default=60,
        gt=0,
        description=(
            "How long CBR may take to list the tasks of a change. Until then the gateway goes on"
            " looking where the number is open."
        ),
    )
    give_up_s: float = Field(
        default=1800,
        gt=0,
        description="After this a submission ends with the tasks that were found, complete or not.",
    )

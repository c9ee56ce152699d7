"""How tasks are watched, as the configuration gives it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class WatchSettings(BaseModel):
    """How often CBR is asked for tasks that somebody watches, and how long a stream may live."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    follow: Literal["always", "watched"] = Field(
        default="always",
        description=(
            "Whether a project is polled also while nobody watches it, every `idle_s`, so that the"
            " end of every task is known, or only while somebody waits for its tasks."
        ),
    )
    busy_s: float = Field(
        default=5,
        gt=0,
        le=3600,
        description=(
            "Time between two polls of a project while one of its tasks is open and somebody waits"
            " for it: a stream, a call, or a slot of a limit of concurrency."
        ),
    )
    idle_s: float = Field(
        default=30,
        gt=0,
        le=3600,
        description="The same in all other cases. For so long after a change it counts as busy.",
    )
    backoff_s: float = Field(
        default=300,
        gt=0,
        le=3600,
        description="The longest time between two polls while CBR does not answer or throttles.",
    )
    linger_s: float = Field(
        default=60,
        ge=0,
        description="How long a project is polled after its last watcher has left.",
    )
    lag_s: float = Field(
        default=120,
        gt=0,
        le=3600,
        description=(
            "How late CBR may list a task: each poll looks back so far, and so does a stream that"
            " is resumed."
        ),
    )
    keep_tasks: int = Field(
        default=5000,
        ge=100,
        description="Ended tasks that are kept for each project, for streams that are resumed.",
    )
    resume_s: float = Field(
        default=24 * 3600,
        gt=0,
        description="The greatest age of a resume token. An older one means a gap.",
    )
    lifetime_s: float = Field(
        default=3000, gt=0, description="Age at which a stream is ended, give or take a tenth."
    )
    recheck_s: float = Field(
        default=300,
        gt=0,
        le=3600,
        description="Time between two checks that the caller of a stream may still watch.",
    )
    stall_s: float = Field(
        default=60,
        gt=0,
        le=3600,
        description="How long a caller may read nothing although something waits for it.",
    )

    @property
    def lag_us(self) -> int:
        return round(self.lag_s * 1e6)

"""Limits and recovery as the configuration gives them."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gateway.limits.limits import COST, KIND_OF, PRIVATE_LEVELS, Kind, Level, Limit, MethodClass
from gateway.upstream.amounts import Metric

_NOT_BY_PRINCIPAL = frozenset({Metric.VAULTS, Metric.POLICIES, Metric.CAPACITY_GIB})


class LimitEntry(BaseModel):
    """One limit on what callers may use."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    metric: Metric = Field(description="What is limited.")
    level: Level = Field(
        default=Level.TENANT,
        description=(
            "Whose use is added up: global, account (a credential), tenant, project or principal."
        ),
    )
    subject: str = Field(
        default="",
        description=(
            "The one subject meant; a principal is `tenant/key`. Unset: each subject has this limit"
            " for itself."
        ),
    )
    value: int | None = Field(
        default=None, ge=0, le=2**53 - 1, description="The limit, for every metric but `requests`."
    )
    per_second: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        description=(
            "For `requests`: cost units per second. Read 1, list 2, change 5, restore or"
            " replication 10."
        ),
    )
    burst: float | None = Field(
        default=None,
        ge=1,
        le=1e9,
        description="For `requests`: cost units that may be spent at once.",
    )
    method_class: MethodClass | None = Field(
        default=None,
        description="For `requests`: read, list, change or restore. Unset: all calls together.",
    )
    shadow: bool = Field(
        default=False, description="Count and log what would be refused, and refuse nothing."
    )

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        if self.level is Level.GLOBAL and self.subject:
            raise ValueError("level global has no subject. Remove it")
        if self.level is Level.PRINCIPAL and self.metric in _NOT_BY_PRINCIPAL:
            raise ValueError(
                f"{self.metric} cannot be limited by principal: CBR does not know who created an"
                " object. Use tenant or project"
            )
        if KIND_OF[self.metric] is Kind.RATE:
            self._check_rate()
        elif (
            self.value is None
            or self.per_second is not None
            or self.burst is not None
            or self.method_class is not None
        ):
            raise ValueError(
                f"{self.metric} takes value, and none of per_second, burst and method_class"
            )
        return self

    def _check_rate(self) -> None:
        if self.value is not None or self.per_second is None or self.burst is None:
            raise ValueError("requests takes per_second and burst, and no value")
        dearest = COST[self.method_class] if self.method_class else max(COST.values())
        if self.burst < dearest:
            raise ValueError(
                f"burst is below {dearest}, the cost of one call: it would never be allowed"
            )

    def limit(self) -> Limit:
        """The limit as the rules use it."""
        return Limit(
            metric=self.metric,
            level=self.level,
            subject=self.subject,
            value=self.value or 0,
            per_second=self.per_second or 0.0,
            burst=self.burst or 0.0,
            method_class=self.method_class,
            shadow=self.shadow,
        )


def _of_a_tenant(entry: LimitEntry) -> LimitEntry:
    if entry.level not in PRIVATE_LEVELS:
        raise ValueError(
            f"level {entry.level} is for all tenants. Use tenant, project or principal, or the list"
            " `limits` of the whole gateway"
        )
    return entry


TenantLimit = Annotated[LimitEntry, AfterValidator(_of_a_tenant)]
"""A limit that stands in a tenant's own list."""


class QuotaSettings(BaseModel):
    """How changes are recorded and what becomes of those whose outcome is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    recovery: bool = Field(
        default=True,
        description=(
            "Ask CBR what became of changes whose outcome is not known. Off: they wait for"
            " ReleaseReservation."
        ),
    )
    markers: bool = Field(
        default=True,
        description=(
            "Mark new vaults by a tag, and checkpoints without description by theirs: a create"
            " whose answer was lost is then found for sure."
        ),
    )
    settle_s: float = Field(
        default=120,
        gt=0,
        description=(
            "How long CBR may take to show a change. A create that is not there by then counts as"
            " never carried out; growth waits as long after a shared store lost data that nobody"
            " can tell anew."
        ),
    )
    carry_out_s: float | None = Field(
        default=None,
        gt=0,
        description=(
            "How long CBR may take to carry out a request that has arrived. With less than settle_s"
            " an outcome is final sooner, where CBR's lists show how late they are. Unset:"
            " settle_s, since nothing that CBR shows tells."
        ),
    )
    sweep_s: float = Field(
        default=30,
        gt=0,
        le=3600,
        description=(
            "Time between two looks for reservations that ran out and outcomes that can be settled."
        ),
    )
    recount_s: float = Field(
        default=300,
        gt=0,
        le=3600,
        description="Time between two recounts of vaults, policies and capacity from CBR.",
    )
    assumed_vaults: int = Field(
        default=0,
        ge=0,
        description=(
            "Vaults that a project which could never be counted counts with in limits that it"
            " shares with others."
        ),
    )
    assumed_policies: int = Field(default=0, ge=0, description="The same for policies.")
    assumed_capacity_gib: int = Field(
        default=0, ge=0, description="The same for the sizes of its vaults."
    )

    @property
    def through_s(self) -> float:
        """By when CBR is through with a request that has arrived."""
        return self.settle_s if self.carry_out_s is None else self.carry_out_s

    @property
    def assumed(self) -> Mapping[Metric, int]:
        """What stands in for a project that was never counted."""
        return {
            Metric.VAULTS: self.assumed_vaults,
            Metric.POLICIES: self.assumed_policies,
            Metric.CAPACITY_GIB: self.assumed_capacity_gib,
        }

"""Where events go."""

import ipaddress
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from gateway.events.signature import key_of
from gateway.events.types import Outcome, TypeName
from gateway.secret import Secret, SecretReference

DAY_S: Final = 86_400


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"is no IP network: {error}. Write it as 10.0.0.0/8") from None
    return text


def _key(secret: Secret) -> Secret:
    key_of(secret.reveal())
    return secret


def _different(keys: tuple[Secret, ...]) -> tuple[Secret, ...]:
    if len({key_of(each.reveal()) for each in keys}) < len(keys):
        raise ValueError("names one key twice. Two are for a change: the new one and the old one")
    return keys


class SinkSettings(BaseModel):
    """A webhook, and which events it gets: those that fit all of its filters."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(
        pattern="^[a-z0-9][a-z0-9-]{0,62}$",
        description="Names it in logs, metrics and dead letters; another one is a new queue.",
    )
    url: str = Field(
        max_length=2000,
        description="Where events are posted to: https://host/path. Redirects are not followed.",
    )
    keys: Annotated[
        tuple[Annotated[SecretReference, AfterValidator(_key)], ...], AfterValidator(_different)
    ] = Field(
        min_length=1,
        max_length=2,
        description=(
            "Keys that sign, each `whsec_` and base64 of 24 to 64 bytes: a secret by name. Two"
            " while they change."
        ),
    )
    ca_file: Path | None = Field(
        default=None,
        description="PEM file of the authorities of its certificate. Unset: the system's.",
    )
    timeout_s: float = Field(
        default=10, gt=0, le=60, description="How long an answer may take, connection included."
    )
    tenants: tuple[str, ...] = Field(default=(), description="Events of these. Empty: of all.")
    types: tuple[TypeName, ...] = Field(
        default=(), description="Events of these types. Empty: of all."
    )
    outcomes: tuple[Outcome, ...] = Field(
        default=(),
        description=(
            "Events with these outcomes: of tasks succeeded, failed, timed_out, partly_failed,"
            " skipped, gone or other; refused, unknown, carried_out, not_carried_out, reached,"
            " missed. Empty: with all."
        ),
    )

    def wants(self, kind: str, tenant: str, outcome: str) -> bool:
        return all(
            not filtered or value in filtered
            for filtered, value in (
                (self.types, kind),
                (self.tenants, tenant),
                (self.outcomes, outcome),
            )
        )


class EventSettings(BaseModel):
    """CloudEvents of what an operator must not miss."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sinks: tuple[SinkSettings, ...] = Field(
        default=(),
        max_length=50,
        description="Webhooks that get events.",
    )
    source: str = Field(
        default="cbr-gateway",
        pattern="^[A-Za-z0-9/:._~-]{1,200}$",
        description="Member `source` of the events: which installation they come from.",
    )
    allow_http: bool = Field(
        default=False, description="Take sinks that begin with http://, for tests only."
    )
    allowed_networks: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        default=(),
        description=(
            "Networks that sinks may be in although their addresses are not public, such as"
            " 10.0.0.0/8."
        ),
    )
    retry_s: float = Field(
        default=5,
        gt=0,
        le=60,
        description="Pause after the first failure; it doubles with each, up to five minutes.",
    )
    give_up_s: float = Field(
        default=3 * DAY_S,
        ge=DAY_S,
        le=30 * DAY_S,
        description="Age at which an event that cannot be delivered becomes a dead letter.",
    )
    max_queued: int = Field(
        default=50_000,
        ge=100,
        le=1_000_000,
        description="Events that wait for one sink; of more the oldest become dead letters.",
    )
    max_kept: int = Field(
        default=10_000,
        ge=0,
        le=1_000_000,
        description=(
            "Events of each tenant that are kept for WatchEvents; of more the oldest are removed."
            " 0: none are, and WatchEvents is refused."
        ),
    )
    keep_s: float = Field(
        default=3 * DAY_S,
        gt=0,
        le=30 * DAY_S,
        description="Age at which these are removed, but for the newest of each tenant.",
    )
    max_dead: int = Field(
        default=1000, ge=1, le=100_000, description="Dead letters that are kept of one sink."
    )

"""Where traces go, and how many."""

import re
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gateway.collector import check_authorities, collector, no_collector
from gateway.extras import require
from gateway.rpc.settings import ReadableFile
from gateway.secret import SecretReference

_HEADER: Final = re.compile(r"[A-Za-z0-9-]+")
_PORT: Final = 4318


def _collector(text: str) -> str:
    if collector(text, _PORT).fragment:
        raise no_collector(_PORT)
    return text


def _header(name: str) -> str:
    if not _HEADER.fullmatch(name):
        raise ValueError(
            f"has no name of an HTTP header: {name!r}. Use letters, digits and -, such as"
            " Authorization"
        )
    return name


class TracingSettings(BaseModel):
    """Traces of calls and of requests to CBR. They are on where this part is given."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    endpoint: Annotated[str, AfterValidator(_collector)] = Field(
        description=(
            "Address of the OTLP/HTTP receiver of an OpenTelemetry collector:"
            " https://host:4318, or http:// for plain text. `/v1/traces` is added."
        )
    )
    ca_file: ReadableFile | None = Field(
        default=None,
        description="PEM file of the authorities of its certificate. Unset: the usual ones.",
    )
    headers: dict[Annotated[str, AfterValidator(_header)], SecretReference] = Field(
        default_factory=dict,
        description="Headers of each request, such as `Authorization`: a secret by name.",
    )
    sample_ratio: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description=(
            "Which part of the traces that begin here is recorded: 0.01 is one in a hundred."
        ),
    )
    parent_based: bool = Field(
        default=True,
        description=(
            "Record a call that belongs to a caller's trace if, and only if, the caller records"
            " it. Off: `sample_ratio` decides for every trace."
        ),
    )

    @model_validator(mode="after")
    def _sendable(self) -> Self:
        require("otel")
        check_authorities(self.endpoint, self.ca_file)
        return self

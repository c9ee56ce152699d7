"""Where the admin port is."""

from pydantic import BaseModel, ConfigDict, Field, field_validator

from gateway.extras import require
from gateway.rpc.settings import Address


class AdminSettings(BaseModel):
    """The HTTP port of probes, Prometheus and operators."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    listen: Address | None = Field(
        default="127.0.0.1:50053",
        description=(
            "Address of `/metrics`, `/livez`, `/readyz` and `/version`: HTTP, plain text, no key."
            " null: there is no such port."
        ),
    )
    console: bool = Field(
        default=False,
        description=(
            "Pages for operators below `/console`, for administrators only: the browser asks for an"
            " API key. What it sends is as readable on the way as all of this port: let a proxy"
            " with TLS stand before it, unless the port is the machine's own."
        ),
    )

    @field_validator("console")
    @classmethod
    def _has_its_library(cls, console: bool) -> bool:  # noqa: FBT001 - as the library calls it
        if console:
            require("console")
        return console

"""Where the admin port is."""

from pydantic import BaseModel, ConfigDict, Field

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

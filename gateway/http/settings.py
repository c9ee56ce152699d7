"""Where the HTTP listener is, and which pages may call it."""

from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gateway.extras import require
from gateway.rpc.settings import Address

EVERY_ORIGIN: Final = "*"


def _origin(value: str) -> str:
    """As browsers write it in the header `origin`."""
    parts = urlsplit(value)
    known = parts.scheme in {"http", "https"} and bool(parts.hostname)
    if value != EVERY_ORIGIN and not (
        known and value == f"{parts.scheme}://{parts.netloc}".lower()
    ):
        raise ValueError(
            "is not an origin. Write scheme, host and port as a browser does, in small letters and"
            " without a path, such as https://console.example.com; or '*' for every page"
        )
    return value


Origin = Annotated[str, AfterValidator(_origin)]


class HttpSettings(BaseModel):
    """Calls over HTTP/1.1: Connect, gRPC-Web and Server-Sent Events."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    listen: Address | None = Field(
        default=None,
        description=(
            "Address of the HTTP listener: every RPC as JSON, Connect and gRPC-Web; with"
            " `server.tls` as HTTPS. Unset: there is none."
        ),
    )
    allowed_origins: tuple[Origin, ...] = Field(
        default=(),
        description=(
            "Origins of web pages whose scripts may call it (CORS), such as"
            " `https://console.example.com`. None: no page of another origin."
        ),
    )

    @model_validator(mode="after")
    def _servable(self) -> Self:
        if self.listen is not None:
            require("http")
        return self

"""What is recorded, where, and what happens when it cannot be."""

import ipaddress
import re
import socket
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gateway.audit.chain import MIN_KEY_CHARS
from gateway.collector import check_authorities, collector, no_collector
from gateway.extras import require
from gateway.secret import SecretReference

Word = Literal["none", "metadata", "request", "request_response"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_HEADER: Final = re.compile(r"[a-z0-9_.-]+")
_COLLECTOR_PORT: Final = 4317
_DAY_S: Final = 86_400.0
_SHORTEST_SEGMENT_S: Final = 60.0
_STRANGE: Final = re.compile(r"[^A-Za-z0-9_-]")


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"is no IP network: {error}. Write it as 10.0.0.0/8") from None
    return text


def _collector(text: str) -> str:
    if collector(text, _COLLECTOR_PORT).path.strip("/"):
        raise no_collector(_COLLECTOR_PORT)
    return text


def _header(name: str) -> str:
    if not _HEADER.fullmatch(name) or name.endswith("-bin"):
        raise ValueError(
            f"has no name of gRPC metadata: {name!r}. Use small letters, digits, -, _ and ., such"
            " as authorization"
        )
    return name


class OtlpSettings(BaseModel):
    """An OpenTelemetry collector that gets a copy of every record."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    endpoint: Annotated[str, AfterValidator(_collector)] = Field(
        description=(
            "Address of the OTLP/gRPC receiver of an OpenTelemetry collector: https://host:4317, or"
            " http:// for plain text."
        )
    )
    ca_file: Path | None = Field(
        default=None,
        description="PEM file of the authorities of its certificate. Unset: the system's.",
    )
    headers: dict[Annotated[str, AfterValidator(_header)], SecretReference] = Field(
        default_factory=dict,
        description="Metadata of each request, such as `authorization`: a secret by name.",
    )
    timeout_s: float = Field(default=10, gt=0, le=60, description="How long a request may take.")

    @model_validator(mode="after")
    def _sendable(self) -> Self:
        require("otlp")
        check_authorities(self.endpoint, self.ca_file)
        return self


class LevelRule(BaseModel):
    """A level for some calls. The first rule that fits a call counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rpc: str = Field(
        default="*", description="RPCs that are meant, with `*` for any text: `VaultService/List*`."
    )
    tenant: str = Field(default="*", description="Tenants that are meant, with `*` for any text.")
    level: Word = Field(
        description=(
            "How much of these calls is recorded. Changes and refusals are recorded at `metadata`"
            " at least."
        )
    )


class AuditSettings(BaseModel):
    """The audit log. It is on where `directory` or `stdout` is given."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    directory: Path | None = Field(
        default=None, description="Directory of the log's files. Several processes may share it."
    )
    stdout: bool = Field(
        default=False, description="Write the records to standard output instead, for containers."
    )
    key: SecretReference | None = Field(
        default=None,
        description=(
            "Key of the chain and of hashed values: at least 32 characters, kept for years."
        ),
    )
    writer: str | None = Field(
        default=None,
        pattern="^[A-Za-z0-9_-]{1,63}$",
        description=(
            "Name of this process in the log, its own among those of the directory. Unset: the"
            " host's."
        ),
    )
    anchors: Path | None = Field(
        default=None,
        description=(
            "File for the signed heads of the chain, in another place than the log. Unset: the"
            " diagnostic log has them."
        ),
    )
    anchor_s: float = Field(
        default=10, gt=0, le=3600, description="Time between two anchors, if anything was recorded."
    )
    reads: Literal["continue", "refuse"] = Field(
        default="continue",
        description=(
            "Calls that change nothing while records cannot be written. Changes are always refused"
            " then."
        ),
    )
    timeout_s: float = Field(
        default=1, gt=0, le=10, description="How long a change waits for its record to be on disk."
    )
    segment_mib: float = Field(
        default=64, gt=0, le=1024, description="Size at which a new file is begun."
    )
    segment_hours: float = Field(
        default=24,
        gt=0,
        description=(
            "Age at which a new file is begun, also without a record; a tenth of `retention_days`,"
            " if that is less."
        ),
    )
    retention_days: float | None = Field(
        default=None,
        gt=0,
        description=(
            "Age at which closed files are removed, by the clock, the time that gateways ran, and"
            " CBR's or a Valkey's clock. Unset: never."
        ),
    )
    compress: bool = Field(default=True, description="Pack closed files with gzip.")
    trusted_proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        default=(), description="Networks of proxies whose `x-forwarded-for` is trusted."
    )
    otlp: OtlpSettings | None = Field(
        default=None,
        description="An OpenTelemetry collector that gets a copy of every record in the files.",
    )
    policy: tuple[LevelRule, ...] = Field(
        default=(), description="How much is recorded of which calls; the first that fits counts."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.directory is not None and self.stdout:
            raise ValueError("has a directory and stdout. Choose one of the two")
        if self.otlp is not None and self.directory is None:
            raise ValueError(
                "has otlp and no directory. Records are sent from the files, so that none is lost"
                " while the collector is away"
            )
        if self.on and self.key is None:
            raise ValueError(
                "needs a key. Make one with `openssl rand -hex 32` and name where it is kept: key:"
                " {file: PATH}"
            )
        if self.key is not None and len(self.key.reveal()) < MIN_KEY_CHARS:
            raise ValueError(
                f"has a key of less than {MIN_KEY_CHARS} characters. Make one with `openssl rand"
                " -hex 32`"
            )
        return self

    @property
    def on(self) -> bool:
        return self.directory is not None or self.stdout

    @property
    def segment_s(self) -> float:
        """How often, at least, a writer begins a segment, so that retention is seen to pass."""
        longest_s = self.segment_hours * 3600
        return (
            longest_s
            if self.retention_days is None
            else min(longest_s, max(_SHORTEST_SEGMENT_S, self.retention_days * _DAY_S / 10))
        )

    @property
    def kind(self) -> str:
        """Where records go, for people: files, stdout or off."""
        return "files" if self.directory is not None else "stdout" if self.stdout else "off"

    @property
    def networks(self) -> tuple[Network, ...]:
        return tuple(ipaddress.ip_network(text) for text in self.trusted_proxies)

    @property
    def writer_name(self) -> str:
        return self.writer or _STRANGE.sub("-", socket.gethostname())[:63] or "gateway"

"""What the gRPC server can be told.

The limits protect one process against its callers; their defaults are the values that were measured
to hold.
"""

import ssl
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gateway.cores import usable_cores
from gateway.regular_file import read_file
from gateway.secret import named

MAX_PORT = 65535
_MAX_WORKERS = 64


def _address(value: str) -> str:
    """`host:port` with a bracketed IPv6 host; port 0 lets the system choose."""
    host, colon, port = value.rpartition(":")
    port_known = port.isascii() and port.isdigit() and int(port) <= MAX_PORT
    host_known = bool(host) and (":" not in host or (host.startswith("[") and host.endswith("]")))
    if not (colon and port_known and host_known):
        raise ValueError(
            "is not an address. Write host:port, such as 127.0.0.1:50051 or [::]:50051, with a"
            f" port from 0 to {MAX_PORT}"
        )
    return value


def _readable(value: Path) -> Path:
    try:
        read_file(value)
    except OSError as error:
        raise ValueError(
            f"cannot be read: {named(value)}: {error.strerror}. Give the path of a file that this"
            " user may read"
        ) from error
    return value


def _workers(value: object) -> object:
    if value == "auto":
        return min(usable_cores(), _MAX_WORKERS)
    if isinstance(value, str) and not value.isdecimal():
        raise ValueError(f"is neither a number from 1 to {_MAX_WORKERS} nor auto")
    return value


Address = Annotated[str, AfterValidator(_address)]
ReadableFile = Annotated[Path, AfterValidator(_readable)]


class TlsSettings(BaseModel):
    """Files of the server's TLS identity, PEM. Without this part the server speaks plain text."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    certificate_file: ReadableFile = Field(
        description="Certificate chain of the server, leaf first."
    )
    key_file: ReadableFile = Field(description="Private key of the certificate.")
    client_ca_file: ReadableFile | None = Field(
        default=None,
        description="Authorities of client certificates. When set, every client must present one.",
    )
    start_expired: bool = Field(
        default=False,
        description=(
            "Whether to start, and let `check` pass, with certificates here that have expired, for"
            " clients that do not look. None that has expired is taken over while it serves."
        ),
    )

    @model_validator(mode="after")
    def _usable(self) -> Self:
        self.check_files()
        return self

    def check_files(self) -> None:
        """Finds here what grpc would report as a port that it cannot listen on.

        Raises ValueError, and OSError for a file that cannot be read.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # An empty password stands for none: without it an encrypted key would ask for one on
            # the terminal.
            context.load_cert_chain(self.certificate_file, self.key_file, password="")
        except ssl.SSLError as error:
            text = (
                "Give a certificate chain, the server's own first, and its own unencrypted key,"
                " both PEM"
            )
            raise ValueError(
                "certificate_file and key_file are not a usable pair"
                f" ({error.reason or 'not PEM'}). {text}"
            ) from error
        try:
            if self.client_ca_file:
                context.load_verify_locations(self.client_ca_file)
        except ssl.SSLError as error:
            raise ValueError(
                f"client_ca_file holds no certificate ({error.reason or 'not PEM'}). Give"
                " certificates in PEM"
            ) from error


class ServerLimits(BaseModel):
    """Bounds on what one process takes from the network before any RPC is looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_connections: int = Field(
        default=1000,
        ge=1,
        description="Open connections, half-open ones included; further ones are cut at once.",
    )
    max_connections_per_address: int | None = Field(
        default=None,
        ge=1,
        description=(
            "Open connections from one address; the newest of more are ended within a second."
            " Unset: as many as `max_connections`, since proxies have one address for all."
        ),
    )
    max_unidentified_connections: int = Field(
        default=200,
        ge=1,
        description=(
            "Open connections on which no caller has been identified yet; the oldest of more are"
            " ended within a second."
        ),
    )
    identification_timeout_s: float = Field(
        default=20,
        gt=0,
        description=("Time for a connection until a caller is identified on it; then it is ended."),
    )
    max_concurrent_streams: int = Field(
        default=256,
        ge=1,
        description=(
            "Calls in flight on one connection, streams included. More of them wait in the client"
            " or are refused unread."
        ),
    )
    max_pending_requests: int = Field(
        default=128,
        ge=1,
        description=(
            "Calls that wait to be accepted; at twice as many, every further one is refused."
        ),
    )
    max_message_bytes: int = Field(
        default=128 * 1024,
        ge=1024,
        description=(
            "Size of a request message, also after decompression. RPCs that name many"
            " resources with their disks take 1 MiB."
        ),
    )
    message_timeout_s: float = Field(
        default=10,
        gt=0,
        description="Time for a call's request to arrive, once its caller is known.",
    )
    max_metadata_bytes: int = Field(
        default=16 * 1024, ge=1024, description="Size of a call's metadata."
    )
    handshake_timeout_s: float = Field(
        default=5, gt=0, description="Time for a connection to become usable, TLS included."
    )
    max_connection_age_s: float = Field(
        default=1800,
        gt=0,
        description=(
            "Age at which a connection is asked to end, also one of a revoked client certificate."
        ),
    )
    max_connection_age_grace_s: float = Field(
        default=3600,
        gt=0,
        description=(
            "Time that calls on an aged connection have to finish: longer than a stream lives."
        ),
    )
    keepalive_time_s: float = Field(
        default=60, gt=0, description="Silence after which the server probes a connection."
    )
    keepalive_timeout_s: float = Field(
        default=20, gt=0, description="Time for the answer to a probe before the connection is cut."
    )
    max_ping_strikes: int = Field(
        default=2, ge=1, description="Pings sent too often before the connection is cut."
    )


class OverloadSettings(BaseModel):
    """How many calls are carried out at once, and what becomes of more. Streams and waits count
    only until they have begun.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_calls: int = Field(
        default=64,
        ge=1,
        description="Calls that are carried out at once however busy the event loop is.",
    )
    max_calls: int = Field(
        default=1024,
        ge=1,
        description=(
            "The same while the event loop has time; between the two as many as leave it time."
            " Each tenant always has its equal part."
        ),
    )
    max_waiting: int = Field(
        default=512,
        ge=0,
        description=(
            "Further calls that wait for their turn; one more, and the oldest of the tenant with"
            " most of them is refused as OVERLOADED."
        ),
    )
    max_wait_s: float = Field(
        default=2,
        gt=0,
        description=(
            "Longest time that a call waits before it is refused as OVERLOADED; never longer than a"
            " fifth of the time that its caller gives it, in the first second of a burst three"
            " fifths."
        ),
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_calls > self.max_calls:
            raise ValueError(
                f"min_calls ({self.min_calls}) is above max_calls ({self.max_calls}). Give the"
                " smaller number as min_calls"
            )
        return self


class ServerSettings(BaseModel):
    """Where the server listens and how it ends."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    listen: Address = Field(default="127.0.0.1:50051", description="Address of the gRPC services.")
    health_listen: Address = Field(
        default="127.0.0.1:50052",
        description="Address of the gRPC health service: plain text, apart from the load.",
    )
    tls: TlsSettings | None = Field(
        default=None,
        description=(
            "TLS identity of `listen`. Unset: plain text, for loopback or behind a TLS proxy only."
        ),
    )
    workers: Annotated[int, BeforeValidator(_workers)] = Field(
        default=1,
        ge=1,
        le=_MAX_WORKERS,
        description=(
            "Processes that take the calls, on one port; `auto`: one for each processor. One is"
            " without a parent process."
        ),
    )
    reflection: bool = Field(
        default=False,
        description="Offer server reflection v1 and v1alpha, for tools such as grpcurl.",
    )
    stall_s: float = Field(
        default=5,
        gt=0,
        le=60,
        description=(
            "Health says NOT_SERVING once the event loop, which carries all calls, has stood still"
            " for so long."
        ),
    )
    drain_delay_s: float = Field(
        default=5,
        ge=0,
        description=(
            "After SIGTERM: time of serving on while health says NOT_SERVING, so that balancers"
            " look away."
        ),
    )
    drain_grace_s: float = Field(
        default=25,
        ge=0,
        description="After that: time for calls in flight to finish before they are cut.",
    )
    limits: ServerLimits = Field(
        default_factory=ServerLimits, description="Bounds against overload and abuse."
    )
    overload: OverloadSettings = Field(
        default_factory=OverloadSettings,
        description="Calls that are carried out at once, and those that wait.",
    )

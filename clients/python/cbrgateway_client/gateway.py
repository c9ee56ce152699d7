"""Channels to a gateway: encrypted unless asked otherwise, and with everything that each call
needs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc

from cbrgateway_client import address as addresses
from cbrgateway_client.calls import AioStreams, AioUnary, Blocking, Metadata

_MAX_RECONNECT_BACKOFF_MS: Final = 5000
"""gRPC's own waits up to two minutes before it looks again for a gateway that was away."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where the gateway is, and who calls it.

    Calls through its channels

    - carry the credential, and `x-cbr-project-id` where a project is given;
    - have a deadline: 20 s for a read, 60 s for a change, or an earlier one of yours;
    - are repeated when the gateway cannot be reached; changes, too, since each has a request_id,
      yours or a new one;
    - raise CallError, where they are not futures of the blocking API.

    Raises ValueError for what is no address, and for a credential or project that cannot stand in a
    header, such as one with the end of its line; from calls, if a function has returned it. Raises
    OSError from the methods if a file cannot be read, ValueError for a certificate without its key.
    """

    address: str
    """`host:port`, or a name that gRPC resolves, such as `dns:///host:port`."""
    credential: str | Callable[[], str] = field(default="", repr=False)
    """An API key or a token (JWT).

    A function is asked for each call, so that a token can be renewed; it must not block.
    """
    project_id: str = ""
    """The project to act in, for tenants that have several."""
    plaintext: bool = False
    """Do not encrypt: on the same machine, or within a service mesh."""
    ca_file: Path | None = None
    """Authorities (PEM) that the gateway's certificate is checked against.

    None: those that gRPC comes with.
    """
    certificate_file: Path | None = None
    key_file: Path | None = None
    """The caller's own certificate and key (PEM), for gateways that want one.

    Files are read for each channel that is made.
    """
    ca_pem: bytes | None = None
    certificate_pem: bytes | None = None
    key_pem: bytes | None = field(default=None, repr=False)
    """The same from memory, in the place of files."""
    interceptors: Sequence[Any] = ()
    """Of gRPC, for channels of the kind that is made. They see calls as they are sent."""
    options: Sequence[tuple[str, int | str]] = ()
    """Arguments of the channel, which count before ours."""

    def __post_init__(self) -> None:
        addresses.check(self.address)
        if not callable(self.credential):
            _check("credential", self.credential)
        _check("project_id", self.project_id)

    def channel(self) -> grpc.Channel:
        """For calls that block. Use it in a `with` block, and once for many calls."""
        options = (*_options(), *self.options)
        bare = (
            grpc.insecure_channel(self.address, options)
            if self.plaintext
            else grpc.secure_channel(self.address, self._tls(), options)
        )
        ours = Blocking(self._metadata, plaintext=self.plaintext)
        return grpc.intercept_channel(bare, ours, *self.interceptors)

    def aio_channel(self) -> grpc.aio.Channel:
        """For asyncio. Use it in an `async with` block, and once for many calls."""
        options = (*_options(), *self.options)
        ours = (AioUnary(self._metadata, plaintext=self.plaintext), AioStreams(self._metadata))
        around = (*ours, *self.interceptors)
        if self.plaintext:
            return grpc.aio.insecure_channel(self.address, options, interceptors=around)
        return grpc.aio.secure_channel(self.address, self._tls(), options, interceptors=around)

    def _tls(self) -> grpc.ChannelCredentials:
        ca = _pem("ca", self.ca_file, self.ca_pem)
        key = _pem("key", self.key_file, self.key_pem)
        certificate = _pem("certificate", self.certificate_file, self.certificate_pem)
        if (key is None) is not (certificate is None):
            raise ValueError("a certificate and its key belong together: only one of them is there")
        return grpc.ssl_channel_credentials(ca, key, certificate)

    def _metadata(self) -> Metadata:
        if callable(self.credential):
            credential = self.credential()
            _check("token that the function `credential` returned", credential)
        else:
            credential = self.credential
        who = (("authorization", f"Bearer {credential}"),) if credential else ()
        return (*who, ("x-cbr-project-id", self.project_id)) if self.project_id else who


def _pem(what: str, file: Path | None, content: bytes | None) -> bytes | None:
    if file and content:
        raise ValueError(f"{what}_file and {what}_pem are both given: leave one of them out")
    return Path(file).read_bytes() if file else content


def _check(what: str, value: str) -> None:
    """Before gRPC does: its error would show the value."""
    if not (value.isascii() and value.isprintable()):
        raise ValueError(
            f"The {what} has a character that cannot stand in a header, such as the end of a line."
        )


def _options() -> list[tuple[str, int | str]]:
    return [
        (
            "grpc.service_config",
            Path(__file__).with_name("service_config.json").read_text("utf-8"),
        ),
        # Requests of up to 1 MiB are repeated, too. gRPC would keep none above 256 KiB for that.
        ("grpc.per_rpc_retry_buffer_size", 2 * 1024 * 1024),
        ("grpc.max_reconnect_backoff_ms", _MAX_RECONNECT_BACKOFF_MS),
        # A connection that died without a word is noticed while calls wait for it.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
        # A connection of its own for each channel. gRPC would let all channels to an address share
        # one, which carries 256 calls at a time.
        ("grpc.use_local_subchannel_pool", 1),
    ]

"""The certificate by which the gateway is known, and the authorities of its clients' ones, both as
their files are now.

gRPC asks for them at every handshake, one at a time for the whole server, and tells of a pair that
does not fit on standard error only: so the files are read and checked elsewhere, and what waits
here is ready to be handed over.
"""

from typing import Any, Protocol

import grpc

from gateway.regular_file import read_file
from gateway.rpc.settings import TlsSettings


class Certificate(Protocol):
    """Files of one server's TLS identity, in use as they were last read."""

    tls: TlsSettings

    def read(self) -> Any:  # noqa: ANN401 - each kind of server has its own
        """What the files hold. Raises OSError."""
        ...

    def use(self, fresh: Any, /) -> None:  # noqa: ANN401 - as above
        """From the next handshake on."""
        ...


class ServerCertificate:
    """Of one server. Raises OSError for files that cannot be read."""

    def __init__(self, tls: TlsSettings) -> None:
        self.tls = tls
        self._fresh: Any = None
        self.credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
            self.read(), self._fetch, require_client_authentication=tls.client_ca_file is not None
        )

    def read(self) -> Any:  # noqa: ANN401 - a type of gRPC without a name
        """What the files hold. Raises OSError."""
        tls = self.tls
        roots = read_file(tls.client_ca_file) if tls.client_ca_file else None
        pair = (read_file(tls.key_file), read_file(tls.certificate_file))
        return grpc.ssl_server_certificate_configuration([pair], roots)

    def use(self, configuration: Any) -> None:  # noqa: ANN401 - as above
        """From the next handshake on."""
        self._fresh = configuration

    def _fetch(self) -> Any:  # noqa: ANN401 - as above
        """Called in a thread of gRPC's. None: what it has is still right."""
        fresh, self._fresh = self._fresh, None
        return fresh

"""The certificate of the HTTP listener, and the authorities of its clients' ones: the same files as
for gRPC, taken over in the same way.
"""

import ssl

from gateway.rpc.settings import TlsSettings


class HttpCertificate:
    """Of one listener. Raises OSError for files that cannot be read."""

    def __init__(self, tls: TlsSettings) -> None:
        self.tls = tls
        self._current = self.context = self.read()
        self.context.sni_callback = self._choose

    def read(self) -> ssl.SSLContext:
        """What the files hold. Raises OSError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.tls.certificate_file, self.tls.key_file, password="")
        if self.tls.client_ca_file is not None:
            context.load_verify_locations(self.tls.client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def use(self, context: ssl.SSLContext) -> None:
        """From the next handshake on."""
        self._current = context

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _first: ssl.SSLContext) -> None:
        connection.context = self._current

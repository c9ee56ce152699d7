"""From the metadata of a call to who calls and for which project.

The transport passes repeated entries on as they are; two `authorization` entries could make a proxy
and this gateway see two different callers, so repeats are refused. A project that is not the
tenant's gets the same answer whether it exists or not, before anything is looked up.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from cbrgateway.v1 import errors_pb2

from gateway.errors import GatewayError, Violation
from gateway.tenants import AuthenticationError, Principal, Project, TenantDirectory
from gateway.upstream.declaration import Binding

AUTHORIZATION: Final = "authorization"
CERTIFICATE: Final = "x509_pem_cert"
"""Where grpc puts a client's certificate after TLS has verified it against
`server.tls.client_ca_file`.
"""
PROJECT: Final = "x-cbr-project-id"
_SCHEME: Final = "bearer"

Metadata = Iterable[tuple[str, str | bytes]]


def single(metadata: Metadata, name: str) -> str | None:
    """The value of an entry that may occur once. Raises METADATA_INVALID."""
    found = [value for key, value in metadata if key == name]
    if len(found) > 1:
        raise _invalid(name, "occurs more than once; send it once")
    if not found:
        return None
    value = found[0]
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise _invalid(name, "must be printable ASCII")
    return value


def _invalid(name: str, description: str) -> GatewayError:
    return GatewayError(
        errors_pb2.ERROR_REASON_METADATA_INVALID,
        f"Metadata entry {name} {description}.",
        violations=(Violation(f"metadata.{name}", description, "metadata"),),
    )


async def authenticate(
    directory: TenantDirectory, metadata: Metadata, certificate: bytes | None = None
) -> Principal:
    """Who calls.

    `certificate`: the client's, in PEM, verified by TLS. Raises CREDENTIALS_INVALID or
    METADATA_INVALID.

    What a caller shows must all be right: a bad token is refused although the certificate is good.
    """
    value = single(metadata, AUTHORIZATION)
    try:
        holder = directory.by_certificate(certificate) if certificate is not None else None
        principal = holder
        if value is not None:
            shown = _bearer(value)
            principal = directory.by_api_key(shown) or await directory.by_token(shown)
        if holder is None and principal is not None:
            return principal
        return _agreed(holder, principal)
    except AuthenticationError as refusal:
        how = (
            ""
            if value is not None
            else "; send the metadata entry 'authorization: Bearer <API key or JWT>'"
        )
        raise GatewayError(
            errors_pb2.ERROR_REASON_CREDENTIALS_INVALID, f"Authentication failed: {refusal}{how}."
        ) from None


def _agreed(holder: Principal | None, principal: Principal | None) -> Principal:
    """The caller, once the certificate's holder and the principal that the call names are of one
    tenant.
    """
    if holder is None or principal is None:
        raise AuthenticationError("it carries no API key, token or certificate of a principal")
    if holder.tenant.id != principal.tenant.id:
        raise AuthenticationError(
            "the client certificate and the key or token mean different tenants"
        )
    return replace(principal, valid_until=min(principal.valid_until, holder.valid_until))


def _bearer(value: str) -> str:
    scheme, _, text = value.partition(" ")
    if scheme.lower() != _SCHEME or not text.strip():
        raise AuthenticationError(
            "the entry authorization does not have the form 'Bearer <API key or JWT>'"
        )
    return text.strip()


def choose_project(principal: Principal, binding: Binding, metadata: Metadata) -> Project:
    """The project of the call.

    Raises ADMINISTRATOR_ONLY, PERMISSION_MISSING, PROJECT_DENIED or METADATA_INVALID.
    """
    principal.grant.check(binding)
    return project_of(principal, single(metadata, PROJECT), PROJECT)


def project_of(
    principal: Principal, named: str | None, where: str, otherwise: str = "the default one"
) -> Project:
    """One of the tenant's projects; its default one for None. `where`: it is named; `otherwise`:
    what a call without it is about.

    Raises PROJECT_DENIED.
    """
    project = principal.tenant.project(named)
    if project is None:
        raise GatewayError(
            errors_pb2.ERROR_REASON_PROJECT_DENIED,
            f"The project in {where} is not one of this tenant's; use one that is, or leave it"
            f" out for {otherwise}.",
        )
    return project

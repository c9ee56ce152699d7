"""What every Python caller of CBR Gateway would otherwise write for itself.

Gateway     channels, for asyncio and without: TLS, credential, deadlines, repeats, a request_id for every change
CallError   what a refusal says, unpacked

The calls themselves are those of the generated stubs, `cbrgateway.v1`.
"""

from cbrgateway_client.errors import CallError
from cbrgateway_client.gateway import Gateway

__all__ = ["CallError", "Gateway"]

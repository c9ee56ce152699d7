"""The records in which the log speaks of itself, in the same form as all others."""

import os
import time
from importlib.metadata import version
from typing import Any, Final

from gateway.audit.events import Event
from gateway.audit.record import (
    OCSF_VERSION,
    Actor,
    Api,
    Cloud,
    Endpoint,
    Metadata,
    Product,
    Record,
    Service,
    Unmapped,
    activity,
    ascii_json,
    message,
)

PRODUCT: Final = Product(
    name="CBR Gateway", vendor_name="cbrgateway", version=version("cbr-gateway")
)
CLOUD: Final = "Huawei Cloud"
SELF: Final = "cbr-gateway"
API_VERSION: Final = "v1"
PROFILES: Final = ("cloud",)
INFORMATIONAL: Final = 1
_SUCCESS: Final = 1


def own_record(
    event: Event,
    *,
    subject: str = "",
    tenant: str = "",
    operation: str = "Audit/Log",
    **more: Any,  # noqa: ANN401 - any message or value
) -> bytes:
    """The body of a record about the log.

    `subject`: the change that it is about, if any; `more`: members of Unmapped.
    """
    number, name, type_uid = activity("other")
    record = Record(
        activity_id=number,
        activity_name=name,
        type_uid=type_uid,
        severity_id=INFORMATIONAL,
        status_id=_SUCCESS,
        time=round(time.time() * 1000),
        message=message(event, operation),
        metadata=metadata(event, subject, tenant),
        actor=Actor(app_name=SELF),
        api=Api(
            operation=operation,
            service=Service(name=operation.partition("/")[0]),
            version=API_VERSION,
        ),
        src_endpoint=Endpoint(name=SELF),
        cloud=Cloud(provider=CLOUD),
        unmapped=Unmapped(stage=event.stage, event=event.name, **more),
    )
    return ascii_json(record)


def metadata(event: Event, correlation: str, tenant: str) -> Metadata:
    return Metadata(
        uid=os.urandom(16).hex(),
        event_code=event.code,
        version=OCSF_VERSION,
        product=PRODUCT,
        correlation_uid=correlation,
        tenant_uid=tenant,
        profiles=PROFILES,
    )

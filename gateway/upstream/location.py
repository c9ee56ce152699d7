"""The id of what a change has made, where its answer names it in the header `Location` alone.

No answer of CBR is known to be so. Where one is, it counts only in the shape that cannot mean
anything else: the address that was posted to, and one UUID below it.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from cbrgateway.v1 import options_pb2

from gateway.upstream import wire
from gateway.upstream.declaration import Binding
from gateway.upstream.http import HttpRequest, HttpResponse
from gateway.upstream.values import Json

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def named_in(
    response: HttpResponse, request: HttpRequest, binding: Binding
) -> Mapping[str, Json] | None:
    """The member that an answer's body lacks; None where the header does not tell it."""
    key = _object_key(binding)
    collection, _, made = _path(response.headers.get("location", "")).rpartition("/")
    if key and collection == _path(request.url) and _UUID.fullmatch(made):
        return {key: {"id": made}}
    return None


def _path(url: str) -> str:
    """Empty where more than a path tells what is meant."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return "" if parts.query or parts.fragment else parts.path


def _object_key(binding: Binding) -> str:
    """The key of the object that an answer to the change cannot do without, and that needs nothing
    but its id; empty where there is none.
    """
    if binding.method != "POST":
        return ""
    for fd in binding.descriptor.output_type.fields:
        inside = None if fd.is_repeated else fd.message_type
        if inside is not None and wire.required(fd):
            always = options_pb2.REQUIRED_ALWAYS
            wanted = [each.name for each in inside.fields if wire.required(each) == always]
            return wire.json_key(fd) if wanted == ["id"] else ""
    return ""

"""The API as one OpenAPI 3.1 document: what JSON over HTTP looks like, from the descriptors and the
comments of the protos.
"""

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, Final

from gateway.http.codes import STATUS, code_name
from gateway.http.schemas import Schema, Schemas
from gateway.upstream.declaration import Binding
from gateway.upstream.reference import ErrorReference, errors_named, load_comments

_EVERY: Final = (
    "CREDENTIALS_INVALID",
    "PERMISSION_MISSING",
    "PROJECT_DENIED",
    "FIELD_INVALID",
    "METADATA_INVALID",
    "RATE_LIMIT",
    "OVERLOADED",
    "SHUTTING_DOWN",
    "INTERNAL",
)
"""Reasons of any call."""
_UPSTREAM: Final = (
    "DEADLINE_TOO_SHORT",
    "UPSTREAM_THROTTLED",
    "UPSTREAM_UNREACHABLE",
    "UPSTREAM_UNAVAILABLE",
)
"""And of any that CBR is called for."""
_LISTENER: Final = {
    "415": "The content-type is not one that the RPC takes; the header accept-post has one.",
    "431": "The headers have too many bytes.",
}
"""What ends a request before it is a call, with `METADATA_INVALID`."""
_PARAMETERS: Final = {
    "project": {
        "name": "x-cbr-project-id",
        "in": "header",
        "description": "The project, where the tenant has several.",
        "schema": {"type": "string"},
    },
    "timeout": {
        "name": "connect-timeout-ms",
        "in": "header",
        "description": "A deadline, in milliseconds.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 9_999_999_999},
    },
}
_CONTENT: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
_ERROR: Final[Schema] = {
    "type": "object",
    "description": "How a call fails, with the details that errors have in gRPC. What is no call is"
    " refused in the same form, with a google.rpc.Help that leads to this document.",
    "properties": {
        "code": {"type": "string", "enum": sorted(STATUS)},
        "message": {"type": "string", "description": "What is wrong, and what to do."},
        "details": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "type": {"type": "string", "examples": ["google.rpc.ErrorInfo"]},
                    "value": {"type": "string", "contentEncoding": "base64"},
                    "debug": {
                        "type": "object",
                        "description": "What it says. The `reason` of google.rpc.ErrorInfo is the"
                        " one to branch on.",
                    },
                },
                "required": ["type", "value"],
            },
        },
    },
    "required": ["code", "message"],
}


def document(catalog: Iterable[Binding]) -> dict[str, Any]:
    comments = load_comments()
    schemas = Schemas(comments)
    schemas.known["Error"] = _ERROR
    bindings = list(catalog)
    services = {each.descriptor.containing_service.name: each for each in bindings}
    paths = {
        f"/{each.descriptor.containing_service.full_name}/{each.descriptor.name}": {
            "post": _operation(each, comments, schemas)
        }
        for each in bindings
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "CBR Gateway",
            "version": version("cbr-gateway"),
            "description": "Huawei Cloud Backup and Recovery. Every RPC as JSON over HTTP.",
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": [
            {
                "name": name,
                "description": comments.get(each.descriptor.containing_service.full_name, ""),
            }
            for name, each in services.items()
        ],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "parameters": _PARAMETERS,
            "responses": _common(comments),
            "schemas": dict(sorted(schemas.known.items())),
        },
    }


def _operation(binding: Binding, comments: Mapping[str, str], schemas: Schemas) -> dict[str, Any]:
    method = binding.descriptor
    comment = comments.get(method.full_name, "")
    answer = schemas.reference(method.output_type)
    form = "text/event-stream" if method.server_streaming else "application/json"
    told = "Its messages, an event each." if method.server_streaming else "The answer."
    return {
        "operationId": binding.rpc.replace("/", "_"),
        "tags": [method.containing_service.name],
        "summary": re.split(r"(?<=\.)\s", comment, maxsplit=1)[0],
        "description": comment,
        "parameters": [
            {"$ref": "#/components/parameters/project"},
            {"$ref": "#/components/parameters/timeout"},
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schemas.reference(method.input_type)}},
        },
        "responses": {"200": {"description": told, "content": {form: {"schema": answer}}}}
        | _errors(binding, comment, comments),
    }


def _errors(binding: Binding, comment: str, comments: Mapping[str, str]) -> dict[str, Any]:
    """A response for each status: of what any call may end with the common one, and beside it what
    the RPC's comment names.
    """
    always = [*_EVERY, *(_UPSTREAM if binding.operation else ())]
    always += [] if binding.reads else ["OUTCOME_UNKNOWN"]
    own = _by_status(errors_named(comment, comments))
    common = _by_status(errors_named(" ".join(always), comments))
    told = {
        str(status): _response(own[status], see=status in common)
        if status in own
        else {"$ref": f"#/components/responses/{status}"}
        for status in sorted({*own, *common})
    }
    told |= {status: {"$ref": f"#/components/responses/{status}"} for status in _LISTENER}
    return {**told, "default": {"$ref": "#/components/responses/other"}}


def _common(comments: Mapping[str, str]) -> dict[str, Any]:
    """The responses of any call."""
    named = errors_named(" ".join((*_EVERY, *_UPSTREAM, "OUTCOME_UNKNOWN")), comments)
    told = {str(status): _response(found) for status, found in _by_status(named).items()}
    other = {
        "description": "Another error: see its code and, in its details, its reason.",
        "content": _CONTENT,
    }
    told |= {
        status: {"description": text, "content": _CONTENT} for status, text in _LISTENER.items()
    }
    return {**told, "other": other}


def _by_status(errors: Iterable[ErrorReference]) -> dict[int, list[ErrorReference]]:
    found: dict[int, list[ErrorReference]] = {}
    for each in errors:
        found.setdefault(STATUS[code_name(each.code)], []).append(each)
    return found


def _response(errors: Iterable[ErrorReference], *, see: bool = False) -> dict[str, Any]:
    lines = [f"- `{each.reason}`: {each.comment}" for each in errors]
    lines += ["- and what any call may end with"] if see else []
    return {"description": "\n".join(lines), "content": _CONTENT}

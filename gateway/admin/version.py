"""Which gateway this is."""

import json
import platform
from collections.abc import Callable
from http import HTTPStatus
from importlib.metadata import version
from typing import Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from gateway.admin.http import answer

_LIBRARIES: Final = ("grpcio", "protobuf")


def versions() -> dict[str, str]:
    """Of the gateway and of what it stands on."""
    known = {"version": version("cbr-gateway"), "python": platform.python_version()}
    return known | {name: version(name) for name in _LIBRARIES}


def version_page(configuration: Callable[[], str]) -> WSGIApplication:
    """`configuration`: the version of the one in use."""
    known = versions()

    def serve(_environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        text = json.dumps(known | {"configuration": configuration()}, indent=2) + "\n"
        return answer(start, HTTPStatus.OK, text, "application/json")

    return serve

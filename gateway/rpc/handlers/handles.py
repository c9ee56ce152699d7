"""Which RPC a method carries out that is written by hand: it says so by the type of the request."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from google.protobuf.message import Message

from gateway.rpc.call import Call

Own = TypeVar("Own")
Request = TypeVar("Request", bound=Message)
Answer = TypeVar("Answer")
More = ParamSpec("More")
Method = Callable[Concatenate[Own, Call, Request, More], Awaitable[Answer]]

_REQUEST: Final = "__carries_out__"


def handles(
    request: type[Request],
) -> Callable[[Method[Own, Request, More, Answer]], Method[Own, Request, More, Answer]]:
    """Of a method: it carries out the RPC of this request."""

    def note(method: Method[Own, Request, More, Answer]) -> Method[Own, Request, More, Answer]:
        setattr(method, _REQUEST, request)
        return method

    return note


def rpcs(*handlers: type) -> tuple[str, ...]:
    """The names of all that these classes carry out."""
    return tuple(rpc for each in handlers for rpc, _ in _methods(each))


def by_rpc(handlers: object) -> dict[str, Callable[..., Awaitable[Any]]]:
    """The methods of one object, by the names of their RPCs."""
    return {rpc: getattr(handlers, name) for rpc, name in _methods(type(handlers))}


def _methods(handlers: type) -> Iterator[tuple[str, str]]:
    for name, member in vars(handlers).items():
        if request := getattr(member, _REQUEST, None):
            yield _rpc_of(request), name


def _rpc_of(request: type[Message]) -> str:
    asked = request.DESCRIPTOR
    return next(
        f"{service.name}/{method.name}"
        for service in asked.file.services_by_name.values()
        for method in service.methods
        if method.input_type == asked
    )

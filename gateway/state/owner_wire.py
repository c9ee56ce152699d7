"""What goes between a store's owner and those who ask it: a call of a role's method, and its
answer, as the types of the method say.
"""

import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from gateway.state.store import Store


class Request(Struct, frozen=True, array_like=True):
    """`method`: `operations.begin`. `given`: its arguments, in order."""

    number: int
    method: str
    given: msgspec.Raw


class Answer(Struct, frozen=True, array_like=True):
    """`kind`: which of the method's types `value` has; or one of those below, of a text."""

    number: int
    kind: int
    value: msgspec.Raw


DOWN: Final = -1
"""The store did not answer."""
FAILED: Final = -2
"""A mistake in the code: nothing that a repetition mends."""


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} does not go to the owner of a store")


_encoder: Final = msgspec.msgpack.Encoder(enc_hook=_plain)
encoded: Final = _encoder.encode
decoded_request: Final = msgspec.msgpack.Decoder(Request).decode
decoded_answer: Final = msgspec.msgpack.Decoder(Answer).decode


class Method(Struct, frozen=True):
    """One method of a role. `given`: a struct of its arguments, with their defaults."""

    role: str
    name: str
    given: type[Struct]
    arguments: Callable[[bytes], Any]
    results: tuple[tuple[Any, Callable[[bytes], Any]], ...]
    """Types that it may answer with, and how each is read."""

    def answer(self, number: int, result: object) -> bytes:
        """The frame of a result."""
        kind = 0
        if len(self.results) > 1:
            kind = next(i for i, (known, _) in enumerate(self.results) if type(result) is known)
        return encoded(Answer(number, kind, msgspec.Raw(encoded(result))))

    def result(self, answer: Answer) -> Any:  # noqa: ANN401 - each method has its own
        _, read = self.results[answer.kind]
        return read(bytes(answer.value))


def _method(role: str, name: str, function: Callable[..., Any]) -> Method:
    hints = get_type_hints(function)
    result = hints.pop("return")
    parameters = list(inspect.signature(function).parameters.values())[1:]
    given = msgspec.defstruct(
        name,
        [
            (each.name, hints[each.name])
            if each.default is inspect.Parameter.empty
            else (each.name, hints[each.name], each.default)
            for each in parameters
        ],
        array_like=True,
        frozen=True,
        gc=False,
    )
    read = msgspec.msgpack.Decoder
    results = tuple((kind, read(kind).decode) for kind in _alternatives(result))
    return Method(role, name, given, read(given).decode, results)


def _alternatives(hint: Any) -> tuple[Any, ...]:  # noqa: ANN401 - types as values
    """Bytes do not tell one class from another, so each of several is read by itself."""
    members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else ()
    structs = [each for each in members if isinstance(each, type) and issubclass(each, Struct)]
    return members if len(structs) > 1 else (hint,)


def _methods() -> dict[str, Method]:
    return {
        f"{role}.{name}": _method(role, name, function)
        for role, protocol in get_type_hints(Store).items()
        for name, function in inspect.getmembers(protocol, inspect.iscoroutinefunction)
    }


METHODS: Final[Mapping[str, Method]] = _methods()
"""All that a store can be asked, by name: `operations.begin`."""
ROLES: Final = Store.__struct_fields__

"""The fast way from the bytes of an answer to a message: msgspec decodes them into structs that are
derived from the message's descriptor, and those fill protobuf's constructor.

A struct holds the members that answers have had so far, those without a field included, and refuses
any other, as it refuses a member of another type than declared. Such an answer is left to the plan
(message_plan.py), which takes it in its tolerant way, and is learnt from: the next one of its kind
fits. What does not fit its type is then left to the plan by itself, member by member. So both ways
come to the same message, and this one only to those that need no second look.

Repeated keys are not looked for here: the last one counts (ADR 0017).
"""

from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

import msgspec
from google.protobuf.descriptor import Descriptor

from gateway.upstream.codec import Codecs
from gateway.upstream.error_in_success import MEMBERS, plain, tells_no_error
from gateway.upstream.message_plan import Report
from gateway.upstream.typed_fill import Fill, Filled, Told, fill_plainly
from gateway.upstream.typed_shape import Shape, shape_of
from gateway.upstream.values import Json, ProtocolError
from gateway.upstream.wire import ECHOES

if TYPE_CHECKING:
    from collections.abc import Callable


_ABSENT: Final = (None, "")
_NOTHING: Final = -1
"""Of an answer: not even that nothing is known of it."""


class TypedReader:
    """Reads the answers of one RPC. Made ready by the first of them: most processes meet few RPCs.

    `top`: the message is an answer as a whole.
    """

    def __init__(
        self, answer: Descriptor, codecs: Codecs, *, reads: bool = True, top: bool = True
    ) -> None:
        self._answer, self._codecs, self._reads, self._top = answer, codecs, reads, top
        self._known = _NOTHING
        self._in_vain = 0
        """How many answers since then could neither be read nor be learnt from."""
        self._decode: Callable[[bytes], msgspec.Struct]
        self._convert: Callable[[Json], msgspec.Struct]
        self._fill: Fill = fill_plainly

    @cached_property
    def _shape(self) -> Shape:
        return shape_of(self._answer, self._codecs, top=self._top)

    @cached_property
    def usable(self) -> bool:
        """Whether there are answers that the plan need not read."""
        shape = self._shape
        return not shape.closed and shape.plan.readers.keys() <= shape.members.keys() | ECHOES

    @cached_property
    def fast(self) -> bool:
        """Whether answers need no look before, since they cannot tell of an error or an order."""
        return self.usable and self._reads and _tells_no_error(self._shape)

    def read(self, body: bytes, report: Report) -> Filled | None:
        """Constructor arguments of the response; None: the plan has to read it."""
        if self._known == _NOTHING:
            self._compile()
        return self._filled(self._decode, body, report)

    def take(self, value: Json, report: Report) -> Filled | None:
        """As `read`, of an answer that was decoded, to be looked at."""
        if self._known == _NOTHING:
            self._compile()
        return self._filled(self._convert, value, report)

    def _filled(
        self, struct_of: "Callable[[Json], msgspec.Struct]", answer: Json, report: Report
    ) -> Filled | None:
        told: list[Told] = []
        try:
            (found,) = self._fill((struct_of(answer),), told)
        except (msgspec.MsgspecError, ProtocolError, RecursionError, UnicodeError):
            return None
        one_of = self._shape.plan.required_one_of
        if one_of and all(found.get(name) in _ABSENT for name in one_of):
            return None
        for what in told:
            report(*what)
        return found

    def learn(self, value: Json) -> None:
        """From an answer that the plan had to read; more seldom where that was of no use."""
        self._in_vain += 1
        if type(value) is dict and not self._in_vain & (self._in_vain - 1):
            self._shape.learn(value)
            if self._known != self._shape.known():
                self._known = _NOTHING

    def _compile(self) -> None:
        self._known, self._in_vain = self._shape.known(), 0
        if self._shape.closed:
            self._decode = self._convert = _nothing
            return
        made, self._fill = self._shape.compiled()
        self._decode = msgspec.json.Decoder(made).decode
        self._convert = partial(msgspec.convert, type=made)


def _nothing(_answer: object) -> msgspec.Struct:
    raise ProtocolError("is left to the plan")


def _tells_no_error(shape: Shape) -> bool:
    objects = (m.inside for m in shape.members.values() if m.inside is not None and not m.many)
    return tells_no_error(shape.members) and all(map(_is_no_error, objects))


def _is_no_error(shape: Shape) -> bool:
    """Whether an object has a member that an object of an error has not."""
    return any(m.required and plain(key) not in MEMBERS for key, m in shape.members.items())

"""What a trait asks CBR for before its change is sent: objects, and whole lists."""

from typing import Protocol, TypeVar

from google.protobuf.message import Message
from msgspec import Struct

Observed = TypeVar("Observed", bound=Message)
Row = TypeVar("Row", bound=Message)


class Look(Protocol):
    """Reads of the project that the change is made in. Each raises GatewayError."""

    async def answer(self, request: Message, response: type[Observed]) -> Observed:
        """Also raises where the object does not exist."""

    async def rows(self, request: Message, row: type[Row]) -> list[Row]:
        """Every row of a list."""


class Refusal(Struct, frozen=True):
    """What CBR would say: its code (cbr_codes.toml), and the parameter that it would complain of,
    by the name that the parameter has there.
    """

    code: str
    parameter: str = ""


def refusal(number: int, parameter: str = "") -> Refusal:
    """By the number of a code of CBR itself."""
    return Refusal(f"BackupService.{number:04d}", parameter)

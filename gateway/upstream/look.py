"""What a trait asks CBR for before its change is sent: objects, and whole lists."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from google.protobuf.message import Message
from msgspec import Struct

from gateway.upstream.remote_clock import Span

Observed = TypeVar("Observed", bound=Message)
Row = TypeVar("Row", bound=Message)


class Look(Protocol):
    """Reads of the project that the change is made in. Each raises GatewayError."""

    @property
    def project_id(self) -> str:
        """That project, as CBR calls it."""

    def region_of(self, project_id: str) -> str:
        """Of a project of the same tenant, as the configuration calls it; empty for any other."""

    async def answer(self, request: Message, response: type[Observed]) -> Observed:
        """Also raises where the object does not exist."""

    async def answers(
        self, requests: Sequence[Message], response: type[Observed]
    ) -> Sequence[Observed]:
        """Those to several reads of one kind, a few at once."""

    async def rows(self, request: Message, row: type[Row]) -> list[Row]:
        """Every row of a list."""

    async def now(self) -> Span | None:
        """By CBR's clock; None: it is not known."""


class Refusal(Struct, frozen=True):
    """What CBR would say: its code (cbr_codes.toml), and the parameter that it would complain of,
    by the name that the parameter has there.

    `about`: the id of what it is about, where a request may name several.
    """

    code: str
    parameter: str = ""
    about: str = ""


def refusal(number: int, parameter: str = "", about: str = "") -> Refusal:
    """By the number of a code of CBR itself."""
    return Refusal(f"BackupService.{number:04d}", parameter, about)

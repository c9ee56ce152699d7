"""How much of a call is recorded: what its declaration says, adjusted by the operator's rules,
never below the floor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import Final, Literal

from cbrgateway.v1 import options_pb2
from pydantic import BaseModel, ConfigDict, Field

Word = Literal["none", "metadata", "request", "request_response"]


class Level(IntEnum):
    """Each records what those before it do, and more."""

    NONE = 0
    METADATA = 1
    REQUEST = 2
    REQUEST_RESPONSE = 3

    @property
    def word(self) -> str:
        return self.name.lower()


FLOOR: Final = Level.METADATA
"""Of changes and refusals, whatever the rules say."""

_DECLARED: Final[Mapping[int, Level]] = {
    options_pb2.AUDIT_LEVEL_NONE: Level.NONE,
    options_pb2.AUDIT_LEVEL_METADATA: Level.METADATA,
    options_pb2.AUDIT_LEVEL_REQUEST: Level.REQUEST,
    options_pb2.AUDIT_LEVEL_REQUEST_RESPONSE: Level.REQUEST_RESPONSE,
}


class LevelRule(BaseModel):
    """A level for some calls. The first rule that fits a call counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rpc: str = Field(
        default="*", description="RPCs that are meant, with `*` for any text: `VaultService/List*`."
    )
    tenant: str = Field(default="*", description="Tenants that are meant, with `*` for any text.")
    level: Word = Field(
        description=(
            "How much of these calls is recorded. Changes and refusals are recorded at `metadata`"
            " at least."
        )
    )


def declared(option: int, *, reads: bool) -> Level:
    """The level that a declaration stands for: its own, or that of its kind."""
    return _DECLARED.get(option, Level.METADATA if reads else Level.REQUEST)


@dataclass(frozen=True, slots=True)
class Levels:
    """The operator's rules."""

    rules: Sequence[LevelRule] = ()

    def of(self, rpc: str, tenant: str, otherwise: Level) -> Level:
        for rule in self.rules:
            if fnmatchcase(rpc, rule.rpc) and fnmatchcase(tenant, rule.tenant):
                return Level[rule.level.upper()]
        return otherwise

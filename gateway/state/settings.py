"""Where the gateway keeps what is in flight."""

import re
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.extras import require
from gateway.secret import SecretReference
from gateway.state.address import SCHEMES, Through, parsed
from gateway.state.address_files import check_files

MEMORY = Path(":memory:")
# A server may be gone, and then a caller is to be told within a second. A file is where this
# process is: what it waits for is its disk.
_TIMEOUT_S: Final = {"sqlite": 5.0, "valkey": 0.4}
# A path loses one of two slashes.
_ADDRESS = re.compile(rf"({'|'.join(SCHEMES)})(\+\w+)?:/")


class StoreSettings(BaseModel):
    """One embedded file for one process, or a Valkey (Redis) for several."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["sqlite", "valkey"] = Field(
        default="sqlite",
        description=(
            "sqlite: a file, for one gateway. valkey: a Valkey or Redis server, for replicas."
        ),
    )
    path: Path = Field(
        default=MEMORY,
        description=(
            "File of the sqlite store. `:memory:` keeps everything in the process and forgets it"
            " with it."
        ),
    )
    url: SecretReference | None = Field(
        default=None,
        description=(
            "Address of the Valkey: redis://, rediss:// (TLS) or unix://, of its sentinels"
            " (valkey+sentinel://) or of nodes of its cluster (valkey+cluster://), with user and"
            " password; hence a secret."
        ),
    )
    replicas: int = Field(
        default=1,
        ge=1,
        description=(
            "Processes that share the Valkey: each keeps this share of a rate while the Valkey is"
            " down."
        ),
    )
    prefix: str = Field(
        default="cbrgw",
        pattern="^[A-Za-z0-9_-]+$",
        description="First word of every key in the Valkey.",
    )
    copies: int | None = Field(
        default=None,
        ge=0,
        le=10,
        description=(
            "Replicas of the Valkey, of those that are connected, that must have the record of a"
            " change before it is sent to CBR, so that a failover does not forget it. Unset: 1 for"
            " sentinels and clusters, 0 for others."
        ),
    )
    timeout_s: float | None = Field(
        default=None,
        gt=0,
        le=5,
        description=(
            "Time for an answer of the store before it counts as down. Unset: 0.4 for valkey; 5 for"
            " sqlite, as a busy disk is not down."
        ),
    )
    replay_ttl_s: float = Field(
        default=24 * 3600,
        gt=0,
        description="How long the answer to a request_id can be given again.",
    )

    @property
    def answer_timeout_s(self) -> float:
        """How long an answer is waited for."""
        return _TIMEOUT_S[self.kind] if self.timeout_s is None else self.timeout_s

    @property
    def replica_copies(self) -> int:
        """How many replicas are waited for."""
        if self.copies is not None or self.url is None:
            return self.copies or 0
        return int(parsed(self.url.reveal()).through is not Through.NOBODY)

    @model_validator(mode="after")
    def _addressed(self) -> Self:
        if _ADDRESS.match(str(self.path)):
            raise ValueError(
                "has the address of a Valkey as its path. Set kind: valkey, and url to where the"
                " address is kept: url: {env: NAME}"
            )
        if self.kind == "valkey":
            try:
                check_files(parsed(self.url.reveal() if self.url else "").primary)
            except ValueError as error:
                raise ValueError(f"of kind valkey {error}") from None
        if self.kind == "valkey":
            require("shared")
        return self

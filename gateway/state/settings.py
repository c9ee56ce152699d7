"""Where the gateway keeps what is in flight."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.secret import SecretReference

MEMORY = Path(":memory:")
# A server may be gone, and then a caller is to be told within a second. A file is where this
# process is: what it waits for is its disk.
_TIMEOUT_S: Final = {"sqlite": 5.0, "valkey": 0.4}
_SCHEMES = ("redis://", "rediss://", "unix://")


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
            "Address of the Valkey: redis://, rediss:// (TLS) or unix://, with user and password;"
            " hence a secret."
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

    @model_validator(mode="after")
    def _addressed(self) -> Self:
        if str(self.path).startswith(tuple(scheme.rstrip("/") for scheme in _SCHEMES)):
            raise ValueError(
                "has the address of a Valkey as its path. Set kind: valkey, and url to where the"
                " address is kept: url: {env: NAME}"
            )
        if self.kind == "valkey" and (
            self.url is None or not self.url.reveal().startswith(_SCHEMES)
        ):
            raise ValueError(
                f"of kind valkey needs a url that begins with {', '.join(_SCHEMES[:-1])} or"
                f" {_SCHEMES[-1]}"
            )
        if self.kind == "valkey" and find_spec("redis") is None:
            raise ValueError(
                "of kind valkey needs the package redis. Install the extra: pip install"
                " 'cbr-gateway[shared]'"
            )
        return self

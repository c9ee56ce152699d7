"""What the parent gives each worker: the configuration with the worker's own part of it, and the
code that goes with it.
"""

from pathlib import Path

from msgspec import Struct

from gateway.audit.settings import AuditSettings
from gateway.config import Config
from gateway.reload import Read
from gateway.secret import Secret
from gateway.upstream.transport import is_fast


class Part(Struct, frozen=True):
    """`number`: from 1 to `workers`. `address`, `http`: of the listeners, with the real ports;
    `http` is None where there is none. `owner`: the socket of the store's owner; None: all share a
    server. `page_token_key`: where none is set.
    """

    number: int
    workers: int
    address: str
    http: str | None
    owner: Path | None
    page_token_key: Secret


class Start(Struct, frozen=True):
    """`generation`: which reload of the parent this configuration is of."""

    part: Part
    generation: int
    read: Read


def audit_of(config: Config, number: int) -> AuditSettings:
    """Of the worker with that number."""
    return config.audit.model_copy(update={"writer": f"{config.audit.writer_name}-{number}"})


def own_config(config: Config, part: Part) -> Config:
    """As one worker works by it.

    The parent has the health and admin ports and watches the files of tenants. One worker is enough
    to read vaults for the metrics. Each writes an audit log of its own, in the common directory.
    """
    first = part.number == 1
    own = config.model_copy(
        update={
            "server": config.server.model_copy(update={"listen": part.address}),
            "http": config.http.model_copy(update={"listen": part.http}),
            "admin": config.admin.model_copy(update={"listen": None}),
            "metrics": config.metrics.model_copy(update={} if first else {"max_vaults": 0}),
            "audit": audit_of(config, part.number),
            "state": config.state.model_copy(
                update={"replicas": config.state.replicas * part.workers}
            ),
            "page_token_key": config.page_token_key or part.page_token_key,
            "tenants_dir": None,
        }
    )
    own.keep_version(config.version)
    return own


def modules_of(config: Config) -> list[str]:
    """What its workers load beside what all do: libraries that only some configurations need."""
    fast, embedded = is_fast(config.upstream.transport), config.state.kind == "sqlite"
    wanted = {
        "gateway.upstream.http_httptools": fast,
        "gateway.upstream.http_httpx": not fast,
        "gateway.state.owned": embedded,
        "gateway.state.valkey": not embedded,
        "gateway.http.opening": config.http.listen is not None,
        "gateway.tracing.opening": config.tracing is not None,
        "gateway.workers.console": config.admin.console,
        "gateway.events.webhook": bool(config.events.sinks),
    }
    return [module for module, is_wanted in wanted.items() if is_wanted]

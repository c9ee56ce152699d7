"""The configuration of one process: defaults, then a YAML file, then environment variables, then
the command line.

`load` gives frozen settings, or one report of every mistake with its key, its source and what to
do. Each part's settings stand next to the code that uses them.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from gateway.admin.settings import AdminSettings
from gateway.audit.settings import AuditSettings
from gateway.changes.settings import TaskSettings
from gateway.config.checks import cross_checks
from gateway.config.layers import FILE_VARIABLE, FLAGS, PREFIX, Layers, read_layers
from gateway.config.masking import Masking
from gateway.config.partial import usable_parts, without_limits
from gateway.config.problems import ConfigError, Problem
from gateway.config.schema import explained, leaves, located
from gateway.config.show import shown
from gateway.config.tenant_files import KEY
from gateway.events.settings import EventSettings
from gateway.http.settings import HttpSettings
from gateway.limits.limits import STANDING, Limit
from gateway.limits.settings import LimitEntry, QuotaSettings
from gateway.metrics.settings import MetricsSettings
from gateway.rpc.settings import ServerSettings
from gateway.schedules.settings import ScheduleSettings
from gateway.secret import SecretReference
from gateway.state import StoreSettings
from gateway.telemetry import LogSettings
from gateway.tenants import IssuerSettings, Tenant
from gateway.tracing.settings import TracingSettings
from gateway.upstream.settings import UpstreamSettings
from gateway.watch.settings import WatchSettings

__all__ = [
    "FILE_VARIABLE",
    "FLAGS",
    "PREFIX",
    "Config",
    "ConfigError",
    "Layers",
    "Problem",
    "leaves",
    "load",
    "masking",
    "read_layers",
    "shown",
    "validated",
]


_VERSION_DIGITS: Final = 12


class Config(BaseModel):
    """Everything a gateway is told.

    Of a later one a process takes over what `gateway.reload` lists: tenants, limits, issuers and
    the like.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", title="CBR Gateway configuration")

    server: ServerSettings = Field(
        default_factory=ServerSettings, description="Where the server listens and how it ends."
    )
    admin: AdminSettings = Field(
        default_factory=AdminSettings, description="The HTTP port of probes and Prometheus."
    )
    http: HttpSettings = Field(
        default_factory=HttpSettings, description="Calls over HTTP, as JSON and from browsers."
    )
    metrics: MetricsSettings = Field(
        default_factory=MetricsSettings, description="What is counted for Prometheus."
    )
    tracing: TracingSettings | None = Field(
        default=None, description="Traces, for an OpenTelemetry collector."
    )
    upstream: UpstreamSettings = Field(
        description="The cloud: its regions and the credentials for it."
    )
    issuers: dict[str, IssuerSettings] = Field(
        default_factory=dict,
        description="Issuers of the tokens that callers may show, by a name of your choice.",
    )
    tenants_dir: Path | None = Field(
        default=None,
        description=(
            "Directory with a YAML file for each tenant, instead of `tenants`. Watched for changes."
        ),
    )
    tenants: tuple[Tenant, ...] = Field(
        min_length=1, description="Whom the gateway serves. Or give `tenants_dir`."
    )
    state: StoreSettings = Field(
        default_factory=StoreSettings,
        description="Where reservations and the answers to repeated changes are kept.",
    )
    limits: tuple[LimitEntry, ...] = Field(
        default=(),
        description=(
            "Limits on what callers may use. Without any there is one: 1000 open_streams for each"
            " tenant."
        ),
    )
    quota: QuotaSettings = Field(
        default_factory=QuotaSettings, description="Recording of changes, and recovery."
    )
    tasks: TaskSettings = Field(
        default_factory=TaskSettings, description="Following of the work that changes start."
    )
    watch: WatchSettings = Field(
        default_factory=WatchSettings,
        description="Streams of WatchTasks, and the polling of CBR behind them.",
    )
    schedules: ScheduleSettings = Field(
        default_factory=ScheduleSettings,
        description="Runs of backup policies that do not come.",
    )
    audit: AuditSettings = Field(
        default_factory=AuditSettings, description="The audit log: who did what, provably."
    )
    events: EventSettings = Field(
        default_factory=EventSettings,
        description="CloudEvents of what must not be missed, for streams and webhooks.",
    )
    log: LogSettings = Field(default_factory=LogSettings, description="Logs, on standard error.")
    page_token_key: SecretReference | None = Field(
        default=None,
        description=(
            "Key that signs page and resume tokens, the same in all replicas. Unset: random, so"
            " that tokens end with the process."
        ),
    )

    _files: dict[str, Any] = PrivateAttr(default_factory=dict)
    _version: str = PrivateAttr(default="")

    @property
    def version(self) -> str:
        """The first digits of a hash of every setting, for all processes of one gateway the same.

        Secrets are left out: a hash of one is a hint.
        """
        return self._version or hashlib.sha256(repr(self).encode()).hexdigest()[:_VERSION_DIGITS]

    def keep_version(self, version: str) -> None:
        """Of the configuration that this one is a process's part of."""
        self._version = version

    @property
    def files(self) -> Mapping[str, Any]:
        """What the files of `tenants_dir` held, by name."""
        return self._files

    def keep(self, files: dict[str, Any]) -> None:
        """Notes what they held."""
        self._files = files

    def all_limits(self) -> list[Limit]:
        """The gateway's own, then those of `limits`, then those of each tenant; each takes the
        place of those before it.
        """
        return [
            *STANDING,
            *(entry.limit() for entry in self.limits),
            *(limit for tenant in self.tenants for limit in tenant.own_limits()),
        ]


def load(path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]) -> Config:
    """The configuration from all layers, secrets resolved.

    `overrides` go by dotted key: `{"server.listen": "..."}`. Raises ConfigError.
    """
    return validated(read_layers(path, environ, overrides), environ)


def validated(layers: Layers, environ: Mapping[str, str]) -> Config:
    """The settings that merged layers hold.

    Raises ConfigError with the problems of reading and of validation alike.
    """
    problems = list(layers.problems)
    config: Config | None = None
    try:
        config = Config.model_validate(layers.data, context={"environ": environ})
    except ValidationError as failure:
        # pydantic also calls a list too short when its entries are wrong: those have been named by
        # themselves.
        for error in (e for e in failure.errors() if not (e["type"] == "too_short" and e["input"])):
            path, text = explained(error, *located(Config, error["loc"]))
            problems.append(Problem(path, layers.source(path), text))
    for path, text in cross_checks(layers.data):
        problems.append(Problem(path, layers.source(path), text))
    if config is None or problems:
        # An unreadable file makes every required key "missing": only the cause is worth reading.
        directory = layers.at((KEY,))
        told = map(masking(layers).problem, [p for p in problems if not p.path] or problems)
        raise ConfigError(
            told,
            Path(directory) if isinstance(directory, str) else None,
            lambda before: _usable(usable_parts(layers, problems, before), environ),
        )
    config.keep(layers.held())
    return config


def _usable(parts: Iterable[Layers], environ: Mapping[str, str]) -> Config | None:
    """The first part that has no mistake, but for limits of whom is not there any more: those must
    not keep anybody there.
    """
    for part in parts:
        try:
            return validated(part, environ)
        except ConfigError as error:
            with contextlib.suppress(ConfigError):
                return validated(without_limits(part, error.problems), environ)
    return None


def masking(layers: Layers) -> Masking:
    """Covers what texts about this configuration must not show."""
    return Masking(layers.data)

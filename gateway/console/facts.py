"""What the pages show of a gateway and of each of its processes, beside what RPCs answer: all of it
is in memory, and read in any thread.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cbrgateway.v1 import types_pb2

from gateway.admin.probes import Finding
from gateway.audit.chain import Keys
from gateway.audit.record import Anchor
from gateway.upstream.breakers import Breakers
from gateway.watch.poller import Poller


@dataclass(frozen=True, slots=True)
class VaultFacts:
    """A vault as it was last read, and when its last backup that is known has ended with success:
    seconds since 1970; 0: none is known. `read_at`: likewise.
    """

    project: str
    vault: types_pb2.Vault
    scheduled: bool
    succeeded_at: float
    read_at: float


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """Whose a project is, and where."""

    tenant: str
    region: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class AuditFacts:
    """`anchors`: what the store and the file of anchors hold now, for a proof; `trouble`: why
    records cannot be written, empty where they can.
    """

    directory: Path | None
    keys: Callable[[], Keys | None]
    anchors: Callable[[], Sequence[Anchor]]
    trouble: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Status:
    """Of the gateway. `problems`: why the last configuration was not taken over."""

    checks: Callable[[], Mapping[str, Finding]]
    configuration: Callable[[], str]
    problems: Callable[[], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one process. `projects`: by their keys; `vaults`: None where they are not read
    (`metrics.max_vaults: 0`).
    """

    projects: Callable[[], Mapping[str, ProjectFacts]]
    pollers: Callable[[], Sequence[Poller]]
    breakers: Breakers
    vaults: Callable[[], Sequence[VaultFacts]] | None
    audit: AuditFacts

"""From the parts of a running gateway to what the console shows of it."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cbrgateway.v1 import types_pb2

from gateway.audit.anchors import AnchorFile, anchors_in
from gateway.audit.chain import Keys
from gateway.audit.log import Audit
from gateway.audit.record import Anchor
from gateway.audit.settings import AuditSettings
from gateway.background import on_loop
from gateway.console.admission import Admission
from gateway.console.calls import Calls
from gateway.console.facts import AuditFacts, Facts, ProjectFacts, VaultFacts
from gateway.console.view import View
from gateway.rpc.dispatch import Routes
from gateway.state import KeyValue
from gateway.tenants import Current
from gateway.upstream.breakers import Breakers
from gateway.watch.poller import Poller

_STORE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Sources:
    """The parts that are looked at. `vaults`: None where they are not read."""

    current: Current
    routes: Routes
    pollers: Callable[[], Sequence[Poller]]
    breakers: Breakers
    vaults: Callable[[], Iterable[tuple[str, types_pb2.Vault, bool, float, float]]] | None
    audit: Audit
    anchors: KeyValue


def view(settings: AuditSettings, sources: Sources) -> View:
    """What this process shows. Called on the event loop."""
    loop, known = asyncio.get_running_loop(), sources.vaults

    def vaults() -> list[VaultFacts]:
        return [VaultFacts(*each) for each in known()] if known is not None else []

    facts = Facts(
        lambda: _projects(sources.current),
        sources.pollers,
        sources.breakers,
        vaults if known is not None else None,
        _audit(settings, sources, loop),
    )
    admission = Admission(loop, sources.current, sources.audit, settings.networks)
    return View(facts, Calls(sources.routes, loop), admission)


def _projects(current: Current) -> Mapping[str, ProjectFacts]:
    return {
        key: ProjectFacts(account.tenant, account.region, account.endpoint)
        for key, account in current.snapshot.accounts.items()
    }


def _audit(
    settings: AuditSettings, sources: Sources, loop: asyncio.AbstractEventLoop
) -> AuditFacts:
    def anchors() -> list[Anchor]:
        """Raises StoreDown and TimeoutError."""
        stored = on_loop(loop, sources.anchors.all(), _STORE_S)
        filed = AnchorFile(settings.anchors).read() if settings.anchors is not None else []
        return [*anchors_in(stored.values()), *filed]

    return AuditFacts(
        settings.directory,
        lambda: Keys.of(settings.key.reveal()) if settings.key is not None else None,
        anchors,
        lambda: sources.audit.trouble,
    )

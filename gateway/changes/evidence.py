"""Whether a change whose outcome is unknown was carried out, told from what CBR shows. Looks only, never sends a change again.

found     one object, and with it the response that the change would have had
absent    CBR does not show it; after a while that means: it never happened (bounds.py)
several   what CBR shows can be the change's own or another's; nobody can say which
no way    CBR does not show it, and that proves nothing; a person has to look
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, Final

from cbrgateway.v1 import types_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.changes.bounds import Listed, Unseen, listed, unseen
from gateway.changes.case import Case
from gateway.changes.namesakes import KINDS, Verdict, judge, shows
from gateway.changes.search import gone
from gateway.upstream.declaration import RetryClass
from gateway.upstream.marker import MARKER, description
from gateway.upstream.task_search import Task

_MOST_IDS: Final = 3
_CREATE_CHECKPOINT: Final = "CheckpointService/CreateCheckpoint"


class Sign(Enum):
    FOUND = auto()
    ABSENT = auto()
    SEVERAL = auto()
    NO_WAY = auto()


@dataclass(frozen=True, slots=True)
class Evidence:
    """`response` and `resource_id`: of what was found; `ids`: of what may be it; `listed`: how new the list is that does not show it."""

    sign: Sign
    response: Message | None = None
    resource_id: str = ""
    ids: tuple[str, ...] = ()
    listed: Listed | None = None

    @property
    def why(self) -> str:
        """Why the outcome is not known, for people."""
        if self.sign is Sign.SEVERAL:
            return f"CBR shows what can be its own or another's: {', '.join(self.ids[:_MOST_IDS])}"
        return "CBR does not show it, and that does not prove that it was not carried out"


Look = Callable[[Case], Awaitable[Evidence]]


def _absent(case: Case, moments: Iterable[Timestamp]) -> Evidence:
    """Not shown by a list with rows that were made then."""
    return Evidence(Sign.ABSENT, listed=listed(moments, case.reader.clock(case.project)))


def _with_marker(vaults: Sequence[Any], op_id: str) -> Sequence[Any]:
    return [vault for vault in vaults if any(tag.key == MARKER and tag.value == op_id for tag in vault.tags)]


async def _made(case: Case, response: Callable[[Any], Message]) -> Evidence:
    """What a create made: told by its marker, or else among its namesakes."""
    kind = KINDS[case.op.rpc]
    rows = await kind.all(case.reader, case.project)
    verdict, hits = (Verdict.OURS, _with_marker(rows, case.op.id)) if case.trace.marked else await judge(rows, case)
    if not hits:
        return _absent(case, (kind.made(row) for row in rows))
    if verdict is Verdict.OURS and len(hits) == 1:
        return Evidence(Sign.FOUND, response(hits[0]), hits[0].id)
    return Evidence(Sign.SEVERAL, ids=tuple(row.id for row in hits))


async def _vault(case: Case) -> Evidence:
    return await _made(case, lambda vault: case.response(vault=vault))


async def _ordered_vault(case: Case) -> Evidence:
    """A vault that was ordered is not there before it is paid, which may take as long as people like."""
    return await _made(case, lambda v: case.response(orders=[{"order_id": v.billing.order_id, "resource_id": v.id}]))


async def _policy(case: Case) -> Evidence:
    return await _made(case, lambda policy: case.response(policy=policy))


async def _work(case: Case) -> Evidence:
    """The tasks of an asynchronous change show that it was carried out, if they can be no other change's."""
    tasks_listed, found = await case.claims.look(case.op, case.trace)
    tasks: Sequence[Task] = found.tasks
    if case.op.rpc == _CREATE_CHECKPOINT:
        tasks, silent = await _described(case, found.tasks)
        if silent and not (case.trace.marked and tasks):
            return Evidence(Sign.SEVERAL, ids=silent)
    if tasks and (found.rivals or found.doubled) and not case.trace.marked:
        return Evidence(Sign.SEVERAL, ids=found.ids)
    if tasks:
        return Evidence(Sign.FOUND, await _answer(case, tasks))
    return _absent(case, (task.create_time for task in tasks_listed))


async def _described(case: Case, tasks: Sequence[Task]) -> tuple[list[Task], tuple[str, ...]]:
    """The tasks whose checkpoint has the description that was sent, and the checkpoints that show none. Only their backups tell it."""
    sent = description(case.op.id) if case.trace.marked else case.request.checkpoint.parameters.description
    ours, silent = [], []
    for checkpoint_id in dict.fromkeys(task.checkpoint_id for task in tasks):
        backups = await case.reader.rows("BackupService/ListBackups", case.project, "backups", checkpoint_id=checkpoint_id)
        shown = {backup.description for backup in backups}
        if shown == {sent}:
            ours.append(checkpoint_id)
        elif not shown or "" in shown:
            silent.append(checkpoint_id)
    return [task for task in tasks if task.checkpoint_id in ours], tuple(silent)


async def _answer(case: Case, tasks: Sequence[Task]) -> Message | None:
    """The response that the change would have had, as far as its tasks show it; None: not even partly."""
    if case.op.rpc == _CREATE_CHECKPOINT:
        seen = await case.reader.read("CheckpointService/GetCheckpoint", case.project, {"checkpoint_id": tasks[0].checkpoint_id})
        return case.response(checkpoint=seen.checkpoint) if seen else None
    known = case.binding.traits.answer
    return case.response(**known(case.request, tasks)) if known else None


async def _changed_mode(case: Case) -> Evidence:
    """A pre-paid vault shows that it was changed: an order for one that is pre-paid already is refused."""
    vaults = [await _now(case, vault_id) for vault_id in case.request.vault_ids]
    paid = [vault for vault in vaults if vault is not None and vault.billing.charging_mode == types_pb2.CHARGING_MODE_PRE_PAID]
    if len(paid) < len(vaults):
        return Evidence(Sign.ABSENT)
    orders = {vault.billing.order_id for vault in paid}
    return Evidence(Sign.FOUND, case.response(order_id=orders.pop()) if len(orders) == 1 else None)


async def _now(case: Case, vault_id: str) -> Any | None:  # noqa: ANN401 - a vault
    seen = await case.reader.read("VaultService/GetVault", case.project, {"vault_id": vault_id})
    return None if seen is None else seen.vault


async def _resized(case: Case) -> Evidence:
    """An order that was not paid yet changes nothing, so that the old size proves nothing."""
    vault = await _now(case, case.request.resource_id)
    done = vault is not None and vault.billing.size_gib == case.request.product_info.resource_size_gib
    return Evidence(Sign.FOUND) if done else Evidence(Sign.ABSENT)


async def _agent(case: Case) -> Evidence:
    seen = await case.reader.read("AgentService/GetAgent", case.project, {"agent_id": case.request.agent.agent_id})
    if seen is None:
        return Evidence(Sign.ABSENT)
    sent: Any = case.binding.members(case.request)["agent"]
    shown: Any = case.reader.catalog["AgentService/GetAgent"].response_plan.write(seen)["agent"]
    ours = shows(sent, shown, seen.agent.DESCRIPTOR)
    return Evidence(Sign.FOUND, case.response(agent=seen.agent)) if ours else Evidence(Sign.ABSENT)


LOOKS: Final[Mapping[str, Look]] = {
    "AgentService/RegisterAgent": _agent,
    "OrderService/ChangeOrder": _resized,
    "OrderService/UpdateOrder": _resized,
    "VaultService/ChangeVaultChargingMode": _changed_mode,
    "VaultService/CreateVault": _vault,
    "VaultService/OrderVault": _ordered_vault,
    "PolicyService/CreatePolicy": _policy,
}


async def look(case: Case) -> Evidence:
    """Raises GatewayError when CBR cannot be read: an error is not absence."""
    seen = await _seen(case)
    undecided = seen.sign is Sign.ABSENT and unseen(case.binding) is Unseen.UNDECIDED
    return replace(seen, sign=Sign.NO_WAY) if undecided else seen


async def _seen(case: Case) -> Evidence:
    special = LOOKS.get(case.op.rpc)
    if special is not None:
        return await special(case)
    seen = await _work(case) if case.binding.asynchronous else Evidence(Sign.ABSENT)
    if seen.sign is not Sign.ABSENT:
        return seen
    if await gone(case.reader, case.op.rpc, case.trace):
        return Evidence(Sign.FOUND, case.response())
    if case.binding.retry_class is RetryClass.CONVERGE:
        response = await case.reader.in_force(case.op.rpc, case.project, case.request)
        return Evidence(Sign.ABSENT) if response is None else Evidence(Sign.FOUND, response)
    return seen

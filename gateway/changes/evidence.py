"""Whether a change whose outcome is unknown was carried out, told from what CBR shows.

Looks only, never sends a change again.

found     one object, and with it the response that the change would have had
absent    CBR does not show it; after a while that means: it never happened (bounds.py)
several   what CBR shows can be the change's own or another's; nobody can say which
no way    CBR does not show it, and that proves nothing; a person has to look
"""

from collections.abc import Iterable, Sequence
from enum import Enum, auto
from typing import Any, Final

from cbrgateway.v1 import backup_pb2, errors_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import Struct
from msgspec.structs import replace

from gateway.changes import namesakes
from gateway.changes.bounds import Listed, Unseen, listed, unseen
from gateway.changes.case import Case
from gateway.changes.namesakes import Verdict, judge
from gateway.changes.search import gone
from gateway.errors import GatewayError
from gateway.upstream.declaration import RetryClass
from gateway.upstream.marker import MARKER, description
from gateway.upstream.read_back import AnswerNotShown
from gateway.upstream.task_search import Task
from gateway.upstream.traits import AnyCreation, AnyProof, ReadBack

_MOST_IDS: Final = 3


class Sign(Enum):
    FOUND = auto()
    ABSENT = auto()
    SEVERAL = auto()
    NO_WAY = auto()


class Evidence(Struct, frozen=True):
    """`response` and `resource_id`: of what was found; `ids`: of what may be it; `listed`: how new
    the list is that does not show it.
    """

    sign: Sign
    response: Message | None = None
    resource_id: str = ""
    ids: tuple[str, ...] = ()
    listed: Listed | None = None

    @property
    def why(self) -> str:
        """Why the outcome is not known, for people."""
        if self.sign is Sign.SEVERAL:
            ids = f": {', '.join(self.ids[:_MOST_IDS])}" if self.ids else ""
            return f"CBR shows what can be its own or another's{ids}"
        return "CBR does not show it, and that does not prove that it was not carried out"


def _absent(case: Case, moments: Iterable[Timestamp]) -> Evidence:
    """Not shown by a list with rows that were made then."""
    return Evidence(Sign.ABSENT, listed=listed(moments, case.reader.clock(case.project)))


def _with_marker(vaults: Sequence[Any], op_id: str) -> Sequence[Any]:
    return [
        vault
        for vault in vaults
        if any(tag.key == MARKER and tag.value == op_id for tag in vault.tags)
    ]


async def _made(case: Case, creation: AnyCreation) -> Evidence:
    """What a create made: told by its marker, or else among its namesakes.

    What was ordered is not there before it is paid, however late.
    """
    rows = await namesakes.listed(creation, case.reader, case.project)
    verdict, hits = (
        (Verdict.OURS, _with_marker(rows, case.op.id))
        if case.trace.marked
        else await judge(creation, rows, case)
    )
    if not hits:
        return _absent(case, (creation.made(row) for row in rows))
    if verdict is Verdict.OURS and len(hits) == 1:
        return Evidence(Sign.FOUND, case.response(**creation.response(hits[0])), hits[0].id)
    return Evidence(Sign.SEVERAL, ids=tuple(row.id for row in hits))


async def _proven(case: Case, proof: AnyProof) -> Evidence:
    """Whether objects show by their state that the change was carried out."""
    sent = case.binding.members(case.request)
    seen = []
    for each in proof.ids(case.request):
        asked = proof.read.request(each)
        observed = await case.reader.read(asked, proof.read.response, case.project)
        if observed is None:
            return Evidence(Sign.ABSENT)
        plan = case.reader.catalog.asked_by(asked).response_plan
        seen.append(ReadBack(case.request, observed, sent, plan.write(observed)))
    found = proof.proven(seen)
    if found is None:
        return Evidence(Sign.ABSENT)
    return Evidence(Sign.FOUND, None if found.response is None else case.response(**found.response))


async def _work(case: Case) -> Evidence:
    """The tasks of an asynchronous change show that it was carried out, if no other owns them."""
    tasks_listed, found = await case.claims.probe(case.op, case.trace)
    tasks: Sequence[Task] = found.tasks
    if described := case.binding.traits.description:
        sent = description(case.op.id) if case.trace.marked else described(case.request)
        tasks, silent = await _described(case, found.tasks, sent)
        if silent and not (case.trace.marked and tasks):
            return Evidence(Sign.SEVERAL, ids=silent)
    if tasks and (found.rivals or found.doubled) and not case.trace.marked:
        return Evidence(Sign.SEVERAL, ids=found.ids)
    if tasks:
        return Evidence(Sign.FOUND, await _answer(case, tasks))
    return _absent(case, (task.create_time for task in tasks_listed))


async def _described(
    case: Case, tasks: Sequence[Task], sent: str
) -> tuple[list[Task], tuple[str, ...]]:
    """The tasks whose checkpoint has the description that was sent, and the checkpoints that show
    none. Only their backups tell it.
    """
    ours, silent = [], []
    for checkpoint_id in dict.fromkeys(task.checkpoint_id for task in tasks):
        asked = backup_pb2.ListBackupsRequest(checkpoint_id=checkpoint_id)
        backups = await case.reader.rows(asked, backup_pb2.Backup, case.project)
        shown = {backup.description for backup in backups}
        if shown == {sent}:
            ours.append(checkpoint_id)
        elif not shown or "" in shown:
            silent.append(checkpoint_id)
    return [task for task in tasks if task.checkpoint_id in ours], tuple(silent)


async def _answer(case: Case, tasks: Sequence[Task]) -> Message | None:
    """The response of the change, as far as its tasks show it; None: not even partly."""
    traits = case.binding.traits
    if traits.result is not None:
        read = traits.result.shown_by
        seen = await case.reader.read(read.request(tasks[0]), read.response, case.project)
        return case.response(**traits.result.response(seen)) if seen else None
    return case.response(**traits.answer(case.request, tasks)) if traits.answer else None


async def probe(case: Case) -> Evidence:
    """Raises GatewayError when CBR cannot be read: an error is not absence."""
    seen = await _seen(case)
    undecided = seen.sign is Sign.ABSENT and unseen(case.binding) is Unseen.UNDECIDED
    return replace(seen, sign=Sign.NO_WAY) if undecided else seen


async def _seen(case: Case) -> Evidence:
    traits = case.binding.traits
    if traits.creates is not None:
        return await _made(case, traits.creates)
    if traits.proof is not None:
        return await _proven(case, traits.proof)
    seen = await _work(case) if case.binding.asynchronous else Evidence(Sign.ABSENT)
    if seen.sign is not Sign.ABSENT:
        return seen
    if await gone(case.reader, case.op.rpc, case.trace):
        return Evidence(Sign.FOUND, case.response())
    return await _in_force(case) if case.binding.retry_class is RetryClass.CONVERGE else seen


async def _in_force(case: Case) -> Evidence:
    """Whether an idempotent change is in force, whoever made it."""
    try:
        response = await case.reader.in_force(case.request, case.project)
    except AnswerNotShown:
        return Evidence(Sign.FOUND)
    except GatewayError as error:
        if error.reason != errors_pb2.ERROR_REASON_OUTCOME_UNKNOWN:
            raise
        return Evidence(Sign.SEVERAL)
    return Evidence(Sign.ABSENT) if response is None else Evidence(Sign.FOUND, response)

"""`check --online`: whether a configuration's credentials and projects work, by reads alone."""

import asyncio
from typing import Final

from cbrgateway.v1 import errors_pb2, policy_pb2, task_pb2, vault_pb2
from google.protobuf.message import Message
from msgspec import Struct

from gateway.config import Config
from gateway.errors import GatewayError
from gateway.survey.projects import ProjectEntry, entries, reading
from gateway.upstream.catalog import Catalog
from gateway.upstream.reader import UpstreamReader, unlisted

_LISTS: Final = {
    "vaults": vault_pb2.ListVaultsRequest(page_size=1),
    "policies": policy_pb2.ListPoliciesRequest(page_size=1),
    "tasks": task_pb2.ListTasksRequest(page_size=1),
}
"""What the gateway itself lists: to count, to find lost changes, and for those who watch."""
_AT_ONCE: Final = 16


class Problem(Struct, frozen=True):
    """What does not work, and what to do. `what`: the list that failed."""

    entry: ProjectEntry
    what: str
    message: str

    def __str__(self) -> str:
        return f"{self.entry}: cannot list {self.what}. {self.message}"


async def problems_of(config: Config, catalog: Catalog, within_s: float) -> list[Problem]:
    """One row of each list of each project, many at once; whatever has not answered within the time
    is a problem, too.
    """
    async with reading(config, catalog) as reader:
        slots = asyncio.Semaphore(_AT_ONCE)
        tasks = {
            entry: asyncio.create_task(_tried(reader, entry, slots)) for entry in entries(config)
        }
        try:
            if tasks:
                await asyncio.wait(tasks.values(), timeout=within_s)
            late = (
                f"No answer within {within_s:g} s. Check the endpoint and the way to it, or give it"
                " more time: --timeout."
            )
            return [
                problem
                for entry, task in tasks.items()
                for problem in (
                    task.result() if task.done() else [Problem(entry, "anything", late)]
                )
            ]
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)


async def _tried(
    reader: UpstreamReader, entry: ProjectEntry, slots: asyncio.Semaphore
) -> list[Problem]:
    problems = []
    async with slots:
        for what, one in _LISTS.items():
            try:
                await reader.answer(one, Message, entry.project)
            except GatewayError as error:
                problems.append(Problem(entry, what, unlisted(error)))
                if error.reason != errors_pb2.ERROR_REASON_UPSTREAM_PERMISSION:
                    # The next list would say the same.
                    break
    return problems

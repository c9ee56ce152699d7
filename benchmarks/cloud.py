"""A cloud with tasks that one can start: the emulator.

Run in a process of its own: `python -m benchmarks.cloud`; the first line of its output is its
address.

It obeys lines of its input: `task SECONDS` starts a task that takes so long. Each answer is how
often tasks have been listed or read.
"""

import asyncio
import sys
from dataclasses import replace

from benchmarks.payloads import PROJECT_ID
from benchmarks.runtime import run
from emulator.server import running_emulator
from emulator.settings import DEFAULT_ACCOUNTS, EmulatorSettings, Project
from emulator.tasks import Owner
from emulator.transitions import Pace

_OF_TASKS = frozenset({"ListOpLogs", "ShowOpLog"})
_OWNER = Owner(
    project_id=PROJECT_ID,
    provider_id="0daac4c5-6707-4851-97ba-169e36266b66",
    enterprise_project_id="0",
    vault_id="69d2ba2c-6a2c-4d8e-b1bb-f9ad3b7c1f1a",
    vault_name="vault",
)


async def main() -> None:
    account = replace(DEFAULT_ACCOUNTS[0], projects=(Project(PROJECT_ID, "bench", "local"),))
    async with running_emulator(
        settings=EmulatorSettings(accounts=(account,), auth=False)
    ) as cloud:
        print(cloud.base_url.removeprefix("http://"), flush=True)
        tasks = cloud.state.world.tasks
        while order := await asyncio.to_thread(sys.stdin.readline):
            name, *numbers = order.split()
            if name == "task":
                tasks.set_pace(Pace(duration_s=float(numbers[0])))
                tasks.start(
                    "backup",
                    _OWNER,
                    resource={
                        "id": "resource",
                        "type": "OS::Nova::Server",
                        "name": "resource",
                        "extra_info": {},
                    },
                    part="backup",
                    details={"backup_id": "", "backup_name": "backup", "incremental": "false"},
                    enter=lambda _status: None,
                )
            print(
                sum(entry.operation in _OF_TASKS for entry in cloud.state.truth.entries()),
                flush=True,
            )


if __name__ == "__main__":
    run(main())

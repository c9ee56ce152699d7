"""A process that begins operations as fast as it can and prints the id of each one that was
admitted: `begin_many.py SETTINGS COUNT LIMIT TAG`. OWNER in the environment: the socket of the
store's owner.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from gateway.clock import SystemClock
from gateway.state import Admitted, Charge, Operation, StoreSettings, open_store
from gateway.state.owner_address import OwnerAddress


async def main(settings: StoreSettings, count: int, limit: int, tag: str) -> None:
    at_once = asyncio.Semaphore(8)
    place = os.environ.get("OWNER")
    owner = OwnerAddress(Path(place), 2) if place else None

    async with open_store(settings, SystemClock(), owner=owner) as store:

        async def one(number: int) -> None:
            async with at_once:
                op_id = f"{tag}-{number}"
                charge = Charge("payments/vaults", 1, limit)
                answer = await store.operations.begin(
                    Operation(
                        op_id, "payments", "CreateVault", f"r-{op_id}", b"print", (charge,), 3600
                    )
                )
                if isinstance(answer, Admitted):
                    sys.stdout.write(f"{op_id}\n")
                    sys.stdout.flush()

        await asyncio.gather(*(one(number) for number in range(count)))


if __name__ == "__main__":
    given = json.loads(sys.argv[1]) | (
        {"url": {"env": "STORE_URL"}} if "STORE_URL" in os.environ else {}
    )
    settings = StoreSettings.model_validate(given, context={"environ": os.environ})
    asyncio.run(main(settings, int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))

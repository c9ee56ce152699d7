"""Run by test_added_operation.py in a copy of the tree that has PolicyService/PausePolicy."""

import asyncio
import sys
from pathlib import Path

from cbrgateway.v1 import policy_pb2
from cbrgateway.v1.policy_pb2_grpc import PolicyServiceStub

import gateway
from gateway.operations import TRAITS
from gateway.upstream.catalog import DeclarationError, compile_catalog, own_services
from tests.functional import stage
from tests.functional.calls import caller
from tests.quota import scenes

PAUSE = "PolicyService/PausePolicy"
MISSING = (
    f"{PAUSE}: is sent at most once and needs the trait search, creates or proof, which shows"
    " whether it was carried out, or to be declared untraceable"
)


def refused() -> tuple[str, ...]:
    """What the start says without the traits of the change."""
    try:
        compile_catalog(own_services(), None, traits=[each for each in TRAITS if each.rpc != PAUSE])
    except DeclarationError as error:
        return error.problems
    return ()


async def main() -> None:
    assert refused() == (MISSING,)
    async with scenes.gateway() as world:
        policies = world.stub(PolicyServiceStub)
        policy = await stage.policy(caller(world))
        world.emulator.state.faults.add(
            {"kind": "cut", "when": "after_commit", "match": {"operation": "PausePolicy"}}
        )
        request = policy_pb2.PausePolicyRequest(policy_id=policy.id, request_id="r-1")
        assert (
            await scenes.outcome(world, policies.PausePolicy, request)
        ).reason == "OUTCOME_UNKNOWN"
        again = await scenes.outcome(world, policies.PausePolicy, request)
        assert (again.reason, again.trailers["replayed"]) == ("OK", "true"), again
        read = await scenes.outcome(
            world, policies.GetPolicy, policy_pb2.GetPolicyRequest(policy_id=policy.id)
        )
        assert not read.response.policy.enabled
        assert len(scenes.posts(world, "PausePolicy")) == 1


if __name__ == "__main__":
    asyncio.run(main())
    sys.stdout.write(f"carried out by {Path(gateway.__file__).parent}\n")

"""A gateway with its HTTP listener, and callers by HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.harness import World, running_gateway

PAGE = "https://console.example.com"


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    sections = {"http": {"listen": "127.0.0.1:0", "allowed_origins": [PAGE]}}
    async with running_gateway(sections=sections) as running:
        yield running


@pytest.fixture(scope="module")
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    base = f"http://{world.app.http_address}"
    headers = {"authorization": "Bearer key-of-payments"}
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=30) as client:
        yield client


def details(answer: dict[str, Any]) -> dict[str, Any]:
    """What each detail of an error shows, by the last part of its type."""
    return {each["type"].rpartition(".")[2]: each["debug"] for each in answer["details"]}

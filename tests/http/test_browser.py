"""A page in a real Chromium calls the gateway: a call and a stream, and nothing from a page of an
origin that is not listed.
"""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.functional.calls import until
from tests.harness import running_gateway

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PAGE = """<!doctype html><script type="module">
const call = (rpc, request) => fetch("http://GATEWAY/cbrgateway.v1." + rpc, {
  method: "POST",
  headers: {"content-type": "application/json", authorization: "Bearer key-of-payments"},
  body: JSON.stringify(request),
});
const told = {origin: location.origin};
try {
  const wanted = {protectableType: "PROTECTABLE_TYPE_SERVER"};
  const answer = await call("ProtectabilityService/ListProtectables", wanted);
  told.servers = (await answer.json()).instances.length;
  told.id = answer.headers.get("x-request-id");
  const refused = await call("VaultService/GetVault", {});
  told.refused = (await refused.json()).code;
  const stream = await call("TaskService/WatchTasks", {endWhenAllTerminal: true});
  told.events = "";
  for await (const text of stream.body.pipeThrough(new TextDecoderStream())) told.events += text;
} catch (error) {
  told.error = String(error);
}
await fetch("/told", {method: "POST", body: JSON.stringify(told)});
</script>"""


@dataclass
class Site:
    """Serves the page, and hears what it tells. By two names it is two origins."""

    port: int = 0
    page: str = ""
    told: list[dict[str, Any]] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        if head.startswith("post /told"):
            length = int(head.partition("content-length:")[2].split()[0])
            self.told.append(json.loads(await reader.readexactly(length)))
        body = self.page.encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n"
            + f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        await writer.drain()
        writer.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    found = Site()
    server = await asyncio.start_server(found.answer, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    async with server:
        yield found


@contextlib.asynccontextmanager
async def showing(url: str, profile: Path) -> AsyncIterator[None]:
    assert CHROMIUM is not None
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-proxy-server")
    browser = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *(*options, f"--user-data-dir={profile}", url),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        browser.terminate()
        await browser.wait()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the path")
async def test_a_page_calls_and_watches_and_one_of_another_origin_cannot(
    site: Site, tmp_path: Path
):
    origin = f"http://127.0.0.1:{site.port}"
    sections = {"http": {"listen": "127.0.0.1:0", "allowed_origins": [origin]}}
    async with running_gateway(sections=sections) as world:
        site.page = PAGE.replace("GATEWAY", world.app.http_address)
        async with showing(f"{origin}/", tmp_path / "one"):
            await until(lambda: len(site.told) == 1, 60)
        async with showing(f"http://localhost:{site.port}/", tmp_path / "two"):
            await until(lambda: len(site.told) == 2, 60)
    allowed, other = site.told
    assert "error" not in allowed, allowed["error"]
    assert (allowed["origin"], allowed["refused"]) == (origin, "invalid_argument")
    assert allowed["servers"] > 0
    assert len(allowed["id"]) == 32
    assert "event: end" in allowed["events"]
    assert (other["origin"], other["error"]) == (
        f"http://localhost:{site.port}",
        "TypeError: Failed to fetch",
    )

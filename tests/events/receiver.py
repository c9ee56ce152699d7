"""A receiver of webhooks over HTTPS, which a test kills, slows down or has answer badly."""

import asyncio
import contextlib
import ipaddress
import json
import ssl
from collections import Counter
from pathlib import Path

from cryptography import x509
from standardwebhooks import Webhook

from testkit.identities import authority, certificate
from testkit.ports import held_port

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_KEY = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDv1cCAqKb4nc="
LOCAL = {"allowed_networks": ["127.0.0.0/8"], "retry_s": 0.1}


class Receiver:
    """`got`: what it took, in order; `status` and `delay_s`: how it answers; `answer`: its choice
    for one event, by its body, instead.
    """

    def __init__(self, folder: Path):
        self.port = held_port(self)
        self.url = f"https://127.0.0.1:{self.port}/hook"
        self.got, self.seen, self.bodies = [], Counter(), []
        self.status, self.delay_s, self.answer = 204, 0.0, lambda _event: None
        self.headers = b""
        root = authority()
        ours = certificate(root, x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        self.ca_file, pair = folder / "ca.pem", folder / "pair.pem"
        self.ca_file.write_bytes(root.pem)
        pair.write_bytes(ours.pem + ours.key_pem)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(pair)
        self._server, self._open, self._serving = None, set(), set()

    async def start(self):
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self._context
        )

    async def kill(self):
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        for task in list(self._serving):
            task.cancel()
        await self._server.wait_closed()

    def sink(self, **more):
        return {
            "name": "ops",
            "url": self.url,
            "keys": [{"env": "HOOK_KEY"}],
            "ca_file": str(self.ca_file),
            **more,
        }

    def ids(self):
        return [event["id"] for event in self.got]

    async def _serve(self, reader, writer):
        self._open.add(writer)
        self._serving.add(task := asyncio.current_task())
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                await self._one(reader, writer)
        self._open.discard(writer)
        self._serving.discard(task)
        writer.close()

    async def _one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        raw = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        signed = {name.lower(): value for name, value in raw.items()}
        event = Webhook(KEY).verify(body, signed)
        assert head[0].startswith("POST /hook ")
        assert event == json.loads(body)
        assert signed["webhook-id"] == event["id"]
        self.seen[event["id"]] += 1
        await asyncio.sleep(self.delay_s)
        status = self.answer(event) or self.status
        if status < 300:
            self.got.append(event)
            self.bodies.append((body, signed))
        writer.write(b"HTTP/1.1 %d X\r\n%scontent-length: 0\r\n\r\n" % (status, self.headers))
        await writer.drain()


@contextlib.asynccontextmanager
async def receiving(folder: Path):
    receiver = Receiver(folder)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.kill()

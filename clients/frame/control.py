"""What a client's test asks the stage to do, over plain HTTP with plain answers, so that every
language can ask without a library.

All are POST; parameters are in the query:

/fault?operation=CreateVault&kind=cut&when=after_commit&times=1   a fault of the emulator; more keys
    are passed on as they are
/calm                                                              no faults any more
/requests?operation=CreateVault&containing=my-vault                answers how many requests of this
    operation had the text in their body
/restart                                                           the gateway ends and starts again
    at its address
"""

import http.server
import json
import threading
import urllib.parse
from collections.abc import Mapping
from typing import Final

import httpx

from clients.frame.servers import Servers

_NUMBERS: Final = frozenset({"times", "nth", "status", "seconds"})


class Control:
    """Serves the requests above until it is closed."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def answer(self, path: str, query: Mapping[str, str]) -> str:
        """Raises KeyError for a path or parameter that is not there."""
        if path == "/fault":
            fault = {
                key: json.loads(value) if key in _NUMBERS else value
                for key, value in query.items()
                if key != "operation"
            }
            return self._emulator(
                "POST", "/faults", fault | {"match": {"operation": query["operation"]}}
            )
        if path == "/calm":
            return self._emulator("DELETE", "/faults")
        if path == "/requests":
            return str(self._count(query["operation"], query["containing"]))
        if path == "/restart":
            self._servers.restart()
            return "restarted"
        raise KeyError(path)

    def _count(self, operation: str, containing: str) -> int:
        entries = json.loads(self._emulator("GET", "/truth"))["entries"]
        return sum(
            entry["operation"] == operation and containing in entry["body"] for entry in entries
        )

    def _emulator(self, method: str, path: str, body: Mapping[str, object] | None = None) -> str:
        reply = httpx.request(
            method,
            f"{self._servers.emulator}/_emulator{path}",
            json=body,
            timeout=10,
            trust_env=False,
        )
        return reply.raise_for_status().text

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        control = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = urllib.parse.urlsplit(self.path)
                try:
                    status, text = (
                        200,
                        control.answer(asked.path, dict(urllib.parse.parse_qsl(asked.query))),
                    )
                except Exception as failure:  # noqa: BLE001 - the test that asked shows it
                    status, text = 500, repr(failure)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                """Tests print what matters."""

        return Handler

"""`cbr-gateway serve` as a process whose standard error a test reads, or does not."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from emulator import settings as emulated
from tests.harness import REGION, tenant_entry

ROOT = Path(__file__).parents[2]
NOBODY = "http://127.0.0.1:9"


def configuration(endpoint: str = NOBODY, **sections: Any) -> dict[str, Any]:
    key = {"kind": "access_key", "access_key": {"env": "AK"}, "secret_key": {"env": "SK"}}
    return {
        "server": {"listen": "127.0.0.1:0", "health_listen": "127.0.0.1:0", "drain_delay_s": 0},
        "admin": {"listen": None},
        "watch": {"follow": "watched"},
        "upstream": {"regions": {REGION: {"endpoint": endpoint}}, "credentials": {"main": key}},
        "tenants": [tenant_entry("payments")],
        **sections,
    }


class Gateway:
    """A `cbr-gateway serve`.

    Where its configuration is a pipe, it waits for it as long as a test likes.
    """

    def __init__(self, config: Path) -> None:
        self._pipe = config
        path = os.pathsep.join([str(ROOT), str(ROOT / "generated" / "python")])
        environ = os.environ | {
            "PYTHONPATH": path,
            "AK": emulated.ACCESS_KEY,
            "SK": emulated.SECRET_KEY,
        }
        command = [sys.executable, "-m", "gateway", "serve", "--config", str(self._pipe)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ)

    @contextlib.contextmanager
    def asked_for(self) -> Iterator[list[str]]:
        """It waits for its configuration meanwhile; afterwards it gets the text that was put into
        the list.
        """
        given: list[str] = []
        # Opening waits until the other side opens, too.
        with self._pipe.open("w") as pipe:
            yield given
            with contextlib.suppress(BrokenPipeError):
                pipe.write("".join(given))
                pipe.flush()

    def configured(self, **sections: Any) -> None:
        with self.asked_for() as given:
            given.append(yaml.safe_dump(configuration(**sections)))

    def event(self) -> str:
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        return str(json.loads(line)["event"]) if line.startswith("{") else line

    def until(self, event: str) -> None:
        while (found := self.event()) != event:
            assert found, f"ended with {self.process.wait()} before {event}"

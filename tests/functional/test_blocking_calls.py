"""The event loop of a gateway that serves touches no file and asks no name server: any of them may
hang, and then all calls would.
"""

import asyncio
import json
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from joserfc.jwk import ECKey

from emulator.server import running_emulator
from gateway.app import App, open_app
from gateway.config import Config, load
from gateway.rpc import validation
from gateway.upstream import upstream_error
from tests.functional import stage
from tests.functional.calls import Caller, until
from tests.functional.test_reload import ENVIRON, FIRST, SECOND, main_file, tenant

LOOKS = {"stat", "lstat", "listdir", "scandir"}
FILES = LOOKS | {
    "open",
    "mkdir",
    "rename",
    "replace",
    "unlink",
    "link",
    "fsync",
    "fdatasync",
    "truncate",
    "ftruncate",
    "chmod",
    "utime",
}
OTHERS = {
    "getaddrinfo",
    "gethostbyname",
    "getnameinfo",
    "getpwnam",
    "getpwuid",
    "sleep",
    "load_verify_locations",
    "load_cert_chain",
    "connect_ex",
}
MODULES = {
    "posix": FILES,
    "io": {"open"},
    "_io": {"open", "FileIO"},
    "_socket": OTHERS,
    "pwd": OTHERS,
    "time": OTHERS,
    "_ssl": OTHERS,
}


@contextmanager
def waiting_calls() -> Iterator[Counter[str]]:
    """What this thread does meanwhile that may wait for a disk or a network: the call and the lines
    of ours that lead to it.
    """
    found: Counter[str] = Counter()

    def look(frame: Any, event: str, argument: Any) -> None:
        if event != "c_call":
            return
        module = (
            getattr(argument, "__module__", None)
            or type(getattr(argument, "__self__", None)).__module__
        )
        if argument.__name__ in MODULES.get(module, ()) and (ours := _ours(frame)):
            found[f"{module}.{argument.__name__} from {ours}"] += 1

    sys.setprofile(look)
    try:
        yield found
    finally:
        sys.setprofile(None)


def _ours(frame: Any) -> str:
    """Where it comes from.

    Empty for the test and the emulator, which share the thread, for files of the installation
    (modules, sources), and for the list of the process's own descriptors, which is on no disk.
    """
    lines = traceback.extract_stack(frame)
    passed_over = ("/tests/", "/emulator/", "importlib", "linecache.py", "rpc/connections.py")
    if any(part in line.filename for line in lines for part in passed_over):
        return ""
    return " < ".join(f"{Path(line.filename).name}:{line.lineno}" for line in reversed(lines[-8:]))


def configured(folder: Path, endpoint: str) -> Path:
    """A gateway with every part that has files: tenants, keys of an issuer, secrets, store, audit
    log with anchors.
    """
    path = main_file(folder, endpoint)
    (folder / "tenants").mkdir()
    (folder / "tenants" / "a.yaml").write_text(tenant("a", FIRST, "key-a"))
    public = ECKey.generate_key("P-256", {"kid": "k"}).as_dict(private=False)
    (folder / "keys.json").write_text(json.dumps({"keys": [public]}))
    (folder / "secret").write_text("a secret that is long enough for all of them")
    secret = {"file": str(folder / "secret")}
    sections = {
        "issuers": {
            "own": {
                "issuer": "https://own",
                "audience": "gateway",
                "jwks": {"file": str(folder / "keys.json")},
            }
        },
        "state": {"path": str(folder / "state.db")},
        "audit": {
            "directory": str(folder / "audit"),
            "key": secret,
            "anchors": str(folder / "anchors"),
            "anchor_s": 1,
        },
        "page_token_key": secret,
        "watch": {"busy_s": 1, "idle_s": 1},
    }
    (folder / "audit").mkdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | sections))
    return path


async def test_calls_reloads_and_streams_touch_no_file_on_the_event_loop(tmp_path: Path) -> None:
    for once in (upstream_error.codes, validation._comments):
        once.cache_clear()
    async with running_emulator() as cloud:
        path = configured(tmp_path, cloud.base_url)

        def loaded() -> Config:
            return load(path, ENVIRON, {})

        async with (
            open_app(loaded(), loaded) as app,
            grpc.aio.insecure_channel(app.address) as channel,
        ):
            with waiting_calls() as found:
                await scene(app, Caller(channel, (("authorization", "Bearer key-a"),)), tmp_path)
    assert not found, "\n".join(found)


async def scene(app: App, caller: Caller, folder: Path) -> None:
    assert app.reloader is not None
    stream = caller.channel.unary_stream(
        "/cbrgateway.v1.TaskService/WatchTasks", request_serializer=None, response_deserializer=None
    )
    watching = stream(b"", metadata=caller.metadata)
    await watching.read()
    await stage.vault(caller, 1)
    await caller.ok("VaultService/ListVaults")
    await caller.fails("VaultService/GetVault", {"vault_id": "nothing"})
    await caller.fails("VaultService/GetVault", {"vault_id": "a b"})
    await Caller(caller.channel, ()).fails("VaultService/ListVaults")
    before = app.current.snapshot.version
    (folder / "tenants" / "b.yaml").write_text(tenant("b", SECOND, "key-b"))
    await until(lambda: app.current.snapshot.version != before)
    await app.reloader.reload()
    (folder / "tenants" / "b.yaml").write_text("id: [")
    await app.reloader.reload()
    # An anchor, a poll and a look for changes.
    await asyncio.sleep(1.5)
    watching.cancel()

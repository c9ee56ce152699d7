"""What a call costs the gateway in steps that are the same on every machine, however busy it is:
`python -m benchmarks.counts` prints them beside the budget, `--write` makes them the budget.

frames        Python functions of the gateway that are entered
coroutines    those of them that are coroutines
tasks         asyncio tasks that the gateway starts
wake_ups      times that another thread wakes the event loop
socket_calls  reads and writes of the sockets to CBR
"""

import asyncio
import inspect
import io
import sys
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import structlog

from benchmarks import processes
from benchmarks.processes import LOAD_CORE
from benchmarks.ways import Calls, open_way
from gateway.app import App, open_app
from gateway.config import Config
from gateway.telemetry import CALL_FIELDS, LogSettings, configure

BUDGET: Final = Path(__file__).parent / "budget.toml"
_WARM_UP: Final = 4
_CALLS: Final = 10
_PAUSE_S: Final = 0.02
"""After each call, for what it leaves to be done."""
_INLINED: Final = frozenset({"<listcomp>", "<dictcomp>", "<setcomp>"})
"""From Python 3.12 on these are no functions."""
_SOCKET_CALLS: Final = frozenset({"send", "recv", "recv_into", "sendmsg"})
WORKLOADS: Final = ("get", "list", "create")


@dataclass(slots=True)
class Counts:
    """Of one call."""

    frames: int = 0
    coroutines: int = 0
    tasks: int = 0
    wake_ups: int = 0
    socket_calls: int = 0


class _Counter:
    """Takes part in everything that the thread of the event loop does."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.names: list[str] = []
        self._seen: dict[int, FrameType] = {}
        """A coroutine that goes on after a pause is called anew, so to speak."""

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:  # noqa: ANN401 - what sys gives
        if event == "call":
            self._called(frame)
        elif event == "c_call" and frame.f_globals.get("__name__") == "asyncio.selector_events":
            self.counts.socket_calls += argument.__name__ in _SOCKET_CALLS

    def _called(self, frame: FrameType) -> None:
        code = frame.f_code
        if id(frame) in self._seen or not _is_ours(frame) or code.co_name in _INLINED:
            return
        self._seen[id(frame)] = frame
        self.counts.frames += 1
        self.counts.coroutines += _is_coroutine(code)
        self.names.append(f"{frame.f_globals['__name__']}:{code.co_qualname}")

    def task(self, loop: asyncio.AbstractEventLoop, coro: Any, **more: Any) -> asyncio.Task[Any]:  # noqa: ANN401 - as asyncio has it
        self.counts.tasks += inspect.iscoroutine(coro) and coro.cr_code.co_filename.startswith(
            _OURS
        )
        return asyncio.Task(coro, loop=loop, **more)


_OURS: Final = str(Path(sys.modules["gateway"].__file__ or "").parent)


def _is_ours(frame: FrameType) -> bool:
    """Also of a function that a decorator has made for a class of the gateway."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == "gateway"


def _is_coroutine(code: CodeType) -> bool:
    return bool(code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR))


@contextmanager
def _counting() -> Iterator[_Counter]:
    loop, counter = asyncio.get_running_loop(), _Counter()
    wake = loop.call_soon_threadsafe

    def woken(*arguments: Any, **more: Any) -> asyncio.Handle:  # noqa: ANN401 - as asyncio has it
        counter.counts.wake_ups += 1
        return wake(*arguments, **more)

    loop.call_soon_threadsafe = woken  # type: ignore[method-assign, assignment]
    loop.set_task_factory(counter.task)
    sys.setprofile(counter)
    try:
        yield counter
    finally:
        sys.setprofile(None)
        loop.set_task_factory(None)
        loop.call_soon_threadsafe = wake  # type: ignore[method-assign]


async def of_call(call: Callable[[], Awaitable[object]]) -> tuple[Counts, list[str]]:
    """The least that a call takes, of several, and the names of its functions: what comes by
    chance only adds.
    """
    for _ in range(_WARM_UP):
        await call()
    found: list[_Counter] = []
    for _ in range(_CALLS):
        await asyncio.sleep(_PAUSE_S)
        with _counting() as counter:
            await call()
            await asyncio.sleep(_PAUSE_S)
        found.append(counter)
    least = {
        each.name: min(getattr(counter.counts, each.name) for counter in found)
        for each in fields(Counts)
    }
    return Counts(**least), min((counter.names for counter in found), key=len)


async def lines_of_call(call: Callable[[], Awaitable[object]]) -> int:
    """How many lines of the gateway's Python a call runs on the event loop, at least: those that
    could log something of it, and not what goes on in the background.
    """
    for _ in range(_WARM_UP):
        await call()
    return min([await _lines_of_one(call) for _ in range(_CALLS)])


async def _lines_of_one(call: Callable[[], Awaitable[object]]) -> int:
    number, others = 0, asyncio.all_tasks()

    def trace(frame: FrameType, event: str, _argument: object) -> Any:  # noqa: ANN401 - itself
        nonlocal number
        number += event == "line"
        if not _is_ours(frame) or CALL_FIELDS.get() is None:
            return None
        return trace if asyncio.current_task() not in others else None

    sys.settrace(trace)
    try:
        await call()
    finally:
        sys.settrace(None)
    return number


@asynccontextmanager
async def serving(config: Mapping[str, Any]) -> AsyncIterator[tuple[App, Calls]]:
    """A gateway in this process, and calls to it."""
    environ = {"BENCH_AK": "AKOFTHEBENCHMARK", "BENCH_SK": "a-secret-key"}
    known = Config.model_validate(config, context={"environ": environ})
    async with open_app(known) as app, open_way("grpc", app.address) as way:
        yield app, way.calls


@contextmanager
def _logging() -> Iterator[None]:
    """Lines are made as `serve` makes them, and go nowhere: the same whatever logged before."""
    configure(LogSettings(format="json"), io.StringIO())
    try:
        yield
    finally:
        structlog.reset_defaults()


async def measured() -> dict[str, Counts]:
    """Of each workload, with nothing but tenants configured."""
    with _logging(), processes.module("stub", core=LOAD_CORE) as stub:
        async with serving(processes.configuration(stub.address, "httptools")) as (_, calls):
            return {name: (await of_call(calls[name]))[0] for name in WORKLOADS}


def budget() -> dict[str, Counts]:
    return {name: Counts(**counts) for name, counts in tomllib.loads(BUDGET.read_text()).items()}


def over(found: Mapping[str, Counts], allowed: Mapping[str, Counts]) -> list[str]:
    """What takes more than it may."""
    return [
        f"{name}: {getattr(counts, each.name)} {each.name}, at most"
        f" {getattr(allowed[name], each.name)} are in the budget"
        for name, counts in found.items()
        for each in fields(Counts)
        if getattr(counts, each.name) > getattr(allowed[name], each.name)
    ]


def _lines(found: Mapping[str, Counts]) -> Iterator[str]:
    yield f"{'':8}" + "".join(f"{each.name:>14}" for each in fields(Counts))
    for name, counts in found.items():
        yield f"{name:8}" + "".join(f"{getattr(counts, f.name):14}" for f in fields(Counts))


def _toml(found: Mapping[str, Counts]) -> Iterator[str]:
    yield "# The most that one call may take (counts.py); `--write` writes what it takes today."
    for name, counts in found.items():
        yield f"\n[{name}]"
        yield from (f"{each.name} = {getattr(counts, each.name)}" for each in fields(Counts))


def main(*arguments: str) -> None:
    found = asyncio.run(measured())
    print("\n".join(_lines(found)))
    if "--write" in arguments:
        BUDGET.write_text("\n".join(_toml(found)) + "\n")
    elif too_much := over(found, budget()):
        sys.exit("\n".join(too_much))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Logs: one line on standard error for each event, whatever the strings in it hold.

Callers and CBR choose some of these strings. So JSON lines are pure ASCII (the standard library's
encoder escapes control characters, U+2028 and lone surrogates, where faster ones fail or pass them
on), console lines have everything unprintable escaped, and objects are shown by their repr, which
for a Secret is `Secret(***)`. A line of plain values in printable ASCII, as most are, needs nothing
of this and is encoded by the fast one. Records of libraries that use `logging` take the same way.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache
from types import NoneType
from typing import Final, Literal, TextIO, cast

import msgspec
import structlog
from pydantic import BaseModel, ConfigDict, Field
from structlog.typing import EventDict, Processor, WrappedLogger

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_GRPC: Final = "grpc._cython.cygrpc"
_CALLER_LEFT: Final = "ExecuteBatchError raised in core"
_TALKATIVE: Final = ("httpx", "watchfiles")
"""Libraries that tell at info, in their own words, what the gateway's own events say: each request
with its URL, each change of a file.
"""
_TRACEBACKS = ("exception", "stack")
_STACK: Final = structlog.processors.StackInfoRenderer()
_ENCODER: Final = json.JSONEncoder(default=repr, ensure_ascii=True, skipkeys=True)
"""Made once: json.dumps with arguments makes one per line."""


_PLAIN: Final = frozenset({str, int, float, bool, NoneType})
_PRINTABLE: Final = re.compile(rb"[ -~]*")


CALL_FIELDS: Final[ContextVar[Mapping[str, object] | None]] = ContextVar(
    "call_fields", default=None
)
"""Of the call whose work is under way: every line that is written meanwhile has them."""

TRACE_ID: Final[ContextVar[str]] = ContextVar("trace_id", default="")
"""Of the trace in which that call is recorded; empty where there is none."""


class LogSettings(BaseModel):
    """How much is logged, and in which form."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important events that are logged."
    )
    format: Literal["json", "console", "auto"] = Field(
        default="auto", description="auto: console on a terminal, json elsewhere."
    )


class _Steady:
    """A stream whose failures stay its own: a disk that is full must not end calls, nor the thread
    that waits for room.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except OSError:
            return

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            return


def configure(
    settings: LogSettings, stream: TextIO | None = None, worker: int | None = None
) -> None:
    """Sends the events of structlog and the records of `logging` to `stream` (standard error).

    `worker`: which one this process is, if it is one of several; every line has it. Replaces what
    was configured before.
    """
    out = sys.stderr if stream is None else stream
    level = _LEVELS[settings.level]
    as_json = settings.format == "json" or (settings.format == "auto" and not out.isatty())
    render: list[Processor] = (
        [_json_line]
        if as_json
        else [_printable, structlog.dev.ConsoleRenderer(colors=out.isatty(), pad_event_to=0)]
    )
    shared: list[Processor] = [
        add_call,
        *([] if worker is None else [_of_worker(worker)]),
        _completed,
    ]
    # One for all lines: to make one for each takes as long as to write it.
    lines = structlog.WriteLogger(cast("TextIO", _Steady(out)))
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )
    _capture_logging(out, level, shared, render)


def set_level(settings: LogSettings) -> None:
    """Another level for what is logged from now on."""
    level = _LEVELS[settings.level]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
    _set_libraries(level)


def _set_libraries(level: int) -> None:
    logging.getLogger().setLevel(level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _capture_logging(
    out: TextIO, level: int, shared: Sequence[Processor], render: Sequence[Processor]
) -> None:
    handler = logging.StreamHandler(_Steady(out))
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[remove_meta, *render],
        )
    )
    handler.addFilter(_is_news)
    root = logging.getLogger()
    root.handlers = [handler]
    _set_libraries(level)


def _is_news(record: logging.LogRecord) -> bool:
    """Not that a caller has left while gRPC was sending its answer, which gRPC calls an error: any
    caller could fill the log with it.
    """
    return record.name != _GRPC or not record.getMessage().startswith(_CALLER_LEFT)


def add_call(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Puts the fields of the call under way before those of the event."""
    fields = CALL_FIELDS.get()
    return event if fields is None else {**fields, **event}


def _of_worker(number: int) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["worker"] = number
        return event

    return add


def _json_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    if _PLAIN.issuperset(map(type, event.values())):
        try:
            line = msgspec.json.encode(event)
        except (UnicodeEncodeError, OverflowError):
            return _ENCODER.encode(event)
        if _PRINTABLE.fullmatch(line):
            return line.decode()
    return _ENCODER.encode(event)


def _completed(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Adds the level and the time, and makes text of tracebacks: one step, since each line takes
    all of them.
    """
    event = structlog.processors.add_log_level(logger, method, event)
    now = time.time()
    event["timestamp"] = f"{_second(int(now))}.{int(now % 1 * 1e6):06d}Z"
    if "exc_info" in event or "stack_info" in event:
        event = structlog.processors.format_exc_info(logger, method, _STACK(logger, method, event))
    return event


@lru_cache(maxsize=4)
def _second(since_1970: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since_1970))


def _printable(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escapes what a terminal would act on.

    A traceback keeps its line feeds: it is many lines by nature.
    """
    return {
        key: _escaped(value, keep="\n" if key in _TRACEBACKS else "")
        for key, value in event.items()
    }


def _escaped(value: object, keep: str) -> str:
    text = value if isinstance(value, str) else repr(value)
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii")
        for c in text
    )

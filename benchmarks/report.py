"""One table for people, one document for programs."""

import os
import platform
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any, Final

import msgspec

from benchmarks import streams
from benchmarks.goals import Verdict
from benchmarks.load import Sample
from benchmarks.plan import SUBJECTS, Run
from benchmarks.processes import can_pin

_LIBRARIES: Final = (
    "grpcio",
    "protobuf",
    "httpx",
    "httptools",
    "uvloop",
    "msgspec",
    "huaweicloudsdkcbr",
)
_RPCS: Final = {"get": "GetVault", "list": "ListVaults", "create": "CreateVault"}
_NUMBER_WIDTH: Final = 10


def document(run: Run, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Everything that was found, and on what."""
    return {
        "machine": {
            "cores": os.cpu_count(),
            "pinned": can_pin(),
            "system": platform.platform(),
            "python": sys.version.split()[0],
        },
        "libraries": {name: version(name) for name in _LIBRARIES},
        "goals": [msgspec.to_builtins(verdict) | {"met": verdict.met} for verdict in verdicts],
        "start_s": run.start_s,
        "overload": msgspec.to_builtins(run.overload),
        "streams": msgspec.to_builtins(run.streams),
        "commits": {str(waiting): rate for waiting, rate in run.commits.items()},
        "figures": [
            {"subject": subject} | msgspec.to_builtins(sample)
            for (subject, _), sample in run.figures.items()
        ],
    }


def table(run: Run, verdicts: Sequence[Verdict]) -> str:
    """Plain text: a block per case, then the goals."""
    lines = [
        _row("", ("server CPU", "caller CPU", "calls/s", "p50", "p99")),
        _row("", ("us/call", "us/call", "", "ms", "ms")),
    ]
    cases = dict.fromkeys(case for _, case in run.figures)
    for case in sorted(
        cases, key=lambda text: (text.partition(":")[0], int(text.partition(":")[2]))
    ):
        workload, _, in_flight = case.partition(":")
        lines.append(f"{_RPCS[workload]}, {in_flight} in flight")
        lines += [
            _figures(subject.name, run.figures[subject.name, case])
            for subject in SUBJECTS
            if case in subject.cases
        ]
    if not can_pin():
        lines.append(
            "The processes could not be pinned to two cores: the figures disturb each other."
        )
    lines += [
        f"audit log by itself, {waiting} waiting: {rate:.0f} durable records/s"
        for waiting, rate in run.commits.items()
    ]
    return "\n".join([*lines, "", streams.table(run.streams, run.overload), "", *goals(verdicts)])


def _figures(subject: str, sample: Sample) -> str:
    server = f"{sample.server_cpu_us:.0f}" if sample.server_cpu_us else "-"
    return _row(
        subject,
        (
            server,
            f"{sample.caller_cpu_us:.0f}",
            f"{sample.calls_per_s:.0f}",
            f"{sample.p50_ms:.2f}",
            f"{sample.p99_ms:.2f}",
        ),
    )


def _row(head: str, numbers: Iterable[str]) -> str:
    return f"  {head:18}" + "".join(f"{number:>{_NUMBER_WIDTH + 2}}" for number in numbers)


def goals(verdicts: Sequence[Verdict]) -> list[str]:
    """A line for each."""
    width = max(len(verdict.text) for verdict in verdicts)
    head = f"{'goal':{width}}  {'found':>6}  {'at most':>7}"
    return [
        head,
        *(
            f"{v.text:{width}}  {v.value:6.2f}  {v.limit:7.2f}  {'met' if v.met else 'MISSED'}"
            for v in verdicts
        ),
    ]

"""That the benchmark still runs, piece by piece; no figure is judged."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import (
    goals,
    load,
    payloads,
    plan,
    processes,
    report,
    slices,
    stream_floor,
    streams,
    workers,
)
from benchmarks.__main__ import main
from benchmarks.load import Case, Reading, Sample, cpu_s_of, measure, sample
from benchmarks.plan import Run, middle
from benchmarks.streams import Level, Overload, Streams
from benchmarks.ways import SyncCall, Way

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="the benchmark reads CPU times from /proc"
)

ONE_ROUND = (0.02, 0.15)
OVERLOAD = Overload(5, 0.95, 90.0, 150.0)
STREAMS = Streams(
    (
        Level(1000, 0.1, 9.0, 20.0, 10),
        Level(1000, 0.1, 9.0, 20.0, 10),
        Level(1, 0.01, 1.0, 2.0, 10),
    ),
    2000.0,
    25.0,
    0.0,
    0,
)


def some_sample(way="grpc", case="get:8", server_cpu_us=400.0, **figures):
    known = {
        "calls": 10,
        "calls_per_s": 1000.0,
        "p50_ms": 2.0,
        "p99_ms": 3.0,
        "caller_cpu_us": 800.0,
    } | figures
    return Sample(way=way, case=case, server_cpu_us=server_cpu_us, **known)


def every_round():
    return {
        (subject.name, case): [some_sample(subject.way, case)] * 3
        for subject in plan.SUBJECTS
        for case in subject.cases
    }


def test_the_payloads_have_the_sizes_that_the_report_speaks_of():
    assert 1000 < len(payloads.encode(payloads.vault())) < 1400
    assert 50_000 < len(payloads.encode(payloads.vaults())) < 70_000


def test_what_two_workers_can_do_is_told_by_the_time_of_all_and_of_the_busiest():
    one = workers.Turn(100.0, (1000.0,), ())
    two = workers.Turn(150.0, (700.0, 300.0), (10.0, 100.0))
    *_, row, _, _ = workers.lines({"GetVault": [(one, two)] * 3})
    assert row.split() == ["GetVault", "100", "150", "1.50", "(1.50-1.50)", "1.80", "(1.80-1.80)"]
    assert two.core_us == (700 + 300 + 10 + 100) / 2
    assert workers.Turn(1.0, (700.0, 300.0), (10.0, 1500.0)).core_us == 1500


def test_only_calls_that_end_while_it_is_measured_count():
    spans = [(0.0, 0.9), (0.9, 1.1), (1.1, 1.4), (1.5, 2.5)]
    found = sample("grpc", Case("get", 1), spans, Reading(1.0, 5.0, 7.0), Reading(2.0, 5.1, 7.4))
    assert found.calls == 2
    assert found.calls_per_s == pytest.approx(2)
    assert found.caller_cpu_us == pytest.approx(50_000)
    assert found.server_cpu_us == pytest.approx(200_000)
    assert found.p50_ms == pytest.approx(250)


def test_a_case_in_which_nothing_ended_is_no_figure():
    with pytest.raises(ValueError, match="only 0 calls"):
        sample("grpc", Case("get", 1), [(0.0, 9.0)], Reading(1.0, 0, 0), Reading(2.0, 0, 0))


def test_the_cloud_starts_a_task_when_it_is_told_to():
    with processes.servant("cloud", core=processes.LOAD_CORE) as cloud:
        assert cloud.greeting.startswith("127.0.0.1:")
        assert cloud.obey("task 60").strip().isdigit()


async def test_calls_that_end_while_the_clocks_are_read_do_not_end_the_measurement(monkeypatch):
    """Those of threads do: nothing holds them up meanwhile."""
    read = load.cpu_s_of

    def slowly(pid):
        until = len(ended) + 10
        while len(ended) < until:
            time.sleep(0.001)
        return read(pid)

    ended = []
    monkeypatch.setattr(load, "cpu_s_of", slowly)
    way = Way("quick", {"get": SyncCall(lambda: (time.sleep(0.0005), ended.append(None)))})
    found = await measure(way, Case("get", 1), os.getpid(), 0.0, 0.05)
    assert found.calls >= 2


async def test_a_slow_server_is_measured_until_two_calls_have_ended():
    async def call():
        await asyncio.sleep(0.05)

    found = await measure(Way("slow", {"get": call}), Case("get", 1), 0, 0.0, 0.01)
    assert found.calls >= 2
    assert found.p50_ms >= 50


def test_the_middle_of_rounds_is_taken_figure_by_figure():
    found = middle(
        [
            some_sample(p50_ms=p50, server_cpu_us=cpu)
            for p50, cpu in ((1.0, 30.0), (2.0, 10.0), (9.0, 20.0))
        ]
    )
    assert (found.p50_ms, found.server_cpu_us, found.calls) == (2.0, 20.0, 30)


def test_every_goal_has_its_figures_and_knows_when_it_is_met():
    figures = every_round()
    figures["echo", "get:8"] = [some_sample(server_cpu_us=us) for us in (100.0, 10.0, 200.0)]
    found = goals.verdicts(figures, start_s=0.5)
    assert len(found) == len(goals.GOALS) + 1
    by_text = {verdict.text: verdict for verdict in found}
    against_echo = by_text["gateway CPU per GetVault / bare grpc.aio echo"]
    assert against_echo.value == pytest.approx(4)
    assert not against_echo.met
    assert found[-1].met


def test_table_and_document_show_every_figure_and_goal():
    run = Run(every_round(), start_s=0.5, streams=STREAMS, overload=OVERLOAD, commits={1: 4000.0})
    verdicts = [*goals.verdicts(run.rounds, run.start_s), *streams.verdicts(STREAMS, OVERLOAD)]
    text = report.table(run, verdicts)
    assert all(subject.name in text for subject in plan.SUBJECTS)
    assert all(verdict.text in text for verdict in verdicts)
    assert len(json.loads(json.dumps(report.document(run, verdicts)))["figures"]) == len(
        run.figures
    )


def test_one_row_is_measured_against_the_bare_echo():
    told = []
    found = slices.carry_out("list", told.append, for_s=0.0)
    assert len(told) == 3
    assert all(each.ratio > 0 and each.low <= each.ratio <= each.high for each in found)
    assert len(list(slices.lines(found))) == 1 + len(slices.ROWS["list"])


@pytest.mark.parametrize("row", ["naive", "direct", "client"])
def test_a_row_is_measured_against_what_calls_without_the_gateway(row):
    found = slices.carry_out(row, lambda _text: None, for_s=0.0)
    assert all(each.ratio > 0 for each in found)
    assert len(found) == len(slices.ROWS[row])


def test_streams_are_measured_against_a_bare_server():
    size = stream_floor.Size(many=20, few=10, idle_s=1, turns=1, events=2)
    found = stream_floor.carry_out(lambda _text: None, size)
    ((bare_ms, gateway_ms),) = found.p99_ms
    assert bare_ms > 0
    assert gateway_ms > 0
    assert len(list(report.goals(stream_floor.verdicts(found)))) == 4


def test_a_row_can_be_held_against_another_tree(tmp_path):
    assert [
        (each.subject, each.against, each.floor) for each in slices.against_other("create")
    ] == [
        ("gateway", "gateway of the other tree", "create:8"),
        ("everything on", "everything on, other tree", "create:8"),
    ]
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    for part in ("gateway", "generated"):
        (tmp_path / part).symlink_to(Path(__file__).parents[2] / part)
    with processes.gateway(tmp_path, "127.0.0.1:9", "httptools", tree=tmp_path) as server:
        assert Path(f"/proc/{server.pid}/cwd").resolve() == tmp_path


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ([], "--tree needs --only with one of get, list, create"),
        (["--only", "tracing"], "--tree needs --only with one of get, list, create"),
        (["--only", "get"], "has no .venv"),
    ],
)
def test_a_tree_that_cannot_be_measured_is_refused_at_once(tmp_path, options, wrong):
    ended = CliRunner().invoke(main, [*options, "--tree", str(tmp_path)])
    assert ended.exit_code == 2
    assert wrong in " ".join(ended.output.split())


@pytest.mark.parametrize("way", ["httpx", "sdk"])
def test_callers_without_a_gateway_reach_the_stub(way):
    with processes.module("stub", core=processes.LOAD_CORE) as stub:
        lines = processes.load(
            way, stub, ("get:2", "list:1"), *ONE_ROUND, of_server=False
        ).splitlines()
    assert [json.loads(line)["case"] for line in lines] == ["get:2", "list:1"]


def test_gateway_and_naive_gateway_answer_their_callers(tmp_path):
    with (
        processes.module("stub", core=processes.LOAD_CORE) as stub,
        processes.gateway(tmp_path, stub.address, "auto") as gateway,
        processes.module("naive", stub.address, core=processes.SERVER_CORE) as naive,
    ):
        for server in (gateway, naive):
            lines = processes.load(
                "grpc", server, ("get:2", "list:1"), *ONE_ROUND, of_server=True
            ).splitlines()
            assert all(json.loads(line)["calls"] >= 2 for line in lines)
        assert cpu_s_of(gateway.pid) > 0

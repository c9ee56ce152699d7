"""A copy of every record for an OpenTelemetry collector: a real server, which is away, refuses or
comes back, and a log that goes on meanwhile.
"""

import asyncio
import contextlib
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import structlog
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import (
    LogsServiceServicer,
    add_LogsServiceServicer_to_server,
)
from pydantic import ValidationError

from gateway.audit import events
from gateway.audit.chain import stated
from gateway.audit.export import Backlog
from gateway.audit.lock import Unusable
from gateway.audit.opening import open_audit
from gateway.audit.segments import counted, name_of, raised, segments
from gateway.audit.settings import AuditSettings
from gateway.audit.verify import verify
from testkit.identities import authority, certificate, dns
from testkit.ports import free_port
from tests.audit.logs import WRITER, Broken, entry, pack, right, sink
from tests.audit.scenes import KEYS, assert_good, audit_section, audited_gateway, records
from tests.audit.test_opening import MOMENT, read
from tests.functional.calls import caller, until
from tests.functional.stage import vault

SECRET = "canary-of-the-collector"


class Collector(LogsServiceServicer):
    """Keeps what it is sent, unless `refusal` says how it fails."""

    def __init__(self, port, tls=None):
        self.port = port
        self.got = []
        self.resources = []
        self.metadata = {}
        self.refusal = None
        self.rejects = 0
        self.goes_on = threading.Event()
        self.goes_on.set()
        self._server = grpc.server(ThreadPoolExecutor(2))
        add_LogsServiceServicer_to_server(self, self._server)
        address = f"127.0.0.1:{port}"
        added = (
            self._server.add_secure_port(address, grpc.ssl_server_credentials([tls]))
            if tls
            else self._server.add_insecure_port(address)
        )
        assert added == port
        self._server.start()

    def Export(self, request, context):  # noqa: N802 - as in the protocol
        self.metadata = dict(context.invocation_metadata())
        if not self.goes_on.wait(60) or not context.is_active():
            return ExportLogsServiceResponse()
        if self.refusal is not None:
            context.abort(self.refusal, "not now")
        for each in request.resource_logs:
            self.resources.append(
                {item.key: item.value.string_value for item in each.resource.attributes}
            )
            for scope in each.scope_logs:
                self.got += scope.log_records
        answer = ExportLogsServiceResponse()
        if self.rejects:
            answer.partial_success.rejected_log_records = self.rejects
            answer.partial_success.error_message = "too strange"
        return answer

    @property
    def lines(self):
        return [record.body.string_value.encode() for record in self.got]

    def close(self):
        self.goes_on.set()
        self._server.stop(None).wait()


@pytest.fixture
def collectors():
    """Starts collectors; ends them."""
    running = []

    def start(port=None, **more):
        running.append(Collector(port or free_port(), **more))
        return running[-1]

    yield start
    for each in running:
        each.close()


def otlp(collector, **more):
    return {
        "otlp": {
            "endpoint": (
                f"http://127.0.0.1:{collector if isinstance(collector, int) else collector.port}"
            ),
            **more,
        }
    }


def settings(folder, **more):
    return AuditSettings.model_validate(
        audit_section(folder, **more), context={"environ": {"OTLP": SECRET}}
    )


def lines_of(folder, writer="one"):
    return list(counted(segments(folder)[writer], raised))


async def test_every_record_of_a_gateway_reaches_the_collector_as_it_stands_in_the_log(
    tmp_path, collectors
):
    collector = collectors()
    async with audited_gateway(tmp_path, otlp(collector)) as world:
        await vault(caller(world))
        await caller(world).fails("RegionService/ListRegionProjects")
        await until(lambda: len(collector.got) > 3)
    assert collector.lines == lines_of(tmp_path / "log")
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / name_of("one", 1)).write_bytes(b"".join(line + b"\n" for line in collector.lines))
    assert verify(copy, KEYS)[0].bad is None
    assert collector.resources[0]["service.instance.id"] == "one"
    made = next(record for record in collector.got if record.event_name == "CHANGE_ENDED")
    (row,) = [row for row in records(tmp_path) if row["unmapped"]["event"] == "CHANGE_ENDED"]
    told = {item.key: item.value.string_value or item.value.int_value for item in made.attributes}
    assert told["cbrgateway.call"] == row["metadata"]["correlation_uid"]
    assert (told["cbrgateway.tenant"], told["cbrgateway.operation"]) == (
        "payments",
        "VaultService/CreateVault",
    )
    assert made.time_unix_nano == row["time"] * 1_000_000
    assert {
        record.severity_text for record in collector.got if record.event_name == "CALL_REFUSED"
    } == {"WARN"}


async def test_a_collector_that_is_away_gets_all_when_it_is_back_also_from_a_later_process(
    tmp_path, collectors
):
    port = free_port()
    with structlog.testing.capture_logs() as said:
        async with open_audit(settings(tmp_path, segment_mib=0.003, **otlp(port))) as audit:
            for number in range(20):
                audit.ended(events.READ_ENDED, read(str(number)))
                await until(lambda number=number: len(records(tmp_path)) > number)
            await until(lambda: any("cannot be sent" in line["event"] for line in said))
    assert len(segments(tmp_path / "log")["one"]) > 3
    collector = collectors(port)
    async with open_audit(settings(tmp_path, **otlp(port))) as audit:
        audit.ended(events.READ_ENDED, read("last"))
        await until(lambda: len(collector.got) > 20)
    assert collector.lines == lines_of(tmp_path / "log")
    async with open_audit(settings(tmp_path, **otlp(port))) as audit:
        audit.ended(events.READ_ENDED, read("more"))
    assert collector.lines == lines_of(tmp_path / "log")


async def test_a_collector_that_refuses_is_asked_again_and_no_secret_is_told(tmp_path, collectors):
    collector = collectors()
    collector.refusal = grpc.StatusCode.UNAUTHENTICATED
    with structlog.testing.capture_logs() as said:
        async with open_audit(
            settings(tmp_path, **otlp(collector, headers={"authorization": {"env": "OTLP"}}))
        ) as audit:
            audit.ended(events.READ_ENDED, read())
            await until(lambda: said)
            collector.refusal = None
            await until(lambda: collector.got)
    assert collector.metadata["authorization"] == SECRET
    assert said[0]["cause"] == "UNAUTHENTICATED: not now"
    assert SECRET not in str(said)
    assert collector.lines == lines_of(tmp_path / "log")


async def test_what_a_collector_does_not_want_is_told_and_not_sent_again(tmp_path, collectors):
    collector = collectors()
    collector.rejects = 1
    with structlog.testing.capture_logs() as said:
        async with open_audit(settings(tmp_path, **otlp(collector))) as audit:
            audit.ended(events.READ_ENDED, read())
            await until(lambda: any("refused audit records" in line["event"] for line in said))
            collector.rejects = 0
    assert collector.lines == lines_of(tmp_path / "log")


async def test_records_travel_over_tls(tmp_path, collectors):
    ours = authority()
    pair = certificate(ours, dns("localhost"))
    (tmp_path / "ca.pem").write_bytes(ours.pem)
    collector = collectors(tls=(pair.key_pem, pair.pem))
    section = {
        "otlp": {
            "endpoint": f"https://localhost:{collector.port}",
            "ca_file": str(tmp_path / "ca.pem"),
        }
    }
    async with open_audit(settings(tmp_path, **section)) as audit:
        audit.ended(events.READ_ENDED, read())
    assert collector.lines == lines_of(tmp_path / "log")
    section["otlp"]["ca_file"] = str(tmp_path / "nothing")
    with pytest.raises(Unusable, match=r"ca_file .*nothing cannot be read"):
        async with open_audit(settings(tmp_path, **section)):
            pass


async def test_other_authorities_of_the_collector_are_taken_over(tmp_path, collectors):
    """Records that it could not be sent meanwhile are."""
    file = tmp_path / "ca.pem"
    first, other = authority("first"), authority("other")
    file.write_bytes(first.pem)
    pair, renewed = (certificate(each, dns("localhost")) for each in (first, other))
    before, told = collectors(tls=(pair.key_pem, pair.pem)), []
    section = {"endpoint": f"https://localhost:{before.port}", "ca_file": str(file)}
    async with open_audit(settings(tmp_path, otlp=section), renew=told.append) as audit:
        audit.ended(events.READ_ENDED, read())
        await until(lambda: before.got)
        (renewable,) = told
        assert (renewable.setting, renewable.files) == ("audit.otlp.ca_file", (file,))
        file.write_bytes(b"rubbish")
        with pytest.raises(OSError, match="certificate"):
            renewable.read()
        file.write_bytes(other.pem)
        use = renewable.read()
        before.close()
        back = collectors(before.port, tls=(renewed.key_pem, renewed.pem))
        audit.ended(events.READ_ENDED, read())
        use()
        await until(lambda: back.got)
    assert before.lines + back.lines == lines_of(tmp_path / "log")


async def test_a_collector_that_hangs_delays_no_end(tmp_path, collectors):
    collector = collectors()
    collector.goes_on.clear()
    async with (
        asyncio.timeout(50),
        open_audit(settings(tmp_path, **otlp(collector, timeout_s=60))) as audit,
    ):
        audit.ended(events.READ_ENDED, read())
        await until(lambda: collector.metadata)
    assert not collector.got
    collector.goes_on.set()
    async with open_audit(settings(tmp_path, **otlp(collector))):
        pass
    # What hung may arrive after all, beside what is sent again.
    assert list(dict.fromkeys(collector.lines)) == lines_of(tmp_path / "log")


async def test_segments_that_were_not_sent_outlive_the_retention(tmp_path, collectors):
    port = free_port()
    async with open_audit(settings(tmp_path, segment_mib=0.003, **otlp(port))) as audit:
        for number in range(20):
            audit.ended(events.READ_ENDED, read(str(number)))
            await until(lambda number=number: len(records(tmp_path)) > number)
    before = segments(tmp_path / "log")["one"]
    async with open_audit(
        settings(tmp_path, retention_days=MOMENT, **otlp(port)), clocks=right
    ) as audit:
        audit.ended(events.READ_ENDED, read("again"))
        await until(lambda: len(records(tmp_path)) == 21)
    assert all(each.path.exists() for each in before)
    collector = collectors(port)
    async with open_audit(settings(tmp_path, **otlp(port))):
        await until(lambda: len(collector.got) >= 20)
    async with open_audit(settings(tmp_path, retention_days=MOMENT, **otlp(port)), clocks=right):
        await until(lambda: not any(each.path.exists() for each in before))
    assert_good(tmp_path)


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ({"endpoint": "collector:4317"}, "is no address of a collector"),
        ({"endpoint": "http://me:pass@collector:4317"}, "is no address of a collector"),
        ({"endpoint": "https://collector/v1/logs"}, "is no address of a collector"),
        (
            {"endpoint": "http://c:4317", "headers": {"Authorization": {"env": "OTLP"}}},
            "no name of gRPC metadata",
        ),
        ({"endpoint": "http://c:4317", "ca_file": "x"}, "in plain text"),
    ],
)
def test_settings_that_reach_no_collector_are_refused(tmp_path, section, text):
    with pytest.raises(ValidationError, match=text):
        settings(tmp_path, otlp=section)


def test_a_copy_needs_files(tmp_path):
    with pytest.raises(ValidationError, match="has otlp and no directory"):
        settings(tmp_path, directory=None, stdout=True, **otlp(4317))


# The backlog
# --------------------------------------------------------------------------------------------------


def backlog(folder, log):
    return Backlog(folder, WRITER, lambda: log.head.sequence)


def test_whatever_happens_to_the_files_the_backlog_yields_what_counts_once_and_in_order(tmp_path):
    seed = random.randrange(1 << 32)
    rnd = random.Random(seed)
    disk = Broken()
    log = sink(tmp_path, opener=disk.opener, max_bytes=3000)
    left = backlog(tmp_path, log)
    got = []
    for number in range(400):
        disk.fault = (
            rnd.choice(["full", "short", "write", "sync", "open"]) if rnd.random() < 0.2 else ""
        )
        with contextlib.suppress(OSError):
            log.append([entry(number) for _ in range(rnd.randrange(1, 5))])
        if rnd.random() < 0.1:
            for each in segments(tmp_path)[WRITER][:-1] if segments(tmp_path) else ():
                if not each.packed:
                    pack(each.path)
        if rnd.random() < 0.3:
            batch = left.take()
            got += batch
            if batch and rnd.random() < 0.5:
                left.note(batch[-1])
        if rnd.random() < 0.05:
            # Another process takes it up: what was not noted comes again.
            left = backlog(tmp_path, log)
            got = [line for line in got if stated(line).sequence <= left.sent]
    # Who only reads the files cannot tell a segment that could not be begun from one that was.
    disk.fault = ""
    log.append([entry()])
    while batch := left.take():
        got += batch
    assert got == lines_of(tmp_path, WRITER), seed
    assert len(got) > 200


def test_what_is_not_on_disk_for_sure_waits(tmp_path):
    log = sink(tmp_path)
    log.append([entry(1)])
    left = backlog(tmp_path, log)
    assert len(left.take()) == 2
    # Written, and not synced yet.
    copy = sink(tmp_path)
    copy.append([entry(2)])
    assert left.take() == []


def test_a_segment_that_ends_between_two_looks_is_not_left_early(tmp_path):
    log = sink(tmp_path, max_bytes=1)
    writing = True

    def durable():
        known = log.head.sequence
        if writing:
            log.append([entry()])
        return known

    left = Backlog(tmp_path, WRITER, durable)
    got = [line for _ in range(4) for line in left.take()]
    writing = False
    while batch := left.take():
        got += batch
    assert got == lines_of(tmp_path, WRITER)


def test_a_log_that_was_replaced_is_sent_from_its_beginning(tmp_path):
    log = sink(tmp_path)
    log.append([entry(number) for number in range(5)])
    first = backlog(tmp_path, log)
    first.note(first.take()[-1])
    for each in segments(tmp_path)[WRITER]:
        each.path.unlink()
    again = sink(tmp_path)
    again.append([entry(9)])
    with structlog.testing.capture_logs() as said:
        assert len(backlog(tmp_path, again).take()) == 2
    assert "another one" in said[0]["event"]


def test_a_segment_that_cannot_be_read_is_named_and_the_next_ones_are_sent(tmp_path):
    log = sink(tmp_path, max_bytes=1)
    for number in range(4):
        log.append([entry(number)])
    second = segments(tmp_path)[WRITER][1]
    pack(second.path, cut=20)
    with structlog.testing.capture_logs() as said:
        got = backlog(tmp_path, log).take()
    expected = [
        line
        for each in segments(tmp_path)[WRITER]
        if each.number != 2
        for line in each.data().splitlines()
    ]
    assert got == expected
    assert [line["cause"].partition(" (")[0] for line in said] == ["it was cut short or changed"]

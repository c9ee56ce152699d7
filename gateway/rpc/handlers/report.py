"""ProtectionService: reports of a period, as rows and documents, with evidence."""

import asyncio
import datetime as dt
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final

from cbrgateway.v1 import protection_pb2, task_pb2
from google.protobuf.message import Message
from msgspec import Struct

from gateway.audit.task_evidence import task_records
from gateway.background import in_background
from gateway.errors import field_invalid
from gateway.protection import documents, lists
from gateway.protection.fleet import ProjectRef
from gateway.protection.lists import WantedList
from gateway.protection.report import Period, ProjectReport, totals
from gateway.protection.standing import seconds
from gateway.protection.unprotected import DAY_S
from gateway.rpc.call import Call
from gateway.rpc.dispatch import Stream
from gateway.rpc.handlers.handles import handles
from gateway.rpc.handlers.protection_reads import ProtectionReads, duration_s, parts
from gateway.upstream.page_tokens import PageTokens
from gateway.upstream.paging import plan_page

_PERIOD_S: Final = 30 * DAY_S
_LONGEST_S: Final = 366 * DAY_S
_RPO_S: Final = 25 * 3600.0
_EARLIEST_S: Final = dt.datetime(2000, 1, 1, tzinfo=dt.UTC).timestamp()
"""Long before there was CBR, and no time that CBR cannot be asked for."""
_SKEW_S: Final = 60.0
"""By how much a caller's clock may be ahead."""

Request = protection_pb2.GenerateReportRequest | protection_pb2.StreamReportRequest
Evidence = tuple[Mapping[str, Sequence[str]], protection_pb2.AuditEvidence]


class ReportHandlers(Struct, frozen=True):
    """The handlers. `log`: the directory of the audit log; None where there is none to read.
    `grace_s`: see Period.
    """

    reads: ProtectionReads
    tokens: PageTokens
    log: Path | None
    grace_s: float

    @handles(protection_pb2.GenerateReportRequest)
    async def generate(self, call: Call, request: protection_pb2.GenerateReportRequest) -> Message:
        page = plan_page(call.binding, request, self.tokens, call.scope)
        response = protection_pb2.GenerateReportResponse()
        refs = self.reads.refs(call, request.projects)
        period = self._period(request)
        records, evidence = await self._evidence(call, refs, period)
        response.audit.CopyFrom(evidence)

        async def rows(position: str) -> AsyncIterator[tuple[str, Message]]:
            key, _, after = position.partition(" ")
            for some in [[p] for p in refs if p.key >= key] if position else [refs]:
                reports = [
                    ProjectReport(view, period, records)
                    for view in await self.reads.all_views(call, some, _wanted(period))
                ]
                if not position:
                    response.totals.CopyFrom(totals(r for each in reports for r in each.rows))
                for report in reports:
                    response.coverage.append(report.coverage())
                    own = report.view.ref.key
                    for row in report.rows:
                        if own != key or row.resource_id > after:
                            yield f"{own} {row.resource_id}", row

        await page.kept(response, rows)
        response.document = _document(request, response.rows, heads=not request.page_token)
        if response.document:
            response.ClearField("rows")
        return response

    @handles(protection_pb2.StreamReportRequest)
    async def stream(
        self, call: Call, request: protection_pb2.StreamReportRequest, stream: Stream
    ) -> None:
        refs, period = self.reads.refs(call, request.projects), self._period(request)
        records, evidence = await self._evidence(call, refs, period)
        heads, told = True, []
        async with aclosing(self.reads.views(call, refs, _wanted(period))) as views:
            async for view in views:
                report = ProjectReport(view, period, records)
                told.append(totals(report.rows))
                for some in parts(report.rows):
                    message = protection_pb2.StreamReportResponse()
                    message.document = _document(request, some, heads=heads)
                    message.rows.extend([] if message.document else some)
                    heads = False
                    await stream.write(message.SerializeToString())
                end = protection_pb2.StreamReportResponse(coverage=report.coverage())
                await stream.write(end.SerializeToString())
        last = protection_pb2.StreamReportResponse(totals=_sum(told), audit=evidence)
        await stream.write(last.SerializeToString())

    def _period(self, request: Request) -> Period:
        """Raises FIELD_INVALID for one that cannot be reported on."""
        now = self.reads.clock.time()
        end = seconds(request.end_time) if request.HasField("end_time") else now
        start = seconds(request.start_time) if request.HasField("start_time") else end - _PERIOD_S
        for name, at in (("end_time", end), ("start_time", start)):
            if at > now + _SKEW_S:
                raise field_invalid(name, "is in the future; nothing is known of it", "period")
            if at < _EARLIEST_S:
                raise field_invalid(name, "is before 2000; CBR has nothing of then", "period")
        if start >= end:
            raise field_invalid("start_time", "must be before end_time", "period")
        if end - start > _LONGEST_S:
            raise field_invalid("start_time", "is more than 366 days before end_time", "period")
        return Period(start, end, now, duration_s(request, "rpo", _RPO_S), self.grace_s)

    async def _evidence(self, call: Call, refs: Sequence[ProjectRef], period: Period) -> Evidence:
        """What the audit log tells of the period's tasks; whatever the log does, there is a
        report.
        """
        if self.log is None:
            text = "This gateway keeps no audit log in files."
            return {}, protection_pb2.AuditEvidence(problem=text)
        log, stop = self.log, threading.Event()
        projects = {ref.project for ref in refs}
        try:
            async with asyncio.timeout(self.reads.time_left(call) / 2):
                found = await in_background(lambda: task_records(log, projects, period.start, stop))
        except TimeoutError:
            text = "The audit log could not be searched in the time of the call."
            return {}, protection_pb2.AuditEvidence(problem=text)
        except OSError:
            text = "The audit log cannot be read; more in the gateway's log."
            return {}, protection_pb2.AuditEvidence(problem=text)
        finally:
            stop.set()
        left_out = f"{found.unreadable} of its files cannot be read." if found.unreadable else ""
        return found.records, protection_pb2.AuditEvidence(searched=True, problem=left_out)


def _wanted(period: Period) -> list[WantedList]:
    return [
        lists.VAULTS,
        lists.POLICIES,
        lists.BACKUPS,
        lists.tasks(task_pb2.TASK_TYPE_BACKUP, period.start - period.grace_s),
        lists.tasks(task_pb2.TASK_TYPE_RESTORE, 0, name="restores"),
    ]


def _document(request: Request, rows: Sequence[protection_pb2.ReportRow], *, heads: bool) -> str:
    if request.format == protection_pb2.REPORT_FORMAT_CSV:
        return documents.as_csv(rows, heads=heads)
    return documents.as_json(rows) if request.format == protection_pb2.REPORT_FORMAT_JSON else ""


def _sum(told: Sequence[protection_pb2.ReportTotals]) -> protection_pb2.ReportTotals:
    names = [fd.name for fd in protection_pb2.ReportTotals.DESCRIPTOR.fields]
    return protection_pb2.ReportTotals(
        **{name: sum(getattr(each, name) for each in told) for name in names}
    )

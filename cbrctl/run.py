"""What happens when a command of an RPC runs: request, call, answer, and the work it starts."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final, NamedTuple

import click

from cbrctl import names, output, remembered
from cbrctl.cells import at
from cbrctl.contexts import Context
from cbrctl.failures import INTERRUPTED, USAGE, Failed, Refusal
from cbrctl.index import Verb
from cbrctl.output import Look, masked
from cbrctl.reports import LeftOut, failed, warn
from cbrctl.request import built, with_ids
from cbrctl.transport import Transport, connect

_REQUEST_ID: Final = "request_id"
_FORMAT: Final = "format"
_ROWS: Final = "REPORT_FORMAT_ROWS"


class How(NamedTuple):
    """How a call is made and shown, beside its request."""

    look: Look
    context: Context
    file: str | None = None
    deadline_s: float | None = None
    limit: int | None = None
    all_projects: bool = False
    dry_run: bool = False
    yes: bool = False
    wait: bool = False
    timeout_s: float | None = None


def run(verb: Verb, typed: Mapping[str, Any], how: How) -> None:
    """Carries a command out. Raises Failed."""
    request = built(verb, typed, how.file)
    if not (verb.pages or verb.stream):
        with reached(how.context, verb, how.deadline_s) as transport:
            carry_out(verb, with_ids(verb, request, transport), how, transport)
        return
    with _told() as missing:
        if verb.stream:
            _show_stream(verb, request, how, missing)
        elif request.get(_FORMAT, _ROWS) != _ROWS:
            if how.limit or how.all_projects:
                raise Failed(
                    "--limit and --all-projects are of rows: leave --format out, and see -o.", USAGE
                )
            _show_documents(verb, request, how, missing)
        else:
            rows = _everywhere(verb, request, how, missing)
            output.show_list(_asked_for(request, how), islice(rows, how.limit))


def _asked_for(request: Mapping[str, Any], how: How) -> Look:
    """What is shown of each row, which has nothing where a read mask does not ask for it."""
    mask = request.get("read_mask") or "*"
    if mask == "*":
        return how.look
    return masked(how.look, f"project_id,{mask}" if how.all_projects else mask)


@contextmanager
def _told() -> Iterator[LeftOut]:
    """Tells what is left out behind what is shown, also where that ends early."""
    missing = LeftOut()
    try:
        yield missing
    finally:
        missing.tell()
    missing.end()


def _show_stream(verb: Verb, request: dict[str, Any], how: How, missing: LeftOut) -> None:
    with reached(how.context, verb, how.deadline_s) as transport:
        asked = with_ids(verb, request, transport)
        heard = _heard(transport.stream(verb.rpc, asked), missing)
        inside = (row for each in heard for row in _objects(verb, each))
        by_row = verb.many and how.look.by_row
        output.show_list(how.look, islice(inside if by_row else heard, how.limit))


def _show_documents(verb: Verb, request: dict[str, Any], how: How, missing: LeftOut) -> None:
    """What the gateway has written in the form that was asked for."""
    with reached(how.context, verb, how.deadline_s) as transport:
        asked = with_ids(verb, request, transport)
        for page in names.pages(transport, verb, asked, missing):
            click.echo(page["document"], nl=False)


def _heard(messages: Iterable[dict[str, Any]], missing: LeftOut) -> Iterator[dict[str, Any]]:
    for message in messages:
        missing.hear(message)
        yield message


def carry_out(verb: Verb, request: dict[str, Any], how: How, transport: Transport) -> None:
    """One call and its answer; and with --wait the work that it starts."""
    if how.timeout_s is not None and not how.wait:
        raise Failed("--timeout is how long --wait may take: add --wait.", USAGE)
    if how.dry_run:
        dry_run(verb, request, how, transport)
        return
    if verb.confirm and not how.yes:
        from cbrctl.confirm import confirm

        confirm(verb, request, transport)
    answer = called(verb, request, transport)
    if not verb.read:
        remembered.forget(how.context)
    with _told() as missing:
        missing.hear(answer)
        output.show_answer(how.look, answer, _objects(verb, answer))
    if verb.work:
        from cbrctl.waiting import follow

        follow(transport, answer.get("submission"), wait=how.wait, timeout_s=how.timeout_s)


def dry_run(verb: Verb, request: dict[str, Any], how: How, transport: Transport) -> None:
    """What the change would do; it is not made."""
    from cbrctl.validation import told

    answer = transport.call(verb.rpc, {**request, "validate_only": True})
    if how.look.query is None and how.look.output in {"table", "wide"}:
        for line in told(answer.get("validation", {})):
            print(line)  # noqa: T201 - the answer
    else:
        output.show_answer(how.look, answer, [answer])
    warn("Nothing was changed: this was a dry run.")


def called(verb: Verb, request: dict[str, Any], transport: Transport) -> dict[str, Any]:
    """The answer. A change gets a request_id, so that a repeat of it makes it once."""
    repeatable = not verb.read and any(each.path == [_REQUEST_ID] for each in verb.flags)
    if repeatable and not request.get(_REQUEST_ID):
        request[_REQUEST_ID] = os.urandom(16).hex()
    try:
        return transport.call(verb.rpc, request)
    except KeyboardInterrupt as stop:
        if not repeatable:
            raise
        raise Failed(
            "Interrupted: it is not known whether the change was made. Repeat the command with"
            f" --request-id {request.get(_REQUEST_ID)}: then it is made once.",
            INTERRUPTED,
        ) from stop


@contextmanager
def reached(
    context: Context, verb: Verb | None = None, deadline_s: float | None = None
) -> Iterator[Transport]:
    """A connection, and failures of its calls as ends of the command."""
    try:
        transport = connect(context, deadline_s)
    except ValueError as error:
        raise Failed(str(error), USAGE) from error
    try:
        yield transport
    except Refusal as refusal:
        raise failed(refusal, verb) from refusal
    except ValueError as error:
        raise Failed(str(error), USAGE) from error
    finally:
        transport.close()


def _everywhere(
    verb: Verb, request: dict[str, Any], how: How, missing: LeftOut
) -> Iterator[dict[str, Any]]:
    """The rows of a list, in the project or in all of them."""
    if not how.all_projects:
        yield from _listed(verb, request, how, how.context, missing)
        return
    for project in _projects(how):
        inside = how.context.in_project(project)
        try:
            for row in _listed(verb, request, how, inside, missing):
                yield {"project_id": project, **row}
        except Failed as failure:
            missing.add(f"project {project}: {failure.message}")


def _projects(how: How) -> list[str]:
    """Those of the tenant, as the gateway knows them."""
    with reached(how.context, deadline_s=how.deadline_s) as transport:
        caller = transport.call("AccessService/GetCaller", {})
    return [each["project"] for each in caller["projects"]]


def _listed(
    verb: Verb, request: dict[str, Any], how: How, context: Context, missing: LeftOut
) -> Iterator[dict[str, Any]]:
    with reached(context, verb, how.deadline_s) as transport:
        asked = with_ids(verb, request, transport)
        size = min(how.limit or names.PAGE, names.PAGE)
        yield from names.rows(transport, verb, asked, missing, page_size=size)


def _objects(verb: Verb, answer: dict[str, Any]) -> list[dict[str, Any]]:
    if not verb.rows:
        return [answer] if answer else []
    found = at(answer, (verb.rows,))
    if not verb.many:
        return [found] if found else []
    rows = list(found or ())
    if verb.total:
        summed, part = verb.total
        rows.append({part: answer.get(summed, {})})
    return rows

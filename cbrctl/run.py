"""What happens when a command of an RPC runs: request, call, answer, and the work it starts."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from cbrctl import names, output, remembered
from cbrctl.cells import at
from cbrctl.contexts import Context
from cbrctl.failures import INTERRUPTED, REFUSED, USAGE, Failed, Refusal
from cbrctl.index import Verb
from cbrctl.output import Look
from cbrctl.reports import LeftOut, failed, warn
from cbrctl.request import built, with_ids
from cbrctl.transport import Transport, connect

_REQUEST_ID: Final = "request_id"
_FORMAT: Final = "format"


@dataclass(frozen=True, slots=True)
class How:
    """How a call is made and shown, beside its request."""

    look: Look
    context: Context
    file: Path | None = None
    deadline_s: float | None = None
    limit: int | None = None
    all_projects: bool = False
    dry_run: bool = False
    yes: bool = False
    wait: bool = False


def run(verb: Verb, typed: Mapping[str, Any], how: How) -> None:
    """Carries a command out. Raises Failed."""
    request = built(verb, typed, how.file)
    if verb.pages and request.get(_FORMAT):
        _show_documents(verb, request, how)
        return
    if verb.pages:
        output.show_list(how.look, _limited(_everywhere(verb, request, typed, how), how.limit))
        return
    with reached(how.context, verb) as transport:
        with_ids(verb, request, typed, transport)
        if verb.stream:
            heard = _heard(transport.stream(verb.rpc, request))
            inside = (row for each in heard for row in _objects(verb, each))
            by_row = verb.many and how.look.by_row
            output.show_list(how.look, inside if by_row else heard)
        else:
            carry_out(verb, request, how, transport)


def _show_documents(verb: Verb, request: dict[str, Any], how: How) -> None:
    """What the gateway has written in the form that was asked for, or the rows if it was that."""
    with reached(how.context, verb) as transport:
        for page in names.pages(transport, verb, request, deadline_s=how.deadline_s):
            if page[verb.rows]:
                output.show_list(how.look, page[verb.rows])
            else:
                click.echo(page["document"], nl=False)


def _heard(messages: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    missing = LeftOut()
    for message in messages:
        missing.hear(message)
        yield message
    missing.end()


def carry_out(verb: Verb, request: dict[str, Any], how: How, transport: Transport) -> None:
    """One call and its answer; and with --wait the work that it starts."""
    if how.dry_run:
        dry_run(verb, request, how, transport)
        return
    if verb.confirm and not how.yes:
        from cbrctl.confirm import confirm

        confirm(verb, request, transport)
    answer = called(verb, request, how.deadline_s, transport)
    if not verb.read:
        remembered.forget(how.context)
    output.show_answer(how.look, answer, _objects(verb, answer))
    missing = LeftOut()
    missing.hear(answer)
    missing.end()
    if verb.work:
        from cbrctl.waiting import follow

        follow(transport, answer.get("submission"), wait=how.wait)


def dry_run(verb: Verb, request: dict[str, Any], how: How, transport: Transport) -> None:
    """What the change would do; it is not made."""
    from cbrctl.validation import told

    answer = transport.call(verb.rpc, {**request, "validate_only": True}, how.deadline_s)
    if how.look.query is None and how.look.output in {"table", "wide"}:
        for line in told(answer.get("validation", {})):
            print(line)  # noqa: T201 - the answer
    else:
        output.show_answer(how.look, answer, [answer])
    warn("Nothing was changed: this was a dry run.")


def called(
    verb: Verb, request: dict[str, Any], deadline_s: float | None, transport: Transport
) -> dict[str, Any]:
    """The answer. A change gets a request_id, so that a repeat of it makes it once."""
    repeatable = not verb.read and any(each.path == [_REQUEST_ID] for each in verb.flags)
    if repeatable and not request.get(_REQUEST_ID):
        request[_REQUEST_ID] = os.urandom(16).hex()
    try:
        return transport.call(verb.rpc, request, deadline_s)
    except KeyboardInterrupt as stop:
        if not repeatable:
            raise
        raise Failed(
            "Interrupted: it is not known whether the change was made. Repeat the command with"
            f" --request-id {request.get(_REQUEST_ID)}: then it is made once.",
            INTERRUPTED,
        ) from stop


@contextmanager
def reached(context: Context, verb: Verb | None = None) -> Iterator[Transport]:
    """A connection, and failures of its calls as ends of the command."""
    try:
        transport = connect(context)
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
    verb: Verb, request: dict[str, Any], typed: Mapping[str, Any], how: How
) -> Iterator[dict[str, Any]]:
    """The rows of a list, in the project or in all of them."""
    if not how.all_projects:
        yield from _listed(verb, request, typed, how, how.context)
        return
    missed = False
    for project in _projects(how.context):
        try:
            for row in _listed(verb, dict(request), typed, how, how.context.in_project(project)):
                yield {"project_id": project, **row}
        except Failed as failure:
            missed = True
            warn(f"project {project}: {failure.message}")
    if missed:
        raise Failed("Not all projects could be listed; see above.", REFUSED)


def _projects(context: Context) -> list[str]:
    """Those of the tenant, as the gateway knows them."""
    with reached(context) as transport:
        caller = transport.call("AccessService/GetCaller", {})
    return [each["project"] for each in caller["projects"]]


def _listed(
    verb: Verb, request: dict[str, Any], typed: Mapping[str, Any], how: How, context: Context
) -> Iterator[dict[str, Any]]:
    with reached(context, verb) as transport:
        with_ids(verb, request, typed, transport)
        size = min(how.limit or names.PAGE, names.PAGE)
        yield from names.rows(transport, verb, request, page_size=size, deadline_s=how.deadline_s)


def _limited(rows: Iterable[dict[str, Any]], limit: int | None) -> Iterator[dict[str, Any]]:
    from itertools import islice

    return islice(iter(rows), limit)


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

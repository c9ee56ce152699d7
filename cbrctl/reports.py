"""What a failed call looks like at a terminal: the text, what to do, and the ids to go on with."""

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from cbrctl.failures import IN_DOUBT, NOT_FOUND, REFUSED, USAGE, Failed, Refusal, Violation
from cbrctl.index import Given, Verb

_CODES = {"INVALID_ARGUMENT": USAGE, "NOT_FOUND": NOT_FOUND}

_NAMES_OF_ROWS = frozenset({"filter", "order_by", "read_mask"})
"""Fields whose values name fields of rows: none of these is a flag."""


def failed(refusal: Refusal, verb: Verb | None = None) -> Failed:
    """The end of a command by a refused call. `verb`: whose flags the broken fields are."""
    flags = {".".join(each.path): each for each in (*verb.flags, *verb.arguments)} if verb else {}
    code = IN_DOUBT if refusal.in_doubt else _CODES.get(refusal.code, REFUSED)
    return Failed("\n  ".join(_lines(refusal, flags)), code)


def _lines(refusal: Refusal, flags: dict[str, Given]) -> Iterator[str]:
    reason = f" ({refusal.reason})" if refusal.reason else ""
    if not refusal.reason and refusal.advice:
        # Nobody but a library has spoken, of sockets and handshakes.
        yield f"{refusal.code}: {refusal.advice}"
    else:
        yield f"{refusal.code}{reason}: {_headline(refusal, flags)}"
    if len(refusal.violations) > 1:
        yield from (_of_a_field(each, flags) for each in refusal.violations)
    if refusal.reason and refusal.advice:
        yield refusal.advice
    if refusal.request_id and refusal.in_doubt:
        yield (
            "It is not known whether the change was made. Repeat the command with --request-id"
            f" {refusal.request_id}: then it is made once."
        )
    if refusal.call_id:
        yield f"call {refusal.call_id}"


def _headline(refusal: Refusal, flags: dict[str, Given]) -> str:
    """The text; where it is that of the only broken field, with the field's flag."""
    if len(refusal.violations) != 1:
        return _with_flags(refusal.text, flags)
    (only,) = refusal.violations
    if refusal.text.startswith(f"{only.field}: {only.text}"):
        # The longer of the two: the gateway cuts what it says of one field.
        whole = refusal.text.removeprefix(f"{only.field}: ")
        return _of_a_field(Violation(only.field, whole), flags)
    told = [_of_a_field(only, flags)] if _flag(flags, only.field) else []
    return "\n  ".join([_with_flags(refusal.text, flags), *told])


def _of_a_field(each: Violation, flags: dict[str, Given]) -> str:
    flag = _flag(flags, each.field)
    of_rows = each.field.partition(".")[0] in _NAMES_OF_ROWS
    text = each.text if of_rows else _with_flags(each.text, flags)
    return f"{each.field or 'a field'}{f' ({flag})' if flag else ''}: {text}"


def _with_flags(text: str, flags: dict[str, Given]) -> str:
    """The gateway's text with the flags of fields, such as `--force` for `force`."""
    return re.sub(r"`([a-z_.]+)`", lambda found: f"`{_flag(flags, found[1]) or found[1]}`", text)


def _flag(flags: dict[str, Given], field: str) -> str:
    """How a field is given at a terminal, in an entry of a list that list; of a message that is
    missing, its required fields.
    """
    if "[" in field:
        field = field.partition("[")[0].removesuffix(".paths")
    if field in flags:
        given = flags[field]
        return given.name if given.name.isupper() else f"--{given.name}"
    inside = [
        f"--{given.name}"
        for path, given in flags.items()
        if path.startswith(f"{field}.") and given.required
    ]
    return ", ".join(inside)


class LeftOut:
    """What answers leave out: told once their rows are shown, and an end with an exit code of its
    own, so that nobody takes a part for the whole.
    """

    def __init__(self) -> None:
        self._unreadable = 0
        self._unread: dict[str, None] = {}
        self._resources = self._selected = 0

    def hear(self, answer: Mapping[str, Any]) -> None:
        """Of an answer, a page or a message of a stream."""
        self._unreadable += answer.get("unreadable_rows", 0)
        coverage = answer.get("coverage") or ()
        for project in (coverage,) if isinstance(coverage, Mapping) else coverage:
            self._resources += project.get("resources", 0)
            self._selected += project.get("selected", 0)
            for problem in project.get("problems", ()):
                place = f"{project.get('project', '')} ({project.get('region', '')})"
                why = problem.get("message", "")
                self.add(f"{place}: {problem.get('list', '')} not read: {why}")

    def add(self, text: str) -> None:
        """What was not read, and why."""
        self._unread[text] = None

    def tell(self) -> None:
        if rows := self._unreadable:
            warn(f"{rows} rows are left out: the gateway cannot read CBR's answer for them.")
        for text in self._unread:
            warn(text)
        if self._resources and not self._selected:
            warn(f"None of the {self._resources} resources that were read has the tags asked for.")

    def end(self) -> None:
        """Raises Failed where something was left out."""
        if self._unreadable or self._unread:
            raise Failed("Not everything could be read: see above. The rest is shown.", REFUSED)


def warn(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - what is beside the answer

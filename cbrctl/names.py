"""Names where ids are wanted: an id by the name of its object, if that is the only one."""

import re
from collections.abc import Iterator
from typing import Any, Final

from cbrctl import index
from cbrctl.failures import NOT_FOUND, USAGE, Failed
from cbrctl.index import Verb
from cbrctl.reports import LeftOut
from cbrctl.transport import Transport

_ID: Final = re.compile(r"[0-9a-fA-F-]{32,36}")
PAGE: Final = 200
_SHOWN: Final = 5


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def rows(
    transport: Transport,
    verb: Verb,
    request: dict[str, Any],
    missing: LeftOut,
    *,
    page_size: int = PAGE,
) -> Iterator[dict[str, Any]]:
    """All objects of a list, page by page."""
    for page in pages(transport, verb, request, missing, page_size=page_size):
        yield from page[verb.rows]


def pages(
    transport: Transport,
    verb: Verb,
    request: dict[str, Any],
    missing: LeftOut,
    *,
    page_size: int = PAGE,
) -> Iterator[dict[str, Any]]:
    """The answers of a list. `missing` is told of what each leaves out, before it is handed on."""
    token = ""
    while True:
        page = transport.call(verb.rpc, {**request, "page_size": page_size, "page_token": token})
        missing.hear(page)
        yield page
        if not (token := page.get("next_page_token", "")):
            return


def resolved(transport: Transport, group: str, text: str) -> str:
    """The id of the only object of that name; an id is answered as it is.

    Raises Failed if there is none, or several.
    """
    lister = index.lister(group)
    if is_id(text) or lister is None or not lister.name:
        return text
    by_name = {"name": text} if any(each.path == ["name"] for each in lister.flags) else {}
    missing = LeftOut()
    found = [
        str(row[lister.id])
        for row in rows(transport, lister, by_name, missing)
        if row.get(lister.name) == text
    ]
    missing.tell()
    if len(found) == 1:
        return found[0]
    if not found:
        raise Failed(
            f"Nothing in `cbrctl {group} list` has the name {text!r}, and it is no id.", NOT_FOUND
        )
    some = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
    raise Failed(f"{len(found)} {group} have the name {text!r}. Use an id: {some}", USAGE)
